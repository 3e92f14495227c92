"""Open files whose host does not take all that is written to them: what is recorded is what the host has."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

import wclayer
from tests.support import put_directories, put_file
from wclayer.errors import DiskFullError, LayerError, from_os_error
from wclayer.layers.directory.queries import Answer
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


def test_contents_that_are_cut_off_on_copy_up_are_counted_as_they_are(volume: Volume) -> None:
    before = volume.used
    file = volume.open_node(volume.find("file"))
    file.truncate(2)
    assert volume.used - before == 2
    file.close()
    volume.recount()
    assert volume.used - before == 2


@pytest.mark.parametrize(
    "write", [lambda file: file.write(b"", 100), lambda file: file.write_some(b"", 100)], ids=["write", "write some"]
)
def test_a_write_of_nothing_beyond_the_end_extends_nothing(volume: Volume, write: Callable[[OpenFile], int]) -> None:
    before = volume.used
    file = volume.open_node(volume.find("file"))
    assert write(file) == 0
    assert file.size == 5
    assert volume.used - before <= 5
    file.close()
    assert volume.current_row(volume.find("file")).size == 5


def test_a_write_of_nothing_beyond_the_end_of_a_stream_extends_nothing(volume: Volume) -> None:
    node = volume.find("file")
    volume.put_stream(node, "stream", [b"data"])
    stream = volume.open_stream(volume.find("file"), "stream")
    assert stream.write(b"", 100) == 0
    assert stream.end() == 4
    stream.close()


@pytest.mark.parametrize("size", [0, 3])
def test_a_truncation_whose_commit_fails_leaves_an_open_file_its_contents(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    assert volume.scratch is not None
    file = volume.open_node(volume.find("file"))
    real = volume.scratch.query

    def query(sql: str, arguments: Sequence[object] = ()) -> Answer:
        if sql == "COMMIT":
            raise DiskFullError("layer.db", "full")
        return real(sql, arguments)

    with monkeypatch.context() as patch:
        patch.setattr(volume.scratch, "query", query)
        with pytest.raises(DiskFullError):
            file.truncate(size)
    assert file.read(100, 0) == b"lower"
    assert file.size == 5
    file.close()
    assert volume.current_row(volume.find("file")).size == 5


def test_an_open_file_catches_up_after_the_host_had_no_descriptor_for_it(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LayerView(scratch=scratch) as view, LayerView(scratch=scratch) as other:
        for name in ("a", "b"):
            view.write_bytes(name, b"old")
        assert view.volume.scratch is not None
        files = {name: view.open(name, "r+b", buffering=0) for name in ("a", "b")}
        for name in files:
            other.write_bytes(name, b"new contents")
        with monkeypatch.context() as patch:
            patch.setattr(view.volume.scratch, "open_file", _no_descriptors)
            with pytest.raises(LayerError, match="open files"):
                view.stat("a")
        for name, file in files.items():
            assert file.read() == b"new contents", name
            assert file.write(b"!") == 1
            file.close()
            assert other.read_bytes(name) == b"new contents!"
    assert list(wclayer.check_layer(scratch)) == []


def test_a_file_that_was_closed_leads_to_no_other_file(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    with LayerView([tmp_path / "base"]) as view:
        file = view.open_raw("file")
        unclosed = view.open_raw("file")
        file.close()
        for use in (file.read, file.stored_size, lambda: file.seek(0), lambda: file.truncate(0)):
            with pytest.raises(ValueError, match="closed"):
                use()
    # The number of its descriptor is free now.
    with (tmp_path / "secret").open("rb"), pytest.raises(LayerError):
        unclosed.read()


class _Raced(OpenFile):
    """An open file to which another thread writes at the moment when one looks whether it is being written to."""

    __slots__ = ("_flag", "other")

    @property
    def _is_being_written(self) -> bool:
        flag, other = self._flag, getattr(self, "other", None)
        self.other: Callable[[], object] | None = None
        if other is not None:
            other()
        return flag

    @_is_being_written.setter
    def _is_being_written(self, flag: bool) -> None:
        self._flag = flag


def test_a_write_beside_a_flush_is_recorded(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.view.volume.OpenFile", _Raced)
    file = volume.open_node(volume.find("file"))
    assert isinstance(file, _Raced)
    file.other = lambda: file.write(b"written beside", 0)
    file.flush()
    assert volume.current_row(volume.find("file")).size == len(b"written beside")
    file.close()
    assert volume.scratch is not None
    assert volume.scratch.query("SELECT size FROM entries WHERE name = 'file'").fetchone() == (14,)


def test_a_failure_to_record_one_file_does_not_leave_the_others_open(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = Volume(scratch=scratch, exclusive=True)
    files = [volume.create_open(partial(volume.place, name, follow=False)) for name in ("a", "b", "c")]
    for file in files:
        file.write(b"data", 0)
    flush = OpenFile.flush

    def fail(file: OpenFile) -> None:
        if file is files[1]:
            raise DiskFullError("layer.db", "full")
        flush(file)

    monkeypatch.setattr(OpenFile, "flush", fail)
    with pytest.raises(DiskFullError):
        volume.close()
    assert not volume.has_open_files
    with LayerView(scratch=scratch) as view:
        assert view.volume.scratch is not None
        unrecorded = view.volume.scratch.query("SELECT name FROM entries WHERE size < 0").fetchall()
        assert [view.read_bytes(name) for name in ("a", "b", "c")] == [b"data"] * 3
    assert unrecorded == [("b",)]
    assert list(wclayer.check_layer(scratch)) == []


def _no_descriptors(*arguments: object, **options: object) -> int:
    raise from_os_error("contents", OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
