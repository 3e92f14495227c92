"""A real tree of Windows binaries, from a win_amd64 wheel: copied into a mount, exported, imported, always the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import wclayer
from tests.support import put_directories, tree_listing, witness
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.fuse import mount
from wclayer.view.layer_view import LayerView
from wclayer.view.transfer import copy_into, copy_out

WHEEL = "pillow==11.0.0"


def test_windows_binaries_stay_what_they_are(tmp_path: Path) -> None:
    witness("fusermount3")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--platform", "win_amd64", "--python-version", "3.11"]
    subprocess.run([*command, "-d", str(tmp_path), WHEEL], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "tree")
    wanted = tree_listing(tmp_path / "tree")
    assert sum(name.endswith(".pyd") for name, _ in wanted) >= 5

    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
    scratch, place = tmp_path / "run", tmp_path / "m"
    wclayer.create_scratch_layer(scratch, [tmp_path / "base"])
    place.mkdir()
    wclayer.activate_layer(scratch)
    wclayer.prepare_layer(scratch, target=place)
    shutil.copytree(tmp_path / "tree", place / "mounted")
    assert tree_listing(place / "mounted") == wanted
    wclayer.unprepare_layer(scratch)
    with LayerView(scratch=scratch) as view:
        copy_into(view, tmp_path / "tree", r"C:\copied", recursive=True)
        copy_out(view, "mounted", tmp_path / "out", recursive=True)
    assert tree_listing(tmp_path / "out") == wanted
    wclayer.deactivate_layer(scratch)
    wclayer.export_layer_to_file(scratch, tmp_path / "run.tar.zst", compression="zstd")
    with (tmp_path / "run.tar.zst").open("rb") as stream:
        wclayer.import_layer_from_tar(stream, tmp_path / "again", [tmp_path / "base"])
    wclayer.import_layer_from_disk(scratch / "sandbox.vhdx", tmp_path / "from disk", [tmp_path / "base"])
    for layer in ("again", "from disk"):
        mount.start(place, [tmp_path / layer])
        try:
            assert tree_listing(place / "mounted") == tree_listing(place / "copied") == wanted
        finally:
            mount.unmount(place)
