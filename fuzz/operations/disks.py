"""Disk to layer, to a volume again: what is read off a volume checks clean, and a volume made of it holds the same.

An input is a byte that says whether checksums are mended, and the pieces in which a disk differs from one that is known
(`mutators.sparse`). NTFS records of the known disk, and so of inputs, are without their update sequences.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random
from uuid import UUID

from fuzz.mutators import disks, sparse
from fuzz.mutators.plain import is_rare, mutate_bytes
from fuzz.operations.ground import (
    LIMITS,
    Content,
    RefusedError,
    expect,
    expect_equal,
    expect_sound,
    fresh,
    layer_contents,
    refusing_cleanly,
)
from fuzz.operations.tars import build_rich
from wclayer.engines.api import import_layer_from_disk
from wclayer.engines.portable.converting import convert_layer
from wclayer.errors import DiskFullError, InvalidDataError, NotSupportedError, PathNotFoundError
from wclayer.formats.gpt.structs import BASIC_DATA
from wclayer.formats.gpt.table import Partition, PartitionTable, write_table
from wclayer.formats.vhd import structs as vhd
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.writer import VolumeLayerWriter
from wclayer.model import LayerWriter

MIB = 1 << 20
_VOLUME = 8 * MIB


def ntfs(data: bytes) -> None:
    """The data is a volume."""
    _run(data, _plain_volume(), disks.mend_ntfs)


def gpt(data: bytes) -> None:
    """The data is a partitioned disk with a volume."""
    _run(data, _gpt_disk(), disks.mend_gpt)


def vhdx(data: bytes) -> None:
    """The data is a VHDX file with a volume."""
    _run(data, _vhdx_file(), disks.mend_vhdx)


def vhd_file(data: bytes) -> None:
    """The data is a dynamic VHD file with a volume."""
    _run(data, _vhd_file(), disks.mend_vhd)


def _run(data: bytes, known: bytes, mend: disks.Mender) -> None:
    with fresh() as folder:
        source, layer = folder / "disk", folder / "layer"
        disk = unpack(data, known, mend)
        source.write_bytes(disk)
        # A differencing disk may name any parent.
        documented = (InvalidDataError, NotSupportedError, PathNotFoundError)
        with refusing_cleanly(folder, documented=documented):
            import_layer_from_disk(source, layer, limits=LIMITS)
        expect(source.read_bytes() == disk, "the disk was changed")
        expect_sound(layer)
        _convert(folder, layer)


def _convert(folder: Path, layer: Path) -> None:
    volume, again = folder / "volume", folder / "again"
    with refusing_cleanly(folder, documented=(NotSupportedError, DiskFullError)):
        convert_layer(layer, volume, to="ntfs", size=2 * _VOLUME, alone=True)
    try:
        with refusing_cleanly(folder):
            import_layer_from_disk(volume, again, limits=LIMITS)
    except RefusedError as refusal:
        raise AssertionError(f"our own volume of a layer is refused: {refusal.__cause__}") from refusal
    expect_equal(_comparable(again), _comparable(layer), "as a volume, the layer holds other entries")


def _comparable(layer: Path) -> list[Content]:
    """What a layer and a volume of it have in common: roots without an entry of their own have no facts to keep."""
    roots = ("FILES", "HIVES", "UTILITYVM", "UTILITYVM/FILES")
    return sorted((content for content in layer_contents(layer) if str(content[0]).upper() not in roots), key=repr)


def unpack(data: bytes, known: bytes, mend: disks.Mender) -> bytes:
    """The disk that an input stands for."""
    disk = sparse.unpack(data[1:], known)
    changed = [(offset, offset + len(piece)) for offset, piece in sparse.split_pieces(data[1:])]
    if not data[:1] or data[0] & 1:
        mend(disk, changed)
    return bytes(disk)


def mutate_disk(data: bytes, chance: Random, most: int) -> bytes:
    """An input with pieces changed; checksums are mended mostly."""
    if is_rare(chance) or not data:
        return mutate_bytes(data, chance, most)
    head = bytes([chance.randrange(8) > 0]) if not chance.randrange(4) else data[:1]
    return (head + sparse.mutate_pieces(data[1:], chance, most))[:most]


# Known disks, and what inputs start from.


def _volume_of(build: Callable[[LayerWriter], None] | None) -> bytes:
    disk = RawDisk(io.BytesIO(), size=_VOLUME)
    with VolumeLayerWriter(disk, "memory", serial=1, time=1) as writer:
        if build is not None:
            build(writer)
    return disk.read(0, _VOLUME)


@lru_cache(maxsize=1)
def _plain_volume() -> bytes:
    """A volume with one of everything, without update sequences, of which inputs change a part: they say what their
    records are, so that this one need not stay the same. Records that no input has keep theirs."""
    return bytes(_volume_of(None))


@lru_cache(maxsize=1)
def _gpt_disk() -> bytes:
    disk = RawDisk(io.BytesIO(), size=_VOLUME + 2 * MIB)
    table = PartitionTable(disk.size, 512, UUID(int=1), (Partition(BASIC_DATA, UUID(int=2), MIB, _VOLUME),))
    disk.write(MIB, _volume_of(build_rich))
    write_table(disk, table)
    return disk.read(0, disk.size)


@lru_cache(maxsize=1)
def _vhdx_file() -> bytes:
    file = io.BytesIO()
    disk = create_vhdx(file, _VOLUME, disk_id=UUID(int=1), write_guid=UUID(int=2))
    _write_used(disk.write, _volume_of(build_rich), MIB)
    disk.flush()
    return file.getvalue()


def _write_used(write: Callable[[int, bytes], object], volume: bytes, size: int) -> None:
    for at in range(0, len(volume), size):
        block = volume[at : at + size]
        if any(block):
            write(at, block)


@lru_cache(maxsize=1)
def _vhd_file() -> bytes:
    """A dynamic VHD: footer, header, table, the blocks that are used, footer."""
    volume, block, sector = _volume_of(build_rich), 64 << 10, vhd.SECTOR
    count = len(volume) // block
    footer = vhd.Footer(
        vhd.COOKIE, 2, 0x10000, sector, 0, b"fuzz", 0, b"Wi2k", len(volume), len(volume), 0, 0, 0, vhd.DYNAMIC, 0,
        bytes(16), 0,
    )  # fmt: skip
    header = vhd.Header(
        vhd.HEADER_COOKIE, (1 << 64) - 1, 1536, 0x10000, count, block, 0, bytes(16), 0, 0, b"", b""
    )  # fmt: skip
    table, data = [], b""
    place = 1536 + -(-count * vhd.ENTRY.size // sector) * sector
    for at in range(0, len(volume), block):
        content = volume[at : at + block]
        table.append((place + len(data)) // sector if any(content) else vhd.NO_BLOCK)
        if any(content):
            data += b"\xff" * sector + content
    entries = b"".join(map(vhd.ENTRY.pack, table))
    head = vhd.FOOTER.pack(*footer)
    file = bytearray(head + vhd.HEADER.pack(*header) + entries.ljust(place - 1536, b"\xff") + data + head)
    disks.mend_vhd(file, [(0, len(file))])
    return bytes(file)


def ntfs_seeds() -> list[bytes]:
    """The records and blocks in which a volume with one of everything differs from an empty one."""
    return [b"\1" + sparse.pack(bytes(disks.unprotect_ntfs(_volume_of(build_rich))), _plain_volume())]


def _touched(known: bytes, places: tuple[tuple[int, int], ...]) -> bytes:
    return b"\1" + sparse.join_pieces([(at % len(known), known[at % len(known) :][:size]) for at, size in places])


def gpt_seeds() -> list[bytes]:
    """The tables as they are."""
    return [_touched(_gpt_disk(), ((446, 66), (512, 92), (1024, 128), (-512, 92), (-512 * 33, 128)))]


def vhdx_seeds() -> list[bytes]:
    """The headers, region tables, metadata and block table as they are."""
    places = ((65536, 80), (131072, 80), (196608, 80), (262144, 80), (2 * MIB, 192), (2 * MIB + 65536, 40))
    return [_touched(_vhdx_file(), (*places, (3 * MIB, 64)))]


def vhd_seeds() -> list[bytes]:
    """The footers, the header and the start of the table as they are."""
    return [_touched(_vhd_file(), ((0, 85), (512, 64), (1536, 64), (-512, 85)))]
