"""Small VHDX files, and ways to put damage with right checksums into them."""

from __future__ import annotations

import io
import struct
from typing import Any, BinaryIO
from uuid import uuid4

from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.formats.vhdx.headers import ParentLocator, encode_header
from wclayer.formats.vhdx.image import Vhdx
from wclayer.formats.vhdx.structs import MIB, SECTOR, Header

LOG, METADATA, BAT = MIB, 2 * MIB, 3 * MIB
"""Where these lie in the small disks."""


def small_disk(size: int = 8 * MIB) -> io.BytesIO:
    """A dynamic disk with some data at 3 MiB."""
    file = io.BytesIO()
    with create_vhdx(file, size) as disk:
        disk.write(3 * MIB, b"data" * 5000)
    return file


def child_disk() -> io.BytesIO:
    """A differencing disk on such a disk, whose parent is called `p`."""
    file, parent = io.BytesIO(), Vhdx(small_disk())
    with create_vhdx(file, parent.size, parent=parent, locator=ParentLocator(uuid4(), {"relative_path": "p"})) as disk:
        disk.write(5 * MIB, b"x" * 512)
    return file


def set_header(file: BinaryIO, **changes: Any) -> None:
    """Changes both headers, and puts their checksums right."""
    for offset in structs.HEADER_OFFSETS:
        file.seek(offset)
        header = Header._make(structs.HEADER.unpack(file.read(structs.HEADER.size)))
        file.seek(offset)
        file.write(encode_header(header._replace(checksum=0, **changes)))


def set_locator(file: BinaryIO, item: bytes) -> None:
    """Puts another parent locator behind the other items."""
    file.seek(METADATA)
    table = bytearray(file.read(structs.METADATA_TABLE_SIZE))
    place = structs.METADATA_TABLE_SIZE + 4096
    for index in range(structs.METADATA_HEADER.unpack_from(table)[2]):
        at = structs.METADATA_HEADER.size + index * structs.METADATA_ENTRY.size
        if table[at : at + 16] == structs.PARENT_LOCATOR_ITEM:
            struct.pack_into("<II", table, at + 16, place, len(item))
    file.seek(METADATA)
    file.write(table)
    file.seek(METADATA + place)
    file.write(item)


def locator(entries: int, length: int) -> bytes:
    """A parent locator whose entries all have the same key and value, of `length` bytes each."""
    text = structs.LOCATOR_HEADER.size + structs.LOCATOR_ENTRY.size * entries
    return (
        structs.LOCATOR_HEADER.pack(structs.VHDX_LOCATOR_TYPE, 0, entries)
        + structs.LOCATOR_ENTRY.pack(text, text, length, length) * entries
        + bytes(length)
    )


def log_entry(guid: bytes, descriptors: bytes, count: int, last: int) -> bytes:
    """An entry of the log with `count` descriptors, for a file of `last` bytes."""
    size = -(-(structs.LOG_ENTRY.size + len(descriptors)) // SECTOR) * SECTOR
    head = structs.LOG_ENTRY.pack(b"loge", 0, size, 0, 1, count, 0, guid, 0, last)
    entry = bytearray((head + descriptors).ljust(size, b"\0"))
    entry[4:8] = crc32c(entry).to_bytes(4, "little")
    return bytes(entry)
