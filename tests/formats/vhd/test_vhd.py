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

from tests.support import witness
from wclayer.errors import FormatError
from wclayer.formats.vhd import structs
from wclayer.formats.vhd.image import DynamicVhd, VhdError, read_facts
from wclayer.formats.vhd.structs import Footer, Header
from wclayer.layers.volume.disk_file import DiskFile

MIB = 1 << 20
SIZE = 12 * MIB


def _content() -> bytes:
    content = bytearray(SIZE)
    for at, byte in ((0, 1), (3 * MIB + 700, 2), (7 * MIB - 100, 3), (SIZE - 600, 4)):
        content[at : at + 600] = bytes([byte]) * 600
    return bytes(content)


def _sealed(kind: Any, values: tuple[Any, ...], place: int) -> bytes:
    data = kind.pack(*values)
    return bytes(data[:place] + struct.pack(">I", structs.checksum(data, place)) + data[place + 4 :])


def _footer(**changes: Any) -> bytes:
    footer = Footer(
        b"conectix", 2, 0x10000, 512, 0, b"test", 0x10000, b"Wi2k", SIZE, SIZE, 100, 4, 17, structs.DYNAMIC, 0,
        bytes(range(16)), 0,
    )._replace(**changes)  # fmt: skip
    return _sealed(structs.FOOTER, footer, structs.FOOTER_CHECKSUM_OFFSET)


