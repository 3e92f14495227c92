"""On-disk structures of GUID partition tables.

Source: UEFI Specification 2.10, section 5.2.3 "Protective MBR" and 5.3 "GUID Partition Table (GPT) Disk Layout".
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple
from uuid import UUID

# 5.2.3 "Protective MBR".
MBR_SIZE = 512
MBR_PARTITIONS_OFFSET = 446
MBR_PARTITION = Struct("<B3sB3sII")
"""Boot indicator, first CHS, type, last CHS, first sector, number of sectors."""
MBR_SIGNATURE = b"\x55\xaa"
PROTECTIVE_TYPE = 0xEE

# 5.3.2 "GPT Header".
HEADER = Struct("<8sIIIIQQQQ16sQIII")
HEADER_SIGNATURE = b"EFI PART"
REVISION = 0x00010000
CHECKSUM_OFFSET = 16


class Header(NamedTuple):
    """`HEADER`, unpacked. Positions on the disk are numbers of sectors."""

    signature: bytes
    revision: int
    size: int
    checksum: int
    reserved: int
    own_place: int
    other_place: int
    first_usable: int
    last_usable: int
    disk_guid: bytes
    entries_place: int
    entry_count: int
    entry_size: int
    entries_checksum: int


# 5.3.3 "GPT Partition Entry Array".
ENTRY = Struct("<16s16sQQQ72s")
"""Type, own GUID, first sector, last sector, attributes, name in UTF-16LE."""
ENTRY_COUNT = 128
MAX_ENTRIES = 1024

MICROSOFT_RESERVED = UUID("e3c9e316-0b5c-4db8-817d-f92df00215ae")
BASIC_DATA = UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
NO_TYPE = UUID(int=0)
