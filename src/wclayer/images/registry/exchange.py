"""`Exchange`: one request and its answer, over redirects, with the errors of the family."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urljoin

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError

from wclayer.errors import LimitExceededError, RegistryError, limit_hint
from wclayer.images.registry.connections import socket_of
from wclayer.images.registry.failures import (
    AT_FAULT,
    CHECK_HOST,
    Asked,
    TemporaryError,
    UnreachableError,
    from_answer,
    from_connection,
    is_refusal,
    wait_of,
)
from wclayer.images.registry.options import RegistryOptions
from wclayer.images.registry.origin import Origin, origin_of
from wclayer.images.registry.patience import in_time
from wclayer.images.registry.retries import Retries
from wclayer.images.registry.wire import Body, Wire

_MAX_REDIRECTS = 8
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ERROR_BODY = 64 << 10
_STEP = 1 << 20


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes:
        method: "GET" and so on.
        url: the whole address.
        asked: what it asks for, for messages.
        headers: the headers, without `Authorization`.
        body: the body.
        accepted: the status of an answer that is none of an error.
        takes_long: True if the server may work for a while before it answers.
        is_secret: True if no other server may get it: redirects to one are refused, not followed.
    """

    method: str
    url: str
    asked: Asked
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | bytes | None = None
    accepted: frozenset[int] = frozenset({200})
    takes_long: bool = False
    is_secret: bool = False

    @property
    def origin(self) -> Origin:
        """The server of the address."""
        return origin_of(self.url)


