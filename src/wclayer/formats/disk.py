"""What a disk is to the formats on it: bytes at offsets."""

from __future__ import annotations

import errno
import io
from typing import BinaryIO, Protocol

from wclayer.errors import FormatError


class DiskError(FormatError):
    """What was asked of a disk is outside of it, or the disk cannot give it."""


def read_file(file: BinaryIO, offset: int, length: int) -> bytes:
    """`length` bytes of a file from `offset`; zeros after its end.

    Raises:
        OSError: the host gives less than there is.
    """
    file.seek(offset)
    data = file.read(length)
    if len(data) < length:
        end = file.seek(0, io.SEEK_END)
        if offset + len(data) < end:
            raise OSError(errno.EIO, f"reading ends at {offset + len(data)} of {end} bytes")
        data += bytes(length - len(data))
    return data


class Disk(Protocol):
    """A virtual disk, a raw one, a partition: `size` bytes in sectors of `sector_size`."""

    size: int
    sector_size: int

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Puts bytes at `offset`."""

    def flush(self) -> None:
        """Makes what was written safe."""
