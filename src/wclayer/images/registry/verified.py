"""`VerifiedBytes`: the bytes of a blob, read from a source in order or anew from an earlier place, and verified."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from wclayer.errors import FOREIGN_ERRORS, InvalidDataError
from wclayer.images.descriptor import Descriptor
from wclayer.images.transport import BytesDone, ImageSource

_STEP = 256 << 10
_POINTS_APART = 4 << 20


class SourceError(Exception):
    """The source of a blob failed while its bytes were sent.

    It is no `OSError`, which would count as a failure of the connection to the registry.

    Attributes:
        error: the failure of the source.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class VerifiedBytes:
    """The bytes of a blob of a source. The last of them are given out only if all have the blob's digest.

    Args:
        source: where the blob is.
        descriptor: the blob.
        done: called with the number of bytes that were given out.
    """

    def __init__(self, source: ImageSource, descriptor: Descriptor, done: BytesDone | None) -> None:
        self._source = source
        self._descriptor = descriptor
        self._done: Callable[[int], object] = done or (lambda done: None)
        self._stream: BinaryIO | None = None
        self._offset = 0
        self._hash = hashlib.sha256()
        self._offsets = [0]
        # The state of the digest at each of the offsets: a part that is sent again is verified as well.
        self._states = [self._hash.copy()]

    def part(self, start: int, end: int) -> Iterator[bytes]:
        """Yields the bytes from one offset to another.

        Raises:
            SourceError: the source failed; its bytes are too few, or have another digest.
        """
        try:
            self._go_to(start)
            if self._descriptor.size == 0:
                self._verify()
            while self._offset < end:
                yield self._read(min(_STEP, end - self._offset))
                self._done(self._offset)
        except FOREIGN_ERRORS as error:
            raise SourceError(error) from error

    def close(self) -> None:
        """Closes the source's stream."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _go_to(self, offset: int) -> None:
        if self._stream is not None and self._offset == offset:
            return
        self.close()
        place = bisect.bisect_right(self._offsets, offset) - 1
        self._offset, self._hash = self._offsets[place], self._states[place].copy()
        self._stream = self._source.open_blob(self._descriptor, self._offset)
        while self._offset < offset:
            self._read(min(_STEP, offset - self._offset))

    def _read(self, size: int) -> bytes:
        assert self._stream is not None
        data = self._stream.read(size)
        if not data:
            raise InvalidDataError(
                self._source.name,
                f"{self._descriptor.digest}: ends after {self._offset} of {self._descriptor.size} bytes",
            )
        self._hash.update(data)
        self._offset += len(data)
        if self._offset - self._offsets[-1] >= _POINTS_APART:
            self._offsets.append(self._offset)
            self._states.append(self._hash.copy())
        if self._offset == self._descriptor.size:
            self._verify()
        return data

    def _verify(self) -> None:
        found = f"sha256:{self._hash.hexdigest()}"
        if found != self._descriptor.digest:
            raise InvalidDataError(
                self._source.name, f"{self._descriptor.digest}: the contents have the digest {found}; nothing is stored"
            )
