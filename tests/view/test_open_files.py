"""Open files whose host does not take all that is written to them: what is recorded is what the host has."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wclayer
from tests.support import put_directories, put_file
from wclayer.errors import DiskFullError
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.layer_view import LayerView
from wclayer.view.open_files import OpenFile
from wclayer.view.volume import Volume

_ROOM = 10
"""How many bytes of a file the host takes."""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
        put_file(writer, "Files/file", b"lower")
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    return tmp_path / "run"


@pytest.fixture(params=[True, False], ids=["exclusive", "shared"])
def volume(scratch: Path, request: pytest.FixtureRequest) -> Iterator[Volume]:
    with Volume(scratch=scratch, exclusive=request.param) as volume:
        yield volume
    assert list(wclayer.check_layer(scratch)) == []


@pytest.fixture
def full(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def write_at(fd: int, data: bytes | memoryview, offset: int) -> int:
        if offset >= _ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data[: _ROOM - offset], offset)

    def ftruncate(fd: int, size: int) -> None:
        if size > _ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        cut(fd, size)

    from wclayer.host import system

    real, cut = system.write_at, os.ftruncate
    monkeypatch.setattr(system, "write_at", write_at)
    monkeypatch.setattr(os, "ftruncate", ftruncate)
    return monkeypatch


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda file: file.write(b"0123456789", 5), b"lower01234"),
        (lambda file: file.append(b"0123456789"), b"lower01234"),
        (lambda file: file.write(b"0123456789", 20), b"lower"),
        (lambda file: file.write_some(b"0123456789", 10), b"lower"),
        (lambda file: file.truncate(20), b"lower"),
    ],
    ids=["write", "append", "write beyond", "write some", "extend"],
)
def test_what_the_host_did_not_take_is_not_recorded(
    volume: Volume, full: pytest.MonkeyPatch, change: Callable[[OpenFile], object], expected: bytes
) -> None:
    before = volume.used
    file = volume.open_node(volume.find("file"))
    with pytest.raises(DiskFullError):
        change(file)
    assert file.size == len(expected)
    assert volume.used - before <= len(expected)
    file.close()
    full.undo()
    node = volume.find("file")
    assert volume.current_row(node).size == len(expected)
    file = volume.open_node(node)
    assert file.read(100, 0) == expected
    file.close()


def test_a_part_of_a_write_is_told(volume: Volume, full: pytest.MonkeyPatch) -> None:
    file = volume.open_node(volume.find("file"))
    assert file.write_some(b"0123456789", 3) == _ROOM - 3
    assert file.size == _ROOM
    file.close()


@pytest.mark.usefixtures("full")
def test_a_view_does_not_leave_out_what_the_host_did_not_take(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        with view.open("file", "r+b", buffering=0) as file, pytest.raises(DiskFullError):
            file.write(b"0123456789abcdef")
        assert view.read_bytes("file") == b"0123456789"
    assert list(wclayer.check_layer(scratch)) == []
