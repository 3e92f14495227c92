"""The ways of containerd and hcsshim: a scratch of a copied disk, a commit over the scratch's own path."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import threading
from pathlib import Path

import pytest

import wclayer
from tests.support import run, tree_listing, vector_bytes
from wclayer.host import system
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.view.layer_view import LayerView

NEEDS_FUSE = pytest.mark.skipif(
    sys.platform != "linux" or not os.path.exists("/dev/fuse"), reason="a view is mounted through FUSE"
)
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other hosts cannot exchange two folders")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    wclayer.import_layer_from_tar(io.BytesIO(vector_bytes("base.tar.gz")), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def copied(base: Path, tmp_path: Path) -> Path:
    """What containerd's Prepare makes."""
    (tmp_path / "snapshot").mkdir()
    shutil.copyfile(base / "blank.vhdx", tmp_path / "snapshot" / "sandbox.vhdx")
    return tmp_path / "snapshot"


@pytest.fixture
def scratch(base: Path, tmp_path: Path) -> Path:
    wclayer.create_scratch_layer(tmp_path / "run", [base])
    with LayerView(scratch=tmp_path / "run") as view:
        view.write_bytes("C:\\note.txt", b"note")
    return tmp_path / "run"


@NEEDS_FUSE
def test_a_scratch_of_a_copied_disk_is_mounted_changed_and_mounted_again(base: Path, copied: Path) -> None:
    wclayer.expand_scratch_size(copied, 30 << 30)
    assert wclayer.disk_info(copied / "sandbox.vhdx").size == 30 << 30
    for expected in (b"first", b"second"):
        wclayer.activate_layer(copied)
        wclayer.prepare_layer(copied, [base])
        place = Path(wclayer.get_layer_mount_path(copied))
        if expected == b"second":
            assert (place / "file").read_bytes() == b"first"
        (place / "file").write_bytes(expected)
        wclayer.unprepare_layer(copied)
        wclayer.deactivate_layer(copied)
    assert list(wclayer.check_layer(copied)) == []
    wclayer.destroy_layer(copied)


