"""Creates fixed, dynamic and differencing VHDX files."""

from __future__ import annotations

import io
from struct import pack
from typing import BinaryIO
from uuid import UUID, uuid4

from wclayer.formats.disk import Disk, grow_file
from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.headers import (
    DiskMetadata,
    ParentLocator,
    Regions,
    check_geometry,
    encode_header,
    encode_metadata,
    encode_regions,
)
from wclayer.formats.vhdx.image import Vhdx
from wclayer.formats.vhdx.structs import MIB, BlockState, Header

CREATOR = "wclayer"
_LOG_OFFSET = MIB
_LOG_SIZE = MIB
_METADATA_OFFSET = 2 * MIB
_METADATA_SIZE = MIB
_BAT_OFFSET = 3 * MIB
DEFAULT_BLOCK_SIZE = MIB


def create_vhdx(
    file: BinaryIO,
    size: int,
    *,
    block_size: int = DEFAULT_BLOCK_SIZE,
    logical_sector_size: int = 512,
    physical_sector_size: int = 4096,
    is_fixed: bool = False,
    parent: Disk | None = None,
    locator: ParentLocator | None = None,
    disk_id: UUID | None = None,
    write_guid: UUID | None = None,
) -> Vhdx:
    """Creates a virtual disk in an empty file, and returns it opened. It reads as zeros, or as its parent.

    Args:
        file: open for reading and writing, and empty.
        size: bytes of the disk; a multiple of the sector size.
        block_size: bytes of a block; a power of two from 1 to 256 MiB.
        is_fixed: whether all blocks are allocated at once (as a hole, where the host has holes).
        parent, locator: the open parent of a differencing disk, and how to find it from the new file.
        disk_id, write_guid: GUIDs in place of random ones, for reproducible files.

    Raises:
        VhdxError: a disk cannot have these sizes, or a fixed disk has a parent.
    """
    check_geometry(size, block_size, logical_sector_size, physical_sector_size)
    if is_fixed and locator is not None:
        raise VhdxError("a fixed disk has no parent")
    if (parent is None) != (locator is None):
        raise VhdxError("a differencing disk needs both its parent and a locator for it")
    if parent is not None and parent.sector_size != logical_sector_size:
        raise VhdxError(f"sectors of {logical_sector_size} bytes on a parent with those of {parent.sector_size}")
    metadata = DiskMetadata(
        size, block_size, logical_sector_size, physical_sector_size, disk_id or uuid4(), is_fixed, locator
    )
    bat_size = -(-metadata.bat_entries * 8 // MIB) * MIB
    end = _BAT_OFFSET + bat_size
    first_block = end
    if is_fixed:
        end += metadata.blocks * block_size
    guid = (write_guid or uuid4()).bytes_le
    header = Header(
        structs.HEADER_SIGNATURE, 0, 1, guid, guid, structs.NO_GUID, structs.LOG_VERSION, structs.VERSION, _LOG_SIZE,
        _LOG_OFFSET,
    )  # fmt: skip
    regions = encode_regions(Regions(_BAT_OFFSET, bat_size, _METADATA_OFFSET, _METADATA_SIZE))
    grow_file(file, end)
    creator = CREATOR.encode("utf-16-le")
    for offset, data in (
        (0, structs.IDENTIFIER.pack(structs.IDENTIFIER_SIGNATURE, creator)),
        (structs.HEADER_OFFSETS[0], encode_header(header)),
        (structs.HEADER_OFFSETS[1], encode_header(header._replace(sequence=2))),
        *((offset, regions) for offset in structs.REGION_TABLE_OFFSETS),
        (_METADATA_OFFSET, encode_metadata(metadata, _METADATA_SIZE)),
    ):
        file.seek(offset)
        file.write(data)
    if is_fixed:
        # One chunk of blocks at a time, with the entry of its sector bitmap, which is zero in a fixed disk.
        file.seek(_BAT_OFFSET)
        for chunk in range(0, metadata.blocks, metadata.chunk_ratio):
            blocks = range(chunk, min(chunk + metadata.chunk_ratio, metadata.blocks))
            entries = [first_block + block * block_size | BlockState.FULLY_PRESENT for block in blocks]
            if blocks.stop < metadata.blocks:
                entries.append(0)
            file.write(pack(f"<{len(entries)}Q", *entries))
    file.seek(0, io.SEEK_END)
    return Vhdx(file, writable=True, is_new=True, open_parent=lambda _: parent if parent is not None else _no_parent())


def _no_parent() -> Disk:
    raise VhdxError("a disk without a parent")
