"""Disk files that attack whoever looks into them: VHDX, VHD, partition tables and raw disks."""

from __future__ import annotations

import functools
import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from tests.formats.vhd.craft import dynamic_vhd, vhd_footer
from tests.formats.vhdx.craft import (
    LOG,
    METADATA,
    child_disk,
    locator,
    log_entry,
    set_header,
    set_locator,
    small_disk,
)
from tests.hostile.forms import LIMITED, REFUSED, TAKEN, UNSUPPORTED, World, add, form, holding
from tests.hostile.layers import put_special
from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.headers import sealed

MIB = 1 << 20
_BAD = REFUSED | UNSUPPORTED
"""Damaged, or taken for a disk without an NTFS volume."""
_ANY = _BAD | LIMITED | TAKEN


def _vhdx(name: str, finding: str, tamper: Callable[[io.BytesIO], object], outcome: frozenset[int] = _ANY) -> None:
    def build(place: Path, world: World) -> None:
        file = small_disk()
        tamper(file)
        place.write_bytes(file.getvalue())

    add("disk", f"VHDX {name}", finding, outcome, build)


def _put(file: io.BytesIO, offset: int, data: bytes) -> None:
    file.seek(offset)
    file.write(data)


def _table(file: io.BytesIO, at: int, data: bytes) -> None:
    """Changes the table of regions, both copies, with the right checksum."""
    for offset in structs.REGION_TABLE_OFFSETS:
        file.seek(offset)
        table = bytearray(file.read(structs.REGION_TABLE_SIZE))
        table[at : at + len(data)] = data
        _put(file, offset, sealed(bytes(table)))


def _item(file: io.BytesIO, item: bytes, data: bytes) -> None:
    """Puts other bytes into an item of the metadata."""
    file.seek(METADATA)
    table = file.read(structs.METADATA_TABLE_SIZE)
    for index in range(structs.METADATA_HEADER.unpack_from(table)[2]):
        entry = structs.METADATA_ENTRY.unpack_from(table, 32 + 32 * index)
        if entry[0] == item:
            _put(file, METADATA + entry[1], data)


for _name, _number in (
    ("beyond the end", 1 << 44),
    ("at 0", 0),
    ("in the header", MIB),
    ("at the end of all", (1 << 64) - MIB),
):
    for _state in (6, 7, 5):
        _vhdx(
            f"block {_name} in state {_state}",
            "F25",
            functools.partial(
                lambda file, entry: _put(file, 3 * MIB, struct.pack("<Q", entry)), entry=_number & ~0xFFFFF | _state
            ),
        )
_vhdx("all blocks the same", "F25, sibling", lambda file: _put(file, 3 * MIB, struct.pack("<Q", 5 * MIB | 6) * 8))
for _name, _bytes in (
    ("of 0", 0),
    ("of all", (1 << 64) - 1),
    ("of 64 TiB", 64 << 40),
    ("of 2 to the 63", 1 << 63),
    ("odd", 1001),
):
    _vhdx(
        f"size {_name}",
        "huge claims",
        functools.partial(lambda file, size: _item(file, structs.DISK_SIZE_ITEM, struct.pack("<Q", size)), size=_bytes),
    )
for _name, _bytes in (
    ("of 0", 0),
    ("of 1", 1),
    ("of 4 GiB", 0xFFFFFFFF),
    ("of 256 MiB", 256 * MIB),
    ("of 3 MiB", 3 * MIB),
):
    _vhdx(
        f"block size {_name}",
        "huge claims",
        functools.partial(
            lambda file, size: _item(file, structs.FILE_PARAMETERS_ITEM, struct.pack("<II", size, 0)), size=_bytes
        ),
    )
for _bytes in (0, 1, 513, 0xFFFFFFFF):
    _vhdx(
        f"sector of {_bytes}",
        "huge claims",
        functools.partial(
            lambda file, size: _item(file, structs.LOGICAL_SECTOR_ITEM, struct.pack("<I", size)), size=_bytes
        ),
    )
