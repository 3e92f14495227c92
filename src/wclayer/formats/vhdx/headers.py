"""Headers, region tables, metadata and parent locators of VHDX files, decoded and encoded ([MS-VHDX] 2.2 and 2.6).

The functions have no state. Those that decode take `read(offset, length)`, which returns that many bytes of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.structs import MIB, Header, LocatorEntry, MetadataEntry, MetadataHeader, RegionEntry

Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class ParentLocator:
    """The data by which a differencing disk finds its parent: the parent's linkage, and the paths to try."""

    linkage: UUID
    entries: dict[str, str] = field(default_factory=dict)
    """The paths by their kinds: `relative_path`, `absolute_win32_path`, `volume_path`."""


@dataclass(frozen=True, slots=True)
class DiskMetadata:
    """The metadata of a virtual disk."""

    size: int
    """Bytes of the disk."""
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
        """The number of payload blocks that share one sector bitmap block (2.5 "BAT")."""
        return structs.SECTORS_PER_BITMAP_BLOCK * self.logical_sector_size // self.block_size

    @property
    def blocks(self) -> int:
        """The number of payload blocks."""
        return -(-self.size // self.block_size)

    @property
    def bat_entries(self) -> int:
        """The number of entries of the BAT, including those of sector bitmap blocks."""
        if self.locator is not None:
            return -(-self.blocks // self.chunk_ratio) * (self.chunk_ratio + 1)
        return self.blocks + (self.blocks - 1) // self.chunk_ratio


class Regions(NamedTuple):
    """The offsets and sizes of the BAT and the metadata region in the file, in bytes."""

    bat_offset: int
    bat_size: int
    metadata_offset: int
    metadata_size: int


# Checksums.


def checksum(data: bytes | bytearray) -> int:
    """Returns the checksum of a structure, computed with its own field as zero."""
    cleared = bytearray(data)
    cleared[structs.CHECKSUM_OFFSET : structs.CHECKSUM_OFFSET + 4] = bytes(4)
    return crc32c(cleared)


def sealed(data: bytes | bytearray) -> bytes:
    """Returns a structure with its checksum filled in."""
    result = bytearray(data)
    result[structs.CHECKSUM_OFFSET : structs.CHECKSUM_OFFSET + 4] = checksum(data).to_bytes(4, "little")
    return bytes(result)


# 2.2.2 "Headers".


def decode_header(data: bytes) -> Header | None:
    """Returns a header of 4 KiB, or None if its signature or its checksum is wrong."""
    header = Header._make(structs.HEADER.unpack_from(data))
    return header if header.signature == structs.HEADER_SIGNATURE and header.checksum == checksum(data) else None


def encode_header(header: Header) -> bytes:
    """Returns a header of 4 KiB with its checksum."""
    return sealed(structs.HEADER.pack(*header).ljust(structs.HEADER_SIZE, b"\0"))


def read_current_header(read: Read) -> tuple[Header, int]:
    """Reads the sound header with the larger sequence number.

    Returns:
        The header, and which of the two it is (0 or 1).

    Raises:
        VhdxError: neither header is sound, or the current one is of an unknown version or names an impossible log.
    """
    found: list[tuple[int, int, Header]] = []
    for index, offset in enumerate(structs.HEADER_OFFSETS):
        candidate = decode_header(read(offset, structs.HEADER_SIZE))
        if candidate is not None:
            found.append((candidate.sequence, index, candidate))
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


# 2.2.3 "Region Table".


def is_sound_region_table(table: bytes) -> bool:
    """Returns whether the signature, the checksum and the number of entries of a region table are right."""
    signature, stored, count, _ = structs.REGION_HEADER.unpack_from(table)
    return bool(signature == structs.REGION_SIGNATURE and stored == checksum(table) and count <= structs.MAX_REGIONS)


def read_regions(read: Read) -> Regions:
    """Reads the first sound region table.

    Raises:
        VhdxError: neither table is sound, a region is misplaced or unknown and required, or one of the two regions
            that every file has is missing.
    """
    for offset in structs.REGION_TABLE_OFFSETS:
        table = read(offset, structs.REGION_TABLE_SIZE)
        if is_sound_region_table(table):
            break
    else:
        raise VhdxError("neither region table is sound", structs.REGION_TABLE_OFFSETS[0])
    _, _, count, _ = structs.REGION_HEADER.unpack_from(table)
    found: dict[bytes, RegionEntry] = {}
    for index in range(count):
        position = structs.REGION_HEADER.size + index * structs.REGION_ENTRY.size
        entry = RegionEntry._make(structs.REGION_ENTRY.unpack_from(table, position))
        if entry.offset % MIB or entry.length % MIB or entry.offset < MIB or entry.guid in found:
            raise VhdxError(f"region {UUID(bytes_le=entry.guid)} at {entry.offset:#x}, {entry.length:#x} bytes", offset)
        found[entry.guid] = entry
        if entry.guid not in (structs.BAT_REGION, structs.METADATA_REGION) and entry.required & structs.REQUIRED:
            raise VhdxError(f"an unknown region that is required: {UUID(bytes_le=entry.guid)}", offset)
    bat, metadata = found.get(structs.BAT_REGION), found.get(structs.METADATA_REGION)
    if bat is None or metadata is None:
        raise VhdxError("no region for the BAT, or none for metadata", offset)
    return Regions(bat.offset, bat.length, metadata.offset, metadata.length)


def encode_regions(regions: Regions) -> bytes:
    """Returns a region table of 64 KiB with its checksum."""
    entries = (
        RegionEntry(structs.BAT_REGION, regions.bat_offset, regions.bat_size, structs.REQUIRED),
        RegionEntry(structs.METADATA_REGION, regions.metadata_offset, regions.metadata_size, structs.REQUIRED),
    )
    table = structs.REGION_HEADER.pack(structs.REGION_SIGNATURE, 0, len(entries), 0)
    for entry in entries:
        table += structs.REGION_ENTRY.pack(*entry)
    return sealed(table.ljust(structs.REGION_TABLE_SIZE, b"\0"))


# 2.6 "Metadata Region".


def read_metadata(read: Read, regions: Regions) -> tuple[DiskMetadata, dict[bytes, int]]:
    """Reads the metadata table and the items it names.

    Returns:
        The disk's metadata, and the offset in the file of each item.

    Raises:
        VhdxError: the table is not sound, or an item is missing, misplaced, unknown and required, or impossible.
    """
    base = regions.metadata_offset
    table = read(base, structs.METADATA_TABLE_SIZE)
    header = MetadataHeader._make(structs.METADATA_HEADER.unpack_from(table))
    if header.signature != structs.METADATA_SIGNATURE or header.entry_count > structs.MAX_METADATA_ENTRIES:
        raise VhdxError("the metadata table is not sound", base)
    items: dict[bytes, bytes] = {}
    offsets: dict[bytes, int] = {}
    for _, entry in _metadata_entries(table, header.entry_count):
        item = entry.item
        if entry.flags & structs.IS_USER or item not in structs.KNOWN_ITEMS:
            if entry.flags & structs.IS_REQUIRED:
                raise VhdxError(f"unknown metadata that is required: {UUID(bytes_le=item)}", base)
            continue
        if item in items:
            raise VhdxError(f"metadata item {UUID(bytes_le=item)} is there twice", base)
        end = entry.offset + entry.length
        if (
            entry.length > structs.MAX_ITEM_SIZE
            or entry.offset < structs.METADATA_TABLE_SIZE
            or end > regions.metadata_size
        ):
            raise VhdxError(f"metadata item {UUID(bytes_le=item)} is not in its region", base)
        items[item] = read(base + entry.offset, entry.length)
        offsets[item] = base + entry.offset
    return _decode_metadata(items, base), offsets


def _metadata_entries(table: bytes | bytearray, count: int) -> list[tuple[int, MetadataEntry]]:
    """Returns the entries of a metadata table, each with its offset in the table."""
    positions = [structs.METADATA_HEADER.size + index * structs.METADATA_ENTRY.size for index in range(count)]
    return [(at, MetadataEntry._make(structs.METADATA_ENTRY.unpack_from(table, at))) for at in positions]


def _decode_metadata(items: dict[bytes, bytes], base: int) -> DiskMetadata:
    """Decodes the items of the metadata region, whose file offset is `base`."""

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
    disk_id = UUID(bytes_le=number(structs.DISK_ID_ITEM, 16).to_bytes(16, "little"))
    locator = None
    if flags & structs.HAS_PARENT:
        locator = decode_locator(items.get(structs.PARENT_LOCATOR_ITEM, b""), base)
    is_fixed = bool(flags & structs.LEAVE_BLOCKS_ALLOCATED)
    return DiskMetadata(size, block_size, logical, physical, disk_id, is_fixed, locator)


def encode_metadata(metadata: DiskMetadata, size: int) -> bytes:
    """Returns the contents of a metadata region of `size` bytes: the table, then the items.

    Raises:
        VhdxError: the parent locator does not fit.
    """
    flags = structs.LEAVE_BLOCKS_ALLOCATED if metadata.is_fixed else 0
    if metadata.locator is not None:
        flags |= structs.HAS_PARENT
    disk = structs.IS_VIRTUAL_DISK | structs.IS_REQUIRED
    items = [
        (structs.FILE_PARAMETERS_ITEM, structs.FILE_PARAMETERS.pack(metadata.block_size, flags), structs.IS_REQUIRED),
        (structs.DISK_SIZE_ITEM, metadata.size.to_bytes(8, "little"), disk),
        (structs.DISK_ID_ITEM, metadata.disk_id.bytes_le, disk),
        (structs.LOGICAL_SECTOR_ITEM, metadata.logical_sector_size.to_bytes(4, "little"), disk),
        (structs.PHYSICAL_SECTOR_ITEM, metadata.physical_sector_size.to_bytes(4, "little"), disk),
    ]
    if metadata.locator is not None:
        items.append((structs.PARENT_LOCATOR_ITEM, encode_locator(metadata.locator), structs.IS_REQUIRED))
    table = structs.METADATA_HEADER.pack(structs.METADATA_SIGNATURE, 0, len(items), b"")
    body = b""
    for item, data, item_flags in items:
        offset = structs.METADATA_TABLE_SIZE + len(body)
        table += structs.METADATA_ENTRY.pack(*MetadataEntry(item, offset, len(data), item_flags, 0))
        body += data
    if structs.METADATA_TABLE_SIZE + len(body) > size:
        raise VhdxError("a parent locator that does not fit into the metadata")
    return table.ljust(structs.METADATA_TABLE_SIZE, b"\0") + body


def check_geometry(size: int, block_size: int, logical: int, physical: int, offset: int | None = None) -> None:
    """Checks that a virtual disk can have these sizes (2.6.2).

    Args:
        size: bytes of the disk.
        block_size: bytes of a block.
        logical, physical: bytes of a logical and of a physical sector.
        offset: the file offset of the sizes, for messages.

    Raises:
        VhdxError: no disk can have these sizes.
    """
    power = block_size & (block_size - 1) == 0
    if not power or not structs.MIN_BLOCK_SIZE <= block_size <= structs.MAX_BLOCK_SIZE:
        raise VhdxError(f"blocks of {block_size} bytes; possible are powers of two from 1 to 256 MiB", offset)
    if logical not in structs.SECTOR_SIZES or physical not in structs.SECTOR_SIZES:
        raise VhdxError(f"sectors of {logical} and {physical} bytes; possible are 512 and 4096", offset)
    if not 0 < size <= structs.MAX_DISK_SIZE or size % logical:
        raise VhdxError(f"a disk of {size} bytes; possible are whole sectors, up to 64 TiB", offset)


# 2.6.2.6 "Parent Locator".


class MovedLocator(NamedTuple):
    """A parent locator for a free range of a metadata region, and the change of the table that puts it into effect."""

    data: bytes
    offset: int
    """The offset of `data` in the region."""
    sector: bytes
    """The changed sector of the table."""
    sector_offset: int
    """The offset of `sector` in the region."""


def move_locator(read: Read, regions: Regions, locator: ParentLocator) -> MovedLocator:
    """Places a new parent locator after all other metadata, so that the old one is valid until the table changes.

    Raises:
        VhdxError: the metadata region has no room.
    """
    data = encode_locator(locator)
    table = bytearray(read(regions.metadata_offset, structs.METADATA_TABLE_SIZE))
    header = MetadataHeader._make(structs.METADATA_HEADER.unpack_from(table))
    entries = _metadata_entries(table, header.entry_count)
    end = max((entry.offset + entry.length for _, entry in entries), default=0)
    end = max(end, structs.METADATA_TABLE_SIZE)
    if end + len(data) > regions.metadata_size:
        raise VhdxError("no room for the parent locator in the metadata", regions.metadata_offset)
    at, old = next(
        (at, entry)
        for at, entry in entries
        if entry.item == structs.PARENT_LOCATOR_ITEM and not entry.flags & structs.IS_USER
    )
    structs.METADATA_ENTRY.pack_into(table, at, *old._replace(offset=end, length=len(data)))
    start = at // structs.SECTOR * structs.SECTOR
    return MovedLocator(data, end, bytes(table[start : start + structs.SECTOR]), start)


def decode_locator(data: bytes, offset: int) -> ParentLocator:
    """Decodes the metadata item of a parent locator.

    Args:
        data: the item.
        offset: the file offset of the metadata, for messages.

    Raises:
        VhdxError: the locator is not sound, or names no linkage.
    """
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
        entry = LocatorEntry._make(structs.LOCATOR_ENTRY.unpack_from(data, at))
        key_end, value_end = entry.key_offset + entry.key_length, entry.value_offset + entry.value_length
        if key_end > len(data) or value_end > len(data):
            raise VhdxError("an entry of the parent locator is outside of it", offset)
        text_size += entry.key_length + entry.value_length
        if text_size > len(data):
            raise VhdxError("the entries of the parent locator overlap", offset)
        name = data[entry.key_offset : key_end].decode("utf-16-le", "replace")
        entries[name] = data[entry.value_offset : value_end].decode("utf-16-le", "replace")
    try:
        linkage = UUID(entries.pop("parent_linkage"))
    except (KeyError, ValueError):
        raise VhdxError("the parent locator names no parent_linkage", offset) from None
    return ParentLocator(linkage, entries)


def encode_locator(locator: ParentLocator) -> bytes:
    """Returns the metadata item of a parent locator."""
    entries = {"parent_linkage": f"{{{locator.linkage}}}", **locator.entries}
    position = structs.LOCATOR_HEADER.size + structs.LOCATOR_ENTRY.size * len(entries)
    table, texts = b"", b""
    for key, value in entries.items():
        name, text = key.encode("utf-16-le"), value.encode("utf-16-le")
        table += structs.LOCATOR_ENTRY.pack(*LocatorEntry(position, position + len(name), len(name), len(text)))
        texts += name + text
        position += len(name) + len(text)
    return structs.LOCATOR_HEADER.pack(structs.VHDX_LOCATOR_TYPE, 0, len(entries)) + table + texts
