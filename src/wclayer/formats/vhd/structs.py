"""On-disk structures of VHD files. All numbers are big-endian.

Source: "Virtual Hard Disk Image Format Specification", version 1.0 (Microsoft, 2006), whose headings are quoted below.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

SECTOR = 512

# "Hard Disk Footer Format": the last sector of the file. A dynamic disk has a copy of it in the first sector.
FOOTER = Struct(">8sIIQI4sI4sQQHBBII16sB427x")
COOKIE = b"conectix"
MAJOR_VERSION = 1
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
FOOTER_CHECKSUM_OFFSET = 64


class Footer(NamedTuple):
    """`FOOTER`, unpacked."""

    cookie: bytes
    features: int
    version: int
    data_offset: int
    """The file offset of the header of a dynamic disk."""
    time_stamp: int
    creator_application: bytes
    creator_version: int
    creator_host: bytes
    original_size: int
    current_size: int
    """Bytes of the disk."""
    cylinders: int
    heads: int
    sectors_per_track: int
    disk_type: int
    checksum: int
    unique_id: bytes
    saved_state: int


# "Dynamic Disk Header Format".
HEADER = Struct(">8sQQIIII16sII512s192s256x")
HEADER_COOKIE = b"cxsparse"
HEADER_CHECKSUM_OFFSET = 36
MIN_BLOCK_SIZE = 64 << 10
MAX_BLOCK_SIZE = 256 << 20
MAX_DISK_SIZE = 2 << 40
"""Bytes of the largest disk: blocks are located by 32-bit numbers of sectors."""


class Header(NamedTuple):
    """`HEADER`, unpacked."""

    cookie: bytes
    data_offset: int
    table_offset: int
    """The file offset of the block allocation table."""
    version: int
    max_entries: int
    block_size: int
    checksum: int
    parent_id: bytes
    parent_time_stamp: int
    reserved: int
    parent_name: bytes
    parent_locators: bytes


# "Block Allocation Table and Data Blocks": an entry is the number of the file's sector with the block's bitmap.
ENTRY = Struct(">I")
NO_BLOCK = 0xFFFFFFFF


def checksum(data: bytes, offset: int) -> int:
    """Returns the one's complement of the sum of all bytes except the checksum itself, which is at `offset`."""
    return ~(sum(data) - sum(data[offset : offset + 4])) & 0xFFFFFFFF
