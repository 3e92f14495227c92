"""VHDX files that claim more than they hold are refused, or read in little memory."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import pytest

from wclayer.errors import FormatError
from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.check import check_vhdx
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.image import ParentLocator, Vhdx, encode_header, sealed
from wclayer.formats.vhdx.structs import MIB, SECTOR, Header

_LOG, _METADATA, _BAT = MIB, 2 * MIB, 3 * MIB


@contextmanager
def _at_most(size: int) -> Iterator[None]:
    """Checks that no more than `size` bytes are allocated at one time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def _disk(size: int = 8 * MIB) -> io.BytesIO:
    file = io.BytesIO()
    with create_vhdx(file, size) as disk:
        disk.write(3 * MIB, b"data" * 5000)
    return file


def _child() -> io.BytesIO:
    file, parent = io.BytesIO(), Vhdx(_disk())
    with create_vhdx(file, parent.size, parent=parent, locator=ParentLocator(uuid4(), {"relative_path": "p"})) as disk:
        disk.write(5 * MIB, b"x" * 512)
    return file


def _set_header(file: BinaryIO, **changes: Any) -> None:
    """Changes both headers, and puts their checksums right."""
    for offset in structs.HEADER_OFFSETS:
        file.seek(offset)
        header = Header._make(structs.HEADER.unpack(file.read(structs.HEADER.size)))
        file.seek(offset)
        file.write(encode_header(header._replace(checksum=0, **changes)))


def _set_locator(file: BinaryIO, item: bytes) -> None:
    """Puts another parent locator behind the other items."""
    file.seek(_METADATA)
    table = bytearray(file.read(structs.METADATA_TABLE_SIZE))
    place = structs.METADATA_TABLE_SIZE + 4096
    for index in range(structs.METADATA_HEADER.unpack_from(table)[2]):
        at = structs.METADATA_HEADER.size + index * structs.METADATA_ENTRY.size
        if table[at : at + 16] == structs.PARENT_LOCATOR_ITEM:
            struct.pack_into("<II", table, at + 16, place, len(item))
    file.seek(_METADATA)
    file.write(table)
    file.seek(_METADATA + place)
    file.write(item)


def _locator(entries: int, length: int) -> bytes:
    """A parent locator whose entries all have the same key and value, of `length` bytes each."""
    text = structs.LOCATOR_HEADER.size + structs.LOCATOR_ENTRY.size * entries
    return (
        structs.LOCATOR_HEADER.pack(structs.VHDX_LOCATOR_TYPE, 0, entries)
        + structs.LOCATOR_ENTRY.pack(text, text, length, length) * entries
        + bytes(length)
    )


def test_entries_of_a_parent_locator_do_not_overlap() -> None:
    file = _child()
    _set_locator(file, _locator(20_000, 65_534))
    with _at_most(8 * MIB), pytest.raises(VhdxError, match="overlap"):
        Vhdx(file, open_parent=lambda _: Vhdx(_disk()))


def test_a_metadata_item_is_there_once() -> None:
    file = _disk()
    file.seek(_METADATA)
    table = bytearray(file.read(structs.METADATA_TABLE_SIZE))
    first = table[32 : 32 + structs.METADATA_ENTRY.size]
    for index in range(2000):
        at = structs.METADATA_HEADER.size + index * structs.METADATA_ENTRY.size
        table[at : at + len(first)] = first
    struct.pack_into("<H", table, 10, 2000)
    file.seek(_METADATA)
    file.write(table)
    with pytest.raises(VhdxError, match="twice"):
        Vhdx(file)


def test_a_log_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    path.write_bytes(_disk().getvalue())
    with path.open("r+b") as file:
        file.truncate(8 << 30)
        for length in (3 << 30, 33 * MIB):
            _set_header(file, log_guid=uuid4().bytes_le, log_length=length)
            with _at_most(MIB), pytest.raises(VhdxError, match=f"a log of {length} bytes"):
                Vhdx(file)


