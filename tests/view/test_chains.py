"""One path where a chain of layers is expected; layers as a file system of fsspec."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest

import wclayer
from tests.support import layer_tar, put_directories, put_file, run
from wclayer.layers.directory.chain import as_chain
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.view.filesystem import LayerFileSystem
from wclayer.win32.attributes import FileBasicInfo


@pytest.fixture
def child(tmp_path: Path) -> Path:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        put_file(writer, "Files/d/f", b"data")
        for name, time in (("old", 1234567), ("late", 2**63 - 1), ("exact", 133_500_000_000_000_019)):
            writer.put(Entry(f"Files/{name}", FileBasicInfo(0x20, time, time, time, time), 0), [DataStream("", 0, ())])

    (tmp_path / "base.tar").write_bytes(layer_tar(build))
    run("import", "-i", tmp_path / "base.tar", tmp_path / "base")
    wclayer.create_layer(tmp_path / "child", tmp_path / "base")
    return tmp_path / "child"


@pytest.mark.parametrize("kind", [str, Path])
def test_one_path_is_a_chain(kind: Any, child: Path, tmp_path: Path) -> None:
    layer = kind(child)
    with wclayer.LayerView(layer) as view:
        assert view.read_bytes("d/f") == b"data"
    with wclayer.MergedTree(layer) as tree:
        assert [str(opened.path) for opened in tree.layers] == [str(child)]
    wclayer.create_scratch_layer(tmp_path / "run", layer)
    with wclayer.new_layer_reader(tmp_path / "run", layer) as reader:
        assert list(reader) == []
    with wclayer.new_layer_writer(tmp_path / "new", layer) as writer:
        put_directories(writer, "Files")
    assert list(wclayer.diff_trees(layer, kind(tmp_path / "run"))) == []
    with wclayer.MergedTree([child, tmp_path / "base"]) as tree:
        assert list(wclayer.diff_trees(tree, layer)) == []


@pytest.mark.parametrize("nothing", [5, None, [5], [b"x"], "", [""], ["a", None]])
def test_what_is_no_chain_is_refused(nothing: Any) -> None:
    with pytest.raises(wclayer.InvalidParameterError):
        as_chain(nothing)
    with pytest.raises(wclayer.InvalidParameterError):
        wclayer.LayerView(nothing)


@pytest.mark.parametrize("size", [0, -1])
def test_no_disk_has_less_than_a_byte(size: int, child: Path, tmp_path: Path) -> None:
    wclayer.create_scratch_layer(tmp_path / "run", [child])
    with pytest.raises(wclayer.InvalidParameterError):
        wclayer.expand_scratch_size(tmp_path / "run", size)


def test_a_file_system_of_fsspec_is_pickled(child: Path, tmp_path: Path) -> None:
    wclayer.create_scratch_layer(tmp_path / "run", [child])
    with wclayer.LayerView(scratch=tmp_path / "run") as view:
        view.write_bytes("d/new", b"x")
        other = pickle.loads(pickle.dumps(LayerFileSystem(view=view)))
    with other:
        assert other.cat("/d/new") == b"x"
        assert other.cat("/d/f") == b"data"
    assert not other.view.is_open


def test_a_layer_that_is_elsewhere_is_refused(child: Path) -> None:
    with fsspec.open(f"wclayer://d/f::file://{child.parent / 'base'}") as file:
        assert file.read() == b"data"
    for options in ({"target_protocol": "s3"}, {"target_protocol": "file", "target_options": {"key": "x"}}):
        with pytest.raises(wclayer.NotSupportedError, match="on this machine"):
            LayerFileSystem(child, **options)


def test_times_are_exact(child: Path) -> None:
    with LayerFileSystem(child) as found:
        assert found.modified("/exact") == datetime(2024, 1, 17, 21, 20, 0, 1, tzinfo=UTC)
        assert found.modified("/old") == datetime(1601, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)
        assert found.modified("/late") == datetime.max.replace(tzinfo=UTC)
