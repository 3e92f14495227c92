"""On-disk structures of VHDX files, with the section of [MS-VHDX] that defines each.

Source: [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format". All numbers are little-endian, GUIDs in their mixed-endian
form.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple
from uuid import UUID

KIB = 1 << 10
MIB = 1 << 20
SECTOR = 4096
"""The unit of the log and of alignment in the header section."""

# 2.2 "Header section": five parts, 64 KiB each.
HEADER_SECTION = MIB
IDENTIFIER = Struct("<8s512s")
IDENTIFIER_SIGNATURE = b"vhdxfile"
HEADER_OFFSETS = (64 * KIB, 128 * KIB)
REGION_TABLE_OFFSETS = (192 * KIB, 256 * KIB)
REGION_TABLE_SIZE = 64 * KIB

# 2.2.2 "Headers". The checksum of every structure is computed with the checksum field set to zero.
HEADER = Struct("<4sIQ16s16s16sHHIQ")
HEADER_SIZE = 4096
HEADER_SIGNATURE = b"head"
CHECKSUM_OFFSET = 4
VERSION = 1
LOG_VERSION = 0


class Header(NamedTuple):
    """`HEADER`, unpacked."""

    signature: bytes
    checksum: int
    sequence: int
    file_write_guid: bytes
    data_write_guid: bytes
    log_guid: bytes
    log_version: int
    version: int
    log_length: int
    log_offset: int


# 2.2.3 "Region Table".
REGION_HEADER = Struct("<4sIII")
REGION_SIGNATURE = b"regi"
REGION_ENTRY = Struct("<16sQII")


class RegionEntry(NamedTuple):
    """`REGION_ENTRY`, unpacked."""

    guid: bytes
    offset: int
    length: int
    required: int


MAX_REGIONS = 2047
BAT_REGION = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
METADATA_REGION = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
REQUIRED = 1

# 2.3 "Log".
MAX_LOG = 32 * MIB
"""Bytes of the largest log that is replayed. Windows and other writers make logs of 1 MiB."""
LOG_ENTRY = Struct("<4sIIIQII16sQQ")
LOG_ENTRY_SIGNATURE = b"loge"
LOG_DESCRIPTOR_SIZE = 32
DATA_DESCRIPTOR = Struct("<4s4s8sQQ")
"""Signature, the trailing 4 and the leading 8 bytes of the sector, file offset, sequence number."""
DATA_DESCRIPTOR_SIGNATURE = b"desc"
ZERO_DESCRIPTOR = Struct("<4sIQQQ")
"""Signature, reserved, length of zeros, file offset, sequence number."""
ZERO_DESCRIPTOR_SIGNATURE = b"zero"
DATA_SECTOR = Struct("<4sI4084sI")
"""Signature, high half of the sequence number, the middle of the sector, low half of the sequence number."""
DATA_SECTOR_SIGNATURE = b"data"


class LogEntryHeader(NamedTuple):
    """`LOG_ENTRY`, unpacked."""

    signature: bytes
    checksum: int
    length: int
    tail: int
    sequence: int
    descriptor_count: int
    reserved: int
    log_guid: bytes
    flushed_file_offset: int
    last_file_offset: int


# 2.5 "BAT".
BAT_STATE_MASK = 0x7
BAT_OFFSET_SHIFT = 20
"""The upper 44 bits are the block's file offset in MiB, so the entry without its low 20 bits is the offset in bytes."""


class BlockState(IntEnum):
    """2.5.1.1 "Payload BAT Entry States"; a sector bitmap block is absent (0) or present (6)."""

    NOT_PRESENT = 0
    UNDEFINED = 1
    ZERO = 2
    UNMAPPED = 3
    FULLY_PRESENT = 6
    PARTIALLY_PRESENT = 7


SECTORS_PER_BITMAP_BLOCK = 1 << 23
"""The number of sectors, one bit each, in a sector bitmap block of 1 MiB."""
BITMAP_BLOCK_SIZE = MIB

# 2.6 "Metadata Region".
METADATA_TABLE_SIZE = 64 * KIB
METADATA_HEADER = Struct("<8sHH20s")
METADATA_SIGNATURE = b"metadata"
METADATA_ENTRY = Struct("<16sIIII")


class MetadataHeader(NamedTuple):
    """`METADATA_HEADER`, unpacked."""

    signature: bytes
    reserved: int
    entry_count: int
    reserved2: bytes


class MetadataEntry(NamedTuple):
    """`METADATA_ENTRY`, unpacked."""

    item: bytes
    offset: int
    """The offset from the start of the region."""
    length: int
    flags: int
    reserved: int


MAX_METADATA_ENTRIES = 2047
IS_USER = 1
IS_VIRTUAL_DISK = 2
IS_REQUIRED = 4

FILE_PARAMETERS_ITEM = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
DISK_SIZE_ITEM = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
DISK_ID_ITEM = UUID("beca12ab-b2e6-4523-93ef-c309e000c746").bytes_le
LOGICAL_SECTOR_ITEM = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f").bytes_le
PHYSICAL_SECTOR_ITEM = UUID("cda348c7-445d-4471-9cc9-e9885251c556").bytes_le
PARENT_LOCATOR_ITEM = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
KNOWN_ITEMS = (
    FILE_PARAMETERS_ITEM,
    DISK_SIZE_ITEM,
    DISK_ID_ITEM,
    LOGICAL_SECTOR_ITEM,
    PHYSICAL_SECTOR_ITEM,
    PARENT_LOCATOR_ITEM,
)
MAX_ITEM_SIZE = MIB

# 2.6.2.1 "File Parameters".
FILE_PARAMETERS = Struct("<II")
LEAVE_BLOCKS_ALLOCATED = 1
HAS_PARENT = 2
MIN_BLOCK_SIZE = MIB
MAX_BLOCK_SIZE = 256 * MIB
MAX_DISK_SIZE = 64 << 40
SECTOR_SIZES = (512, 4096)

# 2.6.2.6 "Parent Locator".
LOCATOR_HEADER = Struct("<16sHH")
LOCATOR_ENTRY = Struct("<IIHH")


class LocatorEntry(NamedTuple):
    """`LOCATOR_ENTRY`, unpacked: offsets in the item and lengths in bytes of two texts in UTF-16LE."""

    key_offset: int
    value_offset: int
    key_length: int
    value_length: int


VHDX_LOCATOR_TYPE = UUID("b04aefb7-d19e-4a81-b789-25b8e9445913").bytes_le

NO_GUID = bytes(16)
