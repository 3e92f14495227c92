"""Reads and writes the virtual disk in a VHDX file as bytes at offsets.

Structures are in `structs`. Changes of the file's own structures (the BAT, the metadata, the region tables) go through
its log, so a file whose writer was stopped is consistent when it is opened again ([MS-VHDX] 2.3.3 "Log Replay").
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO, Self
from uuid import UUID, uuid4, uuid5

from wclayer.formats.disk import Disk, grow_file, is_zero, read_file
from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.bat import BlockTable
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.headers import (
    ParentLocator,
    check_geometry,
    encode_header,
    encode_regions,
    move_locator,
    read_current_header,
    read_metadata,
    read_regions,
)
from wclayer.formats.vhdx.log import read_log, write_entry
from wclayer.formats.vhdx.structs import MIB, BlockState, Header

_LAST_PLACE = (1 << 63) - 1
"""Bytes of a file: a larger number does not fit into a file offset of the host."""
_MAX_CHANGED = 8 * MIB
"""Changed bytes of the BAT and of sector bitmaps that are kept in memory before they are written."""


OpenParent = Callable[[ParentLocator], Disk]


class Vhdx:
    """The virtual disk in a VHDX file.

    Args:
        file: the file, open for reading, or for both.
        writable: whether the disk may be written. If not, a log that is not empty is applied in memory only.
        open_parent: opens the parent of a differencing disk.
        is_new: the file was just created, so its first change needs no new GUIDs.

    Raises:
        VhdxError: the file is not a sound VHDX file, or the parent is not the one from which it was made.
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
        """The DataWriteGuid that the disk gets with its first change (2.2.2); by default a random one."""
        if self._read_file(0, 8) != structs.IDENTIFIER_SIGNATURE:
            raise VhdxError("no VHDX file: it does not start with 'vhdxfile'", 0)
        self.header, self._header_index = read_current_header(self._read_file)
        self.log_was_replayed = self._replay_log()
        """True if the last writer was stopped during an update, which the log then completed."""
        self._regions = read_regions(self._read_file)
        self.metadata, self._item_offsets = read_metadata(self._read_file, self._regions)
        self.size = self.metadata.size
        self.sector_size = self.metadata.logical_sector_size
        needed = self.metadata.bat_entries * 8
        bat_offset, bat_size = self._regions.bat_offset, self._regions.bat_size
        if bat_size < needed or bat_offset + needed > self._file_size:
            raise VhdxError(f"a BAT of {bat_size} bytes for {self.metadata.bat_entries} entries", bat_offset)
        self._bat = BlockTable(self._read_file, bat_offset, self.metadata.bat_entries)
        # Parts of the sector bitmaps for single blocks: the changed ones, and the last one that was read.
        self._changed_bits: dict[int, bytearray] = {}
        self._last_bits: tuple[int, bytearray] | None = None
        self._is_marked = is_new
        self.parent: Disk | None = None
        if self.metadata.locator is not None:
            if open_parent is None:
                raise VhdxError("a differencing disk, and no way to open its parent", self._regions.metadata_offset)
            self.parent = open_parent(self.metadata.locator)
            if self.parent.size > self.size and self.parent.size - self.size >= self.metadata.block_size:
                raise VhdxError(
                    f"the parent has {self.parent.size} bytes, this disk {self.size}", self._regions.metadata_offset
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.flush()

    # The file.

    def _read_file(self, offset: int, length: int) -> bytes:
        """Returns bytes of the file with the changes in its log, and zeros after its end.

        Raises:
            VhdxError: no file can have such an offset.
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

    def own_regions(self) -> list[tuple[int, int, str]]:
        """Returns the regions of the log, the BAT, the metadata and the sector bitmaps: offset, length, name."""
        found = [
            (self.header.log_offset, self.header.log_length, "the log"),
            (self._regions.bat_offset, self._regions.bat_size, "the BAT"),
            (self._regions.metadata_offset, self._regions.metadata_size, "the metadata"),
        ]
        if self.metadata.locator is not None:
            for chunk in range(-(-self.metadata.blocks // self.metadata.chunk_ratio)):
                entry = self._bat[self._bitmap_index(chunk * self.metadata.chunk_ratio)]
                if entry & structs.BAT_STATE_MASK == BlockState.FULLY_PRESENT:
                    offset = entry >> structs.BAT_OFFSET_SHIFT << structs.BAT_OFFSET_SHIFT
                    found.append((offset, structs.BITMAP_BLOCK_SIZE, f"sector bitmap {chunk}"))
        return found

    def allocated(self) -> int:
        """Returns how many blocks are allocated in the file."""
        return sum(1 for _ in self.extents())

    @property
    def linkage(self) -> UUID:
        """The linkage that a differencing disk made of this one now must store. It changes when the data changes."""
        return UUID(bytes_le=self.header.data_write_guid)

    # Blocks.

    def _entry_index(self, block: int) -> int:
        return block + block // self.metadata.chunk_ratio

    def _block_of(self, index: int) -> int | None:
        """Returns the block that an entry of the BAT describes; None if it describes a sector bitmap, or no block."""
        chunk, at = divmod(index, self.metadata.chunk_ratio + 1)
        block = chunk * self.metadata.chunk_ratio + at
        return block if at < self.metadata.chunk_ratio and block < self.metadata.blocks else None

    def _bitmap_index(self, block: int) -> int:
        ratio = self.metadata.chunk_ratio
        return (block // ratio + 1) * (ratio + 1) - 1

    def block_state(self, block: int) -> tuple[BlockState, int]:
        """Returns the state of a payload block, and its offset in the file.

        Raises:
            VhdxError: the BAT entry has an undefined state, or leads outside of the file.
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
                self._bat.offset + 8 * self._entry_index(block),
            )
        if state >= BlockState.FULLY_PRESENT and (offset < MIB or offset + self.metadata.block_size > self._file_size):
            raise VhdxError(
                f"block {block} is at {offset:#x}, outside of the file",
                self._bat.offset + 8 * self._entry_index(block),
            )
        return state, offset

    def blocks_in_use(self) -> Iterator[int]:
        """Yields the numbers of the blocks whose BAT entry is not zero. The other blocks are not in the file."""
        for index, _ in self._bat.in_use():
            block = self._block_of(index)
            if block is not None:
                yield block

    def bits_place(self, block: int) -> int:
        """Returns the file offset of the sector bits of a partially present block.

        Raises:
            VhdxError: the sector bitmap is missing, or outside of the file.
        """
        entry = self._bat[self._bitmap_index(block)]
        if entry & structs.BAT_STATE_MASK != BlockState.FULLY_PRESENT:
            raise VhdxError(
                f"block {block} is there in part, and the sector bitmap that says which is not there",
                self._bat.offset + 8 * self._bitmap_index(block),
            )
        offset = entry >> structs.BAT_OFFSET_SHIFT << structs.BAT_OFFSET_SHIFT
        if offset < MIB or offset + structs.BITMAP_BLOCK_SIZE > self._file_size:
            raise VhdxError(f"the sector bitmap of block {block} is outside of the file", offset)
        return offset + block % self.metadata.chunk_ratio * self._bits_size

    @property
    def _bits_size(self) -> int:
        return self.metadata.block_size // self.sector_size // 8

    def _bits(self, block: int) -> bytearray:
        """Returns one bit for each sector of a block: 1 if the sector is in this disk, 0 if it is in the parent."""
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
        """Yields the ranges that may differ from zeros, or from the parent's bytes: offset and length."""
        for block in self.blocks_in_use():
            if self.block_state(block)[0] >= BlockState.FULLY_PRESENT:
                yield block * self.metadata.block_size, self._length_of(block)

    def read(self, offset: int, length: int) -> bytes:
        """Returns `length` bytes of the virtual disk from `offset`.

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
        """Reads sectors from this disk or from the parent, as the sector bitmap says."""
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

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Writes bytes at `offset` of the virtual disk. Zeros in a block that is not in the file take no space.

        Raises:
            VhdxError: the range is outside of the disk, or the disk is open for reading only.
        """
        self._check_write(offset, len(data))
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

    def reserve(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Makes room in the file for `length` bytes at `offset` of the virtual disk, which the caller writes there.

        Returns:
            Where they are in the file: the offset and length of each piece, in order.

        Raises:
            VhdxError: the range is outside of the disk, or the disk has a parent, or is open for reading only.
        """
        self._check_write(offset, length)
        if self.parent is not None:
            raise VhdxError("a disk with a parent says of each sector which of the two has it")
        self._mark_written()
        self._limit_changes()
        places: list[tuple[int, int]] = []
        while length:
            block, start = divmod(offset, self.metadata.block_size)
            count = min(length, self.metadata.block_size - start)
            state, place = self.block_state(block)
            if state is not BlockState.FULLY_PRESENT:
                place = self._allocate(block, BlockState.FULLY_PRESENT)
            if places and sum(places[-1]) == place + start:
                places[-1] = places[-1][0], places[-1][1] + count
            else:
                places.append((place + start, count))
            offset += count
            length -= count
        return places

    def _check_write(self, offset: int, length: int) -> None:
        if not self._writable:
            raise VhdxError("the disk is open for reading only")
        if offset < 0 or offset + length > self.size:
            raise VhdxError(f"{length} bytes at {offset} of a disk of {self.size}")

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
        """Makes all bytes that the parent provides read as zeros, without writing zeros."""
        self._mark_written()
        for block in range(self.metadata.blocks):
            if not self._is_over_parent(block):
                break
            if self.block_state(block)[0] is BlockState.NOT_PRESENT:
                self._set_state(block, BlockState.ZERO, 0)
                self._limit_changes()

    def _is_over_parent(self, block: int) -> bool:
        """Returns whether a block starts before the end of the parent. After its end there are only zeros."""
        return self.parent is not None and block * self.metadata.block_size < self.parent.size

    def _limit_changes(self) -> None:
        """Writes the changes of the BAT and of the sector bitmaps if they take much memory."""
        if self._bat.changed_size + len(self._changed_bits) * self._bits_size > _MAX_CHANGED:
            self.flush()

    def _length_of(self, block: int) -> int:
        return min(self.metadata.block_size, self.size - block * self.metadata.block_size)

    def _write_partial(self, block: int, state: BlockState, place: int, start: int, data: memoryview) -> None:
        """Writes into a block of which this disk has some sectors, and the parent the others."""
        sector = self.sector_size
        first, last = start // sector, (start + len(data) - 1) // sector
        whole_start, whole_end = first * sector, min((last + 1) * sector, self._length_of(block))
        if (whole_start, whole_end) != (start, start + len(data)):
            # A sector is in this disk or in the parent as a whole.
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
        """Adds `length` bytes at the file's end, aligned to 1 MiB, and returns their offset."""
        place = -(-self._file_size // MIB) * MIB
        grow_file(self._file, place + length)
        self._file_size = place + length
        return place

    def _mark_written(self) -> None:
        """Before the first change, stores new GUIDs of the file and its data in the header (2.2.2, FileWriteGuid)."""
        if not self._is_marked:
            self._is_marked = True
            guid = self.write_guid or uuid4()
            self._write_header(self.header._replace(file_write_guid=uuid4().bytes_le, data_write_guid=guid.bytes_le))

    def flush(self) -> None:
        """Makes all writes durable: first the data, then the structures that refer to it."""
        if not self._writable:
            return
        for block in sorted(self._changed_bits):
            self._write_file(self.bits_place(block), self._changed_bits[block])
        self._changed_bits.clear()
        self._sync()
        self._log_and_write(self._bat.take_changes())

    def _log_and_write(self, writes: list[tuple[int, bytes]]) -> None:
        """Changes sectors of the file's own structures atomically through the log."""
        sectors = [(offset, data.ljust(structs.SECTOR, b"\0")) for offset, data in writes]
        room = self.header.log_length
        while sectors:
            # Each round is one log entry. Changes that belong together are passed together, and fit into one entry.
            count = min(len(sectors), (room - structs.SECTOR) // (structs.SECTOR + structs.LOG_DESCRIPTOR_SIZE) - 1)
            part, sectors = sectors[:count], sectors[count:]
            # Any GUID that no earlier entry has. With this one, the same writes result in the same file.
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
        """Writes a header over the older one, which makes it the current header."""
        self.header = header._replace(sequence=self.header.sequence + 1)
        self._header_index = 1 - self._header_index
        self._write_file(structs.HEADER_OFFSETS[self._header_index], encode_header(self.header))
        self._sync()

    # Moving the parent.

    def set_locator(self, locator: ParentLocator) -> None:
        """Replaces the parent locator of a differencing disk, atomically.

        Raises:
            VhdxError: the disk has no parent, or the metadata region has no room.
        """
        if self.metadata.locator is None:
            raise VhdxError("a disk without a parent")
        moved = move_locator(self._read_file, self._regions, locator)
        base = self._regions.metadata_offset
        self._mark_written()
        # The item is written into a free range. The table entry then puts it into effect.
        self._write_file(base + moved.offset, moved.data)
        self._sync()
        self._log_and_write([(base + moved.sector_offset, moved.sector)])
        self.metadata = replace(self.metadata, locator=locator)

    # Growing.

    def resize(self, size: int) -> None:
        """Grows the virtual disk to `size` bytes, in place and atomically. Its content stays.

        Raises:
            VhdxError: the disk would shrink, or no disk can have that size.
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
        regions = self._regions
        if needed > regions.bat_size:
            # The new BAT is not used before the region tables name it, so it needs no log.
            bat_size = -(-needed // MIB) * MIB
            regions = regions._replace(bat_offset=self._grow_file(bat_size), bat_size=bat_size)
            for at in range(0, used, MIB):
                entries = self._read_file(self._regions.bat_offset + at, min(MIB, used - at))
                self._write_file(regions.bat_offset + at, entries)
        is_moved = regions != self._regions
        bat = BlockTable(self._read_file, regions.bat_offset, grown.bat_entries)
        # The bytes after the entries in use may have any value.
        for index in range(metadata.bat_entries, 0 if is_moved else grown.bat_entries):
            if bat[index]:
                bat[index] = 0
        if grown.is_fixed:
            for block in range(metadata.blocks, grown.blocks):
                bat[block + block // grown.chunk_ratio] = self._grow_file(grown.block_size) | BlockState.FULLY_PRESENT
                if bat.changed_size > _MAX_CHANGED:
                    self._log_and_write(bat.take_changes())
        changes = bat.take_changes()
        if is_moved:
            table = encode_regions(regions)
            for offset, data in changes:
                self._write_file(offset, data)
            changes = [(offset, table[: structs.SECTOR]) for offset in structs.REGION_TABLE_OFFSETS]
        size_offset = self._item_offsets[structs.DISK_SIZE_ITEM]
        sector = size_offset // structs.SECTOR * structs.SECTOR
        changed = bytearray(self._read_file(sector, structs.SECTOR))
        changed[size_offset - sector : size_offset - sector + 8] = size.to_bytes(8, "little")
        self._sync()
        # The new entries have no effect before the size includes their blocks, so the size comes last.
        self._log_and_write([*changes, (sector, bytes(changed))])
        self.metadata, self._bat, self._regions = grown, bat, regions
        self.size = size


def _bit(bitmap: bytearray, number: int) -> int:
    return bitmap[number >> 3] >> (number & 7) & 1
