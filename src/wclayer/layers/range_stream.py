"""A stream over what a function reads at any offset: the contents of a file inside a disk or a tar."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, cast

_BUFFER = 1 << 16


class _RangeStream(io.RawIOBase):
    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._read = read
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        end = min(self._size, self._at + len(buffer))
        if end <= self._at:
            return 0
        data = self._read(self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_range(size: int, read: Callable[[int, int], bytes]) -> BinaryIO:
    """Returns a buffered stream of `size` bytes.

    Args:
        size: the bytes of the stream.
        read: returns the bytes from an offset up to another one; both lie in the stream.
    """
    return cast("BinaryIO", io.BufferedReader(_RangeStream(size, read), _BUFFER))
