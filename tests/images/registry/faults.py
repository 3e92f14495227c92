"""Faults of a fake registry: each is what happens to some of the requests.

A fault without `times` happens always. `skip` requests of the same kind pass before it happens.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from tests.images.registry.exchange import CutConnectionError, Reply, Request

Change = Callable[[Request, Reply], Reply]
ANY = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")


@dataclass
class Fault:
    """What happens to requests.

    Attributes:
        kind: which requests: "manifest", "blob", "upload", "token", "referrers", "tags", "catalogue", "ping", or "" for
            all.
        methods: of which methods.
        before: changes the request before the registry sees it.
        change: changes the answer.
        instead: answers in place of the registry, which does not see the request.
        reads: the connection is cut after so many bytes of the request's body.
        loses: the registry keeps so many bytes less than came.
        times: how often it happens; None for always.
        skip: how many such requests pass before.
        reference: only requests whose tag or digest is this.
    """

    kind: str = ""
    methods: tuple[str, ...] = ANY
    before: Callable[[Request], None] | None = None
    change: Change | None = None
    instead: Callable[[Request], Reply] | None = None
    reads: int | None = None
    loses: int = 0
    times: int | None = None
    skip: int = 0
    reference: str = ""
    happened: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def happens_to(self, request: Request) -> bool:
        """Whether it happens to this request. Each request is asked for once."""
        if self.kind not in ("", request.kind) or request.method not in self.methods:
            return False
        if self.reference not in ("", request.reference):
            return False
        with self._lock:
            if self.skip:
                self.skip -= 1
                return False
            if self.times is not None and self.happened >= self.times:
                return False
            self.happened += 1
            return True

    def only(self, **more: object) -> Fault:
        """The fault with other attributes (`times`, `skip`, `reference`…)."""
        return replace(self, **more)  # type: ignore[arg-type]


# Answers of an error.


def error(
    status: int, kind: str = "", methods: tuple[str, ...] = ANY, *, times: int | None = None, **headers: str
) -> Fault:
    """An error of that status with the text of a registry; `Retry_After="1"` adds a header."""
    code = {429: "TOOMANYREQUESTS", 403: "DENIED", 401: "UNAUTHORIZED"}.get(status, "UNKNOWN")
    return Fault(
        kind, methods, instead=lambda _: Reply.error(status, code, f"a fault of {status}", **headers), times=times
    )


def html(kind: str, status: int = 200) -> Fault:
    """A page for people in place of what was asked for, as a proxy or a login page gives it."""
    page = (
        b"<!DOCTYPE html><html><head><title>Log in</title></head><body>" + b"<p>welcome</p>" * 500 + b"</body></html>"
    )
    return Fault(kind, ("GET", "HEAD"), instead=lambda _: Reply.of(page, "text/html; charset=utf-8", status))


def redirect(kind: str, base: str, status: int = 307, methods: tuple[str, ...] = ("GET",)) -> Fault:
    """A redirect to the same path of another host, whose address begins with `base`."""
    return Fault(
        kind, methods, instead=lambda request: Reply(status, [("Location", base + request.path)], (b"moved",), 5)
    )


def redirect_loop(kind: str) -> Fault:
    """Redirects that never end."""
    numbers = itertools.count()
    return Fault(
        kind,
        ("GET", "HEAD"),
        instead=lambda request: Reply(307, [("Location", f"{request.path}?again={next(numbers)}")], (), 0),
    )


def redirect_to(kind: str, location: str, status: int = 307) -> Fault:
    """A redirect to that address, whatever it is."""
    return Fault(kind, ("GET", "HEAD"), instead=lambda _: Reply(status, [("Location", location)], (), 0))


# Bodies.


def cut(kind: str, after: int, *, times: int | None = None) -> Fault:
    """The connection is cut after so many bytes of the body."""
    return Fault(kind, ("GET",), change=lambda _, reply: reply.with_body(_until_cut(reply.body, after)), times=times)


def short(kind: str, by: int, *, times: int | None = None) -> Fault:
    """The body is shorter, and the answer states the shorter length."""

    def change(_: Request, reply: Reply) -> Reply:
        data = b"".join(reply.body)[:-by]
        return reply.with_body((data,), len(data))

    return Fault(kind, ("GET",), change=change, times=times)


def corrupt(kind: str, *, times: int | None = None) -> Fault:
    """The last byte of the body is another one."""

    def change(_: Request, reply: Reply) -> Reply:
        data = bytearray(b"".join(reply.body))
        data[-1] ^= 1
        return reply.with_body((bytes(data),))

    return Fault(kind, ("GET",), change=change, times=times)


def longer(kind: str, by: int) -> Fault:
    """The body has more bytes than the blob, and the answer states so."""
    return Fault(
        kind,
        ("GET",),
        change=lambda _, reply: reply.with_body(itertools.chain(reply.body, (bytes(by),)), reply.length + by),
    )


def endless(kind: str, *, stated: int = -1, status: int = 200, media_type: str = "") -> Fault:
    """A body that does not end; with `stated`, the answer states that length."""

    def change(_: Request, reply: Reply) -> Reply:
        body = itertools.repeat(b" " * (1 << 16))
        kept = reply.headers if not media_type else [("Content-Type", media_type)]
        return Reply(status, kept, body, stated)

    return Fault(kind, ("GET", "POST"), change=change)


def body(kind: str, data: bytes, media_type: str, status: int = 200) -> Fault:
    """Another body in place of what was asked for."""
    return Fault(kind, ("GET",), instead=lambda _: Reply.of(data, media_type, status))


def trickle(kind: str, size: int, seconds: float, *, times: int | None = None) -> Fault:
    """The body comes in pieces of that size, with pauses."""

    def change(request: Request, reply: Reply) -> Reply:
        return reply.with_body(_slowly(reply.body, size, seconds, request.stopped))

    return Fault(kind, ("GET",), change=change, times=times)


def hang(kind: str, after: int | None = None, methods: tuple[str, ...] = ANY, *, times: int | None = None) -> Fault:
    """Nothing comes any more: after so many bytes of the body, or with None before the headers."""

    def instead(request: Request) -> Reply:
        request.stopped.wait()
        raise CutConnectionError

    if after is None:
        return Fault(kind, methods, instead=instead, times=times)

    def change(request: Request, reply: Reply) -> Reply:
        return reply.with_body(_until_hang(reply.body, after, request.stopped))

    return Fault(kind, methods, change=change, times=times)


# Headers.


def header(
    kind: str, name: str, value: str | None, methods: tuple[str, ...] = ANY, *, times: int | None = None
) -> Fault:
    """A header is another one, or with None is not there."""
    return Fault(kind, methods, change=lambda _, reply: reply.with_header(name, value), times=times)


def wrong_digest_header(kind: str = "manifest") -> Fault:
    """`Docker-Content-Digest` is that of something else."""
    return header(kind, "Docker-Content-Digest", f"sha256:{'0' * 64}", ("GET", "HEAD"))


def no_range(kind: str = "blob") -> Fault:
    """A request for a part is answered with the whole, and 200."""

    return Fault(kind, ("GET",), before=lambda request: request.headers.update(range=""))


def partial_always(kind: str = "blob") -> Fault:
    """A request for the whole is answered with 206."""

    def change(_: Request, reply: Reply) -> Reply:
        if reply.status != 200:
            return reply
        changed = reply.with_header("Content-Range", f"bytes 0-{reply.length - 1}/{reply.length}")
        changed.status = 206
        return changed

    return Fault(kind, ("GET",), change=change)


def wrong_content_range(kind: str = "blob", by: int = 7) -> Fault:
    """A part states that it begins elsewhere."""

    def change(request: Request, reply: Reply) -> Reply:
        start, _, rest = reply.header("Content-Range").removeprefix("bytes ").partition("-")
        if reply.status != 206 or not start.isdigit():
            return reply
        return reply.with_header("Content-Range", f"bytes {int(start) + by}-{rest}")

    return Fault(kind, ("GET",), change=change)


# Uploads.


def upload_cut(after: int, methods: tuple[str, ...] = ("PATCH", "PUT"), *, times: int | None = None) -> Fault:
    """The connection is cut after so many bytes of the request's body were read. They are kept."""
    return Fault("upload", methods, reads=after, times=times)


