"""A scratch after a crash or a power cut: old contents or new ones, and nothing that nobody refers to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import wclayer
from tests.power_cut import PowerCutWitness
from tests.support import directory, put_file
from wclayer.errors import InvalidParameterError
from wclayer.layers.directory.scratch import IN_USE, ScratchDirectory
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.layer_view import LayerView
from wclayer.view.transfer import copy_between, copy_into

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the witness needs /proc")
OLD, NEW = b"old contents" * 1000, b"new contents" * 2000


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A scratch in which a file of the parent and one of its own can be replaced."""
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        writer.put(directory("Files"))
        put_file(writer, "Files/parent", OLD)
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    with LayerView(scratch=tmp_path / "run") as view:
        view.write_bytes("own", OLD)
    (tmp_path / "new").write_bytes(NEW)
    return tmp_path / "run"


def _pool(run: Path) -> list[Path]:
    return sorted(path for path in (run / "Data").rglob("*") if path.is_file())


def _contents(view: LayerView, path: str) -> Path:
    assert view.volume.scratch is not None
    return view.volume.scratch.path / os.fsdecode(view.volume.scratch.host_path(view.volume.find(path).row))


def test_a_file_that_was_copied_in_is_safe(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    witness = PowerCutWitness(tmp_path, monkeypatch)
    with LayerView(scratch=run) as view:
        copy_into(view, tmp_path / "new", "C:\\file")
    # The database itself is written anew only from its log, which is.
    assert witness.lost_below(run / "Data") == []
    assert witness.faults == []


@pytest.mark.parametrize("name", ["own", "parent"])
def test_a_renamed_file_and_the_one_it_replaces_survive_a_power_cut(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = PowerCutWitness(tmp_path, monkeypatch)
    with LayerView(scratch=run) as view:
        with view.open("fresh", "wb") as file:
            file.write(NEW)
        old = _contents(view, "own")
        view.rename("fresh", name)
        new = _contents(view, name)
        # A power cut now: the records are the old ones or the new ones, and the contents of both are there.
        assert witness.is_safe(new)
        assert witness.is_safe(new.parent)
        assert old.exists()
        assert list(wclayer.check_layer(run)) == []
        view.sync()
        assert old.exists() == (name == "parent")
        assert view.read_bytes(name) == NEW
    assert witness.faults == []
    assert len(_pool(run)) == (2 if name == "parent" else 1)


def test_many_removed_files_do_not_wait_for_the_end(run: Path) -> None:
    with LayerView(scratch=run) as view:
        for number in range(1500):
            view.create_file(f"f{number}")
        for number in range(1500):
            view.unlink(f"f{number}")
        assert len(_pool(run)) < 1001


def test_a_large_removed_file_does_not_wait(run: Path) -> None:
    with LayerView(scratch=run) as view:
        with view.open("large", "wb") as file:
            file.truncate(65 << 20)
        view.unlink("large")
        assert len(_pool(run)) == 1


def test_an_application_that_syncs_a_file_finds_it_after_a_power_cut(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = PowerCutWitness(tmp_path, monkeypatch)
    with LayerView(scratch=run) as view, view.open("synced", "wb", buffering=0) as file:
        file.write(NEW)
        file.sync()  # type: ignore[attr-defined]
        place = _contents(view, "synced")
        for safe in (place, place.parent, run / "Data", run / "layer.db-wal", run):
            assert witness.is_safe(safe), safe


def test_who_does_not_care_does_not_wait(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    witness = PowerCutWitness(tmp_path, monkeypatch)
    with wclayer.unsynced(), LayerView(scratch=run) as view:
        copy_into(view, tmp_path / "new", "own")
        view.unlink("parent")
    assert not {"sync_file", "sync_directory", "sync_file_system"} & set(witness.calls)


# Killed at any step.

_KILLED = """
import os, sys
from wclayer.host import system
from wclayer.layers.directory.content_pool import ContentPool
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.view.open_files import StagedContents
from wclayer.view.layer_view import LayerView
from wclayer.view.transfer import copy_into

run, source, target, step = sys.argv[1:]
place, name = {
    "first write": (StagedContents, "write"), "sync": (ScratchDirectory, "make_safe"),
    "switch": (ContentPool, "commit"), "end": (ScratchDirectory, "close"),
}[step]
setattr(place, name, lambda *_: os._exit(9))
with LayerView(scratch=run) as view:
    copy_into(view, source, target)
"""


@pytest.mark.parametrize("step", ["first write", "sync", "switch", "end"])
@pytest.mark.parametrize("name", ["own", "parent"])
def test_killed_at_any_step_of_a_copy_the_file_is_the_old_or_the_new_one(
    step: str, name: str, run: Path, tmp_path: Path
) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, run, tmp_path / "new", name, step], check=False)
    assert done.returncode == 9
    with LayerView(scratch=run) as view:
        assert view.read_bytes(name) == (NEW if step in ("switch", "end") else OLD)
    assert [path for path in os.listdir(run) if path.startswith(IN_USE)] == []
    assert list(wclayer.check_layer(run)) == []
    assert len(_pool(run)) == (2 if name == "parent" and step in ("switch", "end") else 1)


def test_a_copy_that_fails_leaves_the_file_as_it_was(run: Path) -> None:
    with LayerView(scratch=run) as view:
        used = view.used
        with pytest.raises(ZeroDivisionError), view.replacing("own") as file:
            file.write(NEW)
            raise ZeroDivisionError
        with pytest.raises(wclayer.DiskFullError), view.replacing("own") as file:
            view.volume.quota._capacity = used + 10  # type: ignore[union-attr]
            for _ in range(3):
                file.write(NEW * 100)
        assert view.read_bytes("own") == OLD
        assert view.used == used
    assert len(_pool(run)) == 1


def test_who_has_the_file_open_sees_the_new_contents(run: Path) -> None:
    with LayerView(scratch=run) as view, view.open("own", "rb") as file, view.open("parent", "rb") as other:
        view.write_bytes("own", NEW)
        view.write_bytes("parent", NEW)
        assert file.read() == NEW
        assert other.read() == NEW
        view.link("second", "own")
        view.write_bytes("second", OLD)
        assert view.read_bytes("own") == OLD


def test_a_refused_copy_of_a_file_onto_itself_changes_nothing(run: Path) -> None:
    with LayerView(scratch=run) as view:
        view.link("second", "own")
        for target in ("own", "OWN", "second"):
            with pytest.raises(InvalidParameterError, match="are the same file"):
                copy_between(view, "own", view, target)
            assert view.read_bytes("own") == OLD


_DIES = """
import os, sys
from wclayer.view.layer_view import LayerView

view = LayerView(scratch=sys.argv[1])
view.write_bytes("a", b"a" * 100)
view.volume.scratch.stage_file()
with view.open("b", "wb") as file:
    file.write(b"b" * 100)
    view.unlink("a")
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(9)
"""


def test_a_process_that_dies_while_another_has_the_scratch_leaves_nothing(run: Path) -> None:
    with LayerView(scratch=run) as view:
        view.mkdir("mine")
        with subprocess.Popen(
            [sys.executable, "-c", _DIES, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as dies:
            assert dies.stdout is not None
            assert dies.stdout.readline() == b"ready\n"
            dies.communicate()
        assert dies.returncode == 9
        view.mkdir("more")
    assert len(_pool(run)) > 2
    ScratchDirectory(run, exclusive=True).close()
    assert len(_pool(run)) == 2
    assert [name for name in os.listdir(run) if name.startswith(IN_USE)] == []
    assert list(wclayer.check_layer(run)) == []


def test_contents_that_a_power_cut_cut_off_are_as_long_as_they_are(run: Path) -> None:
    (contents,) = _pool(run)
    contents.write_bytes(b"")
    assert list(wclayer.check_layer(run)) != []
    (run / f"{IN_USE}.0123456789abcdef").touch()
    ScratchDirectory(run, exclusive=True).close()
    assert list(wclayer.check_layer(run)) == []
    with LayerView(scratch=run) as view:
        assert view.read_bytes("own") == b""
