"""What is read of NTFS: the records of a volume, its runs and indexes, and the compressions that it has."""

from __future__ import annotations

import contextlib
import io
from functools import cache

from fuzz.target import Target
from fuzz.targets.patches import PatchedDisk, PatchedFile, patch
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.bits import BitReader
from wclayer.formats.ntfs.grow import grow_volume
from wclayer.formats.ntfs.lznt1 import decompress
from wclayer.formats.ntfs.lzx import decompress_lzx
from wclayer.formats.ntfs.runs import Run, RunList, decode_runs, encode_runs
from wclayer.formats.ntfs.secure import SecurityStore, descriptor_hash
from wclayer.formats.ntfs.structs import NtfsError
from wclayer.formats.ntfs.volume import FileRecord, NtfsVolume
from wclayer.formats.ntfs.wof import algorithm_of, decompressed
from wclayer.formats.ntfs.xpress import decompress_xpress
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.writer import VolumeLayerWriter
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.inherit import volume_root
from wclayer.win32.reparse import WofFile

_VOLUME = 8 << 20
_RECORD = 1024
_INDEX_BLOCK = 4096
_SECTOR = 512


@cache
def _volume() -> bytes:
    """A small volume: files in one directory, some with data in clusters, one with a stream."""
    disk = RawDisk(io.BytesIO(), size=_VOLUME)
    info = FileBasicInfo(0x20, 1, 2, 3, 4)
    with VolumeLayerWriter(disk, "memory", serial=1, time=1) as writer:
        for number in range(12):
            data = b"x" * number * 400
            streams = [DataStream("", len(data), (data,))]
            if number == 3:
                streams.append(DataStream("s", 2, (b"ab",)))
            writer.put(Entry(f"Files/a long name of a file {number}", info, len(data), volume_root().encode()), streams)
    return disk.read(0, _VOLUME)


@cache
def _places() -> tuple[int, ...]:
    """Where patches go: the boot sector, and each record and index block of the volume."""
    volume = _volume()
    found = [0]
    for signature in (b"FILE", b"INDX"):
        at = volume.find(signature)
        while at >= 0:
            if at % _SECTOR == 0:
                found.append(at)
            at = volume.find(signature, at + 4)
    return tuple(found)


def _volume_with(data: bytes, size: int = _VOLUME) -> PatchedDisk:
    """The volume with patches, and an update sequence in each record and block as if it was written as a whole.

    The last words of sectors stay as they were written: they are the sequence number, and their contents are beside it.
    """
    file = PatchedFile(_volume(), size)
    file.patch(_places(), data)
    for place in _places()[1:]:
        length = _INDEX_BLOCK if file.get(place, 4) == b"INDX" else _RECORD
        if any(place <= sector * _SECTOR < place + length for sector in file.changed):
            offset = int.from_bytes(file.get(place + 4, 2), "little")
            if offset + 2 <= _SECTOR:
                for end in range(place + _SECTOR, place + length + 1, _SECTOR):
                    file.put(end - 2, file.get(place + offset, 2))
    return PatchedDisk(file)


def _ntfs(data: bytes) -> None:
    """Whatever the records and indexes of a volume say, each gives an error of the format or an answer."""
    volume = NtfsVolume(_volume_with(data))
    volume.label  # noqa: B018 - reads it
    for number in (*range(12), *range(24, 45)):
        with contextlib.suppress(NtfsError):
            record = volume.record(number)
            volume.record_offset(number)
            volume.mirror_offset(number)
            for part in (_read_values, _read_names, _read_entries, _read_metadata):
                with contextlib.suppress(NtfsError):
                    part(volume, record)


def _read_values(volume: NtfsVolume, record: FileRecord) -> None:
    for attribute in record.attributes:
        if attribute.size < 1 << 20:
            whole = volume.value(attribute)
            assert len(whole) == attribute.size
            assert b"".join(volume.chunks(attribute)) == whole
            middle = attribute.size // 2
            assert b"".join(volume.chunks(attribute, middle)) == whole[middle:]


def _read_names(volume: NtfsVolume, record: FileRecord) -> None:
    record.names()


def _read_entries(volume: NtfsVolume, record: FileRecord) -> None:
    if record.is_directory:
        for _ in volume.entries(record):
            pass


def _read_metadata(volume: NtfsVolume, record: FileRecord) -> None:
    volume.object_id(record)
    information = record.information()
    volume.security(record, information.security_id)


def _grow(data: bytes) -> None:
    """A volume that is grown is a volume of that size, or is refused before anything is written."""
    disk = _volume_with(data, 2 * _VOLUME)
    before = disk.file.changed
    try:
        size = grow_volume(disk)
    except ValueError:
        assert disk.file.changed == before, "a volume was refused and changed"
        raise
    # A volume that says it is larger than its disk is left as it is.
    assert size < 2 * _VOLUME or disk.file.changed == before
    NtfsVolume(disk)