_vhdx(
    "parent without a locator",
    "loops",
    lambda file: _item(file, structs.FILE_PARAMETERS_ITEM, struct.pack("<II", MIB, structs.HAS_PARENT)),
)
_vhdx("four billion regions", "huge claims", lambda file: _table(file, 8, b"\xff" * 4))
_vhdx(
    "regions at the end of all",
    "huge claims",
    lambda file: _table(file, 32, struct.pack("<QI", (1 << 64) - MIB, 0xFFFFFFFF)),
)
_vhdx("65,535 items", "F19, sibling", lambda file: _put(file, METADATA + 10, b"\xff\xff"))
_vhdx(
    "items far out",
    "F19, sibling",
    lambda file: _put(file, METADATA + 32 + 16, struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)),
)


def _without_headers(file: io.BytesIO) -> None:
    for offset in structs.HEADER_OFFSETS:
        _put(file, offset, bytes(4096))


def _rubbish_log(file: io.BytesIO) -> None:
    set_header(file, log_guid=b"g" * 16)
    _put(file, LOG, b"loge" * 1000)


_vhdx("no identifier", "damage", lambda file: _put(file, 0, b"vhdxfilX"))
_vhdx("no headers", "damage", _without_headers)
_vhdx("a log of 3 GiB", "F19", lambda file: set_header(file, log_guid=uuid4().bytes_le, log_length=3 << 30))
_vhdx(
    "a log at the end of all",
    "F19",
    lambda file: set_header(file, log_guid=uuid4().bytes_le, log_length=MIB, log_offset=(1 << 64) - MIB),
)
_vhdx(
    "a log of rubbish",
    "F19, sibling",
    _rubbish_log,
)


def _zeros(file: io.BytesIO, count: int, length: int, target: int) -> None:
    """A log that writes zeros."""
    guid = b"0123456789abcdef"
    set_header(file, log_guid=guid)
    zeros = structs.ZERO_DESCRIPTOR.pack(b"zero", 0, length, target, 1) * count
    _put(file, LOG, log_entry(guid, zeros, count, 8 * MIB))


_vhdx("a log of gigabytes of zeros", "F19, sibling", lambda file: _zeros(file, 100, 64 * MIB, 0))
_vhdx("a log of zeros at 2 to the 60", "F19, sibling", lambda file: _zeros(file, 1, 4096, 1 << 60))
_vhdx("a log of exabytes of zeros", "F19, sibling", lambda file: _zeros(file, 1, 1 << 62, 0))


@form("disk", "F19", _ANY)
def a_vhdx_of_64_tib(place: Path, world: World) -> None:
    from wclayer.formats.vhdx.create import create_vhdx

    with place.open("w+b") as file, create_vhdx(file, 64 << 40) as disk:
        disk.write((64 << 40) - MIB, b"end")


def _child(name: str, finding: str, item: Callable[[Path, World], bytes]) -> None:
    """A differencing disk with another parent locator."""

    def build(place: Path, world: World) -> None:
        file = child_disk()
        set_locator(file, item(place, world))
        place.write_bytes(file.getvalue())

    add("disk", f"VHDX parent {name}", finding, _ANY | frozenset({2, 4, 5, 12}), build)


def _pairs(**pairs: str) -> bytes:
    """A parent locator with these keys and values."""
    head, text = b"", b""
    at = structs.LOCATOR_HEADER.size + structs.LOCATOR_ENTRY.size * len(pairs)
    for key, value in pairs.items():
        one, two = key.encode("utf-16-le"), value.encode("utf-16-le", "surrogatepass")
        head += structs.LOCATOR_ENTRY.pack(at + len(text), at + len(text) + len(one), len(one), len(two))
        text += one + two
    return structs.LOCATOR_HEADER.pack(structs.VHDX_LOCATOR_TYPE, 0, len(pairs)) + head + text


