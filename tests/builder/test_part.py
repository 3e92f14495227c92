"""Several layers read as one: over the layers below, it shows what they show."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import wclayer
from tests.builder.chains import (
    foreign_layers,
    import_layer,
    made_chain,
    put_base,
    put_foreign,
    registry_of,
    shown,
    steps,
)
from tests.support import directory, info, layer_tar, put_directories, put_file, read_tar
from wclayer.layers.copy import copy_layer
from wclayer.layers.hives import LAYER_HIVES
from wclayer.layers.names import NameChecker
from wclayer.layers.tar import TarLayerWriter
from wclayer.model import Entry, LayerWriter
from wclayer.view.merged import MergedTree
from wclayer.view.part import ChainPartReader
from wclayer.win32.names import path_key

CONFIGS = frozenset(path_key(hive.config) for hive in LAYER_HIVES)
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


def as_one(chain: Sequence[Path], count: int) -> bytes:
    """The tar of the nearest layers of a chain as one."""
    out = io.BytesIO()
    names = NameChecker("one.tar", is_base=count == len(chain))
    with ChainPartReader(chain, count) as reader, TarLayerWriter(out, names=names) as writer:
        copy_layer(reader, writer)
    return out.getvalue()


def check(chain: Sequence[Path], count: int, *, links: bool = True) -> list[tuple[Entry, bytes]]:
    """Checks that the nearest layers of a chain as one show the same."""
    tar = as_one(chain, count)
    below = list(chain[count:])
    one = import_layer(tar, chain[0].parent / f"one{count}", below)
    with MergedTree(list(chain)) as before, MergedTree([one, *below]) as after:
        without = CONFIGS if not below else frozenset()
        expected, found = shown(before, without=without), shown(after, without=without)
        if not links:
            del expected["links"], found["links"]
        assert found == expected
    assert registry_of(one) == registry_of(chain[0])
    again = as_one([one, *below], 1)
    if links:
        assert again == tar
    return read_tar(tar, is_base=not below)


@SLOW
@given(st.lists(steps, min_size=1, max_size=4), st.data())
def test_what_containers_have_made_is_the_same_as_one_layer(layers: list[object], data: st.DataObject) -> None:
    with made_chain(layers) as chain:  # type: ignore[arg-type]
        check(chain, data.draw(st.integers(1, len(chain))))


@SLOW
@given(foreign_layers, st.data())
def test_what_other_programs_have_made_is_the_same_as_one_layer(layers: list[object], data: st.DataObject) -> None:
    roots = data.draw(st.sampled_from(["Files", "UtilityVM/Files"]))
    with tempfile.TemporaryDirectory(prefix="wclayer-part-") as name:
        chain = [import_layer(layer_tar(put_base), Path(name, "layer0"), [])]
        for number, members in enumerate(layers, 1):

            def build(writer: LayerWriter, members: object = members) -> None:
                put_directories(
                    writer, *{"Files": ["Files"], "UtilityVM/Files": ["UtilityVM", "UtilityVM/Files"]}[roots]
                )
                put_foreign(writer, members, parents=chain, root=roots)  # type: ignore[arg-type]

            chain.insert(0, import_layer(layer_tar(build), Path(name, f"layer{number}"), chain))
        check(chain, data.draw(st.integers(1, len(chain))), links=False)


def _chain(folder: Path, *builds: object) -> list[Path]:
    chain: list[Path] = []
    for number, build in enumerate(builds):
        chain.insert(0, import_layer(layer_tar(build), folder / f"layer{number}", chain))  # type: ignore[arg-type]
    return chain


def _names(tar: bytes, *, is_base: bool = False) -> list[str]:
    return [("-" if entry.is_tombstone else "") + entry.name for entry, _ in read_tar(tar, is_base=is_base)]


def test_only_tombstones_that_hide_something_of_the_base_stay(tmp_path: Path) -> None:
    def first(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/new", "Files/a")
        for path in ("Files/never there", "Files/a/B/ä", "Files/a/a"):
            writer.put(Entry(path, None))
        put_file(writer, "Files/new/x", b"x")

    def second(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/a")
        for path in ("Files/new", "Files/a/B"):
            writer.put(Entry(path, None))
        put_file(writer, "Files/a/a", b"again")

    chain = _chain(tmp_path, put_base, first, second)
    assert _names(as_one(chain, 2)) == ["-Files/a/B", "Files", "Files/a", "Files/a/a"]


def test_a_directory_in_the_place_of_a_file_of_the_part_hides_that_of_the_base(tmp_path: Path) -> None:
    """The file hid the directory of the base; the directory alone would show it again."""

    def first(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/a", b"a file")

    def second(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/a")

    chain = _chain(tmp_path, put_base, first, second)
    assert _names(as_one(chain, 2)) == ["Files", "-Files/a", "Files/a"]
    check(chain, 2)


def test_links_to_files_of_parents_stay_links(tmp_path: Path) -> None:
    def first(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/own", b"own")
        writer.put(Entry("Files/of the base", info(), link_target="Files/a/a"))
        writer.put(Entry("Files/of a changed one", info(), link_target="Files/a/B/ä"))

    def second(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/a", "Files/a/B")
        writer.put(Entry("Files/of the part", info(), link_target="Files/own"))
        put_file(writer, "Files/a/B/ä", b"changed")

    chain = _chain(tmp_path, put_base, first, second)
    found = {entry.name: (entry.link_target, data) for entry, data in read_tar(as_one(chain, 2))}
    assert found["Files/of the base"][0] == "Files/a/a"
    assert found["Files/of a changed one"][0] is None
    assert b"two" in found["Files/of a changed one"][1]
    assert found["Files/of the part"][0] == "Files/own"
    check(chain, 2, links=False)
    whole = {entry.name: entry.link_target for entry, _ in read_tar(as_one(chain, 3), is_base=True)}
    assert {"Files/of the base", "Files/a/a"} & {name for name, target in whole.items() if target} != set()


def test_all_layers_become_a_base_layer(tmp_path: Path) -> None:
    def child(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "UtilityVM", "UtilityVM/Files", "UtilityVM/Files/a")
        writer.put(Entry("UtilityVM/Files/a/a", None))
        put_file(writer, "UtilityVM/Files/a/new", b"new")

    chain = _chain(tmp_path, put_base, child)
    names = _names(as_one(chain, 2), is_base=True)
    assert "UtilityVM/Files/a/new" in names
    assert "UtilityVM/Files/a/B/a" in names
    assert "UtilityVM/Files/a/a" not in names
    assert not any(name.startswith(("-", "Hives")) for name in names)
    assert [name for name in _names(as_one(chain, 1)) if name.startswith(("UtilityVM", "-"))] == [
        "-UtilityVM/Files/a/a",
        "UtilityVM",
        "UtilityVM/Files",
        "UtilityVM/Files/a",
        "UtilityVM/Files/a/new",
    ]


def test_hives_that_only_a_child_has_get_into_the_base_layer(tmp_path: Path) -> None:
    """Also where the files of the base layer do not have them any more."""

    def base(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32")
        writer.put(directory("Files/Windows/System32/config"))

    chain = _chain(tmp_path, base)
    with wclayer.LayerView(chain) as view:
        assert view.listdir("Windows/System32/config") == []
    wclayer.create_layer(tmp_path / "child", chain[0])
    with wclayer.RegistryEditor(tmp_path / "child") as editor:
        editor.set_value(r"HKLM\SOFTWARE\App", "n", 4, b"\1\0\0\0")
    chain.insert(0, tmp_path / "child")
    assert "Files/Windows/System32/config/SOFTWARE" in _names(as_one(chain, 2), is_base=True)
    one = import_layer(as_one(chain, 2), tmp_path / "one", [])
    before, after = registry_of(chain[0]), registry_of(one)
    assert set(before) == set(after)


def test_changes_of_the_registry_without_a_place_for_hives_are_refused(tmp_path: Path) -> None:
    chain = _chain(tmp_path, lambda writer: put_directories(writer, "Files"))
    wclayer.create_layer(tmp_path / "child", chain[0])
    with wclayer.RegistryEditor(tmp_path / "child") as editor:
        editor.create_key(r"HKLM\SOFTWARE\App")
    with pytest.raises(wclayer.NotSupportedError, match="System32/config"):
        ChainPartReader([tmp_path / "child", *chain], 2)
    with ChainPartReader([tmp_path / "child", *chain], 1) as reader:
        assert [item.entry.name for item in reader][-1] == "Hives/Software_Delta"


def test_a_layer_with_a_whole_hive_of_its_own_is_refused(tmp_path: Path) -> None:
    def child(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Hives")
        put_file(writer, "Hives/Software_Base", b"regf")

    chain = _chain(tmp_path, put_base, child)
    with pytest.raises(wclayer.NotSupportedError, match="Software_Base"):
        ChainPartReader(chain, 1)


@pytest.mark.parametrize("count", [0, 3])
def test_a_chain_has_as_many_layers_as_it_has(count: int, tmp_path: Path) -> None:
    chain = _chain(tmp_path, put_base, lambda writer: put_directories(writer, "Files"))
    with pytest.raises(wclayer.InvalidParameterError):
        ChainPartReader(chain, count)