def _runs(data: bytes) -> None:
    found = list(decode_runs(data))
    assert list(decode_runs(encode_runs(found))) == found
    runs = RunList(found)
    assert runs.clusters == sum(run.length for run in found)


def _lznt1(data: bytes) -> None:
    assert len(decompress(data, 16_384)) == 16_384


def _xpress(data: bytes) -> None:
    size = int.from_bytes(data[:2], "little")
    assert len(decompress_xpress(data[2:], size)) == size


def _xpress_seeds() -> list[bytes]:
    # Two literals and a match of one symbol each: see "lengths" in `xpress`.
    lengths = bytearray(256)
    lengths[ord("a") // 2] = 0x10
    lengths[128] = 0x01
    return [b"\x10\0" + bytes(lengths) + bytes(16), b"\x04\0" + bytes(lengths) + b"\0\0\xff\xff" * 4]


def _lzx(data: bytes) -> None:
    size = int.from_bytes(data[:2], "little") % 32_769
    assert len(decompress_lzx(data[2:], size)) == size


def _wof(data: bytes) -> None:
    if len(data) < 5:
        return
    size = int.from_bytes(data[1:4], "little")
    algorithm = algorithm_of(WofFile(1, 2, 1, data[0] % 5).encode())
    assert algorithm is not None
    stored = data[4:]
    made = b"".join(decompressed(algorithm, size, lambda start, end: iter((stored[start:end],)), len(stored)))
    assert len(made) == size


def _bits(data: bytes) -> None:
    """Bits are read in any pieces, up to the end."""
    bits = BitReader(data[4:])
    for count in data[:4]:
        assert 0 <= bits.read(count % 17) < 1 << (count % 17)
    bits.align()


def _update_sequence(data: bytes) -> None:
    """A block that was written as a whole is protected again as it was."""
    block = bytearray(data)
    if len(block) < 48 or len(block) % _SECTOR or not structs.unprotect(block):
        return
    offset = int.from_bytes(block[4:6], "little")
    again = bytearray(block)
    structs.protect(again, int.from_bytes(data[offset : offset + 2], "little"))
    assert structs.unprotect(again)
    assert again == block


def _update_sequence_seed() -> bytes:
    block = bytearray(_volume()[_places()[1] : _places()[1] + _RECORD])
    return bytes(block)


def _descriptors(data: bytes) -> None:
    """Each descriptor has one number in $Secure, and each number its descriptor."""
    store = SecurityStore()
    parts = [part for part in data.split(b"\n") if part]
    numbers = {part: store.id_of(part) for part in parts}
    assert {part: store.id_of(part) for part in parts} == numbers
    assert len(set(numbers.values())) == len(numbers)
    assert len(store.by_id()) == len(store.by_hash())
    for part in parts:
        assert 0 <= descriptor_hash(part) < 1 << 32


def _patch_seeds() -> list[bytes]:
    # The boot sector's cluster size; a record's flags, first attribute and its length; an entry of an index.
    return [
        b"",
        patch(0, 13, b"\1"),
        patch(6, 22, b"\3"),
        patch(30, 0x38, b"\x30\0\0\0"),
        patch(31, 0x3C, b"\x08\0\0\0"),
        patch(len(_places()) - 1, 24, b"\x28\0\0\0"),
    ]


TARGETS = {
    "lznt1": Target(_lznt1, lambda: [b"\x03\x30abcd\0\0", b"\x06\xb0\x04ab\x00\x10\xff\x40\0"], max_size=4096),
    "lzx": Target(_lzx, lambda: [b"\x10\0" + bytes(64), b"\x04\0\x01\x30" + bytes(12) + b"abcd"], max_size=1024),
    "ntfs": Target(_ntfs, _patch_seeds, max_size=1024, weight=2),
    "ntfs_bits": Target(_bits, lambda: [b"\1\2\3\4" + bytes(16)], max_size=64),
    "ntfs_descriptors": Target(_descriptors, lambda: [b"a\nb\na", volume_root().encode()], max_size=512),
    "ntfs_grow": Target(_grow, _patch_seeds, max_size=512),
    "ntfs_runs": Target(_runs, lambda: [encode_runs([Run(5, 3), Run(None, 9), Run(2, 1)])], max_size=256),
    "ntfs_update_sequence": Target(_update_sequence, lambda: [_update_sequence_seed()], max_size=1024),
    "wof": Target(
        _wof,
        lambda: [
            b"\0\3\0\0abc",
            b"\0\0\x20\0\x08\0\0\0" + bytes(20),
            b"\1\0\x10\0" + bytes(64),
            b"\2\0\4\0" + _xpress_seeds()[0],
        ],
        max_size=1024,
    ),
    "xpress": Target(_xpress, _xpress_seeds, max_size=1024),
}
