"""Master boot records: what sgdisk makes is read, damaged chains end."""

from __future__ import annotations

import io
import random
import subprocess
from pathlib import Path

import pytest

from tests.support import boot_record, witness
from wclayer.errors import FormatError
from wclayer.formats.disk import Disk
from wclayer.formats.mbr.table import MbrError, read_mbr
from wclayer.layers.volume.raw import RawDisk

MIB = 1 << 20


def _disk(size: int, places: dict[int, bytes], sector: int = 512) -> Disk:
    data = bytearray(size)
    for place, content in places.items():
        data[place * sector : place * sector + len(content)] = content
    return RawDisk(io.BytesIO(data), sector_size=sector)


def test_what_sgdisk_makes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(64 * MIB))
    made = [
        "-n",
        "1:2048:10239",
        "-t",
        "1:0700",
        "-n",
        "2:10240:18431",
        "-t",
        "2:2700",
        "-n",
        "3:20480:28671",
        "-m",
        "1:2:3",
    ]
    subprocess.run([witness("sgdisk"), *made, str(path)], check=True, capture_output=True)
    with path.open("rb") as file:
        table = read_mbr(RawDisk(file))
    assert [(p.type, p.offset // 512, p.size // 512, p.is_data) for p in table.partitions] == [
        (7, 2048, 8192, True),
        (0x27, 10240, 8192, True),
        (0x83, 20480, 8192, False),
    ]
    assert not table.problems


def test_logical_partitions_are_counted_from_their_own_records() -> None:
    places = {
        0: boot_record((7, 16, 16), (0x0F, 100, 900), flag=0x80),
        100: boot_record((7, 2, 10), (5, 50, 100)),
        150: boot_record((0x17, 2, 98)),
    }
    table = read_mbr(_disk(MIB, places))
    assert [(p.type, p.offset // 512, p.size // 512, p.is_active, p.is_logical) for p in table.partitions] == [
        (7, 16, 16, True, False),
        (7, 102, 10, False, True),
        (0x17, 152, 98, False, True),
    ]
    assert not table.problems


@pytest.mark.parametrize("sector", [512, 4096])
def test_places_are_counted_in_sectors(sector: int) -> None:
    table = read_mbr(_disk(4 * MIB, {0: boot_record((7, 64, 128))}, sector))
    assert [(p.offset, p.size) for p in table.partitions] == [(64 * sector, 128 * sector)]


@pytest.mark.parametrize(
    "data",
    [
        bytes(512),
        b"x" * 510 + b"\x55\xaa",
        boot_record(),
        boot_record((7, 0, 10)),
        boot_record((7, 10, 0)),
        boot_record((7, 10, 10), flag=1),
        boot_record((0xEE, 1, 0xFFFFFFFF)),
        b"\x55\xaa",
    ],
)
def test_what_is_no_master_boot_record_is_refused(data: bytes) -> None:
    with pytest.raises(MbrError):
        read_mbr(RawDisk(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("places", "message", "partitions"),
    [
        (
            {
                0: boot_record((5, 100, 900)),
                100: boot_record((7, 2, 10), (5, 50, 100)),
                150: boot_record((7, 2, 10), (5, 50, 50)),
            },
            "leads back",
            2,
        ),
        ({0: boot_record((5, 100, 900))}, "no boot record", 0),
        ({0: boot_record((5, 1 << 30, 900))}, "outside of the disk", 0),
        ({0: boot_record((5, 100, 90)), 100: boot_record((7, 2, 10), (5, 90, 10))}, "outside of the first", 1),
        ({0: boot_record((7, 10, 20), (7, 20, 20))}, "overlaps", 2),
        ({0: boot_record((7, 10, 1 << 30))}, "ends outside", 1),
    ],
)
def test_damage_is_told(places: dict[int, bytes], message: str, partitions: int) -> None:
    table = read_mbr(_disk(MIB, places))
    assert message in table.problems[0]
    assert len(table.partitions) == partitions


def test_an_endless_chain_of_extended_partitions_ends() -> None:
    places = {0: boot_record((5, 1, 1999)), **{n: boot_record((7, 1, 1), (5, n, 1)) for n in range(1, 1999)}}
    table = read_mbr(_disk(MIB, places))
    assert "too long" in table.problems[0]
    assert len(table.partitions) == 256


def test_mutated_tables_are_read_or_refused() -> None:
    source = random.Random(1983)
    whole = {
        0: boot_record((7, 10, 20), (5, 100, 900)),
        100: boot_record((7, 2, 10), (5, 50, 100)),
        150: boot_record((7, 2, 10)),
    }
    for _ in range(500):
        places = {at: bytearray(data) for at, data in whole.items()}
        data = places[source.choice((0, 100, 150))]
        for _ in range(source.randrange(1, 4)):
            data[source.randrange(446, 512)] = source.choice((0, 5, 7, 0x80, 0xFF, source.randrange(256)))
        try:
            assert len(read_mbr(_disk(MIB, {at: bytes(d) for at, d in places.items()})).partitions) < 600
        except FormatError as error:
            assert str(error)
