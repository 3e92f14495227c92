"""Layers that were moved or copied with their parents, and `relink_layer` for those that do not find them."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest

import wclayer
from tests.old_layers import make_old, make_old_chain
from tests.support import layer_tar, parsed, put_directories, put_file, run, text
from wclayer import sample
from wclayer.engines.relinking import relink_layer
from wclayer.errors import (
    CorruptLayerError,
    InvalidDataError,
    InvalidParameterError,
    LayerBusyError,
    NotALayerError,
    PathNotFoundError,
)
from wclayer.layers.directory.chain_file import read_chain
from wclayer.layers.directory.chain_path import ChainError, parent_paths, recorded_path
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.layers.volume.disk_file import DiskFile
from wclayer.model import LayerWriter


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with a base layer, a layer of it, a layer of both, and a scratch over all three."""
    place = tmp_path / "tree"
    place.mkdir()
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_base)), place / "base")
    for name, parent in (("app", "base"), ("top", "app")):

        def build(writer: LayerWriter, name: str = name) -> None:
            put_directories(writer, "Files", f"Files/{name}")
            put_file(writer, f"Files/{name}/file", name.encode())

        wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), place / name, place / parent)
    wclayer.create_scratch_layer(place / "run", place / "top")
    with wclayer.LayerView(scratch=place / "run") as view:
        view.write_bytes("C:\\new", b"changed")
    return place


def _assert_whole(tree: Path) -> None:
    """Every layer finds its parents in the same tree, and shows their files."""
    for name, chain in (("app", ["base"]), ("top", ["app", "base"]), ("run", ["top", "app", "base"])):
        assert read_chain(tree / name) == [tree / parent for parent in chain]
        assert [str(problem) for problem in wclayer.check_layer(tree / name)] == []
    with wclayer.LayerView.for_layer(tree / "run") as view:
        assert {view.read_bytes(path) for path in ("new", "app/file", "top/file")} == {b"changed", b"app", b"top"}
        assert {str(layer.path.parent) for layer in view.volume.tree.layers} == {str(tree)}


def _old(tree: Path) -> None:
    """Makes the layers of a tree such as an old wclayer made them."""
    for name in ("base", "app", "top", "run"):
        make_old_chain(tree / name)
        make_old(tree / name)


# Together.


def test_layers_that_lie_together_are_moved_together(tree: Path, tmp_path: Path) -> None:
    _assert_whole(tree)
    (tmp_path / "elsewhere").mkdir()
    moved = tree.rename(tmp_path / "elsewhere" / "layers")
    _assert_whole(moved)
    # The disk of the scratch finds its parent, too.
    wclayer.activate_layer(moved / "run")
    wclayer.deactivate_layer(moved / "run")
    assert wclayer.disk_info(moved / "run/sandbox.vhdx").parents == (moved / "base/blank-base.vhdx",)


def test_a_copy_of_a_tree_uses_the_copies(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "copy")
    _assert_whole(tmp_path / "copy")
    _assert_whole(tree)


def test_layers_in_different_folders_are_moved_together(tmp_path: Path) -> None:
    (tmp_path / "all/bases/deep").mkdir(parents=True)
    (tmp_path / "all/apps").mkdir()
    wclayer.create_layer(tmp_path / "all/bases/deep/base")
    wclayer.create_layer(tmp_path / "all/apps/app", tmp_path / "all/bases/deep/base")
    assert json.loads((tmp_path / "all/apps/app/layerchain.json").read_text()) == ["../../bases/deep/base"]
    (tmp_path / "all").rename(tmp_path / "moved")
    assert read_chain(tmp_path / "moved/apps/app") == [tmp_path / "moved/bases/deep/base"]


def test_the_working_directory_means_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert read_chain(Path("app")) == [tree / "base"]
    wclayer.create_layer("new", "app")
    monkeypatch.chdir(tree / "base")
    assert read_chain(Path("../new")) == [tree / "app", tree / "base"]
    assert json.loads((tree / "new/layerchain.json").read_text()) == ["../app", "../base"]


