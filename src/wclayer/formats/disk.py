"""The interface of a disk for the formats on it: bytes at offsets."""

from __future__ import annotations

import errno
import io
import os
from typing import BinaryIO, Protocol

from wclayer.errors import FormatError

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
    if isinstance(getattr(file, "raw", None), io.FileIO):
        file.flush()
        os.ftruncate(file.fileno(), size)
    else:
        file.truncate(size)
    if file.seek(0, io.SEEK_END) < size:
        # A file in memory does not grow by truncation.
        file.seek(size - 1)
        file.write(b"\0")


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
