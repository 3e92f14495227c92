"""What the histories found, once more without chance: two views, or two calls, one between the steps of the other."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import wclayer
from tests.proof.histories.places import child_tar
from tests.proof.histories.tree import make_base
from wclayer.engines.portable import activation, lifecycle
from wclayer.errors import AlreadyExistsError, LayerBusyError, NotReadyError, PathNotFoundError
from wclayer.host import system
from wclayer.layers import atomic
from wclayer.layers.directory import strangers
from wclayer.layers.directory.in_place import make_empty_records
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.opening import open_layer
from wclayer.layers.directory.problem import Problem
from wclayer.layers.directory.scratch import ScratchDirectory, is_scratch
from wclayer.layers.directory.scratch_layer import ScratchLayer
from wclayer.view.fuse import mount
from wclayer.view.layer_view import LayerView
from wclayer.view.open_files import OpenFile

pytestmark = [
    pytest.mark.histories,
    pytest.mark.skipif(sys.platform != "linux", reason="an open folder is not moved away on Windows"),
]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    make_base(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def scratch(base: Path, tmp_path: Path) -> Path:
    wclayer.create_scratch_layer(tmp_path / "scratch", [base])
    return tmp_path / "scratch"


def _commit(scratch: Path, base: Path) -> None:
    """What another process does to a scratch: it becomes a finished layer."""
    wclayer.import_layer_from_tar(io.BytesIO(child_tar("new")), scratch, [base])


@pytest.fixture
def views(scratch: Path) -> tuple[LayerView, LayerView]:
    """Two views of one scratch, as two processes have them."""
    return LayerView(scratch=scratch), LayerView(scratch=scratch)


def test_what_is_read_bit_by_bit_is_of_one_content(views: tuple[LayerView, LayerView]) -> None:
    one, other = views
    other.write_bytes("f", b"old" * 10)
    with one.open("f", "rb", buffering=0) as file:
        assert file.read(3) == b"old"
        other.write_bytes("f", b"new" * 20)
        one.stat("f")
        assert file.read() == b"old" * 9
        assert file.read() == b""
        file.seek(0)
        assert file.read() == b"new" * 20


def test_a_file_that_two_write_to_is_as_long_as_both_made_it(views: tuple[LayerView, LayerView], scratch: Path) -> None:
    one, other = views
    with one.open("f", "ab", buffering=0) as first, other.open("f", "ab", buffering=0) as second:
        first.write(b"1")
        second.write(b"2")
        second.flush()
        first.write(b"3")
        assert other.stat("f").size == one.stat("f").size == 3
        assert list(wclayer.check_layer(scratch)) == []
        second.write(b"4")
    assert other.read_bytes("f") == b"1234"


@pytest.mark.parametrize("size", [0, 1 << 20], ids=["shorter", "longer"])
def test_contents_that_are_replaced_before_a_written_file_is_closed_keep_their_record(
    size: int, views: tuple[LayerView, LayerView], scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = views
    truncate = OpenFile.truncate

    def truncate_first(file: OpenFile, size: int) -> None:
        truncate(file, size)
        with other.replacing("f") as new:
            new.write(b"new contents")

    other.write_bytes("f", b"old")
    monkeypatch.setattr(OpenFile, "truncate", truncate_first)
    one.truncate("f", size)
    assert list(wclayer.check_layer(scratch)) == []
    assert one.read_bytes("f") == other.read_bytes("f") == b"new contents"
    assert one.stat("f").size == 12


def test_a_view_that_closes_reads_nothing_of_files_that_it_has_closed(views: tuple[LayerView, LayerView]) -> None:
    one, other = views
    files = [one.open(name, "wb", buffering=0) for name in ("f", "g", "h")]
    for file in files:
        file.write(b"first")
    shut = OpenFile.shut

    def shut_and_change(file: OpenFile) -> None:
        shut(file)
        with other.replacing("f") as new:
            new.write(b"new contents")

    before = len(os.listdir("/proc/self/fd"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenFile, "shut", shut_and_change)
        one.close()
    assert other.read_bytes("f") == b"new contents"
    assert other.read_bytes("h") == b"first"
    assert len(os.listdir("/proc/self/fd")) < before


def test_contents_that_are_replaced_while_somebody_writes_to_them_keep_their_record(
    views: tuple[LayerView, LayerView], scratch: Path
) -> None:
    one, other = views
    with one.open("f", "wb", buffering=0) as file:
        file.write(b"before")
        other.write_bytes("f", b"replaced")
        file.write(b"AND")
    assert one.read_bytes("f") == other.read_bytes("f") == b"replacAND"
    assert list(wclayer.check_layer(scratch)) == []


def test_the_number_of_a_removed_file_is_given_to_no_other(views: tuple[LayerView, LayerView]) -> None:
    one, other = views
    with one.open("f", "ab", buffering=0) as file:
        other.unlink("f")
        other.write_bytes("another", b"another's")
        file.write(b"lost")
    assert other.read_bytes("another") == one.read_bytes("another") == b"another's"


def test_a_new_stream_is_never_seen_without_its_contents(views: tuple[LayerView, LayerView]) -> None:
    one, other = views
    with one.replacing("/f:s") as stream:
        stream.write(b"contents")
        assert not other.exists("f")
    assert other.read_bytes("/f:s") == b"contents"


def test_a_listing_is_of_one_moment(views: tuple[LayerView, LayerView], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = views
    query = LayerDirectory.query
    done: list[int] = []

    def between(layer: LayerDirectory, *arguments: object) -> object:
        if layer is one.volume.scratch and "ORDER BY i.key" in str(arguments[0]) and not done:
            # After the directory was found, before it is listed.
            done.append(1)
            other.rmtree("d")
        return query(layer, *arguments)  # type: ignore[arg-type]

    other.write_bytes("d/new", b"")
    monkeypatch.setattr(LayerDirectory, "query", between)
    assert one.listdir("d") == ["a", "l", "new"]
    with pytest.raises(PathNotFoundError):
        one.listdir("d")


def test_contents_that_went_while_a_scratch_was_read_are_no_damage(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.write_bytes("f", b"old")
    with open_layer(scratch) as reader:
        row = reader.lookup("Files/f")
        assert row is not None
        with LayerView(scratch=scratch) as view:
            view.write_bytes("f", b"new")
        with pytest.raises(LayerBusyError, match="try again"):
            b"".join(reader.data_chunks(row))


def test_a_layer_that_was_removed_while_it_was_read_is_not_there(base: Path) -> None:
    with open_layer(base) as reader:
        row = reader.lookup("Files/a")
        assert row is not None
        wclayer.destroy_layer(base)
        with pytest.raises(PathNotFoundError, match="removed while it was read"):
            b"".join(reader.data_chunks(row))


def test_a_scratch_that_was_committed_while_it_was_read_is_not_said_to_be_gone(base: Path, scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.write_bytes("f", b"old")
    with LayerView([scratch, base]) as view:
        _commit(scratch, base)
        with pytest.raises(LayerBusyError, match="try again"):
            view.read_bytes("f")
    with LayerView([scratch, base]) as view:
        assert view.read_bytes("f") == b"new"


def test_a_scratch_that_was_removed_while_it_was_read_is_not_there(base: Path, scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.write_bytes("f", b"old")
    with LayerView([scratch, base]) as view:
        wclayer.destroy_layer(scratch)
        with pytest.raises(PathNotFoundError, match="removed while it was read"):
            view.read_bytes("f")


@pytest.mark.parametrize("call", [wclayer.prepare_layer, wclayer.unprepare_layer, wclayer.get_layer_mount_path])
def test_a_scratch_that_was_just_committed_is_a_finished_layer(
    base: Path, scratch: Path, call: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    wclayer.activate_layer(scratch)
    done: list[int] = []

    def late(path: Path) -> bool:
        if not done:
            # After the scratch was opened, before the look for its disk.
            done.append(1)
            _commit(scratch, base)
        return is_scratch(path)

    monkeypatch.setattr(activation, "is_scratch", late)
    assert call(scratch) == (str(scratch) if call is wclayer.get_layer_mount_path else None)


def test_contents_that_are_replaced_during_a_check_are_no_strangers(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = strangers._strange_contents
    writers: list[LayerView] = []
    found: list[list[str]] = []

    def late_look(layer: ScratchLayer) -> Iterator[Problem]:
        if not writers:
            # Since the check began, a process has made a file and ended.
            with LayerView(scratch=scratch) as view:
                view.write_bytes("f", b"made")
        problems = list(look(layer))
        found.append([problem.path for problem in problems])
        for writer in writers:
            writer.close()
        return iter(problems)

    def late_open(path: Path) -> LayerDirectory:
        # Before the second look, another one replaces its contents; it ends after that.
        writers.append(LayerView(scratch=path))
        writers[0].write_bytes("f", b"replaced")
        return open_layer(path)

    monkeypatch.setattr(strangers, "_strange_contents", late_look)
    monkeypatch.setattr(strangers, "open_layer", late_open)
    assert list(wclayer.check_layer(scratch)) == []
    assert len(found) == 2
    assert set(found[0]) & set(found[1])
    assert list(wclayer.check_layer(scratch)) == []


def test_contents_that_are_made_during_a_check_are_no_strangers(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look, asks = strangers._strange_contents, strangers._is_scratch_in_use
    writers: list[LayerView] = []
    in_use: list[bool] = []

    def late_look(layer: ScratchLayer) -> Iterator[Problem]:
        if not writers:
            # Since the check began, a process makes a file.
            writers.append(LayerView(scratch=scratch))
            writers[0].write_bytes("f", b"made")
        return look(layer)

    def late_ask(layer: ScratchLayer) -> bool:
        in_use.append(asks(layer))
        writers[0].close()
        return in_use[-1]

    monkeypatch.setattr(strangers, "_strange_contents", late_look)
    monkeypatch.setattr(strangers, "_is_scratch_in_use", late_ask)
    assert list(wclayer.check_layer(scratch)) == []
    assert in_use[0]
    assert list(wclayer.check_layer(scratch)) == []


def test_what_took_the_place_of_a_layer_is_not_removed_for_it(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = system.Lock
    moved: list[Path] = []

    def locked(path: Path, **options: bool) -> object:
        found = lock(path, **options)
        if Path(path) == base and not moved:
            # Between the opening of the folder and its lock, it is another one.
            moved.append(base.rename(tmp_path / "elsewhere"))
            base.mkdir()
            (base / "somebody's").write_text("file")
        return found

    monkeypatch.setattr(system, "Lock", locked)
    with pytest.raises(wclayer.NotALayerError):
        wclayer.destroy_layer(base)
    assert (base / "somebody's").read_text() == "file"


def test_a_layer_that_another_process_is_removing_is_not_there_instead_of_being_none(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = lifecycle._check
    done: list[int] = []

    def slow(place: Path) -> None:
        if not done:
            done.append(1)
            with pytest.raises(LayerBusyError):
                wclayer.destroy_layer(base)
        check(place)

    monkeypatch.setattr(lifecycle, "_check", slow)
    wclayer.destroy_layer(base)
    assert not base.exists()


def test_a_commit_takes_the_place_of_a_scratch_and_of_nothing_else(
    base: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = atomic.StagedDirectory.commit
    done: list[int] = []

    def late(staged: atomic.StagedDirectory) -> None:
        if not done:
            # The scratch of before is gone, and a finished layer is there.
            done.append(1)
            wclayer.destroy_layer(scratch)
            wclayer.import_layer_from_tar(io.BytesIO(child_tar("theirs")), scratch, [base])
        commit(staged)

    monkeypatch.setattr(atomic.StagedDirectory, "commit", late)
    with pytest.raises(AlreadyExistsError):
        wclayer.import_layer_from_tar(io.BytesIO(child_tar("ours")), scratch, [base])
    with LayerView([scratch]) as view:
        assert view.read_bytes("f") == b"theirs"


def test_the_disk_of_a_scratch_that_was_never_read_counts_until_it_is(scratch: Path) -> None:
    for name in ("layer.db", "Files", "Hives"):
        target = scratch / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    # As an activation that was ended in its midst leaves it.
    make_empty_records(scratch)
    with LayerView(scratch=scratch) as view, pytest.raises(NotReadyError, match="activate it first"):
        view.write_bytes("f", b"lost when the disk is read")
    wclayer.activate_layer(scratch)
    with LayerView(scratch=scratch) as view:
        view.write_bytes("f", b"kept")


def test_only_an_active_scratch_is_mounted(scratch: Path) -> None:
    # Between the first look of prepare_layer and its server, another process has deactivated it.
    with pytest.raises(NotReadyError):
        mount.start(scratch / "mount", scratch=scratch, make_target=True, needed={"active": "this start"})
    assert not (scratch / "mount").exists()


def test_of_two_who_unmount_one_did(scratch: Path) -> None:
    with ScratchDirectory(scratch, exclusive=True) as opened:
        with opened.transaction():
            opened.set_record("mount", str(scratch / "mount"))
        with pytest.raises(LayerBusyError):
            wclayer.unprepare_layer(scratch)
    # Its server has died.
    wclayer.unprepare_layer(scratch)
    with pytest.raises(NotReadyError):
        wclayer.unprepare_layer(scratch)


def test_who_finds_the_blank_disk_made_meanwhile_takes_that(base: Path, tmp_path: Path) -> None:
    # The base layer has no disks: the first scratch makes them, and nobody makes them again over these.
    wclayer.create_scratch_layer(tmp_path / "one", [base])
    made = (base / "blank-base.vhdx").stat().st_ino
    with closing(atomic.lock_place(base, shared=True)):
        wclayer.create_scratch_layer(tmp_path / "two", [base])
        with pytest.raises(LayerBusyError):
            wclayer.destroy_layer(base)
    assert (base / "blank-base.vhdx").stat().st_ino == made
