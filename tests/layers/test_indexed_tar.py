"""The tar of a layer, read in place: the same entries and contents as those of the imported layer."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wclayer
from tests.inventory.subjects import hive
from tests.support import archive, directory, layer_tar, member, put_directories, put_file, witness
from wclayer import sample
from wclayer.errors import (
    CorruptLayerError,
    FormatError,
    InvalidDataError,
    LayerBusyError,
    LayerError,
    LimitExceededError,
    OperationCancelledError,
    PathNotFoundError,
)
from wclayer.layers.directory.hives import open_hive
from wclayer.layers.hives import CONFIG
from wclayer.layers.indexed_tar.layer import IndexedTarLayer, index_tar
from wclayer.model import Entry, LayerWriter, Limits
from wclayer.view.merged import MergedTree


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, in which nothing is left at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def packed(path: Path, data: bytes, form: str) -> Path:
    """A tar in a file: plain, or compressed by the program that is named."""
    if form != "plain":
        data = subprocess.run([witness(form), "-c"], input=data, check=True, capture_output=True).stdout
    path.write_bytes(data)
    return path


def shown(layer: Path) -> dict[str, tuple[object, ...]]:
    """All entries of a layer with their metadata, and the SHA-256 of each stream."""
    with wclayer.DirectoryLayerReader(layer) as reader:
        return {
            item.entry.name: (
                item.entry.info, item.entry.size, item.entry.security, item.entry.eas, item.entry.reparse,
                item.entry.link_target,
                {s.name: hashlib.sha256(b"".join(s.chunks)).hexdigest() for s in item.streams()},
            )
            for item in reader
        }  # fmt: skip


def of_tar(path: Path) -> dict[str, tuple[object, ...]]:
    """The same of a tar that is read in place."""
    found: dict[str, tuple[object, ...]] = {}
    with index_tar(path) as index, IndexedTarLayer(index) as layer:
        for row in layer.own_entries():
            entry = layer.entry(row)
            streams = {}
            if entry.link_target is None:
                for stream in layer.streams(row, has_data=row.sha256 is not None):
                    streams[stream.name] = hashlib.sha256(b"".join(stream.chunks)).hexdigest()
            link = entry.link_target is not None
            found[entry.name] = (
                entry.info, 0 if link else entry.size, entry.security, entry.eas, entry.reparse, entry.link_target,
                streams,
            )  # fmt: skip
    return found


def everything(writer: LayerWriter) -> None:
    sample.write_base(writer)
    put_file(writer, "Files/streams", b"main" * 50, one=b"1" * 300, two=b"2")
    put_file(writer, "Files/large", bytes(range(256)) * 8000, stream=b"after the large one")
    put_file(writer, "Files/empty")
    put_file(writer, "Files/\ud800unpaired", b"surrogate")


@pytest.mark.parametrize("form", ["plain", "gzip", "zstd"])
def test_it_shows_what_the_imported_layer_has(tmp_path: Path, form: str) -> None:
    path = packed(tmp_path / "layer.tar", layer_tar(everything), form)
    with path.open("rb") as file:
        wclayer.import_layer_from_tar(file, tmp_path / "imported")
    expected = shown(tmp_path / "imported")
    found = of_tar(path)
    assert found.keys() == expected.keys()
    for name, facts in expected.items():
        if facts[5] is None:
            assert found[name] == facts, name


@pytest.mark.parametrize("form", ["plain", "gzip", "zstd"])
def test_contents_are_read_at_any_offset(tmp_path: Path, form: str) -> None:
    path = packed(tmp_path / "layer.tar", layer_tar(everything), form)
    with index_tar(path) as index, IndexedTarLayer(index) as layer, MergedTree([layer]) as tree:
        node = tree.lookup("Files/large")
        assert node is not None
        with layer.open_contents(node.row) as opened:
            opened.seek(1_000_001)
            assert opened.read(3) == bytes((1_000_001 + k) % 256 for k in range(3))
            opened.seek(0)
            assert opened.read() == bytes(range(256)) * 8000
            opened.seek(-1, os.SEEK_END)
            assert opened.read(5) == b"\xff"
        fd = layer.open_file(node.row)
        with os.fdopen(fd, "rb") as opened:
            assert opened.read() == bytes(range(256)) * 8000


def test_only_the_records_and_the_hives_are_on_the_disk_and_no_other_user_sees_them(
    tmp_path: Path, temporary: Path
) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", CONFIG, "Hives")
        put_file(writer, "Files/other", hive({"Linked": {"x": 1}}))
        put_file(writer, f"{CONFIG}/SOFTWARE", hive({"Vendor": {"name": "value"}}))
        writer.put(Entry(f"{CONFIG}/SYSTEM", wclayer.FileBasicInfo(0x20), link_target="Files/other"))
        put_file(writer, "Files/big", b"x" * 5_000_000)

    path = packed(tmp_path / "layer.tar", layer_tar(build), "gzip")
    with index_tar(path) as index, IndexedTarLayer(index) as layer:
        assert stat.S_IMODE(index.folder.stat().st_mode) == 0o700
        files = {str(each.relative_to(index.folder)) for each in index.folder.rglob("*") if each.is_file()}
        assert files == {"layer.db", f"{CONFIG}/SOFTWARE", f"{CONFIG}/SYSTEM"}
        assert sum(each.stat().st_size for each in index.folder.rglob("*")) < 1_000_000
        for name, key in (("SOFTWARE", "Vendor"), ("SYSTEM", "Linked")):
            found = open_hive(layer, f"{CONFIG}/{name}")
            assert found is not None
            assert [each.name for each in found.root().subkeys()] == [key]


def test_a_file_of_a_layer_below_has_no_contents_here(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        writer.put(Entry("Files/link", wclayer.FileBasicInfo(0x20), link_target="Files/below/file"))
        writer.put(Entry("Files/gone", None))

    data = layer_tar(build)
    path = packed(tmp_path / "layer.tar", data, "plain")
    with index_tar(path) as index, IndexedTarLayer(index) as layer:
        assert layer.has_links_elsewhere()
        row = layer.lookup("Files/link")
        assert row is not None
        with pytest.raises(FormatError, match="layer below"):
            layer.open_contents(row)
        assert [each.path for each in layer.tombstones()] == ["Files/gone"]


@pytest.mark.parametrize("form", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_tar_is_an_error_and_leaves_nothing(tmp_path: Path, form: str, damage: str) -> None:
    data = bytearray(packed(tmp_path / "layer.tar", layer_tar(everything), form).read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[600:640] = bytes(40)
    (tmp_path / "layer.tar").write_bytes(data)
    with pytest.raises(LayerError) as caught:
        index_tar(tmp_path / "layer.tar")
    assert caught.value.path == str(tmp_path / "layer.tar")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0" * 100, b"not a tar" * 500, gzip.compress(gzip.compress(layer_tar(sample.write_base))),
        archive(member(b"Files/../../out", b"x")), archive(member(b"/etc/passwd", b"x")), b"\x1f\x8b\x08",
    ],
    ids=["empty", "zeros", "text", "twice", "above", "absolute", "cut"],
)  # fmt: skip
def test_what_is_no_tar_of_a_layer_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(InvalidDataError):
        index_tar(tmp_path / "file")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PathNotFoundError):
        index_tar(tmp_path / "missing")


@pytest.mark.parametrize("limits", [Limits(ratio=10, unrated_size=1000), Limits(total_size=1000)])
def test_what_expands_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits) -> None:
    path = packed(tmp_path / "layer.tar", layer_tar(put_zeros), "gzip")
    monkeypatch.setattr("wclayer.model._limits_in_use", limits)
    with pytest.raises(LimitExceededError, match="limit"):
        index_tar(path)


def put_zeros(writer: LayerWriter) -> None:
    writer.put(directory("Files"))
    put_file(writer, "Files/zeros", bytes(3_000_000))


def test_a_tar_that_is_changed_meanwhile_is_no_longer_shown(tmp_path: Path) -> None:
    path = packed(tmp_path / "layer.tar", layer_tar(everything), "plain")
    with index_tar(path) as index, IndexedTarLayer(index) as layer:
        row = layer.lookup("Files/large")
        assert row is not None
        data = bytearray(path.read_bytes())
        place = index.place_of_file(row.id)
        assert place is not None
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(CorruptLayerError, match="changed"):
            for _ in layer.data_chunks(row):
                pass
        path.write_bytes(data[: place + 100])
        with pytest.raises(CorruptLayerError, match="changed"):
            for _ in layer.data_chunks(row):
                pass
        with pytest.raises(LayerBusyError, match="changed"):
            IndexedTarLayer(index)


def test_reading_can_be_cancelled(tmp_path: Path) -> None:
    path = packed(tmp_path / "layer.tar", layer_tar(everything), "gzip")
    with pytest.raises(OperationCancelledError):
        index_tar(path, cancelled=lambda: True)


def test_progress_is_told(tmp_path: Path) -> None:
    seen: list[int] = []
    note: Callable[[wclayer.Progress], None] = lambda state: seen.append(state.entries)  # noqa: E731
    with index_tar(packed(tmp_path / "layer.tar", layer_tar(everything), "plain"), progress=note):
        pass
    assert seen


_KILLED = """
import sys, time
from wclayer.layers.indexed_tar.layer import index_tar
index = index_tar(sys.argv[1])
print("ready", flush=True)
time.sleep(600)
"""


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path: Path, temporary: Path) -> None:
    path = packed(tmp_path / "layer.tar", layer_tar(everything), "plain")
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(path)], stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(temporary), "TMP": str(temporary)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        # One that is in use is left alone.
        with index_tar(path):
            assert len(list(temporary.iterdir())) == 2
        assert len(list(temporary.iterdir())) == 1
    finally:
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.communicate()
    end = time.monotonic() + 20
    while True:
        with index_tar(path):
            pass
        if not list(temporary.iterdir()) or time.monotonic() > end:
            break
    assert list(temporary.iterdir()) == []
