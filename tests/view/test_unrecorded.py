"""The writes to files that programs have closed in a mount: recorded together, and never lost."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wclayer
from tests.support import put_directories, put_file
from wclayer.errors import DiskFullError
from wclayer.layers.directory.database import BEING_WRITTEN
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.fuse.unrecorded import Unrecorded
from wclayer.view.layer_view import LayerView
from wclayer.view.open_files import OpenFile
from wclayer.view.volume import Volume
from wclayer.win32.attributes import FileAttributes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fusermount3")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
        put_file(writer, "Files/lower", b"lower", attributes=0x80)
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    with Volume(scratch=tmp_path / "run", exclusive=True) as volume:
        yield volume


def _written(volume: Volume, name: str, data: bytes) -> OpenFile:
    """A file that is open and was written to."""
    file = volume.create_open(lambda: volume.place(name, follow=False), new=False)
    file.write(data, 0)
    return file


def _recorded_size(volume: Volume, file: OpenFile) -> int:
    assert volume.scratch is not None
    (size,) = volume.scratch.query("SELECT size FROM entries WHERE id = ?", (file.file[1],)).fetchone()
    return int(size)


def test_writes_are_recorded_together(volume: Volume) -> None:
    unrecorded = Unrecorded(volume)
    files = [_written(volume, f"file{number}", bytes(number)) for number in range(5)]
    for file in files:
        unrecorded.add(file)
        unrecorded.add(file)
        file.close()
    assert unrecorded.is_waiting
    assert [_recorded_size(volume, file) for file in files] == [BEING_WRITTEN] * 5
    statements: list[str] = []
    assert volume.scratch is not None
    volume.scratch._database.set_trace_callback(statements.append)
    unrecorded.record()
    volume.scratch._database.set_trace_callback(None)
    assert statements.count("COMMIT") == 1
    assert not unrecorded.is_waiting
    assert [_recorded_size(volume, file) for file in files] == [0, 1, 2, 3, 4]
    assert not volume.has_open_files


def test_only_so_many_files_are_kept_open(volume: Volume) -> None:
    unrecorded = Unrecorded(volume)
    files = [_written(volume, f"file{number}", b"data") for number in range(100)]
    for file in files:
        unrecorded.add(file)
        file.close()
    waiting = sum(_recorded_size(volume, file) == BEING_WRITTEN for file in files)
    assert 0 < waiting <= 64
    assert sum(file.users for file in files) == waiting


@pytest.mark.parametrize("name", ["new", "lower"])
def test_what_is_not_recorded_is_not_lost_with_the_process(volume: Volume, tmp_path: Path, name: str) -> None:
    unrecorded = Unrecorded(volume)
    file = _written(volume, name, b"what was written")
    unrecorded.add(file)
    node = volume.find(name)
    told = volume.current_row(node)
    # What a process that is killed now leaves.
    shutil.copytree(tmp_path / "run", tmp_path / "left")
    with ScratchDirectory(tmp_path / "left", exclusive=True) as left:
        row = left.lookup(node.path)
        assert row is not None
        assert left.query("SELECT size FROM entries WHERE id = ?", (row.id,)).fetchone() == (len(b"what was written"),)
        assert row.info == told.info
        assert row.attributes & FileAttributes.ARCHIVE
    with LayerView(scratch=tmp_path / "left") as view:
        assert view.read_bytes(name) == b"what was written"


def test_a_failure_loses_nothing_and_is_tried_again(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    unrecorded = Unrecorded(volume)
    files = [_written(volume, f"file{number}", b"data") for number in range(3)]
    for file in files:
        unrecorded.add(file)
    assert volume.scratch is not None
    with monkeypatch.context() as patch:
        real, calls = volume.scratch.set, iter(range(3))

        def fail(*arguments: object, **columns: object) -> None:
            if next(calls) == 1:
                raise DiskFullError("layer.db", "full")
            real(*arguments, **columns)  # type: ignore[arg-type]

        patch.setattr(volume.scratch, "set", fail)
        with pytest.raises(DiskFullError):
            unrecorded.record()
    assert not unrecorded.is_waiting
    assert all(file.is_being_written for file in files)
    assert [_recorded_size(volume, file) for file in files] == [BEING_WRITTEN] * 3
    assert volume.current_row(volume.find("file1")).size == 4
    unrecorded.add(files[0])
    assert unrecorded.is_waiting
    unrecorded.record()
    assert [_recorded_size(volume, file) for file in files] == [4] * 3


def test_a_file_that_is_removed_is_not_kept(volume: Volume) -> None:
    unrecorded = Unrecorded(volume)
    assert volume.quota is not None
    before = volume.used
    file = _written(volume, "file", b"data")
    unrecorded.add(file)
    file.close()
    volume.unlink(volume.find("file"))
    unrecorded.drop(file)
    assert not unrecorded.is_waiting
    assert not file.users
    assert volume.used == before


def test_metadata_that_are_set_are_not_overwritten_by_the_record(volume: Volume) -> None:
    unrecorded = Unrecorded(volume)
    file = _written(volume, "file", b"data")
    unrecorded.add(file)
    volume.set_attributes(volume.find("file"), int(FileAttributes.HIDDEN))
    volume.set_times(volume.find("file"), write=132_000_000_000_000_000)
    unrecorded.record()
    row = volume.find("file").row
    assert (row.attributes, row.last_write_time, row.size) == (FileAttributes.HIDDEN, 132_000_000_000_000_000, 4)
