"""What is read of disk files: VHDX with its log, VHD, partition tables, and what kind of file it is."""

from __future__ import annotations

import contextlib
import io
import zlib
from functools import cache, lru_cache
from typing import BinaryIO, cast
from uuid import UUID

from fuzz.target import Target
from fuzz.targets.patches import PatchedDisk, PatchedFile, patch
from wclayer.formats.gpt import structs as gpt_structs
from wclayer.formats.gpt.table import data_disk_table, grown_table, read_table, write_table
from wclayer.formats.mbr.table import read_mbr
from wclayer.formats.vhd import structs as vhd_structs
from wclayer.formats.vhd.image import DynamicVhd, read_metadata
from wclayer.formats.vhdx import headers, log, structs
from wclayer.formats.vhdx.check import check_vhdx
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.headers import ParentLocator, decode_locator, encode_locator
from wclayer.formats.vhdx.image import Vhdx
from wclayer.layers.volume.disk_file import data_windows
from wclayer.layers.volume.kinds import DiskKind, disk_kind, foreign_format, raw_sector_size, what_else
from wclayer.layers.volume.raw import RawDisk

_sum = lru_cache(maxsize=64)(crc32c)


def _remembered_sum(data: bytes | bytearray | memoryview) -> int:
    """`crc32c`: most of the time would go into the sums of the same tables."""
    return _sum(bytes(data))


for _module in (headers, log):
    vars(_module)["crc32c"] = _remembered_sum

_MIB = 1 << 20
_LOG_GUID = UUID(int=7).bytes_le


# VHDX.


@cache
def _parent() -> bytes:
    file = io.BytesIO()
    with create_vhdx(file, 3 * _MIB, block_size=_MIB) as disk:
        disk.write(_MIB, b"parent")
    return file.getvalue()


@cache
def _child() -> bytes:
    """A differencing disk with a block in part, and a log whose entry is not written to its place yet."""
    file = io.BytesIO()
    parent = Vhdx(io.BytesIO(_parent()))
    locator = ParentLocator(parent.linkage, {"relative_path": ".\\p.vhdx"})
    with create_vhdx(file, parent.size, parent=parent, locator=locator, disk_id=UUID(int=3)) as disk:
        disk.write(0, b"x" * 512)
    header = disk.header
    size = file.seek(0, io.SEEK_END)
    entry = log.write_entry(
        [(structs.REGION_TABLE_OFFSETS[0], _at(file, structs.REGION_TABLE_OFFSETS[0], 4096))], _LOG_GUID, size
    )
    file.seek(header.log_offset)
    file.write(entry)
    for offset in structs.HEADER_OFFSETS:
        file.seek(offset)
        file.write(headers.encode_header(header._replace(log_guid=_LOG_GUID)))
    return file.getvalue()


