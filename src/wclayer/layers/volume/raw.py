"""A disk whose file is its bytes."""

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
    """A disk whose file is its bytes.

    Args:
        file: open for reading, or for both.
        size: bytes; by default those of the file.
    """

    def __init__(self, file: BinaryIO, *, size: int | None = None, sector_size: int = _RAW_SECTOR) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END) if size is None else size
        self.sector_size = sector_size

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`.

        Raises:
            DiskError: the range is outside of the disk.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise DiskError(f"{length} bytes at {offset} of a disk of {self.size}")
        return read_file(self._file, offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Puts bytes at `offset`.

        Raises:
            DiskError: the range is outside of the disk.
        """
        if offset < 0 or offset + len(data) > self.size:
            raise DiskError(f"{len(data)} bytes at {offset} of a disk of {self.size}")
        self._file.seek(offset)
        self._file.write(data)

    def flush(self) -> None:
        """Hands what was written to the host."""
        self._file.flush()

    def extents(self) -> Iterator[tuple[int, int]]:
        """The ranges that may hold something else than zeros, as far as the host knows: offset and length."""
        if sys.platform == "win32":
            yield 0, self.size
            return
        fd, position = self._file.fileno(), 0
        while position < self.size:
            # The file object buffers, and believes that it alone moves the position.
            known = os.lseek(fd, 0, os.SEEK_CUR)
            try:
                start = os.lseek(fd, position, os.SEEK_DATA)
                end = os.lseek(fd, start, os.SEEK_HOLE)
            except OSError as error:
                # Nothing but a hole is left; or the host knows none.
                if error.errno != errno.ENXIO:
                    yield position, self.size - position
                return
            finally:
                os.lseek(fd, known, os.SEEK_SET)
            yield start, min(end, self.size) - start
            position = end