_GUID = "{00000000-0000-0000-0000-000000000001}"
_child("of 20,000 entries", "F19", lambda place, world: locator(20_000, 65_534))
_child("of 65,535 entries", "F19", lambda place, world: locator(20_000, 2)[:18] + b"\xff\xff" + locator(20_000, 2)[20:])
_child("itself", "loops", lambda place, world: _pairs(parent_linkage=_GUID, relative_path=place.name))
_child(
    "a file elsewhere",
    "path escapes",
    lambda place, world: _pairs(
        parent_linkage=_GUID, relative_path="..\\..\\world\\small.img", absolute_win32_path="/nowhere/disk.vhdx"
    ),
)
_child("a FIFO", "FIFOs", lambda place, world: _pairs(parent_linkage=_GUID, relative_path="..\\..\\outside\\fifo"))
_child("zeros", "devices", lambda place, world: _pairs(parent_linkage=_GUID, absolute_win32_path="/dev/zero"))
_child(
    "a share",
    "path escapes",
    lambda place, world: _pairs(parent_linkage=_GUID, absolute_win32_path="\\\\server\\share\\x"),
)
_child("with NUL", "path escapes", lambda place, world: _pairs(parent_linkage=_GUID, relative_path="a\0b"))
_child(
    "an unpaired surrogate", "path escapes", lambda place, world: _pairs(parent_linkage=_GUID, relative_path="\ud800")
)
_child("a folder", "path escapes", lambda place, world: _pairs(parent_linkage=_GUID, relative_path=".."))
_child("of no linkage", "loops", lambda place, world: _pairs(relative_path="x"))

# VHD.

_VHD: dict[str, Callable[[], bytes]] = {
    "a footer alone": lambda: vhd_footer(),
    "2 TiB": lambda: dynamic_vhd(current_size=2 << 40),
    "exabytes": lambda: dynamic_vhd(current_size=(1 << 64) - 512),
    "a fixed one of exabytes": lambda: vhd_footer(disk_type=2, current_size=1 << 62),
    "blocks of nothing": lambda: dynamic_vhd(block_size=0),
    "blocks of 4 GiB": lambda: dynamic_vhd(block_size=0xFFFFFFFF),
    "four billion blocks": lambda: dynamic_vhd(max_entries=0xFFFFFFFF),
    "a table beyond the end": lambda: dynamic_vhd(table_offset=1 << 62),
    "a header beyond the end": lambda: dynamic_vhd(data_offset=1 << 62),
    "blocks beyond the end": lambda: dynamic_vhd(entries=dict.fromkeys(range(6), 0xFFFFFFFE)),
    "blocks in the header": lambda: dynamic_vhd(entries=dict.fromkeys(range(6), 0)),
    "blocks at one place": lambda: dynamic_vhd(entries=dict.fromkeys(range(6), 4)),
    "differencing": lambda: dynamic_vhd(disk_type=4),
    "of no type": lambda: dynamic_vhd(disk_type=77),
}
for _name, _make in _VHD.items():
    add(
        "disk",
        f"VHD {_name}",
        "F19, sibling",
        _ANY,
        functools.partial(lambda place, world, make: place.write_bytes(make()), make=_make),
    )

# Partition tables and raw disks.


def _mbr(*entries: tuple[int, int, int], flag: int = 0) -> bytes:
    """A boot record: type, first sector and number of sectors of each partition."""
    data = bytearray(512)
    for number, (kind, first, count) in enumerate(entries):
        struct.pack_into("<B3sB3sII", data, 446 + 16 * number, flag, b"", kind, b"", first, count)
    data[510:] = b"\x55\xaa"
    return bytes(data)


_MBRS: dict[str, bytes] = {
    "a partition beyond the end": _mbr((7, 1, 0xFFFFFFFF)),
    "a partition that is all": _mbr((7, 0, 0xFFFFFFFF)),
    "partitions in each other": _mbr((7, 1, 100), (7, 2, 100), (7, 3, 100)),
    "an extended one that is itself": _mbr((5, 1, 100)) + _mbr((7, 1, 1), (5, 0, 100)),
    "extended ones in a circle": _mbr((5, 1, 100)) + _mbr((5, 1, 100)) + _mbr((5, 0, 100)),
    "an extended one beyond the end": _mbr((15, 0xFFFFFFFE, 0xFFFFFFFF)),
    "four extended ones": _mbr(*[(5, 1, 100)] * 4) + _mbr(*[(5, 1, 100)] * 4),
    "protection of nothing": _mbr((0xEE, 1, 0xFFFFFFFF)),
}
for _name, _data in _MBRS.items():
    add("disk", f"MBR {_name}", "huge claims", _ANY, holding(_data.ljust(MIB, b"\0")))


