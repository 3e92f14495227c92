"""The interface of a disk for the formats on it: bytes at offsets."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING, BinaryIO, Protocol

from wclayer.errors import FormatError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)


class DiskError(FormatError):
    """A range is outside of a disk, or the disk cannot do what was requested."""


def read_file(file: BinaryIO, offset: int, length: int) -> bytes:
    """Returns `length` bytes of a file from `offset`, with zeros after its end.

    Raises:
        OSError: the host returns fewer bytes than the file has.
    """
    file.seek(offset)
    data = file.read(length)
    if len(data) < length:
        end = file.seek(0, io.SEEK_END)
        if offset + len(data) < end:
            raise OSError(errno.EIO, f"reading ends at {offset + len(data)} of {end} bytes")
        data += bytes(length - len(data))
    return data


def grow_file(file: BinaryIO, size: int) -> None:
    """Makes a file `size` bytes long, with a hole where the host has holes."""
    # Not `file.truncate`, which fails at an interrupt.
    if isinstance(getattr(file, "raw", file), io.FileIO):
        file.flush()
        os.ftruncate(file.fileno(), size)
    else:
        file.truncate(size)
    if file.seek(0, io.SEEK_END) < size:
        # A file in memory does not grow by truncation.
        file.seek(size - 1)
        file.write(b"\0")


class UnbufferedFile(io.FileIO):
    """A file of the host without a buffer, whose reads and writes are complete.

    Another process may write to other parts of the file meanwhile: a buffer would hold what was there before, and could
    write it again.

    Args:
        fd: a descriptor that is open for reading and writing; it is not closed.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "r+b", closefd=False)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return super().readall()
        pieces = []
        while size > 0 and (piece := super().read(size)):
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data).cast("B")
        left = len(view)
        while left:
            left -= super().write(view[-left:])
        return len(view)


def is_zero(data: bytes | memoryview) -> bool:
    """Returns whether all bytes are zeros."""
    view = memoryview(data)
    return all(view[at : at + _PIECE] == _ZEROS[: len(view[at : at + _PIECE])] for at in range(0, len(view), _PIECE))


class Disk(Protocol):
    """A virtual disk, a raw disk or a partition: `size` bytes in sectors of `sector_size`."""

    size: int
    sector_size: int

    def read(self, offset: int, length: int) -> bytes:
        """Returns `length` bytes from `offset`."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Writes bytes at `offset`."""

    def flush(self) -> None:
        """Makes the written bytes durable."""
