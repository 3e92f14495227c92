"""Reads the virtual disk in a VHD file as bytes at offsets."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO
from uuid import UUID

from wclayer.formats.disk import DiskError, read_file
from wclayer.formats.vhd import structs
from wclayer.formats.vhd.structs import ENTRY, SECTOR, Footer, Header

_SCANNED = 64 << 10
"""Bytes of the block allocation table that are read at a time."""
_NO_BLOCKS = b"\xff" * _SCANNED
_MOST_PROBLEMS = 1000
_KINDS = {structs.FIXED: "fixed", structs.DYNAMIC: "dynamic", structs.DIFFERENCING: "differencing"}


class VhdError(DiskError):
    """The file is not a sound VHD file, or is of a kind that cannot be read."""


@dataclass(frozen=True, slots=True)
class VhdMetadata:
    """The metadata in the footer of a VHD file."""

    size: int
    """Bytes of the disk."""
    kind: str
    """`fixed` or `dynamic`."""
    disk_id: UUID
    header_offset: int
    problems: tuple[str, ...]
    """The defects of one of the two copies of the footer."""


def read_metadata(file: BinaryIO) -> VhdMetadata | None:
    """Reads the footer of a VHD file or, if that is damaged, the copy of the footer.

    Returns:
        The metadata; None if the file is not a VHD file.

    Raises:
        VhdError: both copies are damaged, or the disk is of a kind that cannot be read.
    """
    file_size = file.seek(0, io.SEEK_END)
    # Before Virtual PC 2004, the footer was one byte shorter.
    copies = [_footer(file, place) for place in (file_size - SECTOR, file_size - SECTOR + 1, 0) if place >= 0]
    if not any(text or found for found, text in copies):
        return None
    sound = [found for found, _ in copies if found is not None]
    if not sound:
        raise VhdError(f"a VHD file without a sound footer: {'; '.join(text for _, text in copies if text)}")
    footer = sound[0]
    if footer.disk_type not in _KINDS:
        raise VhdError(f"a VHD file of the type {footer.disk_type}; known are 2 to 4")
    kind = _KINDS[footer.disk_type]
    if footer.disk_type == structs.DIFFERENCING:
        raise VhdError("a differencing VHD file, which is not read; merge it with its parent first")
    if footer.version >> 16 != structs.MAJOR_VERSION:
        raise VhdError(f"a VHD file of version {footer.version >> 16}; known is 1")
    size = footer.current_size
    if not 0 < size <= structs.MAX_DISK_SIZE or size % SECTOR:
        raise VhdError(f"a disk of {size} bytes; possible are whole sectors, up to 2 TiB")
    if footer.disk_type == structs.FIXED and size > file_size - SECTOR + 1:
        raise VhdError(f"a fixed disk of {size} bytes in a file of {file_size}")
    problems = [text for _, text in copies if text]
    if footer.disk_type == structs.DYNAMIC and not problems:
        if len(sound) < 2:
            problems.append("there is only one copy of the footer")
        elif sound[0] != sound[1]:
            problems.append("the two copies of the footer differ")
    return VhdMetadata(size, kind, UUID(bytes=footer.unique_id), footer.data_offset, tuple(problems))


def _footer(file: BinaryIO, place: int) -> tuple[Footer | None, str]:
    """Returns the footer at an offset of the file (None: no sound one is there), and the defect of a damaged one."""
    file.seek(place)
    data = file.read(SECTOR).ljust(SECTOR, b"\0")
    footer = Footer._make(structs.FOOTER.unpack(data))
    if footer.cookie != structs.COOKIE:
        return None, ""
    if footer.checksum != structs.checksum(data, structs.FOOTER_CHECKSUM_OFFSET):
        return None, f"the checksum of the footer at {place:#x} is wrong"
    return footer, ""


class DynamicVhd:
    """The virtual disk in a dynamic VHD file. Sectors whose bit in the bitmap of their block is clear are zeros.

    Args:
        file: open for reading.
        metadata: what `read_metadata` returned for the file.

    Raises:
        VhdError: the header is damaged, or the table does not fit the disk.
    """

    sector_size = SECTOR

    def __init__(self, file: BinaryIO, metadata: VhdMetadata) -> None:
        self._file = file
        self.metadata = metadata
        self.size = metadata.size
        self._file_size = file.seek(0, io.SEEK_END)
        header = self._read_header()
        self.block_size = header.block_size
        """Bytes of a block."""
        self._table_offset = header.table_offset
        self._blocks = -(-self.size // self.block_size)
        # The bitmap has a bit for each sector, and fills whole sectors.
        self._bitmap_size = -(-self.block_size // SECTOR // 8 // SECTOR) * SECTOR
        if self._blocks > header.max_entries or self._table_offset + ENTRY.size * self._blocks > self._file_size:
            raise VhdError(
                f"a table of {header.max_entries} entries at {self._table_offset:#x} for {self._blocks} blocks"
            )
        self._piece: tuple[int, bytes] = (-1, b"")
        self._bitmap: tuple[int, bytes] = (-1, b"")

    def _read_header(self) -> Header:
        place = self.metadata.header_offset
        if place + structs.HEADER.size > self._file_size:
            raise VhdError(f"the header of the dynamic disk is at {place:#x}, outside of the file")
        data = self._read_file(place, structs.HEADER.size)
        header = Header._make(structs.HEADER.unpack(data))
        if header.cookie != structs.HEADER_COOKIE:
            raise VhdError(f"there is no header of a dynamic disk at {place:#x}")
        if header.checksum != structs.checksum(data, structs.HEADER_CHECKSUM_OFFSET):
            raise VhdError("the checksum of the dynamic disk's header is wrong")
        size = header.block_size
        if size & (size - 1) or not structs.MIN_BLOCK_SIZE <= size <= structs.MAX_BLOCK_SIZE:
            raise VhdError(f"blocks of {size} bytes; possible are powers of two from 64 KiB to 256 MiB")
        return header

    def _read_file(self, offset: int, length: int) -> bytes:
        return read_file(self._file, offset, length)

    def _entries(self, number: int) -> bytes:
        """Returns a piece of the block allocation table."""
        if self._piece[0] != number:
            start = number * _SCANNED
            length = min(_SCANNED, self._blocks * ENTRY.size - start)
            self._piece = number, self._read_file(self._table_offset + start, length)
        return self._piece[1]

    def block_place(self, block: int) -> int | None:
        """Returns the file offset of the bitmap of a block, which the data follows; None if the block is not allocated.

        Raises:
            VhdError: the block is outside of the file.
        """
        number, at = divmod(block * ENTRY.size, _SCANNED)
        (sector,) = ENTRY.unpack_from(self._entries(number), at)
        if sector == structs.NO_BLOCK:
            return None
        place = int(sector) * SECTOR
        if not sector or place + self._bitmap_size + self._length_of(block) > self._file_size:
            raise VhdError(f"block {block} is at {place:#x}, outside of the file")
        return place

    def _length_of(self, block: int) -> int:
        return min(self.block_size, self.size - block * self.block_size)

    def _blocks_in_use(self) -> Iterator[int]:
        for number in range(-(-self._blocks * ENTRY.size // _SCANNED)):
            entries = self._entries(number)
            if entries == _NO_BLOCKS[: len(entries)]:
                continue
            first = number * _SCANNED // ENTRY.size
            for index, (sector,) in enumerate(ENTRY.iter_unpack(entries)):
                if sector != structs.NO_BLOCK:
                    yield first + index

    def allocated(self) -> int:
        """Returns how many blocks are allocated in the file."""
        return sum(1 for _ in self.extents())

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yields the ranges that may contain data other than zeros: offset and length.

        Raises:
            VhdError: a block is outside of the file.
        """
        for block in self._blocks_in_use():
            self.block_place(block)
            yield block * self.block_size, self._length_of(block)

    def read(self, offset: int, length: int) -> bytes:
        """Returns `length` bytes of the virtual disk from `offset`.

        Raises:
            VhdError: the range is outside of the disk, or the file is damaged there.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise VhdError(f"{length} bytes at {offset} of a disk of {self.size}")
        pieces = []
        while length:
            block, start = divmod(offset, self.block_size)
            count = min(length, self.block_size - start)
            pieces.append(self._read_block(block, start, count))
            offset += count
            length -= count
        return b"".join(pieces)

    def _read_block(self, block: int, start: int, count: int) -> bytes:
        place = self.block_place(block)
        if place is None:
            return bytes(count)
        if self._bitmap[0] != block:
            self._bitmap = block, self._read_file(place, self._bitmap_size)
        bitmap = self._bitmap[1]
        data = self._read_file(place + self._bitmap_size + start, count)
        first, last = start // SECTOR, (start + count - 1) // SECTOR
        bits = bitmap[first // 8 : last // 8 + 1]
        if bits == b"\xff" * len(bits):
            return data
        cleared = bytearray(data)
        for sector in range(first, last + 1):
            # The first sector is the highest bit.
            if not bitmap[sector >> 3] >> (7 - (sector & 7)) & 1:
                begin, end = max(0, sector * SECTOR - start), min(count, (sector + 1) * SECTOR - start)
                cleared[begin:end] = bytes(end - begin)
        return bytes(cleared)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Refuses to write: VHD files are read-only here.

        Raises:
            VhdError: always.
        """
        raise VhdError("VHD files are read, not written")

    def flush(self) -> None:
        """Does nothing, because nothing was written."""

    def problems(self) -> Iterator[str]:
        """Yields the defects of the blocks of the file: those outside of it, and those that overlap."""
        return islice(self._block_problems(), _MOST_PROBLEMS)

    def _block_problems(self) -> Iterator[str]:
        stride = self._bitmap_size + self.block_size
        # For each part of the file of a block's size: the sector of the block that begins in it. Two blocks that do not
        # overlap never begin in one part. Sector numbers have 32 bits, so parts beyond 2 TiB hold no blocks.
        begins = array("I", [0]) * (min(self._file_size, structs.MAX_DISK_SIZE) // stride + 2)
        for block in self._blocks_in_use():
            try:
                place = self.block_place(block)
            except VhdError as error:
                yield str(error)
                continue
            assert place is not None
            part = place // stride
            near = (begins[part], begins[part - 1] if part else 0, begins[part + 1])
            if any(other and abs(other * SECTOR - place) < stride for other in near):
                yield f"block {block} at {place:#x} overlaps another one"
            begins[part] = place // SECTOR
