"""`remove` and `destroy_layer`: layers go whole, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import wclayer
from tests.support import directory, put_file, run, tree_listing
from wclayer.host import system
from wclayer.host.root import mounts_below, remove_tree
from wclayer.layers.directory.writer import DirectoryLayerWriter

NEEDS_ROOT = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root mounts, and only Linux has tmpfs"
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        writer.put(directory("Files"))
        put_file(writer, "Files/a", b"a")
    return tmp_path / "base"


def test_a_transport_folder_is_no_layer(base: Path, tmp_path: Path) -> None:
    wclayer.export_layer(base, tmp_path / "transport")
    before = tree_listing(tmp_path / "transport")
    with pytest.raises(wclayer.NotALayerError, match=r"has no layer\.db, layerchain\.json or sandbox\.vhdx"):
        wclayer.destroy_layer(tmp_path / "transport")
    assert tree_listing(tmp_path / "transport") == before
    run("remove", tmp_path / "transport", status=wclayer.NotALayerError.exit_status)


@pytest.mark.parametrize("name", ["Files", "Files/layer.db", "Data"])
def test_other_folders_are_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / "precious" / name).mkdir(parents=True)
    with pytest.raises(wclayer.NotALayerError):
        wclayer.destroy_layer(tmp_path / "precious")
    assert (tmp_path / "precious" / name).is_dir()


def test_a_link_to_a_layer_is_said_to_be_one(base: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(base)
    with pytest.raises(wclayer.NotALayerError, match=f"symbolic link to {base}"):
        wclayer.destroy_layer(tmp_path / "alias")
    assert base.exists()


@pytest.mark.parametrize(
    "files",
    [
        ["sandbox.vhdx"],
        ["layerchain.json", "Files/"],
        ["Files/", "blank.vhdx", "blank-base.vhdx"],
        ["Files/", "Hives/System_Base"],
        ["Files/", "layer.db"],
    ],
)
@pytest.mark.parametrize("folder", ["layer", "rm-layer"])
def test_layers_of_others_and_damaged_ones_are_removed(folder: str, files: list[str], tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    for name in files:
        place = layer / name
        (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            place.touch()
    layer.rename(tmp_path / folder)
    wclayer.destroy_layer(tmp_path / folder)
    assert os.listdir(tmp_path) == []


@NEEDS_ROOT
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_a_file_system_mounted_in_a_layer_is_not_emptied(kind: str, base: Path, tmp_path: Path) -> None:
    place = base / "Files" / "m n"
    place.mkdir()
    (tmp_path / "precious").mkdir()
    source = ["-t", "tmpfs", "none"] if kind == "tmpfs" else ["--bind", tmp_path / "precious"]
    if subprocess.run(["mount", *source, place], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        (place / "file").write_bytes(b"x")
        before = tree_listing(base)
        with pytest.raises(wclayer.LayerBusyError, match="Files/m n: a file system is mounted there"):
            wclayer.destroy_layer(base)
        if kind == "tmpfs":
            with pytest.raises(OSError, match="another file system is mounted"):
                remove_tree(base / "Files")
            assert (place / "file").exists()
        else:
            assert tree_listing(base) == before
            assert (tmp_path / "precious" / "file").exists()
    finally:
        subprocess.run(["umount", place], check=True)
    wclayer.destroy_layer(base)
    assert sorted(os.listdir(tmp_path)) == ["precious"]


def test_where_the_host_has_no_list_of_mounts_each_directory_is_asked(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "mounts", list)
    assert mounts_below(base) == []
    real = system.stat_at

    def elsewhere(fd: int, name: bytes | str) -> os.stat_result:
        status = real(fd, name)
        if name == b"" and status.st_ino == (base / "Files").stat().st_ino:
            return os.stat_result((*status[:2], status.st_dev + 1, *status[3:]))
        return status

    monkeypatch.setattr(system, "stat_at", elsewhere)
    assert mounts_below(base) == [base / "Files"]
    with pytest.raises(wclayer.LayerBusyError, match="Files: a file system is mounted there"):
        wclayer.destroy_layer(base)
    monkeypatch.undo()
    assert (base / "Files" / "a").exists()


@pytest.mark.skipif(sys.platform != "linux" or not os.path.exists("/dev/fuse"), reason="needs FUSE")
def test_a_scratch_whose_server_was_killed_is_removed_with_its_mount(base: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "run"
    wclayer.create_scratch_layer(scratch, [base])
    wclayer.activate_layer(scratch)
    wclayer.prepare_layer(scratch)
    with pytest.raises(wclayer.LayerBusyError):
        wclayer.destroy_layer(scratch)
    assert (scratch / "mount" / "a").read_bytes() == b"a"
    subprocess.run(["pkill", "-KILL", "-f", f"wclayer.view.fuse.server.*{scratch}"], check=True)
    _until_free(scratch)
    wclayer.destroy_layer(scratch)
    assert os.listdir(tmp_path) == ["base"]


def _until_free(scratch: Path) -> None:
    lock = system.Lock(scratch)
    try:
        while True:
            try:
                lock.take()
            except BlockingIOError:
                continue
            return
    finally:
        lock.close()
