"""What two chains share is not compared, and the answer is the same as if all were."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wclayer
from tests.builder import meaning
from tests.builder.chains import import_layer, layer_of, steps
from tests.builder.random_images import BASE, MADE_BY_CONTAINERS, MADE_BY_OTHERS, SLOW, Wanted, crafted, crafted_tar
from tests.images import samples
from tests.support import TIME, copy_layer
from wclayer.formats.regf.structs import LayerSemantics
from wclayer.host.durability import unsynced
from wclayer.layers.directory.chain_file import CHAIN_FILE
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.view.diff import Difference

_layers = st.lists(
    st.one_of(st.tuples(st.just("container"), steps), st.tuples(st.just("crafted"), crafted)), max_size=2
)


_DELETES_DEEP: Wanted = [("crafted", ([("gone", "a/B/ä", "", None, False, False)], {}))]
"""A layer that deletes a name in directories for which it has no entries."""


def _with_key(semantics: LayerSemantics) -> Wanted:
    """A layer whose delta has one key, below which the base has another one."""
    return [("crafted", ([], {"Software": {"App": (int(semantics), 1, "C", TIME + 9, {"n": b"1"}, {})}}))]


def _over(folder: Path, below: Sequence[tuple[Path, bytes]], wanted: Wanted) -> list[tuple[Path, bytes]]:
    """A chain over another one, nearest first: the layers, each with its tar."""
    chain = list(below)
    folder.mkdir()
    for number, (kind, what) in enumerate(wanted):
        paths = [path for path, _ in chain]
        if kind == "crafted":
            tar = crafted_tar(what, [meaning.Layer.read(each) for _, each in reversed(chain)])
        else:
            tar = layer_of(folder, paths, what)
        chain.insert(0, (import_layer(tar, folder / f"layer{number}", paths), tar))
    return chain


def _differences(a: Sequence[Path], b: Sequence[Path]) -> list[Difference]:
    with wclayer.MergedTree(a) as tree_a, wclayer.MergedTree(b) as tree_b:
        return list(wclayer.diff_trees(tree_a, tree_b))


def _registry_differences(a: Sequence[Path], b: Sequence[Path]) -> list[wclayer.RegistryDifference]:
    with wclayer.Registry(a[0]) as registry_a, wclayer.Registry(b[0]) as registry_b:
        return list(wclayer.diff_registries(registry_a, registry_b))


def _copied(chain: Sequence[Path], folder: Path) -> list[Path]:
    """Copies of layers, over each other."""
    copies: list[Path] = []
    for number, path in enumerate(reversed(chain)):
        copy = copy_layer(path, folder / f"copy{number}")
        if copies:
            (copy / CHAIN_FILE).write_text(json.dumps([str(below) for below in copies]))
        copies.insert(0, copy)
    return copies


def _check(common: Wanted, only_a: Wanted, only_b: Wanted) -> None:
    """Checks that two chains over common layers differ as a chain and copies of the other one's layers do."""
    with tempfile.TemporaryDirectory(prefix="wclayer-shared-") as name, unsynced():
        folder = Path(name)
        base = import_layer(BASE, folder / "base", [])
        below = _over(folder / "common", [(base, BASE)], common)
        a = [path for path, _ in _over(folder / "a", below, only_a)]
        b = [path for path, _ in _over(folder / "b", below, only_b)]
        copies = _copied(b, folder)
        assert _differences(a, b) == _differences(a, copies)
        assert _differences(b, a) == _differences(copies, a)
        assert _registry_differences(a, b) == _registry_differences(a, copies)
        assert _registry_differences(b, a) == _registry_differences(copies, a)


@settings(SLOW, max_examples=SLOW.max_examples // 4)
@given(_layers, _layers, _layers)
def test_the_answer_is_that_of_chains_that_share_nothing(common: Wanted, only_a: Wanted, only_b: Wanted) -> None:
    _check(common, only_a, only_b)


@pytest.mark.parametrize(
    ("common", "only_a", "only_b"),
    [
        ([], MADE_BY_CONTAINERS, MADE_BY_OTHERS),
        (MADE_BY_OTHERS, MADE_BY_CONTAINERS, []),
        (MADE_BY_CONTAINERS, [], MADE_BY_OTHERS),
        ([], _DELETES_DEEP, []),
        ([], _DELETES_DEEP, MADE_BY_OTHERS),
        (_DELETES_DEEP, MADE_BY_CONTAINERS, []),
        ([], _with_key(LayerSemantics.TOMBSTONE), []),
        ([], [], _with_key(LayerSemantics.SUPERSEDE_TREE)),
        (MADE_BY_OTHERS, _with_key(LayerSemantics.SUPERSEDE_LOCAL), _with_key(LayerSemantics.NORMAL)),
    ],
)
def test_chains_in_which_much_is_hidden(common: Wanted, only_a: Wanted, only_b: Wanted) -> None:
    _check(common, only_a, only_b)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of entries of the directories that are listed."""
    found: list[int] = []
    children = LayerDirectory.children

    def count(self: LayerDirectory, parent: int) -> Iterator[object]:
        rows = list(children(self, parent))
        found.append(len(rows))
        return iter(rows)

    monkeypatch.setattr(LayerDirectory, "children", count)
    return found


def test_the_files_of_a_shared_base_are_not_listed(tmp_path: Path, listed: list[int]) -> None:
    """Not even those beside a changed file, and not if a shared layer deletes names."""
    files = {f"Files/Windows/{folder}/{number}": b"" for folder in ("a", "b") for number in range(500)}
    base = import_layer(samples.small_tar(files), tmp_path / "base", [])
    update = samples.small_tar(
        {"Files/Windows/a/1": b"new", "Files/Windows/a/.wh.2": b"", "Files/Windows/b/.wh.3": b""}
    )
    below = [import_layer(update, tmp_path / "update", [base]), base]
    chains = [
        [import_layer(samples.small_tar({"Files/Windows/a/7": data}), tmp_path / data.decode(), below), *below]
        for data in (b"one", b"other")
    ]
    listed.clear()
    (found,) = _differences(*chains)
    assert (found.path, found.change, found.fields["size"]) == ("Files/Windows/a/7", wclayer.Change.CHANGED, (3, 5))
    assert sum(listed) < 20
