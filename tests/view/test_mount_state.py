"""What is recorded of a mount, and what is believed of it: servers that died, mounts of others, moved layers."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wclayer
from tests.support import layer_tar, put_directories, put_file, run, text, witness
from wclayer.errors import InvalidStateError, NotReadyError
from wclayer.layers.directory.scratch import MOUNT
from wclayer.model import LayerWriter
from wclayer.view.fuse import mount


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    """Folders `base`, `child` and the scratch `run` over both."""
    witness("fusermount3")

    def base(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        put_file(writer, "Files/d/f", b"base")

    def child(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/g", b"child")

    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(base)), tmp_path / "base")
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(child)), tmp_path / "child", [tmp_path / "base"])
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "child", tmp_path / "base"])
    return tmp_path


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Path]:
    """A folder at which somebody else has mounted something."""
    place = tmp_path / "foreign"
    place.mkdir()
    if subprocess.run([witness("mount"), "-t", "tmpfs", "tmpfs", place], capture_output=True, check=False).returncode:
        pytest.skip("needs mount")
    (place / "kept").touch()
    yield place
    subprocess.run(["umount", place], check=True)


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def _kill_server(layers: Path) -> None:
    subprocess.run(["pkill", "-KILL", "-f", f"wclayer.view.fuse.server.*{layers}"], check=True)
    _until(lambda: mount.is_stale(layers / "run/mount"))


def _contents_of_the_disk(layers: Path, name: str) -> bytes:
    """A file of the scratch as the disk alone has it."""
    wclayer.import_layer_from_disk(layers / "run/sandbox.vhdx", layers / "copy", [layers / "child", layers / "base"])
    found = (layers / "copy/Files" / name).read_bytes()
    wclayer.destroy_layer(layers / "copy")
    return found


def test_modules_in_the_current_folder_are_not_run(layers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = layers / "hostile"
    hostile.mkdir()
    for name in ("json", "mfusepy", "queue", "wclayer", "ctypes"):
        (hostile / f"{name}.py").write_text(f"open({str(layers / 'canary')!r}, 'w')")
    monkeypatch.chdir(hostile)
    # As the installed command starts: with the folder of its script in the place of the current one.
    command = "import sys; sys.path[:1] = []; from wclayer.cli.main import main; main(sys.argv[1:])"
    for arguments in (["mount", "../run"], ["unmount", "../run"], ["shell", "../run", "--", "true"]):
        subprocess.run([sys.executable, "-c", command, *arguments], check=True, capture_output=True)
    assert not (layers / "canary").exists()


def test_a_dead_server_is_seen_whatever_the_kernel_remembers(layers: Path) -> None:
    run("mount", layers / "run")
    os.stat(layers / "run/mount")
    _kill_server(layers)
    with pytest.raises(NotReadyError, match="has died"):
        wclayer.get_layer_mount_path(layers / "run")
    wclayer.prepare_layer(layers / "run")
    assert (layers / "run/mount/d/f").read_bytes() == b"base"
    os.stat(layers / "run/mount")
    _kill_server(layers)
    run("mount", layers / "run")
    run("unmount", layers / "run")
    assert not (layers / "run/mount").exists()


def test_what_somebody_else_mounted_is_left_alone(foreign: Path) -> None:
    with pytest.raises(NotReadyError, match="not a mount of wclayer's"):
        mount.unmount(foreign)
    run("unmount", foreign, status=17)
    assert (foreign / "kept").exists()


def test_a_record_of_a_mount_is_not_believed(layers: Path, foreign: Path) -> None:
    """The layer directory of somebody else says that its mount is where another file system is."""
    wclayer.activate_layer(layers / "run")
    database = sqlite3.connect(layers / "run/layer.db")
    with database:
        database.execute("INSERT OR REPLACE INTO layer VALUES (?, ?)", (MOUNT, str(foreign)))
    database.close()
    with pytest.raises(NotReadyError, match="prepare it again"):
        wclayer.get_layer_mount_path(layers / "run")
    wclayer.unprepare_layer(layers / "run")
    assert (foreign / "kept").exists()
    run("mount", layers / "run")
    run("unmount", layers / "run")
    assert (foreign / "kept").exists()


def test_the_mount_of_another_layer_is_not_taken_for_this_one_s(layers: Path) -> None:
    wclayer.create_scratch_layer(layers / "other", [layers / "child", layers / "base"])
    run("mount", layers / "other")
    wclayer.activate_layer(layers / "run")
    database = sqlite3.connect(layers / "run/layer.db")
    with database:
        database.execute("INSERT OR REPLACE INTO layer VALUES (?, ?)", (MOUNT, str(layers / "other/mount")))
    database.close()
    wclayer.unprepare_layer(layers / "run")
    assert (layers / "other/mount/d/f").read_bytes() == b"base"
    run("unmount", layers / "other")


def test_unmount_finishes_what_somebody_else_began(layers: Path) -> None:
    run("mount", layers / "run")
    (layers / "run/mount/new").write_bytes(b"written in the mount")
    subprocess.run([witness("fusermount3"), "-u", layers / "run/mount"], check=True)
    mount.wait_until_free(layers / "run")
    assert "unmounted" not in text("unmount", layers / "run")
    assert _contents_of_the_disk(layers, "new") == b"written in the mount"
    run("unmount", layers / "run", status=17)
    run("mount", layers / "run")
    run("unmount", layers / "run")


def test_unmount_writes_what_was_changed_without_a_mount(layers: Path) -> None:
    (layers / "notes").write_bytes(b"notes")
    run("cp", layers / "notes", f"{layers / 'run'}:notes.txt")
    with pytest.raises(InvalidStateError, match="wclayer unmount"):
        wclayer.import_layer_from_disk(layers / "run/sandbox.vhdx", layers / "x", [layers / "child", layers / "base"])
    assert not (layers / "x").exists()
    assert "its changes are in its disk now" in text("unmount", layers / "run")
    assert _contents_of_the_disk(layers, "notes.txt") == b"notes"


def test_a_scratch_over_moved_parents_is_put_away(layers: Path) -> None:
    (layers / "child").rename(layers / "moved")
    run("mount", layers / "run", "-l", layers / "moved", "-l", layers / "base")
    (layers / "run/mount/new").write_bytes(b"over moved parents")
    run("unmount", layers / "run")
    (layers / "moved").rename(layers / "child")
    # It remembers where they were when it was mounted.
    run("mount", layers / "run", "-l", layers / "child", "-l", layers / "base")
    run("unmount", layers / "run")
    assert _contents_of_the_disk(layers, "new") == b"over moved parents"
