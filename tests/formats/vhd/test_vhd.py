"""VHD files: those that others make are read, damaged and hostile ones are refused or told."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from dissect.hypervisor.disk import vhd as dissect_vhd

from tests.formats.vhd.craft import VHD_SIZE, dynamic_vhd, vhd_content, vhd_footer
from tests.support import witness
from wclayer.errors import FormatError
from wclayer.formats.vhd import structs
from wclayer.formats.vhd.image import DynamicVhd, VhdError, read_metadata
from wclayer.layers.volume.disk_file import DiskFile

MIB = 1 << 20


def _open(data: bytes) -> DynamicVhd:
    file = io.BytesIO(data)
    metadata = read_metadata(file)
    assert metadata is not None
    return DynamicVhd(file, metadata)


@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_what_qemu_makes_is_read(kind: str, tmp_path: Path) -> None:
    raw, path = tmp_path / "raw", tmp_path / "disk.vhd"
    raw.write_bytes(vhd_content())
    options = f"subformat={kind},force_size=on"
    command = [witness("qemu-img"), "convert", "-f", "raw", "-O", "vpc", "-o", options, str(raw), str(path)]
    subprocess.run(command, check=True)
    with DiskFile(path) as opened:
        assert opened.vhd is not None
        assert (opened.vhd.kind, opened.disk.size) == (kind, VHD_SIZE)
        assert opened.disk.read(0, VHD_SIZE) == vhd_content()
        assert opened.disk.read(3 * MIB + 650, 700) == vhd_content()[3 * MIB + 650 : 3 * MIB + 1350]
        assert not opened.vhd.problems


def test_others_read_what_the_tests_make(tmp_path: Path) -> None:
    path, raw = tmp_path / "disk.vhd", tmp_path / "raw"
    path.write_bytes(dynamic_vhd())
    assert _open(path.read_bytes()).read(0, VHD_SIZE) == vhd_content()
    opened: Any = dissect_vhd.VHD
    with path.open("rb") as file:
        assert opened(file).read(VHD_SIZE) == vhd_content()
    assert (
        "dynamic"
        in subprocess.run([witness("vhdiinfo"), path], check=True, capture_output=True, text=True).stdout.lower()
    )
    subprocess.run([witness("qemu-img"), "convert", "-f", "vpc", "-O", "raw", path, raw], check=True)
    assert raw.read_bytes()[: 1 * MIB] == vhd_content()[: 1 * MIB]


def test_sectors_that_the_bitmap_leaves_out_are_zeros() -> None:
    bitmap = bytearray(b"\xff" * 512)
    # The highest bit is the first sector: 1 and 2 are not there, nor is 15.
    bitmap[0], bitmap[1] = 0b10011111, 0b11111110
    content = bytes(index // 512 % 250 + 1 for index in range(2 * MIB))
    disk = _open(dynamic_vhd(content, bitmap=bytes(bitmap), current_size=2 * MIB))
    expected = bytearray(content)
    expected[512 : 3 * 512] = bytes(1024)
    expected[15 * 512 : 16 * 512] = bytes(512)
    assert disk.read(0, 2 * MIB) == expected
    for start, length in ((500, 30), (1000, 2000), (511, 1), (15 * 512 - 1, 514)):
        assert disk.read(start, length) == expected[start : start + length]


def test_one_copy_of_the_footer_is_enough() -> None:
    whole = dynamic_vhd()
    for data in (whole[:-512] + bytes(512), bytes(512) + whole[512:], whole[:-512]):
        metadata = read_metadata(io.BytesIO(data))
        assert metadata is not None
        assert metadata.problems
        assert DynamicVhd(io.BytesIO(data), metadata).read(0, VHD_SIZE) == vhd_content()


def test_a_footer_of_511_bytes_is_found() -> None:
    metadata = read_metadata(io.BytesIO(bytes(VHD_SIZE) + vhd_footer(disk_type=structs.FIXED)[:511]))
    assert metadata is not None
    assert metadata.kind == "fixed"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(VHD_SIZE) + vhd_footer(disk_type=structs.FIXED, current_size=VHD_SIZE + 1024), "fixed disk of"),
        (dynamic_vhd(disk_type=structs.DIFFERENCING), "differencing"),
        (dynamic_vhd(disk_type=7), "type 7"),
        (dynamic_vhd(version=0x20000), "version 2"),
        (dynamic_vhd(current_size=1 << 60), "whole sectors"),
        (dynamic_vhd(current_size=0), "whole sectors"),
        (dynamic_vhd(current_size=1 << 40), "table of"),
        (dynamic_vhd(data_offset=1 << 62), "outside of the file"),
        (dynamic_vhd(data_offset=1024), "no header"),
        (dynamic_vhd(table_offset=1 << 63), "table of"),
        (dynamic_vhd(block_size=3 * MIB), "powers of two"),
        (dynamic_vhd(block_size=512), "powers of two"),
        (dynamic_vhd(entries={0: 0}), "block 0"),
        (dynamic_vhd(entries={3: 0xFFFFFFF0}), "block 3"),
    ],
)
def test_what_is_no_sound_vhd_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(VhdError, match=message):
        _open(data).read(0, VHD_SIZE)


def test_damaged_blocks_are_told() -> None:
    place = _open(dynamic_vhd()).block_place(0)
    assert place is not None
    disk = _open(dynamic_vhd(entries={1: place // 512 + 8, 4: 0xFFFFFFF0}))
    assert ["overlaps" in text or "outside" in text for text in disk.problems()] == [True, True]


def test_a_table_of_a_large_disk_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhd"
    size = 2 << 40
    blocks = size // (64 << 10)
    data = dynamic_vhd(
        bytes(2 * MIB) + b"x" * 512, current_size=size, max_entries=blocks, block_size=64 << 10, table_offset=1 << 20
    )
    with path.open("w+b") as file:
        file.write(data[:2048])
        # No table is there: a hole says of every block that it is at 0.
        file.truncate(1 << 40)
        file.write(data[-512:])
        metadata = read_metadata(file)
        assert metadata is not None
        tracemalloc.start()
        disk = DynamicVhd(file, metadata)
        with pytest.raises(VhdError, match="block 0"):
            disk.allocated()
        assert len(list(disk.problems())) == 1000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100 * MIB


def test_mutated_files_with_right_checksums_are_read_or_refused() -> None:
    source = random.Random(2006)
    whole = dynamic_vhd()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(source.randrange(1, 4)):
            at = source.choice((source.randrange(8, 90), 512 + source.randrange(8, 40), 1536 + source.randrange(24)))
            data[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
        struct.pack_into(">I", data, 64, structs.checksum(bytes(data[:512]), 64))
        struct.pack_into(">I", data, 512 + 36, structs.checksum(bytes(data[512 : 512 + 1024]), 36))
        data[-512:] = data[:512]
        try:
            disk = _open(bytes(data))
            list(disk.problems())
            for offset, length in disk.extents():
                disk.read(offset, min(length, 4096))
        except FormatError as error:
            assert str(error)