def test_what_a_copied_disk_changes_is_read_when_the_parents_are_named(
    scratch: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wclayer.activate_layer(scratch)
    wclayer.deactivate_layer(scratch)
    (tmp_path / "other").mkdir()
    shutil.copyfile(scratch / "sandbox.vhdx", tmp_path / "other" / "sandbox.vhdx")
    monkeypatch.setattr("wclayer.view.fuse.mount.start", lambda *_, **__: 0)
    for _ in range(2):
        wclayer.activate_layer(tmp_path / "other")
        with pytest.raises(wclayer.InvalidParameterError, match="parents; they must be named"):
            wclayer.prepare_layer(tmp_path / "other")
        wclayer.deactivate_layer(tmp_path / "other")
    wclayer.activate_layer(tmp_path / "other")
    wclayer.prepare_layer(tmp_path / "other", [base])
    with LayerView(scratch=tmp_path / "other") as view:
        assert view.read_bytes("note.txt") == b"note"


def _commit(scratch: Path, base: Path) -> wclayer.ImportResult:
    """containerd's Commit: both ends of a pipe, the same path on each."""
    reader, writer = os.pipe()

    def export() -> None:
        with os.fdopen(writer, "wb") as stream:
            wclayer.export_layer_to_tar(stream, scratch, [base])

    thread = threading.Thread(target=export)
    thread.start()
    with os.fdopen(reader, "rb") as stream:
        result = wclayer.import_layer_from_tar(stream, scratch, [base])
    thread.join()
    return result


@ON_LINUX
def test_a_scratch_is_committed_over_its_own_path(scratch: Path, base: Path, tmp_path: Path) -> None:
    result = _commit(scratch, base)
    assert not (scratch / "sandbox.vhdx").exists()
    assert list(wclayer.check_layer(scratch)) == []
    assert wclayer.export_layer_to_tar(io.BytesIO(), scratch, [base]).diff_id == result.diff_id
    with LayerView([scratch]) as view:
        assert view.read_bytes("note.txt") == b"note"
    assert sorted(os.listdir(tmp_path)) == ["base", "run"]


@ON_LINUX
def test_a_commit_that_fails_leaves_the_scratch(scratch: Path, base: Path, tmp_path: Path) -> None:
    tar = io.BytesIO()
    wclayer.export_layer_to_tar(tar, scratch)
    before = tree_listing(scratch)
    with pytest.raises(wclayer.InvalidDataError):
        wclayer.import_layer_from_tar(io.BytesIO(tar.getvalue()[:-2048]), scratch, [base])
    assert tree_listing(scratch) == before
    with ScratchDirectory(scratch, exclusive=True), pytest.raises(wclayer.LayerBusyError):
        wclayer.import_layer_from_tar(io.BytesIO(tar.getvalue()), scratch, [base])
    assert tree_listing(scratch) == before
    assert sorted(os.listdir(tmp_path)) == ["base", "run"]


def test_where_the_host_cannot_exchange_folders_the_scratch_stays(
    scratch: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "exchange_directories", lambda *_: False)
    before = tree_listing(scratch)
    with pytest.raises(wclayer.NotSupportedError, match="import to another place"):
        _commit(scratch, base)
    assert tree_listing(scratch) == before


def test_only_a_scratch_on_the_same_parents_makes_way(scratch: Path, base: Path, tmp_path: Path) -> None:
    tar = io.BytesIO()
    wclayer.export_layer_to_tar(tar, scratch)
    wclayer.create_layer(tmp_path / "child", base)
    for place, parents in ((scratch, [tmp_path / "child"]), (scratch, []), (base, []), (tmp_path / "child", [base])):
        before = tree_listing(place)
        with pytest.raises(wclayer.AlreadyExistsError):
            wclayer.import_layer_from_tar(io.BytesIO(tar.getvalue()), place, parents)
        assert tree_listing(place) == before


@ON_LINUX
def test_the_command_replaces_a_scratch_only_if_told_to(scratch: Path, base: Path, tmp_path: Path) -> None:
    run("export", "-o", tmp_path / "run.tar", scratch)
    run("import", "-i", tmp_path / "run.tar", "-l", base, scratch, status=wclayer.AlreadyExistsError.exit_status)
    assert (scratch / "sandbox.vhdx").exists()
    run("import", "--over-scratch", "--no-sync", "-i", tmp_path / "run.tar", "-l", base, scratch)
    assert not (scratch / "sandbox.vhdx").exists()


@ON_LINUX
def test_what_is_wrong_with_the_parents_of_a_scratch_is_told(
    scratch: Path, base: Path, copied: Path, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    wclayer.create_layer(child, base)
    tar = tmp_path / "run.tar"
    run("export", "-o", tar, scratch)

    def refusal(place: Path, *parents: Path, source: Path = tar) -> str:
        layers = [word for parent in parents for word in ("-l", parent)]
        failed = run("import", "-i", source, "--over-scratch", *layers, place, status=3)
        _, said, problem = failed.stderr.decode().rstrip().partition(f" layer: {place}: a scratch is there")
        assert said, failed.stderr
        return problem.strip(" ,")

    assert refusal(scratch, child) == (
        f"with other parents: it records {base}, and {child}, {base} were named; name those that it records (-l), or"
        " import to another place"
    )
    assert refusal(scratch) == (
        f"with other parents: it records {base}, and none were named; name those that it records (-l), or import to"
        " another place"
    )
    assert refusal(copied, child, base) == (
        f"that records no parents, and {child}, {base} were named; `wclayer mount -l {child} {copied}`"
        " records them, or import to another place"
    )
    assert refusal(copied) == "that records no parents, and none were named; import to another place"
    run("export", "--transport", tmp_path / "folder", base)
    for source in (tmp_path / "folder", scratch / "sandbox.vhdx"):
        assert refusal(scratch, base, source=source) == (
            "and --over-scratch replaces one by a layer tar only; import to another place"
        )
    base.rename(tmp_path / "renamed")
    moved = refusal(scratch, tmp_path / "renamed")
    assert moved == (
        f"with other parents: it records {base}, and {tmp_path / 'renamed'} were named; {base} is not there: if it was"
        f" moved or renamed, `wclayer relink -l {tmp_path / 'renamed'} {scratch}` records where it is"
    )
    run("relink", "-l", tmp_path / "renamed", scratch)
    run("import", "-i", tar, "--over-scratch", "-l", tmp_path / "renamed", scratch)
    assert wclayer.layer_exists(scratch)
    assert not (scratch / "sandbox.vhdx").exists()


def test_parents_that_contradict_each_other_are_refused(base: Path, scratch: Path, tmp_path: Path) -> None:
    wclayer.create_layer(tmp_path / "child", base)
    wclayer.create_layer(tmp_path / "other")
    wrong = [tmp_path / "child", tmp_path / "other"]
    for call in (
        lambda: wclayer.create_scratch_layer(tmp_path / "new", wrong),
        lambda: wclayer.create_layer(tmp_path / "new", parents=wrong),
        lambda: wclayer.import_layer_from_tar(io.BytesIO(), tmp_path / "new", wrong),
        lambda: wclayer.convert_layer(wrong, tmp_path / "new"),
        lambda: LayerView(wrong),
    ):
        with pytest.raises(wclayer.InvalidParameterError, match=f"other parents .* its own: {re.escape(str(base))}"):
            call()
    for call in (
        lambda: wclayer.create_scratch_layer(tmp_path / "new", [scratch]),
        lambda: wclayer.create_layer(tmp_path / "new", scratch),
        lambda: LayerView([tmp_path / "child", scratch]),
    ):
        with pytest.raises(wclayer.InvalidParameterError, match="is a scratch"):
            call()
    assert not (tmp_path / "new").exists()


def test_parents_that_were_renamed_or_copied_agree(base: Path, tmp_path: Path) -> None:
    wclayer.create_layer(tmp_path / "child", base)
    shutil.copytree(base, tmp_path / "copies" / "base")
    shutil.copytree(tmp_path / "child", tmp_path / "copies" / "child")
    wclayer.create_layer(tmp_path / "on copies", parents=[tmp_path / "copies" / "child", tmp_path / "copies" / "base"])
    base.rename(tmp_path / "renamed")
    wclayer.create_layer(tmp_path / "on renamed", parents=[tmp_path / "child", tmp_path / "renamed"])
