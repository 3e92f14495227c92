"""The `fsspec` file system: fsspec's own abstract tests, and what is particular to layers."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem, make_path_posix
from fsspec.tests import abstract

import wclayer
from tests.support import put_directories, put_file
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.filesystem import LayerFileSystem


def make_scratch(folder: Path) -> Path:
    with DirectoryLayerWriter(folder / "base") as writer:
        put_directories(writer, "Files", "Files/Windows")
        put_file(writer, "Files/Windows/win.ini", b"[fonts]", s=b"stream")
    wclayer.create_scratch_layer(folder / "run", [folder / "base"])
    return folder / "run"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return make_scratch(tmp_path)


@pytest.fixture(scope="module")
def file_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LayerFileSystem]:
    """That of one scratch, in which each of fsspec's tests has a directory."""
    fs = fsspec.filesystem("wclayer", fo=str(make_scratch(tmp_path_factory.mktemp("layers"))))
    yield fs
    fs.close()


class LayerFixtures(abstract.AbstractFixtures):  # type: ignore[misc]
    @pytest.fixture
    def fs(self, file_system: LayerFileSystem) -> LayerFileSystem:
        return file_system

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return posixpath.join

    @pytest.fixture
    def fs_path(self, fs: LayerFileSystem) -> str:
        place = f"Windows/{len(fs.ls('Windows'))}"
        fs.mkdir(place)
        return place

    @pytest.fixture
    def local_fs(self) -> LocalFileSystem:
        return LocalFileSystem(auto_mkdir=True)

    @pytest.fixture
    def local_path(self, tmp_path: Path) -> str:
        (tmp_path / "local").mkdir()
        return str(make_path_posix(str(tmp_path / "local")))


class TestCopy(abstract.AbstractCopyTests, LayerFixtures):  # type: ignore[misc]
    pass


class TestGet(abstract.AbstractGetTests, LayerFixtures):  # type: ignore[misc]
    pass


class TestPut(abstract.AbstractPutTests, LayerFixtures):  # type: ignore[misc]
    pass


class TestOpen(abstract.AbstractOpenTests, LayerFixtures):  # type: ignore[misc]
    pass


class TestPipe(abstract.AbstractPipeTests, LayerFixtures):  # type: ignore[misc]
    pass


def test_urls_lead_into_a_layer(scratch: Path) -> None:
    with fsspec.open(f"wclayer://Windows/WIN.INI::file://{scratch.parent / 'base'}") as file:
        assert file.read() == b"[fonts]"
    with fsspec.open(f"wclayer://Windows/win.ini:s::file://{scratch.parent / 'base'}", "rb") as file:
        assert file.read() == b"stream"


def test_a_layer_is_read_only_and_a_scratch_is_not(scratch: Path) -> None:
    base = fsspec.filesystem("wclayer", fo=str(scratch.parent / "base"))
    with pytest.raises(wclayer.LayerError, match="read-only"):
        base.pipe("Windows/new", b"x")
    run: Any = fsspec.filesystem("wclayer", fo=str(scratch))
    run.pipe("a/b/new", b"x")
    run.mv("a/b/new", "Windows/moved")
    assert sorted(run.find("")) == ["Windows/moved", "Windows/win.ini"]
    assert run.info("/Windows/MOVED")["size"] == 1
    assert run.modified("Windows/moved") >= run.created("Windows/win.ini")
    run.rm("Windows", recursive=True)
    assert run.ls("", detail=False) == ["a"]
    run.close()
    base.close()