def _gpt(**changes: int) -> bytes:
    """A disk with a GUID partition table; `changes` are fields of its header, by their offsets."""
    import zlib

    entries = bytearray(128 * 128)
    struct.pack_into("<16s16sQQQ", entries, 0, bytes.fromhex("a2a0d0ebe5b9334487c068b6b72699c7"), b"g" * 16, 40, 100, 0)
    fields = {
        "size": 92,
        "own": 1,
        "other": 2047,
        "first": 34,
        "last": 2014,
        "entries": 2,
        "count": 128,
        "entry_size": 128,
        "entry_first": 40,
        "entry_last": 100,
    } | changes
    struct.pack_into("<QQ", entries, 32, fields["entry_first"], fields["entry_last"])
    header = bytearray(512)
    struct.pack_into(
        "<8sIIIIQQQQ16sQIII",
        header,
        0,
        b"EFI PART",
        0x10000,
        fields["size"],
        0,
        0,
        fields["own"],
        fields["other"],
        fields["first"],
        fields["last"],
        b"d" * 16,
        fields["entries"],
        fields["count"],
        fields["entry_size"],
        zlib.crc32(entries),
    )
    struct.pack_into("<I", header, 16, zlib.crc32(header[: min(fields["size"], 512)]))
    return (_mbr((0xEE, 1, 2047)) + bytes(header) + bytes(entries)).ljust(MIB, b"\0")


for _name, _changes in {
    "sound": {},
    "four billion entries": {"count": 0xFFFFFFFF},
    "entries of 4 GiB": {"entry_size": 0xFFFFFFFF},
    "entries of nothing": {"entry_size": 0},
    "entries beyond the end": {"entries": (1 << 64) - 1},
    "a header of 4 GiB": {"size": 0xFFFFFFFF},
    "a partition beyond the end": {"entry_last": (1 << 64) - 1},
    "a partition that ends before it begins": {"entry_first": 100, "entry_last": 40},
    "a partition over the table": {"entry_first": 0},
}.items():
    add("disk", f"GPT {_name}", "huge claims", _ANY, holding(_gpt(**_changes)))


def _boot(**changes: int) -> bytes:
    """The boot sector of an NTFS volume, alone; `changes` are its fields."""
    fields = {"bytes": 512, "sectors": 8, "total": 16_000, "mft": 4, "mirror": 8, "record": -10, "index": 1} | changes
    data = bytearray(512)
    data[:11] = b"\xeb\x52\x90NTFS    "
    struct.pack_into("<HB", data, 11, fields["bytes"], fields["sectors"])
    struct.pack_into(
        "<QQQb3xb", data, 40, fields["total"], fields["mft"], fields["mirror"], fields["record"], fields["index"]
    )
    data[510:] = b"\x55\xaa"
    return bytes(data)


for _name, _changes in {
    "alone": {},
    "sectors of nothing": {"bytes": 0},
    "sectors of 64 KiB": {"bytes": 0xFFFF},
    "clusters of nothing": {"sectors": 0},
    "clusters of 2 to the 128": {"sectors": 0x80},
    "2 to the 63 sectors": {"total": (1 << 63) - 1},
    "an MFT beyond the end": {"mft": (1 << 63) - 1},
    "an MFT at 0": {"mft": 0},
    "records of 2 to the 128": {"record": -128},
    "records of nothing": {"record": 0},
    "index blocks of 2 to the 100": {"index": -100},
}.items():
    add("disk", f"NTFS boot sector {_name}", "F22, sibling", _ANY, holding(_boot(**_changes).ljust(8 * MIB, b"\0")))
for _kind in ("FIFO", "directory", "link to zeros", "link to itself", "socket", "device", "empty file"):
    add(
        "disk",
        f"{_kind} in its place",
        "devices and FIFOs",
        _ANY | frozenset({2, 4, 5, 12, 16}),
        functools.partial(lambda place, world, kind: put_special(place, kind, world), kind=_kind),
    )


# A raw disk of that size is larger than the files that the runner lets commands make.
@form("disk", "huge claims", _ANY, more=frozenset({1, 15}))
def zeros_of_2_to_the_42(place: Path, world: World) -> None:
    with place.open("wb") as file:
        file.truncate(1 << 42)


@form("disk", "huge claims", _ANY)
def the_mark_of_a_disk_and_nothing_more(place: Path, world: World) -> None:
    place.write_bytes(b"vhdxfile")
    os.truncate(place, 100)
