"""Volumes that are damaged, or made to harm: what is read of them is bounded, and every error is a layer's."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wclayer
from tests.layers.damaged_volumes import circular_index, claim_hole, read_everything, share_clusters, with_list
from tests.support import TIME, nothing_left_in, put_directories, put_file, put_files, write_volume
from wclayer.errors import InvalidDataError, LimitExceededError
from wclayer.formats.ntfs import runs as runs_module
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.runs import Run, RunList
from wclayer.formats.ntfs.structs import RECORD_SIZE, AttributeType, NtfsError
from wclayer.formats.ntfs.volume import NtfsVolume, StreamAttribute
from wclayer.formats.ntfs.wof import decompressed
from wclayer.layers.volume.raw import RawDisk
from wclayer.model import DataStream, Entry, ExtraStream, LayerWriter, Limits
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.reparse import LinkTarget, ReparsePoint, WofFile

MIB = 1 << 20
INFO = FileBasicInfo(0x20, TIME, TIME, TIME, TIME)


class _CountedDisk(RawDisk):
    """A disk that counts the bytes that are read of it."""

    count = 0

    def read(self, offset: int, length: int) -> bytes:
        self.count += length
        return super().read(offset, length)


def write_everything(writer: LayerWriter) -> None:
    """A small layer with one of each thing that a volume has a form for."""
    put_directories(writer, "Files", "Files/many", "Files/d")
    put_files(writer, *(f"Files/many/a file with quite a long name {number}" for number in range(120)))
    put_file(writer, "Files/large", b"0123456789" * 3000, stream=b"s" * 2000)
    named = [DataStream(f"stream{number}", number, (b"x" * number,)) for number in range(40)]
    writer.put(Entry("Files/streams", INFO, 0), [DataStream("", 0, ()), *named])
    eas = encode_eas([ExtendedAttribute(b"A", b"v" * 1000), ExtendedAttribute(b"B", b"", flags=0x80)])
    extra = (ExtraStream(7, 0, "", bytes(range(64))),)
    writer.put(Entry("Files/eas", INFO, 4, eas=eas, extra=extra), [DataStream("", 4, (b"data",))])
    sparse = bytes(200_000) + b"data" * 5000 + bytes(100_000)
    sparse_info = FileBasicInfo(0x220, TIME, TIME, TIME, TIME)
    writer.put(Entry("Files/sparse", sparse_info, len(sparse)), [DataStream("", len(sparse), (sparse,))])
    overlay = WofFile(1, 2, 1, 0).encode()
    # Three chunks, which are stored plain.
    stored = struct.pack("<II", 4096, 8192) + b"w" * 9000
    streams = [DataStream("", 9000, (bytes(9000),)), DataStream("WofCompressedData", len(stored), (stored,))]
    writer.put(Entry("Files/overlay", FileBasicInfo(0x620, TIME, TIME, TIME, TIME), 9000, reparse=overlay), streams)
    junction = LinkTarget.from_path(r"C:\Users", is_mount_point=True).encode()
    cloud = ReparsePoint(0x9000701A, b"\1\0\0\0").encode()
    for name, reparse in (("junction", junction), ("cloud", cloud)):
        writer.put(Entry(f"Files/{name}", FileBasicInfo(0x410, TIME, TIME, TIME, TIME), reparse=reparse))
    put_file(writer, "Files/cloud/f", b"below")
    for number in range(3):
        writer.put(Entry(f"Files/d/link{number}", INFO, link_target="Files/large"))


def test_damage_is_a_layer_error_and_costs_little_memory(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "volume", write_everything, 8 * MIB, whole=False)
    program = (
        "import resource, sys, pathlib\n"
        "from tests.layers.damaged_volumes import mutate\n"
        "resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))\n"
        "print(mutate(pathlib.Path(sys.argv[1]), 13, 400))\n"
    )
    run = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    assert 20 < int(done.stdout) < 400


@pytest.mark.parametrize("field", range(3))
def test_no_bit_of_a_size_field_makes_a_file_larger_than_its_clusters(tmp_path: Path, field: int) -> None:
    path = write_volume(tmp_path / "volume", lambda w: put_file(w, "Files/f", b"x" * 50_000), 8 * MIB, whole=False)
    with path.open("r+b") as file:
        volume = NtfsVolume(RawDisk(file))
        number = next(e.reference & structs.RECORD_MASK for e in volume.entries(volume.record(5)) if e.name == "f")
        offset = volume.record_offset(number)
        file.seek(offset)
        record = bytearray(file.read(RECORD_SIZE))
        # Allocated, real and initialized size stand one after the other, and each is 50,000 or what its clusters have.
        at = record.index(struct.pack("<QQQ", 53_248, 50_000, 50_000)) + 8 * field
        for bit in range(64):
            damaged = bytearray(record)
            damaged[at + bit // 8] ^= 1 << bit % 8
            file.seek(offset)
            file.write(damaged)
            file.flush()
            try:
                assert read_everything(path) <= 53_248
            except InvalidDataError as error:
                assert "Files/f" in str(error)


def test_files_that_share_clusters_are_refused(tmp_path: Path) -> None:
    path = share_clusters(tmp_path / "volume")
    with pytest.raises(InvalidDataError, match=r"Files/f\d: record \d+: with this file, \d+ clusters are in use"):
        read_everything(path)


def test_an_attribute_list_costs_no_more_than_its_bytes(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "volume", lambda w: put_file(w, "Files/f", b"x"), 16 * MIB, whole=False)
    number, size = with_list(path, 8192)
    with path.open("rb") as file:
        disk = _CountedDisk(file)
        volume = NtfsVolume(disk)
        disk.count = 0
        assert [a.value for a in volume.record(number).attributes if a.type == AttributeType.DATA] == [b"moved"]
        assert disk.count == size + 2 * RECORD_SIZE
    with_list(path, 8193)
    with path.open("rb") as file, pytest.raises(NtfsError, match="an attribute list of 262176 bytes"):
        NtfsVolume(RawDisk(file)).record(number)


def test_an_index_that_leads_in_a_circle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    number, upper = circular_index(path)
    with pytest.raises(InvalidDataError, match=rf"Files/d: record {number}: index \$I30 leads to block {upper} twice"):
        read_everything(path)


def test_the_table_of_an_overlay_is_not_read_at_once() -> None:
    asked = 0

    def read(start: int, end: int) -> Iterator[bytes]:
        nonlocal asked
        while start < end:
            asked += 1
            yield bytes(min(MIB, end - start))
            start += MIB

    with pytest.raises(NtfsError, match="chunk 0 has 0 bytes"):
        list(decompressed(0, 1 << 50, read, 1 << 50))
    assert asked <= 2
    with pytest.raises(NtfsError, match="1048576 bytes of compressed data"):
        list(decompressed(0, 1 << 50, read, MIB))


def test_what_a_stream_says_of_itself_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_volume(tmp_path / "volume", lambda w: put_file(w, "Files/f", b"x"), 8 * MIB)
    with path.open("rb") as file:
        volume = NtfsVolume(RawDisk(file))
        runs = RunList([Run(None, 1 << 20)])
        unit = StreamAttribute(AttributeType.DATA, "", structs.ATTRIBUTE_COMPRESSED, None, MIB, MIB, 9, runs)
        with pytest.raises(NtfsError, match=r"a compression unit of 2\^9 clusters"):
            next(volume.chunks(unit))
        whole = StreamAttribute(AttributeType.DATA, "", 0, None, MIB, MIB, 0, RunList([Run(0, volume.clusters + 1)]))
        with pytest.raises(NtfsError, match="clusters of a volume that has"):
            next(volume.chunks(whole))
    monkeypatch.setattr(runs_module, "MAX_RUNS", 1000)
    with pytest.raises(NtfsError, match="more than 1000 runs"):
        RunList(Run(2 * number, 1) for number in range(1001))
    # Holes and runs that follow on each other are one, however many there are.
    assert len(RunList([*(Run(None, 1) for _ in range(1000)), *(Run(n, 1) for n in range(1000))])) == 2
    with pytest.raises(NtfsError, match="a run of"):
        RunList([Run(None, 1 << 62), Run(None, 1)])


def test_holes_are_no_larger_than_the_limits_let_them(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "volume", lambda w: put_file(w, "Files/f", b"x"), 8 * MIB, whole=False)
    for size, limits, limit in (
        (1 << 60, Limits(), "total_size"),
        (1 << 40, Limits(), "ratio"),
        (2 * MIB, Limits(total_size=MIB), "total_size"),
        (2 * MIB, Limits(ratio=0, unrated_size=MIB), "ratio"),
    ):
        claim_hole(path, size)
        with pytest.raises(LimitExceededError, match=rf"Files/f.*\(limit {limit};"), nothing_left_in(tmp_path):
            wclayer.import_layer_from_disk(path, tmp_path / "layer", limits=limits)
    wclayer.import_layer_from_disk(path, tmp_path / "layer")


@pytest.mark.parametrize("limits", [Limits(entries=3), Limits(path_length=9), Limits(path_depth=3)])
def test_names_of_a_volume_obey_the_limits(tmp_path: Path, limits: Limits) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/a", "Files/a/b", "Files/a/b/c")
        put_file(writer, "Files/d")

    path = write_volume(tmp_path / "volume", build, 8 * MIB, whole=False)
    with pytest.raises(LimitExceededError, match=r"Files/.*: more than \d+ .*\(limit"), nothing_left_in(tmp_path):
        wclayer.import_layer_from_disk(path, tmp_path / "layer", limits=limits)
    wclayer.import_layer_from_disk(path, tmp_path / "layer")
