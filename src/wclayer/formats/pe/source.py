"""Where the bytes of a PE file come from: a buffer, a memory map, or an open file of which ranges are read."""

from __future__ import annotations

import io
import mmap
from typing import BinaryIO, Protocol

Buffer = bytes | bytearray | memoryview | mmap.mmap


class Source(Protocol):
    """Bytes at offsets. The reader asks for no range that ends after `size`."""

    @property
    def size(self) -> int:
        """The number of bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Returns `length` bytes from `offset`; fewer only if the file was cut in the meantime."""


class BufferSource:
    """A file in a buffer or a memory map, of which only the requested parts are copied."""

    __slots__ = ("_data", "size")

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, length: int) -> bytes:
        """Returns `length` bytes from `offset`."""
        return bytes(self._data[offset : offset + length])


class FileSource:
    """An open file that can be positioned, such as one of a view: it is not mapped, and only ranges of it are read.

    It must be buffered, so that a read is short only at the end of the file.
    """

    __slots__ = ("_file", "size")

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)

    def read(self, offset: int, length: int) -> bytes:
        """Returns `length` bytes from `offset`, or fewer if the file ends before."""
        self._file.seek(offset)
        return self._file.read(length)
