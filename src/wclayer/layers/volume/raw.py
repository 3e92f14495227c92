"""Raw disks: files that contain the bytes of a disk and nothing else."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from wclayer.formats.disk import DiskError, read_file

_RAW_SECTOR = 512


class RawDisk:
    """A raw disk: the bytes of the file are the bytes of the disk.

    Args:
        file: the file, open for reading, or for reading and writing.
        size: the size of the disk in bytes; by default that of the file.
    """

    def __init__(self, file: BinaryIO, *, size: int | None = None, sector_size: int = _RAW_SECTOR) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END) if size is None else size
        self.sector_size = sector_size

    def read(self, offset: int, length: int) -> bytes:
        """Returns `length` bytes from `offset`.

        Raises:
            DiskError: the range is outside of the disk.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise DiskError(f"{length} bytes at {offset} of a disk of {self.size}")
        return read_file(self._file, offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Writes bytes at `offset`.

        Raises:
            DiskError: the range is outside of the disk.
        """
        self.reserve(offset, len(data))
        self._file.seek(offset)
        self._file.write(data)

    def reserve(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Returns where `length` bytes at `offset` are in the file (see `Vhdx.reserve`).

        Raises:
            DiskError: the range is outside of the disk.
        """
        if offset < 0 or offset + length > self.size:
            raise DiskError(f"{length} bytes at {offset} of a disk of {self.size}")
        return [(offset, length)]

    def flush(self) -> None:
        """Flushes the written bytes to the host."""
        self._file.flush()

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yields the ranges that may hold bytes other than zero, as far as the host knows: offset and length."""
        if sys.platform == "win32":
            yield 0, self.size
            return
        fd, position = self._file.fileno(), 0
        while position < self.size:
            # The file object buffers, and assumes that nothing else moves the position.
            known = os.lseek(fd, 0, os.SEEK_CUR)
            try:
                start = os.lseek(fd, position, os.SEEK_DATA)
                end = os.lseek(fd, start, os.SEEK_HOLE)
            except OSError as error:
                # Only a hole is left, or the host has no information about holes.
                if error.errno != errno.ENXIO:
                    yield position, self.size - position
                return
            finally:
                os.lseek(fd, known, os.SEEK_SET)
            yield start, min(end, self.size) - start
            position = end
