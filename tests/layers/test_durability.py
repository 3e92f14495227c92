"""What has its name is whole after a power cut: contents and records are synced before the name appears."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import wclayer
from tests.power_cut import PowerCutWitness
from tests.support import directory, layer_tar, put_directories, put_file, vector_bytes
from wclayer.host import system
from wclayer.host.root import sync_tree
from wclayer.layers.directory.database import Origin
from wclayer.layers.directory.opening import open_layer
from wclayer.layers.directory.records import LayerRecords
from wclayer.model import LayerWriter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the witness needs /proc")
BASE = vector_bytes("base.tar.gz")


def _child(writer: LayerWriter) -> None:
    put_directories(writer, "Files")
    put_file(writer, "Files/new", b"new")


def _many(writer: LayerWriter) -> None:
    put_directories(writer, "Files", *(f"Files/{n}" for n in range(10)))
    for number in range(700):
        put_file(writer, f"Files/{number % 10}/f{number}", b"content %d" % number)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a base layer, a transport folder, a plain folder and a scratch in it."""
    wclayer.import_layer_from_tar(io.BytesIO(BASE), tmp_path / "base")
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(_child)), tmp_path / "child", [tmp_path / "base"])
    wclayer.export_layer(tmp_path / "child", tmp_path / "transport")
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    (tmp_path / "plain" / "Files" / "below").mkdir(parents=True)
    (tmp_path / "plain" / "Files" / "below" / "file").write_bytes(b"data")
    return tmp_path


def _edit_registry(layer: Path) -> None:
    with wclayer.RegistryEditor(layer) as editor:
        editor.create_key("HKLM\\SOFTWARE\\Test")


WORK: dict[str, tuple[str, Callable[[Path], object]]] = {
    "import of a tar": ("new", lambda at: wclayer.import_layer_from_tar(io.BytesIO(BASE), at / "new")),
    "import of many files": (
        "new", lambda at: wclayer.import_layer_from_tar(io.BytesIO(layer_tar(_many)), at / "new")
    ),
    "import of a transport folder": (
        "new", lambda at: wclayer.import_layer(at / "new", at / "transport", [at / "base"])
    ),
    "import of a disk": ("new", lambda at: wclayer.import_layer_from_disk(at / "base" / "blank.vhdx", at / "new")),
    "create": ("new", lambda at: wclayer.create_layer(at / "new", at / "base")),
    "create a scratch": ("new", lambda at: wclayer.create_scratch_layer(at / "new", [at / "base"])),
    "export to a file": ("new.tar", lambda at: wclayer.export_layer_to_file(at / "base", at / "new.tar")),
    "export to a folder": ("new", lambda at: wclayer.export_layer(at / "child", at / "new")),
    "convert": ("new.vhdx", lambda at: wclayer.convert_layer(at / "child", at / "new.vhdx")),
    "convert to an image": (
        "new.img", lambda at: wclayer.convert_layer(at / "child", at / "new.img", to="ntfs", size=64 << 20)
    ),
    "convert a disk": ("new.vhdx", lambda at: wclayer.convert_disk(at / "base" / "blank.vhdx", at / "new.vhdx")),
    "make a base layer": ("plain", lambda at: wclayer.make_base_layer(at / "plain")),
    "change a finished layer": ("child", lambda at: _edit_registry(at / "child")),
}  # fmt: skip


@pytest.mark.parametrize("what", WORK)
def test_a_power_cut_after_success_loses_nothing(what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, work = WORK[what]
    witness = PowerCutWitness(folder, monkeypatch)
    work(folder)
    assert witness.faults == []
    assert witness.lost_below(folder / made) == []
    assert witness.unsafe_names() == []


@pytest.mark.parametrize("what", WORK)
def test_who_does_not_care_does_not_wait(what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, work = WORK[what]
    witness = PowerCutWitness(folder, monkeypatch)
    with wclayer.unsynced():
        work(folder)
    assert not {"sync_file", "sync_directory", "sync_file_system"} & set(witness.calls)
    assert (folder / made).exists()


def test_a_host_without_a_sync_of_all_syncs_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "sync_file_system", lambda directory: False)
    witness = PowerCutWitness(tmp_path, monkeypatch)
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(_many)), tmp_path / "new")
    assert witness.faults == []
    assert witness.calls.count("sync_file") > 700


def test_many_files_are_synced_by_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        (tmp_path / str(number)).write_bytes(b"x")
    witness = PowerCutWitness(tmp_path, monkeypatch)
    sync_tree(tmp_path)
    assert witness.calls == ["sync_file_system"]


def test_links_and_fifos_in_a_folder_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/nowhere")
    sync_tree(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["fifo", "link"]


def test_the_end_of_an_import_asks_once_for_each_directory(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        path = "Files"
        writer.put(directory(path))
        for _ in range(300):
            path += "/d"
            writer.put(directory(path))

    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), tmp_path / "deep")
    queries: list[str] = []
    records = LayerRecords(tmp_path / "layer.db")
    with open_layer(tmp_path / "deep") as layer:
        for row in layer.entries():
            records.add(row)
    records.flush()
    records._database.set_trace_callback(queries.append)
    found = dict.fromkeys(path for path, _ in records.directories(besides=Origin.IMPLIED))
    records.close()
    assert len(found) == 301
    assert max(found, key=len) == b"Files" + b"/d" * 300
    assert len(queries) <= 310
