"""Facts files of layers: their members, and everything that can be read of what they unpack to."""

from __future__ import annotations

import functools
import hashlib
import io
import shutil

from fuzz import place
from fuzz.mutators.tar import mutate_tar
from fuzz.target import Target
from wclayer import sample
from wclayer.errors import FormatError, LayerError
from wclayer.formats.compression import HashedInput
from wclayer.formats.tar import structs
from wclayer.host.durability import unsynced
from wclayer.images.descriptor import OCI_LAYER, Descriptor
from wclayer.inventory.facts.archive import SUMMARY_FILE, unpack_facts
from wclayer.inventory.facts.contents import CONTENTS_FILE, Contents
from wclayer.inventory.facts.reading import make_facts
from wclayer.inventory.facts.summary import decode_summary, encode_summary
from wclayer.layers.atomic import DATABASE
from wclayer.layers.directory import open_layer
from wclayer.layers.hives import is_hive, is_log
from wclayer.layers.tar import TarLayerWriter
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.names import path_key

_MAGIC = 257


def _facts(data: bytes) -> None:
    """What is unpacked are the files of facts and nothing else; everything in them can be read, or is refused."""
    folder = place.own() / "facts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    file, unpacked = folder / "file", folder / "unpacked"
    file.write_bytes(_sealed(data))
    try:
        with unsynced():
            summary = unpack_facts(file, unpacked)
    finally:
        assert unpacked.exists() or [path.name for path in folder.iterdir()] == ["file"]
    assert decode_summary(encode_summary(summary)) == summary
    for path in unpacked.rglob("*"):
        name = path.relative_to(unpacked).as_posix()
        key = path_key(name)
        assert path.is_dir() or name in (SUMMARY_FILE, DATABASE, CONTENTS_FILE) or is_hive(key) or is_log(key), name
        assert not path.is_symlink()
    with open_layer(unpacked) as layer, Contents(unpacked) as contents:
        list(contents.wanted())
        for row in layer.own_entries():
            layer.entry(row)
            if row.sha256:
                found = contents.data(row.sha256)
                assert found is None or hashlib.sha256(found).digest() == row.sha256
                contents.reading("python", row.sha256)


def _sealed(data: bytes) -> bytes:
    """The data with the right checksum in whatever block looks like a header of a tar."""
    out = bytearray(data)
    for start in range(0, len(out) - structs.BLOCK + 1, structs.BLOCK):
        if out[start + _MAGIC : start + _MAGIC + 5] == b"ustar":
            block = bytes(out[start : start + structs.BLOCK])
            out[start + 148 : start + 156] = b"%06o\0 " % structs.header_checksum(block)
    return bytes(out)


@functools.cache
def _seeds() -> list[bytes]:
    small, whole = io.BytesIO(), io.BytesIO()
    with TarLayerWriter(small) as writer:
        writer.put(Entry("Files", FileBasicInfo(0x10)))
        for name, data in (("package.json", b'{"name": "a", "version": "1"}'), ("a.txt", b"")):
            writer.put(Entry(f"Files/{name}", FileBasicInfo(0x20), len(data)), [DataStream("", len(data), (data,))])
    with TarLayerWriter(whole) as writer:
        sample.write_base(writer)
    return [_packed(raw.getvalue()) for raw in (small, whole)]


def _packed(blob: bytes) -> bytes:
    """The facts of a layer, not compressed."""
    file = place.own() / "seed"
    make_facts(lambda: io.BytesIO(blob), Descriptor.of(blob, OCI_LAYER), file)
    return b"".join(HashedInput(io.BytesIO(file.read_bytes())))


def _summary(data: bytes) -> None:
    """A summary is the same after it was written and read again."""
    summary = decode_summary(data)
    assert decode_summary(encode_summary(summary)) == summary


def _summary_seeds() -> list[bytes]:
    return [seed[structs.BLOCK :].partition(b"\0")[0] for seed in _seeds()]


TARGETS = {
    "facts": Target(
        _facts, _seeds, (FormatError, LayerError), mutate_tar, max_size=512 << 10,
        words=(b"facts.json", b"layer.db", b"contents.db", b"Hives/Software_Delta", b'"version": 1', b"wanted"),
    ),
    "facts_summary": Target(_summary, _summary_seeds, (FormatError,), max_size=2048),
}  # fmt: skip