def upload_loses(count: int, *, times: int | None = None) -> Fault:
    """The registry keeps fewer bytes of a PATCH than came, and says so in `Range`."""
    return Fault("upload", ("PATCH",), loses=count, times=times)


def upload_elsewhere(base: str, *, times: int | None = None) -> Fault:
    """The address of the upload is at another host."""

    def change(_: Request, reply: Reply) -> Reply:
        location = reply.header("Location")
        return reply.with_header("Location", base + location) if location.startswith("/") else reply

    return Fault("upload", ("POST", "PATCH"), change=change, times=times)


def upload_absolute() -> Fault:
    """The address of the upload is absolute, at the host that the client named."""

    def change(request: Request, reply: Reply) -> Reply:
        location = reply.header("Location")
        base = f"http://{request.headers['host']}"
        return reply.with_header("Location", base + location) if location.startswith("/") else reply

    return Fault("upload", ("POST", "PATCH"), change=change)


def _until_cut(body: Iterable[bytes], after: int) -> Iterator[bytes]:
    yield from _first(body, after)
    raise CutConnectionError


def _until_hang(body: Iterable[bytes], after: int, stopped: threading.Event) -> Iterator[bytes]:
    yield from _first(body, after)
    stopped.wait()
    raise CutConnectionError


def _first(body: Iterable[bytes], count: int) -> Iterator[bytes]:
    for piece in body:
        yield piece[:count]
        count -= min(count, len(piece))
        if not count:
            return


def _slowly(body: Iterable[bytes], size: int, seconds: float, stopped: threading.Event) -> Iterator[bytes]:
    for piece in body:
        for start in range(0, len(piece), size):
            yield piece[start : start + size]
            stopped.wait(seconds)
