"""The used bytes of a scratch: what is counted with each change is what the scratch has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wclayer
from tests.support import directory, put_directories, put_file
from wclayer.errors import DiskFullError
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.fuse.xattr import STREAM_PREFIX, remove_xattr, set_xattr
from wclayer.view.layer_view import LayerView


@pytest.fixture
def view(tmp_path: Path) -> Iterator[LayerView]:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
        for name in ("file", "other"):
            put_file(writer, f"Files/{name}", b"contents", x=b"stream")
        put_file(writer, "Files/plain", b"contents")
        writer.put(directory("Files/directory"))
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    with LayerView(scratch=tmp_path / "run", exclusive=True) as view:
        yield view


def _append(view: LayerView, path: str) -> None:
    with view.open(path, "ab") as file:
        file.write(b"more")


def _truncate(view: LayerView, path: str) -> None:
    with view.open(path, "r+b") as file:
        file.truncate(3)


def _set_xattr(view: LayerView, value: bytes) -> None:
    set_xattr(view.volume, view.volume.find("file"), STREAM_PREFIX + "of its own", value)


_CHANGES: dict[str, Callable[[LayerView], object]] = {
    "attributes": lambda view: view.set_attributes("file", 0x2),
    "append": lambda view: _append(view, "file"),
    "truncate": lambda view: _truncate(view, "file"),
    "append to a stream": lambda view: _append(view, "file:of its own"),
    "truncate a stream": lambda view: _truncate(view, "file:of its own"),
    "replace": lambda view: view.write_bytes("file", b"new"),
    "replace a stream": lambda view: view.write_bytes("file:of its own", b"new contents"),
    "remove a stream": lambda view: view.remove_stream("file", "of its own"),
    "remove a stream of a directory": lambda view: view.remove_stream("directory", "of its own"),
    "xattr": lambda view: _set_xattr(view, b"value"),
    "remove an xattr": lambda view: remove_xattr(view.volume, view.volume.find("file"), STREAM_PREFIX + "of its own"),
    "copy-up": lambda view: view.set_attributes("other", 0x2),
    "remove": lambda view: view.unlink("file"),
    "remove a directory": lambda view: view.rmdir("directory"),
    "rename": lambda view: view.rename("file", "moved"),
    "rename over": lambda view: view.rename("plain", "file"),
    "link": lambda view: view.link("linked", "file"),
}


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
def test_what_a_change_adds_or_removes_is_counted(view: LayerView, change: Callable[[LayerView], object]) -> None:
    for path in ("file", "directory"):
        view.write_bytes(f"{path}:of its own", b"a stream")
    view.volume.recount()
    assert view.used == len(b"contents" + b"stream" + 2 * b"a stream")
    change(view)
    counted = view.used
    view.volume.recount()
    assert counted == view.used


def test_streams_that_are_made_and_removed_do_not_fill_the_disk(
    view: LayerView, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert view.volume.quota is not None
    monkeypatch.setattr(view.volume.quota, "_capacity", 100)
    for _ in range(30):
        _set_xattr(view, b"0123456789")
        view.remove_stream("file", "of its own")
        view.write_bytes("new:stream", b"0123456789")
        view.unlink("new")
    with pytest.raises(DiskFullError):
        _set_xattr(view, bytes(100))
    assert view.streams("file") == [("x", 6)]