def _log_entry(guid: bytes, descriptors: bytes, count: int, last: int) -> bytes:
    size = -(-(structs.LOG_ENTRY.size + len(descriptors)) // SECTOR) * SECTOR
    head = structs.LOG_ENTRY.pack(b"loge", 0, size, 0, 1, count, 0, guid, 0, last)
    entry = bytearray((head + descriptors).ljust(size, b"\0"))
    entry[4:8] = crc32c(entry).to_bytes(4, "little")
    return bytes(entry)


@pytest.mark.parametrize(
    ("count", "length", "target", "message"),
    [(100, 64 * MIB, 0, "more than 1073741824 zeros"), (1, SECTOR, 1 << 60, "of a file of")],
)
@pytest.mark.parametrize("writable", [False, True])
def test_a_log_writes_no_more_than_the_file_can_need(
    count: int, length: int, target: int, message: str, writable: bool, tmp_path: Path
) -> None:
    path = tmp_path / "disk.vhdx"
    path.write_bytes(_disk().getvalue())
    guid = uuid4().bytes_le
    with path.open("r+b") as file:
        file.truncate(256 * MIB)
        _set_header(file, log_guid=guid)
        zeros = structs.ZERO_DESCRIPTOR.pack(b"zero", 0, length, target, 1) * count
        file.seek(_LOG)
        file.write(_log_entry(guid, zeros, count, 256 * MIB))
        with _at_most(64 * MIB), pytest.raises(VhdxError, match=message):
            Vhdx(file, writable=writable)


def test_zeros_of_a_log_are_read_as_zeros() -> None:
    file = _disk()
    guid = uuid4().bytes_le
    place = Vhdx(file).block_state(3)[1]
    _set_header(file, log_guid=guid)
    file.seek(_LOG)
    file.write(_log_entry(guid, structs.ZERO_DESCRIPTOR.pack(b"zero", 0, 2 * SECTOR, place, 1), 1, place + MIB))
    for writable in (False, True):
        disk = Vhdx(file, writable=writable)
        assert disk.log_was_replayed
        assert disk.read(3 * MIB, 20_000) == bytes(2 * SECTOR) + (b"data" * 5000)[2 * SECTOR : 20_000]


def test_log_entries_that_lie_in_each_other_are_refused() -> None:
    file = _disk()
    guid = uuid4().bytes_le
    _set_header(file, log_guid=guid)
    for sector in range(20):
        file.seek(_LOG + sector * SECTOR)
        file.write(structs.LOG_ENTRY.pack(b"loge", 0, MIB, 0, sector + 1, 0, 0, guid, 0, 0))
    with pytest.raises(VhdxError, match="overlap"):
        Vhdx(file)


_INSPECT = """
import resource, sys
import wclayer
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
print(wclayer.disk_info(sys.argv[1])["blocks_present"], list(wclayer.check_disk(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_AS is of POSIX")
def test_the_largest_disk_is_looked_at_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    with path.open("w+b") as file, create_vhdx(file, 64 << 40) as disk:
        disk.write((64 << 40) - MIB, b"end")
    done = subprocess.run(
        [sys.executable, "-c", _INSPECT, path], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.strip() == "1 []", done.stderr


def test_changes_of_a_large_disk_are_written_before_they_take_much_memory(tmp_path: Path) -> None:
    parent = Vhdx(_disk())
    with (
        (tmp_path / "disk.vhdx").open("w+b") as file,
        create_vhdx(
            file, 1 << 40, block_size=256 * MIB, parent=parent, locator=ParentLocator(uuid4(), {"relative_path": "p"})
        ) as disk,
    ):
        # Over the parent's bytes the sector bitmaps are kept: one block has 64 KiB of bits.
        with _at_most(16 * MIB):
            for offset in range(0, parent.size, 64 << 10):
                disk.write(offset, b"own")
        assert disk.read(64 << 10, 4) == b"own\0"
        assert disk.read(3 * MIB, 8) == b"owna" + b"data"


def _mutants() -> Iterator[io.BytesIO]:
    """Files with some fields changed and every checksum right."""
    source = random.Random(2026)
    originals = [_disk().getvalue(), _child().getvalue()]
    places = (
        [(offset, structs.HEADER.size, SECTOR) for offset in structs.HEADER_OFFSETS]
        + [(offset, 16 + 2 * 32, structs.REGION_TABLE_SIZE) for offset in structs.REGION_TABLE_OFFSETS]
        + [(_METADATA, 32 + 6 * 32, 0), (_METADATA + structs.METADATA_TABLE_SIZE, 200, 0), (_BAT, 9 * 8, 0)]
    )
    for number in range(120):
        data = bytearray(originals[number % 2])
        for _ in range(source.randrange(1, 4)):
            offset, length, checked = source.choice(places)
            at = offset + source.randrange(8, length)
            value = source.choice((0, 1, 7, 0x7F, 0x80, 0xFF, source.randrange(256)))
            twins = (
                [pair for pair in places if pair[1:] == (length, checked)] if checked else [(offset, length, checked)]
            )
            for twin, _, size in twins:
                data[at - offset + twin] = value
                if size:
                    data[twin : twin + size] = sealed(bytes(data[twin : twin + size]))
        yield io.BytesIO(data)


def test_mutated_files_with_right_checksums_are_read_or_refused() -> None:
    opened = 0
    for file in _mutants():
        try:
            disk = Vhdx(file, open_parent=lambda _: Vhdx(_disk()))
            opened += 1
            list(check_vhdx(file, disk))
            for offset, length in disk.extents():
                disk.read(offset, min(length, 2 * MIB))
        except FormatError as error:
            assert str(error)
    assert opened > 20
