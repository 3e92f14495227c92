"""Files that the Windows Overlay Filter compressed: with what wimlib compressed, which is laid out the same."""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import witness
from wclayer.errors import InvalidDataError
from wclayer.formats.ntfs.lzx import decompress_lzx
from wclayer.formats.ntfs.structs import NtfsError
from wclayer.formats.ntfs.wof import algorithm_of, decompressed
from wclayer.formats.ntfs.xpress import decompress_xpress
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.layers.volume.writer import VolumeLayerWriter
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.reparse import WofFile

MIB = 1 << 20
KINDS = {0: ("XPRESS", 4096), 1: ("LZX", 32_768), 2: ("XPRESS", 8192), 3: ("XPRESS", 16_384)}


def _contents() -> list[bytes]:
    source = random.Random(9)
    words = [source.randbytes(source.randrange(3, 40)) for _ in range(400)]
    return [
        b"".join(source.choice(words) for _ in range(8000)),
        b"the quick brown fox jumps over the lazy dog; " * 4000,
        source.randbytes(5000) + bytes(60_000) + source.randbytes(3000),
        # Calls, whose targets LZX translates.
        b"".join(b"\xe8" + struct.pack("<i", source.randrange(-40_000, 90_000)) + words[n % 400] for n in range(5000)),
        Path(sys.executable).read_bytes()[:200_000],
    ]


def _resources(folder: Path, kind: str, chunk: int) -> Iterator[tuple[bytes, bytes]]:
    """Contents, each with the compressed resource that wimlib makes of it."""
    source, wim = folder / "source", folder / "made.wim"
    source.mkdir()
    contents = {}
    for number, data in enumerate(_contents()):
        (source / str(number)).write_bytes(data)
        contents[hashlib.sha1(data).digest()] = data
    command = [
        witness("wimlib-imagex"),
        "capture",
        str(source),
        str(wim),
        f"--compress={kind}",
        f"--chunk-size={chunk}",
    ]
    subprocess.run(command, check=True, capture_output=True)
    image = wim.read_bytes()
    size, offset, _ = struct.unpack_from("<QQQ", image, 48)
    table = image[offset : offset + (size & (1 << 56) - 1)]
    for at in range(0, len(table), 50):
        size, offset, _ = struct.unpack_from("<QQQ", table, at)
        digest = table[at + 30 : at + 50]
        # Bit 2 of the flags: compressed.
        if digest in contents and size >> 56 & 4:
            yield contents[digest], image[offset : offset + (size & (1 << 56) - 1)]


def _reparse(algorithm: int) -> bytes:
    return WofFile(1, 2, 1, algorithm).encode()


@pytest.mark.parametrize("algorithm", KINDS)
def test_compressed_files_are_read_as_what_they_are(tmp_path: Path, algorithm: int) -> None:
    resources = list(_resources(tmp_path, *KINDS[algorithm]))
    assert len(resources) >= 4
    path = tmp_path / "volume"
    with path.open("w+b") as file:
        file.truncate(32 * MIB)
        with VolumeLayerWriter(RawDisk(file), str(path), serial=1, time=1) as writer:
            for number, (data, stored) in enumerate(resources):
                entry = Entry(
                    f"Files/{number}", FileBasicInfo(0x620, 1, 2, 3, 4), len(data), reparse=_reparse(algorithm)
                )
                streams = [DataStream("", len(data), (bytes(len(data)),)), DataStream("x", 1, (b"y",)),
                           DataStream("WofCompressedData", len(stored), (stored,))]  # fmt: skip
                writer.put(entry, streams)
    with VolumeLayerReader(path) as reader:
        entries = [item.entry for item in reader][1:]
        assert [entry.info.attributes for entry in entries if entry.info] == [0x20] * len(resources)
        assert all(entry.reparse is None for entry in entries)
    with VolumeLayerReader(path) as reader:
        next(iter(reader))
        for (data, _), item in zip(resources, reader, strict=True):
            found = {stream.name: stream.read_all() for stream in item.streams()}
            assert found == {"": data, "x": b"y"}


def _parts_of(data: bytes) -> Callable[[int, int], Iterator[bytes]]:
    return lambda start, end: iter((data[start:end],))


def test_damage_is_an_error(tmp_path: Path) -> None:
    (data, stored), *_ = _resources(tmp_path, *KINDS[0])
    for broken in (stored[:-10], stored[:2], stored[:40] + b"\xff" * (len(stored) - 40)):
        with pytest.raises(NtfsError):
            list(decompressed(0, len(data), _parts_of(broken), len(broken)))
    path = tmp_path / "volume"
    with path.open("w+b") as file:
        file.truncate(16 * MIB)
        with VolumeLayerWriter(RawDisk(file), str(path), serial=1, time=1) as writer:
            entry = Entry("Files/f", FileBasicInfo(0x620, 1, 2, 3, 4), 5000, reparse=_reparse(9))
            writer.put(entry, [DataStream("", 5000, (bytes(5000),))])
    with pytest.raises(InvalidDataError, match=r"Files/f: .*algorithm 9"), VolumeLayerReader(path) as reader:
        list(reader)


def test_other_reparse_points_are_none_of_these() -> None:
    assert algorithm_of(struct.pack("<IHH", 0xA000000C, 0, 0)) is None
    assert algorithm_of(_reparse(1)) == 1
    with pytest.raises(NtfsError, match="not a WOF file"):
        algorithm_of(struct.pack("<IHH", 0x80000017, 0, 0))


@given(st.binary(max_size=700), st.integers(1, 32_768))
def test_any_data_is_decompressed_or_refused(data: bytes, size: int) -> None:
    for decompress in (decompress_xpress, decompress_lzx):
        try:
            assert len(decompress(data, size)) == size
        except NtfsError:
            pass
