"""What a disk is to the formats on it: bytes at offsets."""

from __future__ import annotations

from typing import Protocol

from wclayer.errors import FormatError


class DiskError(FormatError):
    """What was asked of a disk is outside of it, or the disk cannot give it."""


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