class Answer:
    """An answer whose body is still to be read, in a context that closes it.

    Attributes:
        status: its status.
        origin: the server that gave it, after all redirects.
        url: the address that gave it.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, asked: Asked, url: str) -> None:
        self.status = response.status
        self.origin = origin_of(url)
        self.url = url
        self.asked = asked
        self.response = response

    def header(self, name: str) -> str:
        """Returns a header; "" if there is none."""
        return self.response.headers.get(name, "").strip()

    def headers(self, name: str) -> list[str]:
        """Returns all headers of a name."""
        return list(self.response.headers.getlist(name))

    @property
    def length(self) -> int | None:
        """The length of the body that the answer states; None if it states none."""
        text = self.header("Content-Length")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    def read1(self, size: int) -> bytes:
        """Returns the next bytes of the body, at most `size`; b"" at its end.

        Raises:
            TemporaryError: the connection was cut, or the bytes come with so much around them that none arrives.
        """
        used = socket_of(self.response)
        try:
            with in_time(used, None if used is None else used.gettimeout(), "the body of the answer"):
                return self.response.read1(size, decode_content=False) or b""
        except HTTPError as error:
            raise self._failed(error) from None
        except TimeoutError as error:
            raise self._failed(ProtocolError(str(error), error)) from None

    def read(self, most: int, patience: float) -> bytes:
        """Returns the whole body.

        Args:
            most: the most bytes that it may have.
            patience: the seconds that it may take.

        Raises:
            LimitExceededError: it is larger.
            TemporaryError: the connection was cut, or it took too long.
        """
        ends = time.monotonic() + patience
        # Not `length`: an answer to HEAD states the length of a body that it does not have.
        size = self.response.length_remaining
        parts: list[bytes] = []
        read = 0
        while size is None or size <= most:
            part = self.read1(min(_STEP, most + 1 - read))
            if not part:
                return b"".join(parts)
            parts.append(part)
            read += len(part)
            if read > most:
                break
            if time.monotonic() > ends:
                detail = f"{self.origin} answers too slowly, asked for {self.asked.what}"
                raise TemporaryError(RegistryError(self.asked.path, detail))
        more = f"{size} bytes" if size is not None and size > most else "more bytes"
        raise LimitExceededError(
            self.asked.path,
            f"{self.origin} answers with {more}, where at most {most} are accepted {limit_hint('manifest_size')},"
            f" asked for {self.asked.what}",
        )

    def _failed(self, error: HTTPError) -> Exception:
        return from_connection(self.asked, self.origin, error)

    def close(self) -> None:
        """Ends the use of the answer. Its connection is used again if the body was read."""
        if self.response.length_remaining == 0 or self.response.status in (204, 304):
            self.response.release_conn()
        else:
            self.response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Exchange:
    """Sends requests: follows redirects, tries again, and raises the errors of the family.

    Args:
        wire: the connections.
        options: how often a request is tried again.
    """

    def __init__(self, wire: Wire, options: RegistryOptions) -> None:
        self.wire = wire
        self.options = options
        self._reached: set[Origin] = set()

    def send(self, request: Request, authorization: str = "") -> Answer:
        """Sends a request once, follows redirects, and returns the answer, whatever its status is.

        The header `Authorization` goes to the server of the request alone: not to another host, not to another port,
        and not to the same one without TLS. After a redirect to another server it goes nowhere any more.

        Raises:
            TemporaryError: the connection failed.
            RegistryError: it would fail again, or a redirect leads to where it must not.
        """
        url, method, body = request.url, request.method, request.body
        for _ in range(_MAX_REDIRECTS):
            origin = origin_of(url)
            headers = dict(request.headers)
            if origin != request.origin:
                authorization = ""
            if authorization:
                headers["Authorization"] = authorization
            if self.options.pace is not None:
                self.options.pace.wait(str(origin))
            try:
                response = self.wire.send(method, url, headers, body, takes_long=request.takes_long)
            except HTTPError as error:
                raise self._failure(request.asked, origin, error) from None
            self._reached.add(origin)
            if self.options.pace is not None and is_refusal(response):
                self.options.pace.refused(str(origin), wait_of(response))
            answer = Answer(response, request.asked, url)
            location = answer.header("Location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            self.discard(answer)
            url = self.leading(answer, location)
            if request.is_secret and origin_of(url) != request.origin:
                raise RegistryError(
                    request.asked.path,
                    f"{request.origin} redirects to {origin_of(url)}, which is not given credentials; {AT_FAULT}",
                )
            if answer.status == 303:
                method, body = "GET", None
        raise RegistryError(
            request.asked.path,
            f"{request.origin} redirects more than {_MAX_REDIRECTS} times, asked for {request.asked.what};"
            f" {CHECK_HOST}",
        )

    def _failure(self, asked: Asked, origin: Origin, error: HTTPError) -> Exception:
        failure = from_connection(asked, origin, error)
        if isinstance(failure, UnreachableError):
            # A server that answered before may only be starting anew.
            failure.is_worth_a_try = origin in self._reached
        return failure

    def leading(self, answer: Answer, location: str) -> str:
        """Returns the address to which an answer leads.

        Raises:
            RegistryError: it is not an address of HTTP, or one without TLS after one with TLS.
        """
        try:
            url = urljoin(answer.url, location)
        except ValueError:
            url = ""
        path = answer.asked.path
        try:
            origin = origin_of(url)
        except RegistryError as error:
            raise RegistryError(path, f"{answer.origin} leads elsewhere, and {error.detail}; {AT_FAULT}") from None
        if answer.origin.scheme == "https" and origin.scheme != "https" and not self.wire.is_trusted_blindly(origin):
            raise RegistryError(
                path,
                f"{answer.origin} leads to {origin} without TLS, asked for {answer.asked.what}; a proxy before the"
                " registry must set X-Forwarded-Proto, or --insecure accepts it",
            )
        return url

    def discard(self, answer: Answer) -> bytes:
        """Reads the rest of an answer if it is short, and closes it. Returns its first bytes."""
        data = b""
        with answer, contextlib.suppress(TemporaryError, LimitExceededError):
            data = answer.read(_ERROR_BODY, self.options.timeout)
        return data

    def check(self, request: Request, answer: Answer) -> Answer:
        """Returns an answer unchanged if its status is accepted; otherwise closes it.

        Raises:
            TemporaryError, LayerError: the status is another one.
        """
        if answer.status in request.accepted:
            return answer
        body = self.discard(answer)
        raise from_answer(request.asked, answer.origin, answer.response, body)

    def fetch(self, make: Callable[[], Answer], most: int) -> tuple[Answer, bytes]:
        """Calls `make` until its answer is read to the end. Returns the answer and its body of at most `most` bytes.

        Raises:
            LimitExceededError: the body is larger.
            LayerError: the last try failed.
        """
        retries = Retries(self.options)
        while True:
            try:
                with make() as answer:
                    return answer, answer.read(most, self.options.patience)
            except TemporaryError as failure:
                retries.wait(failure)