def _dynamic(
    content: bytes = b"", *, entries: dict[int, int] | None = None, bitmap: bytes | None = None, **changes: Any
) -> bytes:
    """A dynamic disk of blocks of 2 MiB, those with something in them in reverse order.

    Args:
        entries: other places of blocks, in sectors.
        bitmap: of every block, in place of one that says that all sectors are there.
    """
    content = content or _content()
    block = 2 * MIB
    blocks = -(-len(content) // block)
    pieces, body, at = {}, b"", 512 + 1024 + 512
    for number in reversed(range(blocks)):
        data = content[number * block : (number + 1) * block]
        if any(data):
            pieces[number] = (at + len(body)) // 512
            body += (bitmap or b"\xff" * 512) + data.ljust(block, b"\0")
    places = {**pieces, **(entries or {})}
    own = set(Header._fields) - set(Footer._fields)
    header_changes = {key: changes.pop(key) for key in list(changes) if key in own}
    header = Header(
        b"cxsparse", 0xFFFFFFFFFFFFFFFF, 512 + 1024, 0x10000, blocks, block, 0, bytes(16), 0, 0, b"", b""
    )._replace(**header_changes)
    table = b"".join(struct.pack(">I", places.get(number, 0xFFFFFFFF)) for number in range(blocks)).ljust(512, b"\xff")
    footer = _footer(**changes)
    return footer + _sealed(structs.HEADER, header, structs.HEADER_CHECKSUM_OFFSET) + table + body + footer


def _open(data: bytes) -> DynamicVhd:
    file = io.BytesIO(data)
    facts = read_facts(file)
    assert facts is not None
    return DynamicVhd(file, facts)


@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_what_qemu_makes_is_read(kind: str, tmp_path: Path) -> None:
    raw, path = tmp_path / "raw", tmp_path / "disk.vhd"
    raw.write_bytes(_content())
    options = f"subformat={kind},force_size=on"
    command = [witness("qemu-img"), "convert", "-f", "raw", "-O", "vpc", "-o", options, str(raw), str(path)]
    subprocess.run(command, check=True)
    with DiskFile(path) as opened:
        assert opened.vhd is not None
        assert (opened.vhd.kind, opened.disk.size) == (kind, SIZE)
        assert opened.disk.read(0, SIZE) == _content()
        assert opened.disk.read(3 * MIB + 650, 700) == _content()[3 * MIB + 650 : 3 * MIB + 1350]
        assert not opened.vhd.problems


def test_others_read_what_the_tests_make(tmp_path: Path) -> None:
    path, raw = tmp_path / "disk.vhd", tmp_path / "raw"
    path.write_bytes(_dynamic())
    assert _open(path.read_bytes()).read(0, SIZE) == _content()
    opened: Any = dissect_vhd.VHD
    with path.open("rb") as file:
        assert opened(file).read(SIZE) == _content()
    assert (
        "dynamic"
        in subprocess.run([witness("vhdiinfo"), path], check=True, capture_output=True, text=True).stdout.lower()
    )
    subprocess.run([witness("qemu-img"), "convert", "-f", "vpc", "-O", "raw", path, raw], check=True)
    assert raw.read_bytes()[: 1 * MIB] == _content()[: 1 * MIB]


def test_sectors_that_the_bitmap_leaves_out_are_zeros() -> None:
    bitmap = bytearray(b"\xff" * 512)
    # The highest bit is the first sector: 1 and 2 are not there, nor is 15.
    bitmap[0], bitmap[1] = 0b10011111, 0b11111110
    content = bytes(index // 512 % 250 + 1 for index in range(2 * MIB))
    disk = _open(_dynamic(content, bitmap=bytes(bitmap), current_size=2 * MIB))
    expected = bytearray(content)
    expected[512 : 3 * 512] = bytes(1024)
    expected[15 * 512 : 16 * 512] = bytes(512)
    assert disk.read(0, 2 * MIB) == expected
    for start, length in ((500, 30), (1000, 2000), (511, 1), (15 * 512 - 1, 514)):
        assert disk.read(start, length) == expected[start : start + length]


def test_one_copy_of_the_footer_is_enough() -> None:
    whole = _dynamic()
    for data in (whole[:-512] + bytes(512), bytes(512) + whole[512:], whole[:-512]):
        facts = read_facts(io.BytesIO(data))
        assert facts is not None
        assert facts.problems
        assert DynamicVhd(io.BytesIO(data), facts).read(0, SIZE) == _content()


def test_a_footer_of_511_bytes_is_found() -> None:
    facts = read_facts(io.BytesIO(bytes(SIZE) + _footer(disk_type=structs.FIXED)[:511]))
    assert facts is not None
    assert facts.kind == "fixed"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(SIZE) + _footer(disk_type=structs.FIXED, current_size=SIZE + 1024), "fixed disk of"),
        (_dynamic(disk_type=structs.DIFFERENCING), "differencing"),
        (_dynamic(disk_type=7), "type 7"),
        (_dynamic(version=0x20000), "version 2"),
        (_dynamic(current_size=1 << 60), "whole sectors"),
        (_dynamic(current_size=0), "whole sectors"),
        (_dynamic(current_size=1 << 40), "table of"),
        (_dynamic(data_offset=1 << 62), "outside of the file"),
        (_dynamic(data_offset=1024), "no header"),
        (_dynamic(table_offset=1 << 63), "table of"),
        (_dynamic(block_size=3 * MIB), "powers of two"),
        (_dynamic(block_size=512), "powers of two"),
        (_dynamic(entries={0: 0}), "block 0"),
        (_dynamic(entries={3: 0xFFFFFFF0}), "block 3"),
    ],
)
def test_what_is_no_sound_vhd_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(VhdError, match=message):
        _open(data).read(0, SIZE)


def test_damaged_blocks_are_told() -> None:
    place = _open(_dynamic()).block_place(0)
    assert place is not None
    disk = _open(_dynamic(entries={1: place // 512 + 8, 4: 0xFFFFFFF0}))
    assert ["overlaps" in text or "outside" in text for text in disk.problems()] == [True, True]


def test_a_table_of_a_large_disk_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhd"
    size = 2 << 40
    blocks = size // (64 << 10)
    data = _dynamic(
        bytes(2 * MIB) + b"x" * 512, current_size=size, max_entries=blocks, block_size=64 << 10, table_offset=1 << 20
    )
    with path.open("w+b") as file:
        file.write(data[:2048])
        # No table is there: a hole says of every block that it is at 0.
        file.truncate(1 << 40)
        file.write(data[-512:])
        facts = read_facts(file)
        assert facts is not None
        tracemalloc.start()
        disk = DynamicVhd(file, facts)
        with pytest.raises(VhdError, match="block 0"):
            disk.allocated()
        assert len(list(disk.problems())) == 1000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100 * MIB


def test_mutated_files_with_right_checksums_are_read_or_refused() -> None:
    source = random.Random(2006)
    whole = _dynamic()
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
