"""Small NTFS volumes that are damaged, or claim too much, in one place."""

from __future__ import annotations

import random
from pathlib import Path

from tests.support import put_directories, put_file, put_files, write_volume
from wclayer.errors import LayerError
from wclayer.formats.disk import Disk
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.records import Attribute, decode_record, encode_record, reference
from wclayer.formats.ntfs.runs import Run
from wclayer.formats.ntfs.structs import RECORD_SIZE, AttributeType, RecordFlags
from wclayer.formats.ntfs.volume import NtfsVolume
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.model import LayerWriter

MIB = 1 << 20


def read_record(disk: Disk, place: int) -> list[Attribute]:
    """The attributes of the record at an offset of a volume."""
    record = bytearray(disk.read(place, RECORD_SIZE))
    assert structs.unprotect(record)
    return decode_record(bytes(record))[1]


def write_record(disk: Disk, place: int, record: bytes) -> None:
    """Writes a record that `encode_record` made."""
    protected = bytearray(record)
    structs.protect(protected, 1)
    disk.write(place, protected)


def with_list(path: Path, entries: int) -> tuple[int, int]:
    """Gives a file an attribute list of so many entries, all of which name one record; gives the file's record and the
    record's size on the disk."""
    with path.open("r+b") as file:
        disk = RawDisk(file)
        volume = NtfsVolume(disk)
        number = next(e.reference & structs.RECORD_MASK for e in volume.entries(volume.record(5)) if e.name == "f")
        place, other = volume.record_offset(number), volume.record_offset(27)
        attributes = read_record(disk, place)
        entry = structs.LIST_ENTRY.pack(AttributeType.DATA, 32, 0, 26, 0, reference(27, 1), 0).ljust(32, b"\0")
        data = entry * entries
        clusters = -(-len(data) // 4096)
        start = volume.clusters - clusters
        disk.write(start * 4096, data.ljust(clusters * 4096, b"\0"))
        listing = Attribute(
            AttributeType.ATTRIBUTE_LIST, value=None, runs=[Run(start, clusters)], size=len(data),
            allocated=clusters * 4096,
        )  # fmt: skip
        kept = [a for a in attributes if a.type != AttributeType.DATA]
        kept.insert(1, listing)
        encoded = [attribute.encode(index) for index, attribute in enumerate(kept)]
        write_record(disk, place, encode_record(number, 1, RecordFlags.IN_USE, 1, encoded, next_id=9))
        moved = [Attribute(AttributeType.DATA, value=b"moved").encode(0)]
        record = encode_record(27, 1, RecordFlags.IN_USE, 0, moved, base=reference(number, 1), next_id=9)
        write_record(disk, other, record)
    return number, clusters * 4096


def claim_hole(path: Path, size: int) -> None:
    """Makes the file of a volume one hole of that size."""
    with path.open("r+b") as file:
        disk = RawDisk(file)
        volume = NtfsVolume(disk)
        number = next(e.reference & structs.RECORD_MASK for e in volume.entries(volume.record(5)) if e.name == "f")
        place = volume.record_offset(number)
        attributes = read_record(disk, place)
        data = next(a for a in attributes if a.type == AttributeType.DATA)
        data.value, data.runs, data.size, data.allocated = None, [Run(None, size // 4096)], size, size
        data.is_sparse = True
        encoded = [attribute.encode(index) for index, attribute in enumerate(attributes)]
        write_record(disk, place, encode_record(number, 1, RecordFlags.IN_USE, 1, encoded, next_id=9))


def share_clusters(path: Path) -> Path:
    """Makes a volume of ten files that all have the same quarter of it."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        for number in range(10):
            put_file(writer, f"Files/f{number}", b"x" * 10_000)

    write_volume(path, build, 8 * MIB, whole=False)
    with path.open("r+b") as file:
        disk = RawDisk(file)
        volume = NtfsVolume(disk)
        for entry in list(volume.entries(volume.record(5))):
            if entry.name.startswith("f"):
                number = entry.reference & structs.RECORD_MASK
                place = volume.record_offset(number)
                attributes = read_record(disk, place)
                data = next(a for a in attributes if a.type == AttributeType.DATA)
                data.runs, data.size = [Run(0, volume.clusters // 4)], volume.clusters // 4 * 4096
                encoded = [attribute.encode(index) for index, attribute in enumerate(attributes)]
                write_record(disk, place, encode_record(number, 1, RecordFlags.IN_USE, 1, encoded, next_id=9))
    return path


def circular_index(path: Path) -> tuple[int, int]:
    """Makes a volume with a directory whose index leads back to itself; gives its record and the block."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        put_files(writer, *(f"Files/d/a file with quite a long name {number}" for number in range(2000)))

    write_volume(path, build, 16 * MIB, whole=False)
    with path.open("r+b") as file:
        disk = RawDisk(file)
        volume = NtfsVolume(disk)
        number = next(e.reference & structs.RECORD_MASK for e in volume.entries(volume.record(5)) if e.name == "d")
        blocks = volume.record(number).find(AttributeType.INDEX_ALLOCATION, "$I30")
        assert blocks is not None
        start = blocks.runs[0].start
        assert start is not None
        upper = next(at for at in range(blocks.size // 4096) if disk.read((start + at) * 4096 + 36, 1) == b"\1")
        block = bytearray(disk.read((start + upper) * 4096, 4096))
        assert structs.unprotect(block)
        at = structs.INDEX_BLOCK.size + int.from_bytes(block[24:28], "little")
        length = int.from_bytes(block[at + 8 : at + 10], "little")
        block[at + length - 8 : at + length] = upper.to_bytes(8, "little")
        structs.protect(block, 1)
        disk.write((start + upper) * 4096, bytes(block))
    return number, upper


def read_everything(path: Path) -> int:
    """Reads all of a volume; returns how many bytes of data came out."""
    size = 0
    with VolumeLayerReader(path) as reader:
        for item in reader:
            entry = item.entry
            if entry.link_target is None:
                size += sum(len(chunk) for stream in item.streams() for chunk in stream.chunks)
    return size


def mutate(path: Path, seed: int, count: int) -> int:
    """Damages a volume in many ways, one after the other, and reads it; returns how many of them were noticed."""

    source = random.Random(seed)
    noticed = 0
    with path.open("r+b") as file:
        volume = NtfsVolume(RawDisk(file))
        mft = volume.record_offset(0)
        # Every structure: the boot sector, the records in use, and what lies in clusters right after.
        places = [range(90), range(mft, mft + 260 * RECORD_SIZE), range(mft + 256 * RECORD_SIZE, mft + MIB)]
        for _ in range(count):
            place = source.choice(places[1:] if source.random() < 0.9 else places)
            damage = {source.choice(place): 0 for _ in range(source.choice((1, 1, 2, 6)))}
            for offset in damage:
                file.seek(offset)
                damage[offset] = file.read(1)[0]
                file.seek(offset)
                change = 1 << source.randrange(8) if source.random() < 0.5 else source.randrange(1, 256)
                file.write(bytes((damage[offset] ^ change,)))
            file.flush()
            try:
                assert read_everything(path) < 64 * MIB
            except LayerError:
                noticed += 1
            for offset, byte in damage.items():
                file.seek(offset)
                file.write(bytes((byte,)))
            file.flush()
        assert read_everything(path) > 0
    return noticed
