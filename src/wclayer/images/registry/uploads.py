"""`upload_blob`: stores a blob in a registry (distribution spec, "Push": mounting, monolithic, chunked, resumed)."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from wclayer.errors import LayerError, RegistryError
from wclayer.images.descriptor import Descriptor
from wclayer.images.registry.client import RegistryClient
from wclayer.images.registry.documents import exists
from wclayer.images.registry.exchange import Answer, Request
from wclayer.images.registry.failures import AT_FAULT, TemporaryError
from wclayer.images.registry.retries import Retries
from wclayer.images.registry.verified import SourceError, VerifiedBytes
from wclayer.images.transport import BytesDone, ImageSource

_CHUNK = 16 << 20
_PROGRESS = 4 << 20
"""The bytes after which another failure counts as the first one."""
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})\Z")
_OCTETS = {"Content-Type": "application/octet-stream"}


class _TooLargeError(Exception):
    """A request with the whole blob is too large for the registry."""


@dataclass
class _Session:
    """An upload that has begun.

    Attributes:
        url: where its next request goes.
        least: the fewest bytes of a part that is not the last one.
        offset: the bytes that the registry has.
    """

    url: str
    least: int = 0
    offset: int = 0


def upload_blob(
    client: RegistryClient,
    descriptor: Descriptor,
    source: ImageSource,
    done: BytesDone | None = None,
    *,
    mount_from: str = "",
) -> None:
    """Stores a blob of a source in a registry that does not have it yet.

    The blob is mounted if possible. Otherwise it is sent in one request, and after a failure continued in parts from
    where the registry has it.

    Args:
        client: the registry.
        descriptor: the blob.
        source: where the blob is.
        done: called with the number of bytes that are done.
        mount_from: another repository of the registry that has the blob; "" if none is known.

    Raises:
        InvalidDataError: the source's bytes have another digest or size.
        AccessDeniedError, RegistryError, …: the registry refuses, or cannot be reached.
    """
    upload = _Upload(client, descriptor, source, done)
    try:
        upload.run(mount_from)
    except SourceError as failure:
        raise failure.error from None
    finally:
        upload.close()


class _Upload:
    def __init__(
        self, client: RegistryClient, descriptor: Descriptor, source: ImageSource, done: BytesDone | None
    ) -> None:
        self._client = client
        self._descriptor = descriptor
        self._bytes = VerifiedBytes(source, descriptor, done)
        self._done = done
        self._what = f"the upload of the blob {descriptor.digest} ({descriptor.size} bytes)"
        self._chunk = client.options.chunk_size or _CHUNK

    def close(self) -> None:
        self._bytes.close()

    def run(self, mount_from: str) -> None:
        session = self._mount(mount_from) if mount_from else self._begin()
        if session is not None:
            try:
                self._send(session)
            except (LayerError, SourceError):
                self._cancel(session)
                raise
        if self._done is not None:
            self._done(self._descriptor.size)

    def _send(self, session: _Session) -> None:
        """Sends the blob until the registry has it. The session is the one that is in use at the end."""
        retries = Retries(self._client.options)
        # The most bytes that a registry has had. To lose them again and again is no progress.
        counted_from = session.offset
        is_whole = not self._client.options.chunk_size
        while True:
            try:
                if is_whole and session.offset == 0:
                    self._put_whole(session)
                else:
                    self._put_parts(session)
                return
            except _TooLargeError:
                is_whole = False
            except TemporaryError as failure:
                if session.offset - counted_from >= _PROGRESS:
                    retries, counted_from = Retries(self._client.options), session.offset
                retries.wait(failure)
                is_whole = False
            if not self._resume(session):
                if exists(self._client, self._descriptor):
                    return
                begun = self._begin()
                session.url, session.least, session.offset = begun.url, begun.least, 0

    def _mount(self, repository: str) -> _Session | None:
        """Asks the registry to take the blob from another repository. Returns None if it did, otherwise an upload."""
        query = {"mount": self._descriptor.digest, "from": repository}
        request = self._request("POST", "blobs/uploads/", query=query, accepted=(201, 202))
        try:
            answer, _ = self._fetch(request, (f"repository:{repository}:pull",))
        except LayerError:
            # The registry may not permit to read there, or not know how to mount.
            return self._begin()
        return None if answer.status == 201 else self._session(answer)

    def _begin(self) -> _Session:
        answer, _ = self._fetch(self._request("POST", "blobs/uploads/", accepted=(202,)))
        return self._session(answer)

    def _session(self, answer: Answer) -> _Session:
        location = answer.header("Location")
        if not location:
            raise RegistryError(
                self._client.name, f"{answer.origin} does not say where it takes {self._what}; {AT_FAULT}"
            )
        least = answer.header("OCI-Chunk-Min-Length")
        is_number = least.isascii() and least.isdigit() and len(least) < 16
        return _Session(self._client.exchange.leading(answer, location), int(least) if is_number else 0)

    def _put_whole(self, session: _Session) -> None:
        size = self._descriptor.size
        request = Request(
            "PUT",
            self._final(session),
            self._client.asking(self._what),
            {**_OCTETS, "Content-Length": str(size)},
            lambda: self._bytes.part(0, size),
            frozenset({200, 201, 204, 413}),
            takes_long=True,
        )
        answer = self._once(request)
        if answer.status == 413:
            raise _TooLargeError

    def _put_parts(self, session: _Session) -> None:
        size = self._descriptor.size
        while session.offset < size:
            start, end = session.offset, min(session.offset + max(self._chunk, session.least), size)
            request = Request(
                "PATCH",
                session.url,
                self._client.asking(self._what),
                {**_OCTETS, "Content-Length": str(end - start), "Content-Range": f"{start}-{end - 1}"},
                lambda start=start, end=end: self._bytes.part(start, end),  # type: ignore[misc]
                frozenset({200, 201, 202, 204, 404, 416}),
            )
            answer = self._once(request)
            if answer.status in (404, 416):
                detail = f"{answer.origin} does not continue {self._what} at the byte {start}; try again"
                raise TemporaryError(RegistryError(self._client.name, detail))
            self._follow(session, answer)
            session.offset = end
            taken = _RANGE.match(answer.header("Range"))
            if taken is not None and int(taken[1]) + 1 != end:
                detail = f"{answer.origin} took {int(taken[1]) + 1} bytes of {end} of {self._what}; try again"
                raise TemporaryError(RegistryError(self._client.name, detail))
        request = Request(
            "PUT", self._final(session), self._client.asking(self._what), {"Content-Length": "0"},
            # With a digest of no bytes nothing was read before.
            b"".join(self._bytes.part(0, 0)) if size == 0 else b"", frozenset({200, 201, 204}),
            takes_long=True,
        )  # fmt: skip
        self._once(request)

    def _resume(self, session: _Session) -> bool:
        """Asks the registry how many bytes it has of an upload. Returns False if it must begin anew."""
        request = Request(
            "GET", session.url, self._client.asking(self._what), accepted=frozenset({200, 202, 204, 400, 404, 405})
        )
        answer, _ = self._fetch(request)
        taken = _RANGE.match(answer.header("Range"))
        # "0-0" is said of one byte, and by some registries of none.
        if answer.status >= 400 or taken is None or not 0 < int(taken[1]) < self._descriptor.size:
            return False
        self._follow(session, answer)
        session.offset = int(taken[1]) + 1
        return True

    def _cancel(self, session: _Session) -> None:
        """Tells the registry that an upload does not continue. It is no failure if the registry does not care."""
        request = Request("DELETE", session.url, self._client.asking(self._what), accepted=frozenset(range(200, 500)))
        with contextlib.suppress(TemporaryError, LayerError):
            self._once(request)

    def _follow(self, session: _Session, answer: Answer) -> None:
        if location := answer.header("Location"):
            session.url = self._client.exchange.leading(answer, location)

    def _final(self, session: _Session) -> str:
        separator = "&" if urlsplit(session.url).query else "?"
        return f"{session.url}{separator}digest={self._descriptor.digest}"

    def _request(
        self, method: str, path: str, *, query: dict[str, str] | None = None, accepted: tuple[int, ...]
    ) -> Request:
        return self._client.request(
            method, path, self._what, query=query, headers={"Content-Length": "0"}, body=b"", accepted=accepted
        )

    def _fetch(self, request: Request, scopes: tuple[str, ...] = ()) -> tuple[Answer, bytes]:
        return self._client.exchange.fetch(self._client.sender(request, scopes), _CHUNK)

    def _once(self, request: Request) -> Answer:
        answer = self._client.sender(request)()
        self._client.exchange.discard(answer)
        return answer
