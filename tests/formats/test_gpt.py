"""Partition tables: as sgdisk verifies and prints them, and as sgdisk makes them."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import witness
from wclayer.formats.gpt import structs
from wclayer.formats.gpt.table import GptError, Partition, data_disk_table, grown_table, read_table, write_table
from wclayer.layers.volume.raw import RawDisk

MIB = 1 << 20
GUIDS = (UUID(int=2), UUID(int=3))


def _disk(size: int, sector: int = 512) -> RawDisk:
    return RawDisk(io.BytesIO(), size=size, sector_size=sector)


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("size", [20 * MIB, 20 << 30, 64 << 40])
def test_a_data_disk(sector: int, size: int) -> None:
    table = data_disk_table(size, sector, UUID(int=1), GUIDS)

    class Sparse(RawDisk):
        """Keeps what is written, however large the disk is."""

        def __init__(self) -> None:
            super().__init__(io.BytesIO(), size=size, sector_size=sector)
            self.pieces: dict[int, bytes] = {}

        def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
            for at in range(0, len(data), sector):
                self.pieces[offset + at] = bytes(data[at : at + sector])

        def read(self, offset: int, length: int) -> bytes:
            return b"".join(
                self.pieces.get(at, bytes(sector)) for at in range(offset, offset + max(length, sector), sector)
            )[:length]

    disk = Sparse()
    write_table(disk, table)
    assert read_table(disk) == table
    reserved, data = table.partitions
    assert (reserved.type, data.type) == (structs.MICROSOFT_RESERVED, structs.BASIC_DATA)
    assert data.offset == 16 * MIB
    assert data.offset + data.size <= table.end_usable


def test_sgdisk_verifies_and_prints_it(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    for size in (100 * MIB, 300 * MIB):
        table = data_disk_table(100 * MIB, 512, UUID(int=1), GUIDS)
        if size != table.disk_size:
            table = grown_table(table, size)
        with path.open("w+b") as file:
            file.truncate(size)
            write_table(RawDisk(file), table)
        shown = subprocess.run([witness("sgdisk"), "-v", "-p", str(path)], capture_output=True, text=True, check=True)
        assert "No problems found" in shown.stdout
        assert "Microsoft reserved" in shown.stdout
        detail = subprocess.run([witness("sgdisk"), "-i", "2", str(path)], capture_output=True, text=True, check=True)
        last = (table.partitions[1].offset + table.partitions[1].size) // 512 - 1
        assert f"Last sector: {last}" in detail.stdout


def test_what_sgdisk_makes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(64 * MIB))
    command = [witness("sgdisk"), "-n", "1:2048:+10M", "-t", "1:0700", "-c", "1:Größe", "-n", "5:0:0", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with path.open("rb") as file:
        table = read_table(RawDisk(file))
    assert [(p.offset, p.name) for p in table.partitions] == [(MIB, "Größe"), (11 * MIB, "")]
    assert table.partitions[0].type == structs.BASIC_DATA
    assert table.partitions[0].size == 10 * MIB
    assert table.problems == ()


def test_one_copy_is_enough() -> None:
    disk = _disk(40 * MIB)
    table = data_disk_table(40 * MIB, 512, UUID(int=1), GUIDS)
    write_table(disk, table)
    for place, name in ((512 + 60, "primary"), (40 * MIB - 512 + 60, "backup"), (1024 + 40, "primary")):
        saved = disk.read(place, 1)
        disk.write(place, bytes([saved[0] ^ 1]))
        found = read_table(disk)
        assert found.partitions == table.partitions
        assert any(name in problem for problem in found.problems)
        disk.write(place, saved)
    disk.write(510, b"\0\0")
    assert read_table(disk).problems == ("there is no protective MBR",)
    with pytest.raises(GptError, match=r"primary.*backup"):
        read_table(_disk(MIB))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(GptError, match="no room"):
        data_disk_table(16 * MIB, 512, UUID(int=1), GUIDS)
    table = data_disk_table(40 * MIB, 512, UUID(int=1), GUIDS)
    for partition in (
        Partition(structs.BASIC_DATA, UUID(int=9), 17 * MIB, MIB),
        Partition(structs.BASIC_DATA, UUID(int=9), 39 * MIB, MIB),
        Partition(structs.BASIC_DATA, UUID(int=9), 512, 512),
    ):
        bad = type(table)(40 * MIB, 512, UUID(int=1), (*table.partitions, partition))
        with pytest.raises(GptError, match=r"overlaps|reaches"):
            write_table(_disk(40 * MIB), bad)


@given(st.lists(st.tuples(st.integers(0, 34 * 512), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=60)
def test_damaged_tables_are_read_or_refused(damage: list[tuple[int, int]]) -> None:
    disk = _disk(20 * MIB)
    write_table(disk, data_disk_table(20 * MIB, 512, UUID(int=1), GUIDS))
    for offset, byte in damage:
        disk.write(offset, bytes([byte]))
        disk.write(20 * MIB - 34 * 512 + offset % (33 * 512), bytes([byte]))
    try:
        read_table(disk)
    except GptError as error:
        assert str(error)