def test_a_layer_that_is_reached_by_a_link_finds_its_parents(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "far/away").mkdir(parents=True)
    (tmp_path / "far/away/app").symlink_to(tree / "app")
    (tmp_path / "far/tree").symlink_to(tree)
    for path in (tmp_path / "far/away/app", tmp_path / "far/tree/app"):
        assert read_chain(path) == [tree / "base"]
    # A layer that is made by way of a link, and a parent that is one.
    (tree / "current").symlink_to("app")
    wclayer.create_layer(tmp_path / "far/tree/new", tmp_path / "far/tree/current")
    assert json.loads((tree / "new/layerchain.json").read_text()) == ["../current", "../base"]
    assert read_chain(tree / "new") == [tree / "current", tree / "base"]


def test_a_layer_replaces_a_scratch_that_was_moved_with_its_parents(tree: Path, tmp_path: Path) -> None:
    moved = tree.rename(tmp_path / "moved")
    wclayer.export_layer_to_file(moved / "run", tmp_path / "run.tar")
    run("import", "-i", tmp_path / "run.tar", "--over-scratch", "-l", moved / "top", moved / "run")
    _assert_whole(moved)


# What a path may be.


@pytest.mark.parametrize(
    "text",
    ["", ".", "base", "./base", "base/..", "../", "../base/", "..//base", "../a/../base", "../base/.", "../.",
     "..\\base", "a\0b", "../a\0b", "..\\..\\base", "../a\\b", "\\base", "C:base"],
)  # fmt: skip
def test_other_relative_paths_are_refused(tree: Path, text: str) -> None:
    with pytest.raises(ChainError, match="neither an absolute path nor a relative one"):
        parent_paths(tree / "app", [text])
    (tree / "app/layerchain.json").write_text(json.dumps([text]))
    with pytest.raises(CorruptLayerError, match=r"layerchain\.json"):
        read_chain(tree / "app")


@pytest.mark.parametrize("text", ["../app", "..", "../../tree/app"])
def test_a_relative_path_to_the_layer_itself_is_refused_or_no_layer(tree: Path, text: str) -> None:
    (tree / "app/layerchain.json").write_text(json.dumps([text]))
    with pytest.raises((CorruptLayerError, NotALayerError)):
        wclayer.LayerView.for_layer(tree / "app").close()
    (tree / "app/layerchain.json").write_text(json.dumps(["../base", "../../tree/base"]))
    with pytest.raises(CorruptLayerError, match="named twice"):
        read_chain(tree / "app")


def test_no_path_leads_above_the_root(tree: Path) -> None:
    assert parent_paths(tree / "app", ["../" * 100 + "x/y"]) == [Path(tree.anchor, "x/y")]


def test_what_is_recorded_is_read(tmp_path: Path) -> None:
    for name in ("plain", "with space", "ümlaut", "a:b" if os.name != "nt" else "ab", "x" * 200):
        parent = tmp_path / "deep" / name
        for layer in (tmp_path / "layer", tmp_path / "deep/layer", tmp_path / "deep/er/still/layer"):
            text = recorded_path(layer, parent)
            assert text.startswith("../")
            assert parent_paths(layer, [text]) == [parent]


def test_a_name_that_cannot_be_spelled_relative_is_recorded_absolute(tmp_path: Path) -> None:
    assert recorded_path(tmp_path / "layer", tmp_path / "back\\slash") == str(tmp_path / "back\\slash")
    assert recorded_path(tmp_path / "layer", tmp_path / "layer/inside") == str(tmp_path / "layer/inside")


# Old layers.


def test_old_layers_are_read_where_they_were_made(tree: Path) -> None:
    _old(tree)
    assert json.loads((tree / "run/layerchain.json").read_text())[0] == str(tree / "top")
    _assert_whole(tree)


