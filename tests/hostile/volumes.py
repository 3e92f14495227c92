"""Raw NTFS volumes that attack whoever imports them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.hostile.forms import LIMITED, REFUSED, TAKEN, add
from tests.layers.damaged_volumes import circular_index, claim_hole, share_clusters, with_list
from tests.support import info, put_directories, put_file, write_volume
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.structs import RECORD_SIZE
from wclayer.formats.ntfs.volume import NtfsVolume
from wclayer.layers.volume.raw import RawDisk
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.reparse import LinkTarget, WofFile

MIB = 1 << 20
_ANY = TAKEN | REFUSED | LIMITED


def _small(path: Path, *, size: int = 8 * MIB) -> Path:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        put_file(writer, "Files/f", b"x" * 50_000)
        put_file(writer, "Files/d/g", b"y")

    return write_volume(path, build, size, whole=False)


def _volume(name: str, finding: str, make: Callable[[Path], object], outcome: frozenset[int] = REFUSED) -> None:
    # What a look at a disk file tells is sound: it is the volume in it that is not.
    add("disk", f"NTFS {name}", finding, outcome, lambda place, world: make(place), more=TAKEN | frozenset({15}))


def _listed(path: Path, entries: int) -> None:
    write_volume(path, lambda writer: put_file(writer, "Files/f", b"x"), 16 * MIB, whole=False)
    with_list(path, entries)


def _hole(path: Path, size: int) -> None:
    claim_hole(write_volume(path, lambda writer: put_file(writer, "Files/f", b"x"), 8 * MIB, whole=False), size)


_volume("untouched", "a sound volume", _small, TAKEN)
_volume("attribute list of 8,192 entries", "F21", lambda path: _listed(path, 8192), _ANY)
_volume("attribute list of 8,193 entries", "F21", lambda path: _listed(path, 8193))
_volume("files that share clusters", "F22", share_clusters)
_volume("index in a circle", "loops", circular_index)
for _shift in (42, 50, 60):
    _volume(f"hole of 2 to the {_shift}", "F18", partial(_hole, size=1 << _shift), LIMITED | REFUSED)


def _patched(path: Path, name: str, old: bytes, new: bytes) -> None:
    """Changes bytes of the record of a file at the root."""
    _small(path)
    with path.open("r+b") as file:
        volume = NtfsVolume(RawDisk(file))
        number = next(e.reference & structs.RECORD_MASK for e in volume.entries(volume.record(5)) if e.name == name)
        offset = volume.record_offset(number)
        file.seek(offset)
        record = file.read(RECORD_SIZE)
        assert old in record
        file.seek(offset)
        file.write(record.replace(old, new, 1))


_SIZES = struct.pack("<QQQ", 53_248, 50_000, 50_000)
for _name, _numbers in {
    "all of 2 to the 60": (1 << 60, 1 << 60, 1 << 60),
    "real of 2 to the 62": (53_248, 1 << 62, 1 << 62),
    "real of 2 to the 63": (53_248, 1 << 63, 0),
    "initialized beyond": (53_248, 50_000, 1 << 62),
    "allocated of nothing": (0, 50_000, 50_000),
}.items():
    _volume(f"sizes {_name}", "F22", partial(_patched, name="f", old=_SIZES, new=struct.pack("<QQQ", *_numbers)), _ANY)
for _name, _old, _new in (
    ("record that is another's", b"FILE", b"BAAD"),
    ("record without an update sequence", b"FILE0\0", b"FILE\xff\xff"),
):
    _volume(_name, "damage", partial(_patched, name="f", old=_old, new=_new), _ANY)


def _overlay(path: Path, size: int) -> None:
    """A file of an overlay (WOF) that claims a size, with next to nothing in it."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        reparse = WofFile(1, 2, 1, 0).encode()
        stored = struct.pack("<II", 4096, 8192) + b"w" * 9000
        streams = [DataStream("", 9000, (bytes(9000),)), DataStream("WofCompressedData", len(stored), (stored,))]
        writer.put(Entry("Files/o", info(0x620), 9000, reparse=reparse), streams)

    write_volume(path, build, 8 * MIB, whole=False)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<QQ", 9000, 9000), struct.pack("<QQ", size, size)))


for _shift in (40, 50, 62):
    _volume(f"overlay of 2 to the {_shift}", "F21, sibling", partial(_overlay, size=1 << _shift), _ANY)


def _links(path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        for number, target in enumerate(("..\\" * 40 + "x", "C:\\..\\..", "\\\\server\\share", "..")):
            data = LinkTarget.from_path(target, is_mount_point=False).encode()
            writer.put(Entry(f"Files/l{number}", info(0x400), reparse=data))

    write_volume(path, build, 8 * MIB, whole=False)


_volume("links out", "F2, sibling", _links, TAKEN)
_volume(
    "ends early", "damage", lambda path: path.write_bytes(_small(path).read_bytes()[: 5 * MIB]), _ANY | frozenset({10})
)
