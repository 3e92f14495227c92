"""A VHDX file, opened: its virtual disk as bytes at offsets.

Structures are in `structs`. What changes the file's own structures (the BAT, the metadata, the region tables) goes
through its log, so that a file whose writer was stopped is whole when it is opened next ([MS-VHDX] 2.3.3 "Log Replay").
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import BinaryIO, Self
from uuid import UUID, uuid4, uuid5

from wclayer.formats.disk import Disk, read_file
from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.bat import BlockTable
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.log import read_log, write_entry
from wclayer.formats.vhdx.structs import MIB, BlockState, Header

_LAST_PLACE = (1 << 63) - 1
"""Of a file: more does not fit into an offset of the host."""
_MAX_CHANGED = 8 * MIB
"""Bytes of the BAT and of sector bitmaps that are changed in memory before they are written."""


@dataclass(frozen=True, slots=True)
class ParentLocator:
    """How a differencing disk finds its parent: the linkage that the parent must have, and the paths to try."""

    linkage: UUID
    entries: dict[str, str] = field(default_factory=dict)
    """`relative_path`, `absolute_win32_path`, `volume_path`, as far as they are there."""


@dataclass(frozen=True, slots=True)
class DiskMetadata:
    """What the metadata say of the virtual disk."""

    size: int
    """Bytes."""
    block_size: int
    logical_sector_size: int
    physical_sector_size: int
    disk_id: UUID
    is_fixed: bool
    locator: ParentLocator | None

    @property
    def kind(self) -> str:
        """`fixed`, `dynamic` or `differencing`."""
        return "differencing" if self.locator is not None else "fixed" if self.is_fixed else "dynamic"

    @property
    def chunk_ratio(self) -> int:
        """Payload blocks that share one sector bitmap block (2.5 "BAT")."""
        return structs.SECTORS_PER_BITMAP_BLOCK * self.logical_sector_size // self.block_size

    @property
    def blocks(self) -> int:
        """Payload blocks."""
        return -(-self.size // self.block_size)

    @property
    def bat_entries(self) -> int:
        """Entries of the BAT, those of sector bitmap blocks included."""
        if self.locator is not None:
            return -(-self.blocks // self.chunk_ratio) * (self.chunk_ratio + 1)
        return self.blocks + (self.blocks - 1) // self.chunk_ratio


OpenParent = Callable[[ParentLocator], Disk]


class Vhdx:
    """The virtual disk in a VHDX file.

    Args:
        file: the file, open for reading, or for both.
        writable: whether the disk may be written; else a log that is not empty is only taken into account.
        open_parent: opens the parent of a differencing disk.
        is_new: nobody knows the file by its GUIDs yet, so the first change need not make new ones.

    Raises:
        VhdxError: it is not a sound VHDX file, or its parent is not the one it was made from.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        writable: bool = False,
        open_parent: OpenParent | None = None,
        is_new: bool = False,
    ) -> None:
        self._file = file
        self._writable = writable
        self._file_size = file.seek(0, io.SEEK_END)
        self._overlay: dict[int, bytes] = {}
        self.write_guid: UUID | None = None
        """The DataWriteGuid that the first change gives the disk (2.2.2); by default a random one."""
        if self._read_file(0, 8) != structs.IDENTIFIER_SIGNATURE:
            raise VhdxError("no VHDX file: it does not start with 'vhdxfile'", 0)
        self.header, self._header_index = self._current_header()
        self.log_was_replayed = self._replay_log()
        """Whether the last writer was stopped in the midst of an update, which the log then completed."""
        self._bat_offset, bat_size, self._metadata_offset, self._metadata_size = self._regions()
        self.metadata = self._read_metadata()
        self.size = self.metadata.size
        self.sector_size = self.metadata.logical_sector_size
        needed = self.metadata.bat_entries * 8
        if bat_size < needed or self._bat_offset + needed > self._file_size:
            raise VhdxError(f"a BAT of {bat_size} bytes for {self.metadata.bat_entries} entries", self._bat_offset)
        self._bat_size = bat_size
        self._bat = BlockTable(self._read_file, self._bat_offset, self.metadata.bat_entries)
        # Of the sector bitmaps, the parts of single blocks: those that were changed, and the last one that was read.
        self._changed_bits: dict[int, bytearray] = {}
        self._last_bits: tuple[int, bytearray] | None = None
        self._is_marked = is_new
        self.parent: Disk | None = None
        if self.metadata.locator is not None:
            if open_parent is None:
                raise VhdxError("a differencing disk, and nobody to open its parent", self._metadata_offset)
            self.parent = open_parent(self.metadata.locator)
            if self.parent.size > self.size and self.parent.size - self.size >= self.metadata.block_size:
                raise VhdxError(
                    f"the parent has {self.parent.size} bytes, this disk {self.size}", self._metadata_offset
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.flush()

    # The file.

    def _read_file(self, offset: int, length: int) -> bytes:
        """Bytes of the file, as the log says they are; zeros after its end.

        Raises:
            VhdxError: no file has such a place.
        """
        if offset > _LAST_PLACE - length:
            raise VhdxError(f"refers to {length} bytes at {offset:#x}, where no file has any")
        data = read_file(self._file, offset, length)
        if not self._overlay:
            return data
        patched = bytearray(data)
        first = offset // structs.SECTOR * structs.SECTOR
        for sector in range(first, offset + length, structs.SECTOR):
            known = self._overlay.get(sector)
            if known is not None:
                start, end = max(sector, offset), min(sector + structs.SECTOR, offset + length)
                patched[start - offset : end - offset] = known[start - sector : end - sector]
        return bytes(patched)

    def _write_file(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._file.seek(offset)
        self._file.write(data)
        self._file_size = max(self._file_size, offset + len(data))

    def _sync(self) -> None:
        self._file.flush()
        try:
            os.fsync(self._file.fileno())
        except io.UnsupportedOperation:
            # A file in memory.
            return

    # Opening.

    def _current_header(self) -> tuple[Header, int]:
        found: list[tuple[int, int, Header]] = []
        for index, offset in enumerate(structs.HEADER_OFFSETS):
            data = self._read_file(offset, structs.HEADER_SIZE)
            header = Header._make(structs.HEADER.unpack_from(data))
            if header.signature == structs.HEADER_SIGNATURE and header.checksum == checksum(data):
                found.append((header.sequence, index, header))
        if not found:
            raise VhdxError("neither header is sound", structs.HEADER_OFFSETS[0])
        _, index, header = max(found, key=lambda entry: entry[0])
        if header.version != structs.VERSION or header.log_version != structs.LOG_VERSION:
            raise VhdxError(
                f"version {header.version}, log version {header.log_version}; known are 1 and 0",
                structs.HEADER_OFFSETS[index],
            )
        if header.log_length % MIB or header.log_offset % MIB or header.log_offset < MIB:
            raise VhdxError("the log is not aligned to 1 MiB", structs.HEADER_OFFSETS[index])
        return header, index

    def _replay_log(self) -> bool:
        header = self.header
        if header.log_guid == structs.NO_GUID:
            return False
        if not 0 < header.log_length <= min(structs.MAX_LOG, self._file_size):
            raise VhdxError(
                f"a log of {header.log_length} bytes in a file of {self._file_size}; replayed are logs of up to "
                f"{structs.MAX_LOG}",
                header.log_offset,
            )
        writes, last_offset = read_log(
            self._read_file(header.log_offset, header.log_length), header.log_guid, self._file_size, header.log_offset
        )
        for offset, sector in writes:
            if self._writable:
                self._write_file(offset, sector)
            else:
                self._overlay[offset] = sector
        if self._writable:
            if self._file_size < last_offset:
                grow_file(self._file, last_offset)
                self._file_size = last_offset
            self._sync()
            self._write_header(header._replace(log_guid=structs.NO_GUID))
        return True

    def _regions(self) -> tuple[int, int, int, int]:
        for offset in structs.REGION_TABLE_OFFSETS:
            table = self._read_file(offset, structs.REGION_TABLE_SIZE)
            signature, stored, count, _ = structs.REGION_HEADER.unpack_from(table)
            if signature == structs.REGION_SIGNATURE and stored == checksum(table) and count <= structs.MAX_REGIONS:
                break
        else:
            raise VhdxError("neither region table is sound", structs.REGION_TABLE_OFFSETS[0])
        found: dict[bytes, tuple[int, int]] = {}
        position = structs.REGION_HEADER.size
        for _ in range(count):
            guid, start, length, required = structs.REGION_ENTRY.unpack_from(table, position)
            position += structs.REGION_ENTRY.size
            if start % MIB or length % MIB or start < MIB or guid in found:
                raise VhdxError(f"region {UUID(bytes_le=guid)} at {start:#x}, {length:#x} bytes", offset)
            found[guid] = start, length
            if guid not in (structs.BAT_REGION, structs.METADATA_REGION) and required & structs.REQUIRED:
                raise VhdxError(f"an unknown region that is required: {UUID(bytes_le=guid)}", offset)
        if structs.BAT_REGION not in found or structs.METADATA_REGION not in found:
            raise VhdxError("no region for the BAT, or none for metadata", offset)
        return *found[structs.BAT_REGION], *found[structs.METADATA_REGION]

    def _read_metadata(self) -> DiskMetadata:
        base = self._metadata_offset
        table = self._read_file(base, structs.METADATA_TABLE_SIZE)
        signature, _, count, _ = structs.METADATA_HEADER.unpack_from(table)
        if signature != structs.METADATA_SIGNATURE or count > structs.MAX_METADATA_ENTRIES:
            raise VhdxError("the metadata table is not sound", base)
        items: dict[bytes, bytes] = {}
        self._item_offsets: dict[bytes, int] = {}
        for index in range(count):
            entry = structs.METADATA_HEADER.size + index * structs.METADATA_ENTRY.size
            item, offset, length, flags, _ = structs.METADATA_ENTRY.unpack_from(table, entry)
            if flags & structs.IS_USER or item not in structs.KNOWN_ITEMS:
                if flags & structs.IS_REQUIRED:
                    raise VhdxError(f"unknown metadata that is required: {UUID(bytes_le=item)}", base)
                continue
            if item in items:
                raise VhdxError(f"metadata item {UUID(bytes_le=item)} is there twice", base)
            end = offset + length
            if length > structs.MAX_ITEM_SIZE or offset < structs.METADATA_TABLE_SIZE or end > self._metadata_size:
                raise VhdxError(f"metadata item {UUID(bytes_le=item)} is not in its region", base)
            items[item] = self._read_file(base + offset, length)
            self._item_offsets[item] = base + offset
        return self._metadata(items)

    def _metadata(self, items: dict[bytes, bytes]) -> DiskMetadata:
        base = self._metadata_offset

        def number(item: bytes, size: int) -> int:
            data = items.get(item, b"")
            if len(data) < size:
                raise VhdxError(f"metadata item {UUID(bytes_le=item)} is missing or too short", base)
            return int.from_bytes(data[:size], "little")

        parameters = number(structs.FILE_PARAMETERS_ITEM, 8)
        block_size, flags = parameters & 0xFFFFFFFF, parameters >> 32
        size = number(structs.DISK_SIZE_ITEM, 8)
        logical = number(structs.LOGICAL_SECTOR_ITEM, 4)
        physical = number(structs.PHYSICAL_SECTOR_ITEM, 4)
        check_geometry(size, block_size, logical, physical, base)
        number(structs.DISK_ID_ITEM, 16)
        locator = None
        if flags & structs.HAS_PARENT:
            locator = _decode_locator(items.get(structs.PARENT_LOCATOR_ITEM, b""), base)
        return DiskMetadata(
            size,
            block_size,
            logical,
            physical,
            UUID(bytes_le=items[structs.DISK_ID_ITEM][:16]),
            bool(flags & structs.LEAVE_BLOCKS_ALLOCATED),
            locator,
        )

    def own_regions(self) -> list[tuple[int, int, str]]:
        """Where the log, the BAT, the metadata and the sector bitmaps are: offset, length, name."""
        found = [
            (self.header.log_offset, self.header.log_length, "the log"),
            (self._bat_offset, self._bat_size, "the BAT"),
            (self._metadata_offset, self._metadata_size, "the metadata"),
        ]
        if self.metadata.locator is not None:
            for chunk in range(-(-self.metadata.blocks // self.metadata.chunk_ratio)):
                entry = self._bat[self._bitmap_index(chunk * self.metadata.chunk_ratio)]
                if entry & structs.BAT_STATE_MASK == BlockState.FULLY_PRESENT:
                    offset = entry >> structs.BAT_OFFSET_SHIFT << structs.BAT_OFFSET_SHIFT
                    found.append((offset, structs.BITMAP_BLOCK_SIZE, f"sector bitmap {chunk}"))
        return found

    def allocated(self) -> int:
        """How many blocks have a place in the file."""
        return sum(1 for _ in self.extents())

    @property
    def linkage(self) -> UUID:
        """What a differencing disk made of this one now must know it by: it changes with every change of the data."""
        return UUID(bytes_le=self.header.data_write_guid)

    # Blocks.

    def _entry_index(self, block: int) -> int:
        return block + block // self.metadata.chunk_ratio

    def _block_of(self, index: int) -> int | None:
        """Returns: the block that an entry of the BAT is of; None if it is of a sector bitmap, or of no block."""
        chunk, at = divmod(index, self.metadata.chunk_ratio + 1)
        block = chunk * self.metadata.chunk_ratio + at
        return block if at < self.metadata.chunk_ratio and block < self.metadata.blocks else None

    def _bitmap_index(self, block: int) -> int:
        ratio = self.metadata.chunk_ratio
        return (block // ratio + 1) * (ratio + 1) - 1

    def block_state(self, block: int) -> tuple[BlockState, int]:
        """A payload block's state, and its offset in the file.

        Raises:
            VhdxError: the BAT's entry has an undefined state, or leads outside of the file.
        """
        entry = self._bat[self._entry_index(block)]
        offset = entry >> structs.BAT_OFFSET_SHIFT << structs.BAT_OFFSET_SHIFT
        try:
            state = BlockState(entry & structs.BAT_STATE_MASK)
        except ValueError:
            state = None
        if state is None or (state is BlockState.PARTIALLY_PRESENT and self.metadata.locator is None):
            raise VhdxError(
                f"block {block} has the state {entry & structs.BAT_STATE_MASK}",
                self._bat_offset + 8 * self._entry_index(block),
            )
        if state >= BlockState.FULLY_PRESENT and (offset < MIB or offset + self.metadata.block_size > self._file_size):
            raise VhdxError(
                f"block {block} is at {offset:#x}, outside of the file",
                self._bat_offset + 8 * self._entry_index(block),
            )
        return state, offset

    def blocks_in_use(self) -> Iterator[int]:
        """The numbers of the blocks whose entry in the BAT is not zero; the others are not there."""
        for index, _ in self._bat.in_use():
            block = self._block_of(index)
            if block is not None:
                yield block

    def bits_place(self, block: int) -> int:
        """Where in the file the bits of the sectors of a block are that is there in part.

        Raises:
            VhdxError: the sector bitmap is not there, or outside of the file.
        """
        entry = self._bat[self._bitmap_index(block)]
        if entry & structs.BAT_STATE_MASK != BlockState.FULLY_PRESENT:
            raise VhdxError(
                f"block {block} is there in part, and the sector bitmap that says which is not there",
                self._bat_offset + 8 * self._bitmap_index(block),
            )
        offset = entry >> structs.BAT_OFFSET_SHIFT << structs.BAT_OFFSET_SHIFT
        if offset < MIB or offset + structs.BITMAP_BLOCK_SIZE > self._file_size:
            raise VhdxError(f"the sector bitmap of block {block} is outside of the file", offset)
        return offset + block % self.metadata.chunk_ratio * self._bits_size

    @property
    def _bits_size(self) -> int:
        return self.metadata.block_size // self.sector_size // 8

    def _bits(self, block: int) -> bytearray:
        """One bit for each sector of a block: whether it is here, not in the parent."""
        known = self._changed_bits.get(block)
        if known is not None:
            return known
        if self._last_bits is not None and self._last_bits[0] == block:
            return self._last_bits[1]
        bits = bytearray(self._read_file(self.bits_place(block), self._bits_size))
        self._last_bits = block, bits
        return bits

    # Reading.

    def extents(self) -> Iterator[tuple[int, int]]:
        """The ranges that may hold something else than zeros, or than the parent's bytes: offset and length."""
        for block in self.blocks_in_use():
            if self.block_state(block)[0] >= BlockState.FULLY_PRESENT:
                yield block * self.metadata.block_size, self._length_of(block)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes of the virtual disk from `offset`.

        Raises:
            VhdxError: the range is outside of the disk, or the file is damaged there.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise VhdxError(f"{length} bytes at {offset} of a disk of {self.size}")
        pieces = []
        while length:
            block, start = divmod(offset, self.metadata.block_size)
            count = min(length, self.metadata.block_size - start)
            pieces.append(self._read_block(block, start, count))
            offset += count
            length -= count
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_block(self, block: int, start: int, count: int) -> bytes:
        state, place = self.block_state(block)
        if state is BlockState.FULLY_PRESENT:
            return self._read_file(place + start, count)
        if state is BlockState.PARTIALLY_PRESENT:
            return self._read_partial(block, place, start, count)
        if state is BlockState.NOT_PRESENT and self.parent is not None:
            return self._read_parent(block * self.metadata.block_size + start, count)
        return bytes(count)

    def _read_parent(self, offset: int, count: int) -> bytes:
        assert self.parent is not None
        available = max(0, min(count, self.parent.size - offset))
        data = self.parent.read(offset, available) if available else b""
        return data + bytes(count - available)

    def _read_partial(self, block: int, place: int, start: int, count: int) -> bytes:
        """From here and the parent in turn, as the sector bitmap says."""
        bitmap = self._bits(block)
        sector = self.sector_size
        pieces = []
        position, end = start, start + count
        while position < end:
            own = _bit(bitmap, position // sector)
            stop = position
            while stop < end and _bit(bitmap, stop // sector) == own:
                stop = min(end, (stop // sector + 1) * sector)
            if own:
                pieces.append(self._read_file(place + position, stop - position))
            else:
                pieces.append(self._read_parent(block * self.metadata.block_size + position, stop - position))
            position = stop
        return b"".join(pieces)

    # Writing.

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Puts bytes at `offset` of the virtual disk. Zeros into a block that is not there take no space.

        Raises:
            VhdxError: the range is outside of the disk, or the disk is open for reading only.
        """
        if not self._writable:
            raise VhdxError("the disk is open for reading only")
        if offset < 0 or offset + len(data) > self.size:
            raise VhdxError(f"{len(data)} bytes at {offset} of a disk of {self.size}")
        if data:
            self._mark_written()
        self._limit_changes()
        view = memoryview(data)
        while view:
            block, start = divmod(offset, self.metadata.block_size)
            count = min(len(view), self.metadata.block_size - start)
            self._write_block(block, start, view[:count])
            offset += count
            view = view[count:]

    def _write_block(self, block: int, start: int, data: memoryview) -> None:
        state, place = self.block_state(block)
        if state is BlockState.FULLY_PRESENT:
            self._write_file(place + start, data)
            return
        if state is not BlockState.PARTIALLY_PRESENT and not self._is_over_parent(block):
            if is_zero(data):
                return
            self._write_file(self._allocate(block, BlockState.FULLY_PRESENT) + start, data)
            return
        whole = len(data) == self._length_of(block)
        if state in (BlockState.NOT_PRESENT, BlockState.PARTIALLY_PRESENT) and not whole:
            self._write_partial(block, state, place, start, data)
            return
        if state is not BlockState.PARTIALLY_PRESENT:
            place = self._allocate(block, BlockState.FULLY_PRESENT)
        else:
            self._set_state(block, BlockState.FULLY_PRESENT, place)
        self._write_file(place + start, data)

    def hide_parent(self) -> None:
        """Makes all bytes zeros that were the parent's, without a copy of them."""
        self._mark_written()
        for block in range(self.metadata.blocks):
            if not self._is_over_parent(block):
                break
            if self.block_state(block)[0] is BlockState.NOT_PRESENT:
                self._set_state(block, BlockState.ZERO, 0)
                self._limit_changes()

    def _is_over_parent(self, block: int) -> bool:
        """Whether the parent has bytes where a block is; there are only zeros behind its end."""
        return self.parent is not None and block * self.metadata.block_size < self.parent.size

    def _limit_changes(self) -> None:
        """Writes what was changed of the BAT and the sector bitmaps when that is much."""
        if self._bat.changed_size + len(self._changed_bits) * self._bits_size > _MAX_CHANGED:
            self.flush()

    def _length_of(self, block: int) -> int:
        return min(self.metadata.block_size, self.size - block * self.metadata.block_size)

    def _write_partial(self, block: int, state: BlockState, place: int, start: int, data: memoryview) -> None:
        """Into a block that has some of its sectors, the parent having the others."""
        sector = self.sector_size
        first, last = start // sector, (start + len(data) - 1) // sector
        whole_start, whole_end = first * sector, min((last + 1) * sector, self._length_of(block))
        if (whole_start, whole_end) != (start, start + len(data)):
            # Sectors are here or in the parent as a whole.
            merged = bytearray(self._read_block(block, whole_start, whole_end - whole_start))
            merged[start - whole_start : start - whole_start + len(data)] = data
            start, data = whole_start, memoryview(merged)
        if state is not BlockState.PARTIALLY_PRESENT:
            place = self._allocate(block, BlockState.PARTIALLY_PRESENT)
            self._ensure_bitmap_block(block)
        self._write_file(place + start, data)
        bits = self._bits(block)
        for number in range(first, last + 1):
            bits[number >> 3] |= 1 << (number & 7)
        self._changed_bits[block] = bits

    def _ensure_bitmap_block(self, block: int) -> None:
        index = self._bitmap_index(block)
        if self._bat[index] & structs.BAT_STATE_MASK != BlockState.FULLY_PRESENT:
            self._bat[index] = self._grow_file(structs.BITMAP_BLOCK_SIZE) | BlockState.FULLY_PRESENT

    def _allocate(self, block: int, state: BlockState) -> int:
        place = self._grow_file(self.metadata.block_size)
        self._set_state(block, state, place)
        return place

    def _set_state(self, block: int, state: BlockState, place: int) -> None:
        self._bat[self._entry_index(block)] = place | state

    def _grow_file(self, length: int) -> int:
        """Room at the file's end, aligned to 1 MiB."""
        place = -(-self._file_size // MIB) * MIB
        grow_file(self._file, place + length)
        self._file_size = place + length
        return place

    def _mark_written(self) -> None:
        """Before the first change: says in the header that file and data are other ones (2.2.2, FileWriteGuid)."""
        if not self._is_marked:
            self._is_marked = True
            guid = self.write_guid or uuid4()
            self._write_header(self.header._replace(file_write_guid=uuid4().bytes_le, data_write_guid=guid.bytes_le))

    def flush(self) -> None:
        """Makes everything that was written safe: data first, then what refers to it."""
        if not self._writable:
            return
        for block in sorted(self._changed_bits):
            self._write_file(self.bits_place(block), self._changed_bits[block])
        self._changed_bits.clear()
        self._sync()
        self._log_and_write(self._bat.take_changes())

    def _log_and_write(self, writes: list[tuple[int, bytes]]) -> None:
        """Makes changes of the file's own structures, sector by sector, all at once: through the log."""
        sectors = [(offset, data.ljust(structs.SECTOR, b"\0")) for offset, data in writes]
        room = self.header.log_length
        while sectors:
            # Each round is one log entry; what must change together is given together and fits into one.
            count = min(len(sectors), (room - structs.SECTOR) // (structs.SECTOR + structs.LOG_DESCRIPTOR_SIZE) - 1)
            part, sectors = sectors[:count], sectors[count:]
            # Any GUID that no earlier entry has; this one makes the same writes give the same file.
            log_guid = uuid5(UUID(bytes_le=self.header.file_write_guid), str(self.header.sequence)).bytes_le
            entry = write_entry(part, log_guid, self._file_size)
            self._write_file(self.header.log_offset, entry)
            self._sync()
            self._write_header(self.header._replace(log_guid=log_guid))
            for offset, data in part:
                self._write_file(offset, data)
            self._sync()
            self._write_header(self.header._replace(log_guid=structs.NO_GUID))

    def _write_header(self, header: Header) -> None:
        """Puts a header in the place of the older one, which makes it the current one."""
        self.header = header._replace(sequence=self.header.sequence + 1)
        self._header_index = 1 - self._header_index
        self._write_file(structs.HEADER_OFFSETS[self._header_index], encode_header(self.header))
        self._sync()

    # Another parent's place.

    def set_locator(self, locator: ParentLocator) -> None:
        """Says anew how a differencing disk finds its parent, in one step.

        Raises:
            VhdxError: the disk has no parent, or the metadata have no room.
        """
        if self.metadata.locator is None:
            raise VhdxError("a disk without a parent")
        data = encode_locator(locator)
        base = self._metadata_offset
        table = bytearray(self._read_file(base, structs.METADATA_TABLE_SIZE))
        count = structs.METADATA_HEADER.unpack_from(table)[2]
        end = structs.METADATA_TABLE_SIZE
        own = 0
        for index in range(count):
            at = structs.METADATA_HEADER.size + index * structs.METADATA_ENTRY.size
            item, offset, length, _, _ = structs.METADATA_ENTRY.unpack_from(table, at)
            end = max(end, offset + length)
            own = at if item == structs.PARENT_LOCATOR_ITEM else own
        if end + len(data) > self._metadata_size:
            raise VhdxError("no room for the parent locator in the metadata", base)
        item, _, _, flags, reserved = structs.METADATA_ENTRY.unpack_from(table, own)
        structs.METADATA_ENTRY.pack_into(table, own, item, end, len(data), flags, reserved)
        self._mark_written()
        # The item goes where nothing is; the table's entry makes it count.
        self._write_file(base + end, data)
        self._sync()
        sector = own // structs.SECTOR * structs.SECTOR
        self._log_and_write([(base + sector, bytes(table[sector : sector + structs.SECTOR]))])
        self.metadata = replace(self.metadata, locator=locator)

    # Growing.

    def resize(self, size: int) -> None:
        """Grows the virtual disk to `size` bytes, in place and in one step; what is there stays.

        Raises:
            VhdxError: it would shrink, or no disk can have that size.
        """
        metadata = self.metadata
        if size < self.size:
            raise VhdxError(f"the disk has {self.size} bytes, and cannot shrink to {size}")
        check_geometry(size, metadata.block_size, metadata.logical_sector_size, metadata.physical_sector_size)
        if size == self.size:
            return
        self.flush()
        self._mark_written()
        grown = replace(metadata, size=size)
        used, needed = metadata.bat_entries * 8, grown.bat_entries * 8
        bat_offset, bat_size = self._bat_offset, self._bat_size
        if needed > bat_size:
            # The new BAT is not used before the region tables name it, so it needs no log.
            bat_size = -(-needed // MIB) * MIB
            bat_offset = self._grow_file(bat_size)
            for at in range(0, used, MIB):
                self._write_file(bat_offset + at, self._read_file(self._bat_offset + at, min(MIB, used - at)))
        bat = BlockTable(self._read_file, bat_offset, grown.bat_entries)
        # What follows the entries in use may be anything.
        for index in range(metadata.bat_entries, grown.bat_entries if bat_offset == self._bat_offset else 0):
            if bat[index]:
                bat[index] = 0
        if grown.is_fixed:
            for block in range(metadata.blocks, grown.blocks):
                bat[block + block // grown.chunk_ratio] = self._grow_file(grown.block_size) | BlockState.FULLY_PRESENT
                if bat.changed_size > _MAX_CHANGED:
                    self._log_and_write(bat.take_changes())
        changes = bat.take_changes()
        if bat_offset != self._bat_offset:
            table = encode_regions(bat_offset, bat_size, self._metadata_offset, self._metadata_size)
            for offset, data in changes:
                self._write_file(offset, data)
            changes = [(offset, table[: structs.SECTOR]) for offset in structs.REGION_TABLE_OFFSETS]
        size_offset = self._item_offsets[structs.DISK_SIZE_ITEM]
        sector = size_offset // structs.SECTOR * structs.SECTOR
        changed = bytearray(self._read_file(sector, structs.SECTOR))
        changed[size_offset - sector : size_offset - sector + 8] = size.to_bytes(8, "little")
        self._sync()
        # The entries of blocks that are not there yet do no harm; the size makes them count, so it comes last.
        self._log_and_write([*changes, (sector, bytes(changed))])
        self.metadata, self._bat, self._bat_offset, self._bat_size = grown, bat, bat_offset, bat_size
        self.size = size


def grow_file(file: BinaryIO, size: int) -> None:
    """Makes a file `size` bytes long, with a hole where the host has holes."""
    # Not `file.truncate`, which gives up at an interrupt.
    if isinstance(getattr(file, "raw", None), io.FileIO):
        file.flush()
        os.ftruncate(file.fileno(), size)
    else:
        file.truncate(size)
    if file.seek(0, io.SEEK_END) < size:
        # A file in memory does not grow by truncation.
        file.seek(size - 1)
        file.write(b"\0")


def checksum(data: bytes | bytearray) -> int:
    """The checksum of a structure, with its own field as zero."""
    cleared = bytearray(data)
    cleared[structs.CHECKSUM_OFFSET : structs.CHECKSUM_OFFSET + 4] = bytes(4)
    return crc32c(cleared)


def sealed(data: bytes | bytearray) -> bytes:
    """A structure with its checksum filled in."""
    result = bytearray(data)
    result[structs.CHECKSUM_OFFSET : structs.CHECKSUM_OFFSET + 4] = checksum(data).to_bytes(4, "little")
    return bytes(result)


def encode_header(header: Header) -> bytes:
    """A header of 4 KiB with its checksum."""
    return sealed(structs.HEADER.pack(*header).ljust(structs.HEADER_SIZE, b"\0"))


def encode_regions(bat_offset: int, bat_size: int, metadata_offset: int, metadata_size: int) -> bytes:
    """A region table of 64 KiB with its checksum."""
    entries = [(structs.BAT_REGION, bat_offset, bat_size), (structs.METADATA_REGION, metadata_offset, metadata_size)]
    table = structs.REGION_HEADER.pack(structs.REGION_SIGNATURE, 0, len(entries), 0)
    for guid, offset, length in entries:
        table += structs.REGION_ENTRY.pack(guid, offset, length, structs.REQUIRED)
    return sealed(table.ljust(structs.REGION_TABLE_SIZE, b"\0"))


def check_geometry(size: int, block_size: int, logical: int, physical: int, offset: int | None = None) -> None:
    """Whether a virtual disk can have these sizes (2.6.2).

    Raises:
        VhdxError: it cannot.
    """
    power = block_size & (block_size - 1) == 0
    if not power or not structs.MIN_BLOCK_SIZE <= block_size <= structs.MAX_BLOCK_SIZE:
        raise VhdxError(f"blocks of {block_size} bytes; possible are powers of two from 1 to 256 MiB", offset)
    if logical not in structs.SECTOR_SIZES or physical not in structs.SECTOR_SIZES:
        raise VhdxError(f"sectors of {logical} and {physical} bytes; possible are 512 and 4096", offset)
    if not 0 < size <= structs.MAX_DISK_SIZE or size % logical:
        raise VhdxError(f"a disk of {size} bytes; possible are whole sectors, up to 64 TiB", offset)


def _decode_locator(data: bytes, offset: int) -> ParentLocator:
    if len(data) < structs.LOCATOR_HEADER.size:
        raise VhdxError("a differencing disk without a parent locator", offset)
    kind, _, count = structs.LOCATOR_HEADER.unpack_from(data)
    if kind != structs.VHDX_LOCATOR_TYPE:
        raise VhdxError(f"a parent locator of the type {UUID(bytes_le=kind)}", offset)
    entries = {}
    text_size = 0
    for index in range(count):
        at = structs.LOCATOR_HEADER.size + index * structs.LOCATOR_ENTRY.size
        if at + structs.LOCATOR_ENTRY.size > len(data):
            raise VhdxError(f"a parent locator of {count} entries in {len(data)} bytes", offset)
        key, value, key_length, value_length = structs.LOCATOR_ENTRY.unpack_from(data, at)
        if key + key_length > len(data) or value + value_length > len(data):
            raise VhdxError("an entry of the parent locator is outside of it", offset)
        text_size += key_length + value_length
        if text_size > len(data):
            raise VhdxError("the entries of the parent locator overlap", offset)
        name = data[key : key + key_length].decode("utf-16-le", "replace")
        entries[name] = data[value : value + value_length].decode("utf-16-le", "replace")
    try:
        linkage = UUID(entries.pop("parent_linkage"))
    except (KeyError, ValueError):
        raise VhdxError("the parent locator names no parent_linkage", offset) from None
    return ParentLocator(linkage, entries)


def encode_locator(locator: ParentLocator) -> bytes:
    """The metadata item for a parent locator."""
    entries = {"parent_linkage": f"{{{locator.linkage}}}", **locator.entries}
    position = structs.LOCATOR_HEADER.size + structs.LOCATOR_ENTRY.size * len(entries)
    table, texts = b"", b""
    for key, value in entries.items():
        name, text = key.encode("utf-16-le"), value.encode("utf-16-le")
        table += structs.LOCATOR_ENTRY.pack(position, position + len(name), len(name), len(text))
        texts += name + text
        position += len(name) + len(text)
    return structs.LOCATOR_HEADER.pack(structs.VHDX_LOCATOR_TYPE, 0, len(entries)) + table + texts


def _bit(bitmap: bytearray, number: int) -> int:
    return bitmap[number >> 3] >> (number & 7) & 1


_ZEROS = bytes(MIB)


def is_zero(data: bytes | memoryview) -> bool:
    """Whether there is nothing but zeros."""
    view = memoryview(data)
    return all(view[at : at + MIB] == _ZEROS[: len(view[at : at + MIB])] for at in range(0, len(view), MIB))
