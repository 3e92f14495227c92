"""What goes out of a layer is what its records say: contents with another SHA-256 are an error that names the file."""

from __future__ import annotations

import io
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import wclayer
from tests.support import directory, put_file
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.layer_view import LayerView

LARGE = bytes(range(256)) * (3 << 12)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    with DirectoryLayerWriter(tmp_path / "layer") as writer:
        writer.put(directory("Files"))
        put_file(writer, "Files/small", b"small contents")
        put_file(writer, "Files/large", LARGE)
        put_file(writer, "Files/named", b"main", note=b"alternate contents")
    return tmp_path / "layer"


def _read_all(layer: Path) -> None:
    with wclayer.new_layer_reader(layer) as reader:
        for _ in reader:
            while reader.read(1 << 20):
                pass


OUT: dict[str, Callable[[Path], object]] = {
    "tar": lambda layer: wclayer.export_layer_to_tar(io.BytesIO(), layer),
    "file": lambda layer: wclayer.export_layer_to_file(layer, layer.parent / "out"),
    "transport folder": lambda layer: wclayer.export_layer(layer, layer.parent / "out"),
    "disk": lambda layer: wclayer.convert_layer(layer, layer.parent / "out", to="ntfs", size=64 << 20),
    "backup streams": _read_all,
}


@pytest.mark.parametrize("way", OUT)
@pytest.mark.parametrize("name", ["small", "large"])
def test_a_flipped_bit_is_an_error_that_names_the_file(way: str, name: str, layer: Path) -> None:
    OUT["tar"](layer)
    place = layer / "Files" / name
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(data)
    with pytest.raises(wclayer.CorruptLayerError, match=rf"Files[/\\]{name}: .*SHA-256"):
        OUT[way](layer)
    assert sorted(path.name for path in layer.parent.iterdir()) == ["layer"]
    assert [(problem.path, problem.text) for problem in wclayer.check_layer(layer)] == [
        (f"Files/{name}", "its contents do not have the recorded SHA-256")
    ]


@pytest.mark.parametrize("way", OUT)
def test_a_flipped_bit_in_a_stream_is_an_error_that_names_it(way: str, layer: Path) -> None:
    database = sqlite3.connect(layer / "layer.db")
    database.execute("UPDATE stream_data SET data = ?", (b"alternate c0ntents",))
    database.commit()
    database.close()
    with pytest.raises(wclayer.CorruptLayerError, match=r"'note' of Files/named.*SHA-256"):
        OUT[way](layer)
    assert sorted(path.name for path in layer.parent.iterdir()) == ["layer"]


@pytest.mark.parametrize("name", ["small", "large"])
def test_what_was_replaced_in_a_scratch_is_verified_too(name: str, layer: Path) -> None:
    run = layer.parent / "run"
    wclayer.create_scratch_layer(run, [layer])
    with LayerView(scratch=run) as view:
        view.write_bytes(name, LARGE)
    (contents,) = (path for path in (run / "Data").rglob("*") if path.is_file())
    contents.write_bytes(bytes(len(LARGE)))
    with pytest.raises(wclayer.CorruptLayerError, match="SHA-256"):
        wclayer.export_layer_to_tar(io.BytesIO(), run)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, None])
def test_a_disk_that_is_not_made_to_its_end_leaves_nothing(failure: type[BaseException] | None, layer: Path) -> None:
    before = threading.active_count()

    def is_cancelled() -> bool:
        if failure is not None:
            raise failure
        return True

    with pytest.raises(failure or wclayer.OperationCancelledError):
        wclayer.convert_layer(layer, layer.parent / "out.vhdx", cancelled=is_cancelled)
    assert sorted(path.name for path in layer.parent.iterdir()) == ["layer"]
    assert threading.active_count() == before


def test_a_closed_reader_leaves_no_thread(layer: Path) -> None:
    _read_all(layer)
    with wclayer.new_layer_reader(layer) as reader:
        # It stops in the middle of the large file.
        while (entry := reader.next()) is not None and entry.name != "Files/large":
            pass
        reader.read(1 << 20)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("wclayer-verify")]


def test_a_reader_needs_no_query_for_each_directory(tmp_path: Path) -> None:
    with DirectoryLayerWriter(tmp_path / "layer") as writer:
        writer.put(directory("Files"))
        for number in range(50):
            writer.put(directory(f"Files/{number}"))
            put_file(writer, f"Files/{number}/file", b"x")
    with DirectoryLayerReader(tmp_path / "layer") as reader:
        statements: list[str] = []
        reader.layer._database.set_trace_callback(statements.append)
        assert sum(len(list(item.streams())) for item in reader) == 50
    assert len(statements) < 10