def test_a_missing_parent_names_the_verb(tree: Path, tmp_path: Path) -> None:
    _old(tree)
    moved = tree.rename(tmp_path / "moved")
    for call in (
        lambda: wclayer.LayerView.for_layer(moved / "run", writable=False).close(),
        lambda: wclayer.LayerView.for_layer(moved / "app", writable=False).close(),
        lambda: wclayer.Registry(moved / "app").close(),
        lambda: wclayer.create_layer(tmp_path / "new", moved / "top"),
        lambda: wclayer.convert_layer(moved / "app", tmp_path / "x.vhdx"),
    ):
        with pytest.raises(PathNotFoundError, match=r"base|top|app") as told:
            call()
        assert "`wclayer relink" in str(told.value)
        assert str(tree) in str(told.value)
    assert any("wclayer relink" in problem.text for problem in wclayer.check_layer(moved / "app"))


def test_relink_finds_old_layers_that_were_moved_together(tree: Path, tmp_path: Path) -> None:
    _old(tree)
    moved = tree.rename(tmp_path / "moved")
    for name in ("run", "top", "app"):
        relink_layer(moved / name)
    _assert_whole(moved)
    assert json.loads((moved / "run/layerchain.json").read_text()) == ["../top", "../app", "../base"]
    _assert_whole(moved.rename(tmp_path / "again"))


def test_relink_of_a_copy_uses_the_copies(tree: Path, tmp_path: Path) -> None:
    _old(tree)
    shutil.copytree(tree, tmp_path / "copy")
    for name in ("app", "top", "run"):
        relink_layer(tmp_path / "copy" / name)
    _assert_whole(tmp_path / "copy")


def test_relink_makes_absolute_paths_relative_in_place(tree: Path) -> None:
    _old(tree)
    for name in ("app", "top", "run"):
        relink_layer(tree / name)
    _assert_whole(tree)
    assert json.loads((tree / "top/layerchain.json").read_text()) == ["../app", "../base"]


def test_relink_takes_parents_that_were_renamed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "bases").mkdir()
    (tree / "base").rename(tmp_path / "bases/windows")
    (tree / "app").rename(tree / "application")
    with pytest.raises(PathNotFoundError, match=r"no layer 'base' lies beside.*: -l"):
        relink_layer(tree / "application")
    assert relink_layer(tree / "application", tmp_path / "bases/windows") == [tmp_path / "bases/windows"]
    # The nearest parent alone, whose own chain is sound again.
    assert relink_layer(tree / "top", tree / "application") == [tree / "application", tmp_path / "bases/windows"]
    relink_layer(tree / "run", [tree / "top", tree / "application", tmp_path / "bases/windows"])
    with wclayer.LayerView.for_layer(tree / "run") as view:
        assert view.read_bytes("app/file") == b"app"
    # The disk finds the base layer, and still counts as unchanged.
    parents = wclayer.disk_info(tree / "run/sandbox.vhdx").parents
    assert parents == (tmp_path / "bases/windows/blank-base.vhdx",)
    wclayer.activate_layer(tree / "run")
    wclayer.deactivate_layer(tree / "run")
    with wclayer.LayerView.for_layer(tree / "run") as view:
        assert view.read_bytes("new") == b"changed"
    assert list(wclayer.check_disk(tree / "run/sandbox.vhdx")) == []


def test_relink_repairs_a_chain_that_is_damaged(tree: Path) -> None:
    (tree / "top/layerchain.json").write_bytes(b"[")
    with pytest.raises(CorruptLayerError):
        relink_layer(tree / "top")
    relink_layer(tree / "top", tree / "app")
    _assert_whole(tree)


# What cannot be the parents.


