"""Inputs that are patches of a larger file: small, and each byte of them matters.

A patch is the number of a place, an offset behind that place, a length, and as many bytes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from struct import Struct

_PATCH = Struct("<BHB")
_SECTOR = 512


class PatchedFile(io.RawIOBase):
    """A file, or a disk, with patches: those sectors that were changed are kept, the others are the base's.

    Args:
        base: the bytes of the file.
        size: bytes that it has with zeros behind the base; the base's without.
    """

    sector_size = _SECTOR

    def __init__(self, base: bytes, size: int | None = None) -> None:
        self._base = base
        self.size = len(base) if size is None else size
        self._changed: dict[int, bytearray] = {}
        self._position = 0

    @property
    def changed(self) -> dict[int, bytearray]:
        """The sectors that differ, by number."""
        return {
            number: data
            for number, data in self._changed.items()
            if data != self._base[number * _SECTOR : (number + 1) * _SECTOR].ljust(_SECTOR, b"\0")
        }

    def patch(self, places: Sequence[int], data: bytes) -> None:
        """Applies patches, one after the other; what goes beyond the end of the file is left out.

        Args:
            places: the offsets of the places.
            data: the patches.
        """
        at = 0
        while at + _PATCH.size <= len(data):
            place, offset, length = _PATCH.unpack_from(data, at)
            at += _PATCH.size
            start = places[place % len(places)] + offset
            self.put(start, data[at : at + min(length, max(0, self.size - start))])
            at += length

    def get(self, offset: int, length: int) -> bytes:
        """Bytes from an offset; fewer at the end."""
        length = max(0, min(length, self.size - offset))
        out = self._base[offset : offset + length].ljust(length, b"\0")
        first, last = offset // _SECTOR, (offset + length) // _SECTOR
        hit = [number for number in self._changed if first <= number <= last]
        if not hit:
            return out
        whole = bytearray(out)
        for number in hit:
            start = number * _SECTOR
            low, high = max(start, offset), min(start + _SECTOR, offset + length)
            if low < high:
                whole[low - offset : high - offset] = self._changed[number][low - start : high - start]
        return bytes(whole)

    def put(self, offset: int, data: bytes | memoryview) -> None:
        """Changes bytes from an offset on."""
        data = bytes(data)
        while data:
            number, start = divmod(offset, _SECTOR)
            piece = data[: _SECTOR - start]
            if number not in self._changed:
                self._changed[number] = bytearray(
                    self._base[number * _SECTOR : (number + 1) * _SECTOR].ljust(_SECTOR, b"\0")
                )
            self._changed[number][start : start + len(piece)] = piece
            offset += len(piece)
            data = data[len(piece) :]
            self.size = max(self.size, offset)

    # As a binary file.

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        data = self.get(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
        self.put(self._position, data)
        self._position += len(data)
        return len(data)

    def truncate(self, size: int | None = None, /) -> int:
        self.size = self._position if size is None else size
        return self.size


class PatchedDisk:
    """The same as a disk."""

    sector_size = _SECTOR

    def __init__(self, file: PatchedFile) -> None:
        self.file = file
        self.size = file.size

    def read(self, offset: int, length: int) -> bytes:
        return self.file.get(offset, length).ljust(length, b"\0")

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.file.put(offset, bytes(data))

    def flush(self) -> None:
        """Nothing: what is written is there."""


def patch(place: int, offset: int, data: bytes) -> bytes:
    """A patch.

    Args:
        place: the number of a place.
        offset: bytes behind the place.
        data: what stands there, up to 255 bytes.
    """
    return _PATCH.pack(place, offset, len(data)) + data
