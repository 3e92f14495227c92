"""`open_blob`: a blob of a registry as a stream that continues after a cut connection."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO, TypeVar

from wclayer.errors import AccessDeniedError, InvalidDataError, LayerError, PathNotFoundError, RegistryError
from wclayer.images.descriptor import Descriptor
from wclayer.images.registry.client import RegistryClient
from wclayer.images.registry.exchange import Answer, Request
from wclayer.images.registry.failures import AT_FAULT, Asked, TemporaryError
from wclayer.images.registry.retries import Retries

_Result = TypeVar("_Result")

_BUFFER = 1 << 20
_PROGRESS = 4 << 20
"""The bytes after which a connection that is cut again counts as the first cut."""
_SKIP = 1 << 20
_MAX_URLS = 8
_SLOW_TIME = 120.0
_SLOW_RATE = 1 << 10
"""A server that sends fewer bytes per second over two minutes counts as one that sends nothing."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)\Z")


def open_blob(client: RegistryClient, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
    """Opens a blob for reading from a byte offset to its end.

    The registry is asked first, then the addresses of the descriptor (`urls`), which foreign layers have. Those of
    other servers are given no credentials. The stream has at most the size of the descriptor, and is not verified; but
    if it is read from 0 to its end, and has another digest, the next call asks the other places (see `places_left`).

    Args:
        client: the registry.
        descriptor: the blob.
        offset: where reading begins.

    Raises:
        PathNotFoundError: neither the registry nor an address has the blob.
        InvalidDataError: the registry has a blob of another size under this digest; or a place gave other bytes
            before, and no other one has the blob.
        RegistryError, AccessDeniedError, …: the registry cannot be reached, or refuses.
    """
    if offset >= descriptor.size:
        return io.BytesIO()
    places = _places(client, descriptor)
    left = [place for place in places if not place.is_refused] or places
    failures: list[LayerError] = []
    for place in left:
        try:
            return io.BufferedReader(_BlobStream(place, offset), _BUFFER)
        except (PathNotFoundError, AccessDeniedError, InvalidDataError, RegistryError) as error:
            if len(places) == 1:
                raise
            failures.append(error)
    told = [f"{place.request.origin} gives bytes with another digest" for place in places if place not in left]
    told += [error.detail for error in failures]
    is_missing = all(isinstance(error, PathNotFoundError) for error in failures)
    kind = InvalidDataError if len(left) < len(places) else PathNotFoundError if is_missing else RegistryError
    raise kind(client.name, f"neither the registry nor the addresses of the foreign layer give it: {'; '.join(told)}")


def places_left(client: RegistryClient, descriptor: Descriptor) -> int:
    """Returns how many of the places of a blob have not given bytes with another digest yet."""
    return sum(not place.is_refused for place in _places(client, descriptor))


def _places(client: RegistryClient, descriptor: Descriptor) -> list[_Place]:
    """Returns where a blob may be: the registry, then the addresses of the descriptor."""
    what = f"the blob {descriptor.digest} ({descriptor.size} bytes)"
    accepted = frozenset({200, 206})
    requests = [client.request("GET", f"blobs/{descriptor.digest}", what, accepted=tuple(accepted))]
    urls = descriptor.urls[:_MAX_URLS]
    requests += [Request("GET", url, client.asking(what), accepted=accepted) for url in urls]
    return [_Place(client, request, descriptor) for request in requests]


@dataclass(frozen=True)
class _Place:
    """Where a blob is."""

    client: RegistryClient
    request: Request
    descriptor: Descriptor

    @property
    def asked(self) -> Asked:
        return self.request.asked

    @property
    def is_refused(self) -> bool:
        """Whether the place gave bytes with another digest."""
        return (self.descriptor.digest, self.request.url) in self.client.refused

    def refuse(self) -> None:
        """Notes that the place gave bytes with another digest."""
        self.client.refused.add((self.descriptor.digest, self.request.url))

    def open(self, offset: int) -> Answer:
        """Sends one request for the blob from an offset on, and returns the answer, whose body begins there.

        Raises:
            TemporaryError, LayerError: there is no such answer.
        """
        request = self.request
        if offset:
            request = replace(
                request,
                headers={"Range": f"bytes={offset}-{self.descriptor.size - 1}"},
                accepted=request.accepted | {416},
            )
        answer = self.client.sender(request)()
        try:
            self._check(answer, offset)
            if answer.status == 200:
                _skip(answer, offset)
        except BaseException:
            answer.close()
            raise
        return answer

    def _check(self, answer: Answer, offset: int) -> None:
        """Checks what an answer says about its body.

        Raises:
            InvalidDataError: it is one of a blob of another size, or of another part of it.
        """
        size = self.descriptor.size
        if answer.status == 416:
            raise InvalidDataError(
                self.asked.path,
                f"{answer.origin} has no bytes from {offset} on of {self.asked.what}: its blob is shorter; {AT_FAULT}",
            )
        first, last, total = 0, size - 1, size
        if answer.status == 206:
            found = _CONTENT_RANGE.match(answer.header("Content-Range"))
            if found is None:
                detail = f"{answer.origin} does not say which part of {self.asked.what} it sends; {AT_FAULT}"
                raise InvalidDataError(self.asked.path, detail)
            first, last = int(found[1]), int(found[2])
            total = size if found[3] == "*" else int(found[3])
            if first != offset or last < first or last >= size:
                raise InvalidDataError(
                    self.asked.path,
                    f"{answer.origin} sends the bytes {first} to {last} of {self.asked.what}, asked for those from"
                    f" {offset} on; {AT_FAULT}",
                )
        length = last + 1 - first
        stated = length if answer.length is None else answer.length
        if total != size or stated != length:
            raise InvalidDataError(
                self.asked.path,
                f"{answer.origin} has {total if total != size else stated} bytes, asked for {self.asked.what};"
                f" {AT_FAULT}",
            )


def _skip(answer: Answer, count: int) -> None:
    """Reads over the bytes that an answer without a range has before the part that is wanted."""
    while count:
        part = answer.read1(min(count, _SKIP))
        if not part:
            raise TemporaryError(
                RegistryError(
                    answer.asked.path, f"{answer.origin} ends too early, asked for {answer.asked.what}; try again"
                )
            )
        count -= len(part)


class _BlobStream(io.RawIOBase):
    """The bytes of a blob from an offset on. A cut connection is opened again at the place that was reached.

    Args:
        place: where the blob is.
        offset: where reading begins.
    """

    def __init__(self, place: _Place, offset: int) -> None:
        super().__init__()
        self._place = place
        self._offset = offset
        self._answer: Answer | None = None
        self._retries = Retries(place.client.options)
        self._counted_from = offset
        self._rate_from = offset
        self._waited = 0.0
        # Only a blob that has further places is hashed here: its readers verify it anyway.
        self._hash = hashlib.sha256() if place.descriptor.urls and not offset else None
        self._answer = self._retry(lambda: place.open(offset))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(len(buffer), self._place.descriptor.size - self._offset)
        if size <= 0:
            return 0
        data = self._retry(lambda: self._read(size))
        buffer[: len(data)] = data
        self._offset += len(data)
        if self._hash is not None:
            self._hash.update(data)
            expected = self._place.descriptor
            if self._offset == expected.size and f"sha256:{self._hash.hexdigest()}" != expected.digest:
                self._place.refuse()
        if self._offset - self._counted_from >= _PROGRESS:
            self._retries = Retries(self._place.client.options)
            self._counted_from = self._offset
        return len(data)

    def _read(self, size: int) -> bytes:
        if self._answer is None:
            self._answer = self._place.open(self._offset)
        try:
            began = time.monotonic()
            data = self._answer.read1(size)
            self._check_rate(time.monotonic() - began)
            if data:
                return data
            asked = self._place.asked
            raise TemporaryError(
                RegistryError(
                    asked.path,
                    f"{self._answer.origin} ends after {self._offset} of {self._place.descriptor.size} bytes, asked for"
                    f" {asked.what}; try again",
                )
            )
        except BaseException:
            self._close_answer()
            raise

    def _check_rate(self, waited: float) -> None:
        """Counts the seconds of waiting for bytes: not those in which nobody reads.

        Raises:
            TemporaryError: the server sends fewer bytes than `_SLOW_RATE`.
        """
        self._waited += waited
        if self._waited < _SLOW_TIME:
            return
        if self._offset - self._rate_from < _SLOW_RATE * _SLOW_TIME:
            assert self._answer is not None
            asked = self._place.asked
            raise TemporaryError(
                RegistryError(
                    asked.path, f"{self._answer.origin} sends almost nothing, asked for {asked.what}; try later"
                )
            )
        self._rate_from, self._waited = self._offset, 0.0

    def _retry(self, action: Callable[[], _Result]) -> _Result:
        while True:
            try:
                return action()
            except TemporaryError as failure:
                self._retries.wait(failure)

    def _close_answer(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            with contextlib.suppress(OSError, LayerError):
                answer.close()

    def close(self) -> None:
        if not self.closed:
            self._close_answer()
        super().close()