def _at(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


@cache
def _vhdx_places() -> tuple[int, ...]:
    """The headers, the region tables, the log, the BAT, the table of metadata, and its items."""
    disk = Vhdx(cast(BinaryIO, PatchedFile(_child())), open_parent=lambda _: Vhdx(io.BytesIO(_parent())))
    own = {name: offset for offset, _, name in disk.own_regions()}
    return (
        *structs.HEADER_OFFSETS,
        *structs.REGION_TABLE_OFFSETS,
        own["the log"],
        own["the log"] + structs.SECTOR,
        own["the BAT"],
        own["the metadata"],
        own["the metadata"] + structs.METADATA_TABLE_SIZE,
    )


def _vhdx_with(data: bytes) -> PatchedFile:
    """The child with patches; the sums of its headers, tables and of an entry at the start of its log are right."""
    file = PatchedFile(_child())
    file.patch(_vhdx_places(), data)
    for offset in structs.HEADER_OFFSETS:
        file.put(offset, headers.sealed(file.get(offset, structs.HEADER_SIZE)))
    for offset in structs.REGION_TABLE_OFFSETS:
        file.put(offset, headers.sealed(file.get(offset, structs.REGION_TABLE_SIZE)))
    place = _vhdx_places()[4]
    length = structs.LogEntryHeader._make(structs.LOG_ENTRY.unpack(file.get(place, structs.LOG_ENTRY.size))).length
    if 0 < length <= 8 * structs.SECTOR:
        file.put(place, headers.sealed(file.get(place, length)))
    return file


def _vhdx(data: bytes) -> None:
    """A disk that opens is read to its end, and what is written to it is there when it is opened again."""
    file = _vhdx_with(data)
    parents = []

    def open_parent(locator: ParentLocator) -> Vhdx:
        parents.append(locator)
        return Vhdx(io.BytesIO(_parent()))

    opened = Vhdx(cast(BinaryIO, file), open_parent=open_parent)
    for _, _ in zip(check_vhdx(cast(BinaryIO, file), opened), range(100), strict=False):
        pass
    for _, _ in zip(opened.extents(), range(100), strict=False):
        pass
    opened.allocated()
    ends = {0, max(0, opened.size - 4096), min(opened.size, _MIB) // 2}
    before = {}
    for offset in ends:
        with contextlib.suppress(VhdxError):
            before[offset] = opened.read(offset, min(4096, opened.size - offset))
    if opened.size > 64 * _MIB:
        return
    with Vhdx(cast(BinaryIO, file), writable=True, open_parent=open_parent) as disk:
        disk.write(0, b"w" * 512)
    again = Vhdx(cast(BinaryIO, file), open_parent=open_parent)
    assert again.read(0, 512) == b"w" * 512
    assert not again.log_was_replayed
    for offset, contents in before.items():
        assert again.read(offset, len(contents))[512 if not offset else 0 :] == contents[512 if not offset else 0 :]


def _vhdx_seeds() -> list[bytes]:
    # The log's guid, an entry's count and a descriptor; the BAT; an item's offset and length; the size, a flag.
    return [
        b"",
        patch(0, 48, bytes(16)) + patch(1, 48, bytes(16)),
        patch(4, 32, b"\2\0\0\0"),
        patch(4, 64, b"zero\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\3\0\0\0\0\0\1"),
        patch(6, 0, b"\7"),
        patch(7, 48, b"\0\0\1\0"),
        patch(7, 52, b"\xff\xff\xff\x7f"),
        patch(8, 0, b"\0\0\x20\0\0\0\0\0"),
        patch(3, 16, bytes(32)),
    ]


def _vhdx_log(data: bytes) -> None:
    """The data is a log of two sectors; its entries have the right sum."""
    contents = bytearray(data[: 4 * structs.SECTOR].ljust(-(-len(data) // structs.SECTOR) * structs.SECTOR, b"\0"))
    for place in range(0, len(contents), structs.SECTOR):
        length = int.from_bytes(contents[place + 8 : place + 12], "little")
        if contents[place : place + 4] == structs.LOG_ENTRY_SIGNATURE and 0 < length <= len(contents) - place:
            contents[place : place + length] = headers.sealed(contents[place : place + length])
    if not contents:
        return
    writes, size = log.read_log(bytes(contents), _LOG_GUID, 8 * _MIB, 0)
    for offset, sector in writes:
        assert len(sector) == structs.SECTOR
        assert 0 <= offset <= max(size, 8 * _MIB) - structs.SECTOR


def _log_seeds() -> list[bytes]:
    entry = log.write_entry([(_MIB, b"a" * 4096)], _LOG_GUID, 4 * _MIB)
    zeros = structs.ZERO_DESCRIPTOR.pack(structs.ZERO_DESCRIPTOR_SIGNATURE, 0, 8192, _MIB, 1)
    return [entry, entry[: structs.LOG_ENTRY.size] + zeros + entry[structs.LOG_ENTRY.size + 32 : 4096]]


def _locator(data: bytes) -> None:
    """What a parent locator says is the same after it was written and read again."""
    found = decode_locator(data, 0)
    assert decode_locator(encode_locator(found), 0) == found


def _locator_seed() -> bytes:
    return encode_locator(ParentLocator(UUID(int=9), {"relative_path": ".\\a", "absolute_win32_path": "C:\\a"}))


# VHD.

_BLOCK = 1 << 16


def _vhd(data: bytes) -> None:
    """The data is a dynamic disk up to its first block; the sums of its structures are right."""
    head = bytearray(data)
    for start, offset, size in ((0, 64, 512), (512, 36, 1024)):
        part = bytes(head[start : start + size])
        if len(part) == size:
            head[start + offset : start + offset + 4] = vhd_structs.checksum(part, offset).to_bytes(4, "big")
    file = io.BytesIO(bytes(head).ljust(4 * 512, b"\0") + bytes(512 + _BLOCK) + bytes(head[:512]).ljust(512, b"\0"))
    metadata = read_metadata(file)
    if metadata is None or metadata.kind == "fixed":
        return
    disk = DynamicVhd(file, metadata)
    for _ in disk.problems():
        pass
    for _, _ in zip(disk.extents(), range(100), strict=False):
        pass
    for offset in (0, max(0, disk.size - 512)):
        assert len(disk.read(offset, min(512, disk.size))) == min(512, disk.size)


def _vhd_seeds() -> list[bytes]:
    """The start of a dynamic disk of a block of 64 KiB with the first of its sectors, and of one without blocks."""
    footer = vhd_structs.Footer(
        b"conectix", 2, 0x10000, 512, 0, b"fuzz", 0, b"Wi2k", _BLOCK, _BLOCK, 0, 0, 0, 3, 0, bytes(16), 0
    )
    header = vhd_structs.Header(b"cxsparse", (1 << 64) - 1, 1536, 0x10000, 1, _BLOCK, 0, bytes(16), 0, 0, b"", b"")
    start = vhd_structs.FOOTER.pack(*footer).ljust(512, b"\0") + vhd_structs.HEADER.pack(*header).ljust(1024, b"\0")
    return [start + bytes((0, 0, 0, 4)).ljust(512, b"\xff") + b"\x80", start + b"\xff" * 512]


# Partition tables.


def _mbr(data: bytes) -> None:
    table = read_mbr(RawDisk(io.BytesIO(data)))
    for partition in table.partitions:
        assert partition.offset >= 0


def _mbr_seed() -> bytes:
    """A boot record with a primary and an extended partition, and the record of the latter."""
    entry = gpt_structs.MBR_PARTITION.pack(0x80, b"", 7, b"", 8, 8)
    extended = gpt_structs.MBR_PARTITION.pack(0, b"", 5, b"", 1, 99)
    last = b"\x55\xaa"
    return bytes(446) + (entry + extended).ljust(64, b"\0") + last + bytes(446) + entry.ljust(64, b"\0") + last


def _mbr_circle() -> bytes:
    """A boot record with an extended partition whose second record leads to itself."""
    last = b"\x55\xaa"
    further = gpt_structs.MBR_PARTITION.pack(0, b"", 5, b"", 1, 99)
    return 3 * (bytes(446) + further.ljust(64, b"\0") + last)


_GPT_SIZE = 18 * _MIB


@cache
def _gpt_disk() -> bytes:
    disk = RawDisk(io.BytesIO(), size=_GPT_SIZE)
    write_table(disk, data_disk_table(_GPT_SIZE, 512, UUID(int=1), (UUID(int=2), UUID(int=3))))
    return disk.read(0, _GPT_SIZE)


def _gpt(data: bytes) -> None:
    """A table that is read is the same after it was written and read again, at its size and larger."""
    file = PatchedFile(_gpt_disk())
    # The boot record, both headers, and both tables of entries.
    file.patch((0, 512, 1024, _GPT_SIZE - 512, _GPT_SIZE - 33 * 512), data)
    for header, entries in ((512, 1024), (_GPT_SIZE - 512, _GPT_SIZE - 33 * 512)):
        count, size = (int.from_bytes(file.get(header + at, 4), "little") for at in (80, 84))
        file.put(header + 88, zlib.crc32(file.get(entries, min(count * size, 32 * 512))).to_bytes(4, "little"))
        whole = file.get(header, min(512, max(92, int.from_bytes(file.get(header + 12, 4), "little"))))
        file.put(header + 16, zlib.crc32(whole[:16] + bytes(4) + whole[20:]).to_bytes(4, "little"))
    disk = PatchedDisk(file)
    table = read_table(disk)
    for window in data_windows(disk):
        window.read(0, 512)
    if table.problems:
        return
    again = PatchedDisk(PatchedFile(b"", _GPT_SIZE))
    write_table(again, table)
    assert read_table(again) == table
    grown = PatchedDisk(PatchedFile(b"", 2 * _GPT_SIZE))
    write_table(grown, grown_table(table, 2 * _GPT_SIZE))
    assert not read_table(grown).problems


def _gpt_seeds() -> list[bytes]:
    return [b"", patch(2, 32, b"\x22"), patch(1, 80, b"\1\0\0\0"), patch(1, 0, b"x") + patch(4, 128, bytes(128))]


def _kind(data: bytes) -> None:
    """Any file is a disk of some kind or something else, and its size of sectors is one that there is."""
    file = io.BytesIO(data)
    foreign_format(file)
    kind = disk_kind(file)
    assert what_else(file)
    if kind is not None and kind not in (DiskKind.VHDX, DiskKind.VHD):
        assert raw_sector_size(file) in (512, 4096)


TARGETS = {
    "disk_kind": Target(
        _kind, lambda: [_mbr_seed(), b"conectix" + bytes(1016), b"vhdxfile" + bytes(504), b"PK\3\4"],
        words=(b"EFI PART", b"NTFS    ", b"\x55\xaa", b"conectix"), max_size=8192,
    ),
    "gpt": Target(_gpt, _gpt_seeds, max_size=512),
    "mbr": Target(_mbr, lambda: [_mbr_seed(), _mbr_circle()], words=(b"\x55\xaa",), max_size=4096),
    "vhd": Target(_vhd, _vhd_seeds, max_size=2049),
    "vhdx": Target(_vhdx, _vhdx_seeds, max_size=512, weight=2),
    "vhdx_locator": Target(
        _locator, lambda: [_locator_seed()],
        words=tuple(word.encode("utf-16-le") for word in ("parent_linkage", "relative_path")), max_size=1024,
    ),
    "vhdx_log": Target(_vhdx_log, _log_seeds, words=(b"loge", b"desc", b"zero", b"data", _LOG_GUID), max_size=16 << 10),
}  # fmt: skip
