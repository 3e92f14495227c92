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
from uuid import uuid4

import pytest

from tests.formats.vhdx.craft import (
    BAT,
    LOG,
    METADATA,
    child_disk,
    locator,
    log_entry,
    set_header,
    set_locator,
    small_disk,
)
from wclayer.errors import FormatError
from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.check import check_vhdx
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.headers import ParentLocator, sealed
from wclayer.formats.vhdx.image import Vhdx
from wclayer.formats.vhdx.structs import MIB, SECTOR


@contextmanager
def _at_most(size: int) -> Iterator[None]:
    """Checks that no more than `size` bytes are allocated at one time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def test_entries_of_a_parent_locator_do_not_overlap() -> None:
    file = child_disk()
    set_locator(file, locator(20_000, 65_534))
    with _at_most(8 * MIB), pytest.raises(VhdxError, match="overlap"):
        Vhdx(file, open_parent=lambda _: Vhdx(small_disk()))


def test_a_metadata_item_is_there_once() -> None:
    file = small_disk()
    file.seek(METADATA)
    table = bytearray(file.read(structs.METADATA_TABLE_SIZE))
    first = table[32 : 32 + structs.METADATA_ENTRY.size]
    for index in range(2000):
        at = structs.METADATA_HEADER.size + index * structs.METADATA_ENTRY.size
        table[at : at + len(first)] = first
    struct.pack_into("<H", table, 10, 2000)
    file.seek(METADATA)
    file.write(table)
    with pytest.raises(VhdxError, match="twice"):
        Vhdx(file)


def test_a_log_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    path.write_bytes(small_disk().getvalue())
    with path.open("r+b") as file:
        file.truncate(8 << 30)
        for length in (3 << 30, 33 * MIB):
            set_header(file, log_guid=uuid4().bytes_le, log_length=length)
            with _at_most(MIB), pytest.raises(VhdxError, match=f"a log of {length} bytes"):
                Vhdx(file)


@pytest.mark.parametrize(
    ("count", "length", "target", "message"),
    [(100, 64 * MIB, 0, "more than 1073741824 zeros"), (1, SECTOR, 1 << 60, "of a file of")],
)
@pytest.mark.parametrize("writable", [False, True])
def test_a_log_writes_no_more_than_the_file_can_need(
    count: int, length: int, target: int, message: str, writable: bool, tmp_path: Path
) -> None:
    path = tmp_path / "disk.vhdx"
    path.write_bytes(small_disk().getvalue())
    guid = uuid4().bytes_le
    with path.open("r+b") as file:
        file.truncate(256 * MIB)
        set_header(file, log_guid=guid)
        zeros = structs.ZERO_DESCRIPTOR.pack(b"zero", 0, length, target, 1) * count
        file.seek(LOG)
        file.write(log_entry(guid, zeros, count, 256 * MIB))
        with _at_most(64 * MIB), pytest.raises(VhdxError, match=message):
            Vhdx(file, writable=writable)


def test_zeros_of_a_log_are_read_as_zeros() -> None:
    file = small_disk()
    guid = uuid4().bytes_le
    place = Vhdx(file).block_state(3)[1]
    set_header(file, log_guid=guid)
    file.seek(LOG)
    file.write(log_entry(guid, structs.ZERO_DESCRIPTOR.pack(b"zero", 0, 2 * SECTOR, place, 1), 1, place + MIB))
    for writable in (False, True):
        disk = Vhdx(file, writable=writable)
        assert disk.log_was_replayed
        assert disk.read(3 * MIB, 20_000) == bytes(2 * SECTOR) + (b"data" * 5000)[2 * SECTOR : 20_000]


def test_log_entries_that_lie_in_each_other_are_refused() -> None:
    file = small_disk()
    guid = uuid4().bytes_le
    set_header(file, log_guid=guid)
    for sector in range(20):
        file.seek(LOG + sector * SECTOR)
        file.write(structs.LOG_ENTRY.pack(b"loge", 0, MIB, 0, sector + 1, 0, 0, guid, 0, 0))
    with pytest.raises(VhdxError, match="overlap"):
        Vhdx(file)


_INSPECT = """
import resource, sys
import wclayer
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
print(wclayer.disk_info(sys.argv[1]).blocks_present, list(wclayer.check_disk(sys.argv[1])))
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
    parent = Vhdx(small_disk())
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


@pytest.mark.parametrize("offset", [(1 << 64) - MIB, (1 << 63) - MIB])
def test_a_log_where_no_file_has_a_place_is_refused(offset: int) -> None:
    file = small_disk()
    set_header(file, log_guid=uuid4().bytes_le, log_offset=offset)
    with pytest.raises(VhdxError, match=r"log|no file has any"):
        Vhdx(file)


def _mutants() -> Iterator[io.BytesIO]:
    """Files with some fields changed and every checksum right."""
    source = random.Random(2026)
    originals = [small_disk().getvalue(), child_disk().getvalue()]
    places = (
        [(offset, structs.HEADER.size, SECTOR) for offset in structs.HEADER_OFFSETS]
        + [(offset, 16 + 2 * 32, structs.REGION_TABLE_SIZE) for offset in structs.REGION_TABLE_OFFSETS]
        + [(METADATA, 32 + 6 * 32, 0), (METADATA + structs.METADATA_TABLE_SIZE, 200, 0), (BAT, 9 * 8, 0)]
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
            disk = Vhdx(file, open_parent=lambda _: Vhdx(small_disk()))
            opened += 1
            list(check_vhdx(file, disk))
            for offset, length in disk.extents():
                disk.read(offset, min(length, 2 * MIB))
        except FormatError as error:
            assert str(error)
    assert opened > 20


def test_a_block_in_part_needs_its_sector_bitmap() -> None:
    file = child_disk()

    def opened(*, writable: bool = False) -> Vhdx:
        return Vhdx(file, writable=writable, open_parent=lambda _: Vhdx(small_disk()))

    disk = opened()
    assert disk.read(5 * MIB, 1024) == b"x" * 512 + bytes(512)
    assert list(check_vhdx(file, disk)) == []
    bat = next(offset for offset, _, name in disk.own_regions() if name == "the BAT")
    file.seek(bat + 8 * disk.metadata.chunk_ratio)
    file.write(bytes(8))
    with pytest.raises(VhdxError, match="sector bitmap"):
        opened().read(5 * MIB, 512)
    with pytest.raises(VhdxError, match="sector bitmap"):
        opened(writable=True).write(5 * MIB, b"y" * 512)
    assert [problem for problem in check_vhdx(file, opened()) if "sector bitmap" in problem]