@pytest.fixture
def other(tree: Path) -> Path:
    """Another base layer."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/other", b"other")

    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), tree / "other")
    return tree / "other"


def _refused(layer: Path, parents: object, match: str, kind: type[wclayer.LayerError] = InvalidParameterError) -> None:
    before = (layer / "layerchain.json").read_bytes() if (layer / "layerchain.json").exists() else None
    with pytest.raises(kind, match=match):
        relink_layer(layer, parents)  # type: ignore[arg-type]
    after = (layer / "layerchain.json").read_bytes() if (layer / "layerchain.json").exists() else None
    assert after == before


def test_other_layers_are_refused(tree: Path, other: Path, tmp_path: Path) -> None:
    _refused(tree / "app", other, "another layer: its diffID is sha256:")
    _refused(tree / "app", [tree / "app"], "own parent|1 parents, not the 2")
    _refused(tree / "app", tree / "run", "scratch")
    _refused(tree / "app", tree / "top", "1 parents, not the 3|own parent")
    _refused(tree / "top", [tree / "base", tree / "app"], "order")
    _refused(tree / "top", [tree / "app"] * 2, "twice")
    _refused(tree / "top", [other, tree / "base"], "it has 0 parents, and 1 layers are named after it")
    _refused(tree / "app", tmp_path, "not a layer", NotALayerError)
    _refused(tree / "app", tmp_path / "nothing", "does not exist", PathNotFoundError)
    _refused(tree / "base", (), "a base layer")
    _refused(tree / "base", other, "a base layer")
    _refused(tmp_path / "nothing", (), "does not exist", PathNotFoundError)


def test_a_layer_of_the_same_name_that_is_another_one_is_not_taken(tree: Path, other: Path, tmp_path: Path) -> None:
    (tree / "base").rename(tmp_path / "moved")
    other.rename(tree / "base")
    _refused(tree / "app", (), "another layer: its diffID is sha256:")


def test_a_parent_that_was_changed_since_is_the_parent(tree: Path) -> None:
    with wclayer.RegistryEditor(tree / "base") as editor:
        editor.create_key("HKLM\\SOFTWARE\\New")
    relink_layer(tree / "app", tree / "base")


def test_a_scratch_whose_disk_was_made_from_another_base_is_refused(tree: Path, tmp_path: Path) -> None:
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_base)), tmp_path / "base")
    wclayer.create_scratch_layer(tmp_path / "run", tmp_path / "base")
    # The same contents, and so the same diffID, but a disk of its own.
    _refused(tmp_path / "run", tree / "base", "is another disk", InvalidDataError)


def test_a_scratch_in_use_is_not_relinked(tree: Path) -> None:
    with ScratchDirectory(tree / "run"), pytest.raises(LayerBusyError):
        relink_layer(tree / "run")


def test_a_scratch_without_a_parent_s_disk_is_relinked(tree: Path) -> None:
    make_old_chain(tree / "run")
    for name in ("blank.vhdx", "blank-base.vhdx"):
        (tree / "base" / name).unlink()
    relink_layer(tree / "run")
    assert read_chain(tree / "run")[-1] == tree / "base"


def test_the_disk_stays_as_it_is_if_it_finds_its_parent(tree: Path) -> None:
    before = (tree / "run/sandbox.vhdx").read_bytes()
    relink_layer(tree / "run")
    assert (tree / "run/sandbox.vhdx").read_bytes() == before
    with DiskFile(tree / "run/sandbox.vhdx") as opened:
        assert opened.chain == [tree / "base/blank-base.vhdx"]


# The verb.


def test_the_verb_tells_the_parents(tree: Path, tmp_path: Path) -> None:
    _old(tree)
    moved = tree.rename(tmp_path / "moved")
    assert text("relink", moved / "app").splitlines() == [f"{moved / 'app'}: 1 parent", f"  {moved / 'base'}"]
    assert parsed("relink", "--json", "-l", moved / "app", "-l", moved / "base", moved / "top") == {
        "path": str(moved / "top"),
        "parents": [str(moved / "app"), str(moved / "base")],
    }
