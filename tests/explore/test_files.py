"""The tree of files: marks, order, sums, what is read when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.explore.chains import LAYER, RandomLayer, base, random_chain, update
from tests.explore.made import chain, explored, marks
from tests.support import info, put_directories, put_file
from wclayer.explore.model.chain_files import ChainFiles
from wclayer.explore.model.explored import ChainSession, Session, View, ViewKind
from wclayer.explore.model.files import FileItem, windows_path
from wclayer.explore.model.filters import accepts, shown_mark
from wclayer.explore.model.marks import ALL_MARKS, Mark
from wclayer.explore.model.reading import TreeReading
from wclayer.explore.model.totals import Totals, TotalsMemory, count_totals
from wclayer.layers.cache import Cache
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import DataStream, Entry
from wclayer.view.diff import Change, diff_trees
from wclayer.view.merged import MergedTree


@pytest.fixture
def session(tmp_path: Path) -> ChainSession:
    return explored(tmp_path, base, update).session()


def test_a_layer_s_changes_have_marks(session: ChainSession) -> None:
    tree = session.files(View(2))
    assert marks(tree) == {
        "Files": " ", "Files/a": " ", "Files/a/changed.txt": "~", "Files/a/deep": " ", "Files/a/deep/same.txt": " ",
        "Files/b": "-", "Files/b/removed.txt": "-", "Files/becomes-directory": "-+",
        "Files/becomes-directory/inside": "+", "Files/Kept": " ", "Files/Kept/x": " ", "Files/Kept/y": " ",
        "Files/new": "+", "Files/new/added.txt": "+", "Hives": " ",
    }  # fmt: skip


def test_all_of_the_base_layer_was_added(session: ChainSession) -> None:
    tree = session.files(View(1))
    found = marks(tree)
    assert "Files/a/changed.txt" in found
    assert set(found.values()) == {"+"}


def test_names_are_in_windows_order(session: ChainSession) -> None:
    tree = session.files(View(2))
    names = [item.name for item in tree.children(tree.roots()[0])]
    assert names == ["a", "b", "becomes-directory", "becomes-directory", "Kept", "new"]


def test_times_count_or_do_not(tmp_path: Path) -> None:
    layers = chain(tmp_path, base)
    with DirectoryLayerWriter(tmp_path / "later", layers) as writer:
        put_directories(writer, "Files", "Files/a", "Files/a/deep")
        put_file(writer, "Files/a/deep/same.txt", b"2" * 20, attributes=0x20)
    with ChainSession([tmp_path / "later", *layers]) as same:
        tree = same.files(View(2))
        assert set(marks(tree).values()) == {" "}
    with DirectoryLayerWriter(tmp_path / "touched", layers) as writer:
        put_directories(writer, "Files", "Files/a", "Files/a/deep")
        writer.put(
            Entry("Files/a/deep/same.txt", info(time=133_600_000_000_000_000), 20), [DataStream("", 20, (b"2" * 20,))]
        )
    with ChainSession([tmp_path / "touched", *layers]) as touched:
        for times, mark in ((True, "~"), (False, " ")):
            tree = touched.files(View(2, times=times))
            assert marks(tree)["Files/a/deep/same.txt"] == mark


def sums(session: Session, view: View, memory: TotalsMemory) -> dict[str, Totals]:
    """The sums of all directories, by identity, as the screen would ask for them."""
    tree = session.files(view)
    found: Cache[str, Totals] = Cache()
    assert count_totals(TreeReading(tree), memory, found, lambda: False)
    known: dict[str, Totals] = {}

    def look(items: Sequence[FileItem]) -> None:
        for item in items:
            if item.is_directory:
                totals = found.get(item.identity) or memory.find(tree.same_below(item), item.mark)
                assert totals is not None, item.path
                known[item.identity] = totals
                look(tree.children(item))

    look(tree.roots())
    return known


def test_sizes_add_up(session: ChainSession) -> None:
    found = sums(session, View(2), TotalsMemory())
    assert found["FILES"] == Totals(
        bytes=15 + 20 + 160 + 320 + 640, files=6, directories=5, added=4, changed=1, removed=3, added_bytes=960,
        removed_bytes=120, before_bytes=10 + 20 + 40 + 80 + 160,
    )  # fmt: skip
    # A further name of a file does not count again.
    assert found["FILES/KEPT"] == Totals(bytes=160, files=2, before_bytes=160)
    assert found["-FILES/B"] == Totals(removed=1, removed_bytes=40, before_bytes=40)


def test_sums_are_those_of_a_plain_walk_in_any_order_of_views(session: ChainSession) -> None:
    views = [View(2), View(1), View(2, ViewKind.ALL), View(2, times=False)]
    memory = TotalsMemory()
    for view in [*views, *reversed(views)]:
        assert sums(session, view, memory) == sums(session, view, TotalsMemory())


def test_counting_stops_when_it_is_told_to(session: ChainSession) -> None:
    assert not count_totals(TreeReading(session.files(View(2))), TotalsMemory(), Cache(), lambda: True)


def test_a_directory_with_changes_below_is_marked_and_kept(session: ChainSession) -> None:
    tree = session.files(View(2))
    top = tree.roots()[0]
    found = {item.path: item for item in tree.children(top)}
    found["Files"] = top
    known = sums(session, View(2), TotalsMemory())
    assert shown_mark(found["Files/a"], None) is Mark.CHANGED
    assert shown_mark(found["Files/a"], known["FILES/A"]) is Mark.CHANGED
    assert shown_mark(found["Files/Kept"], known["FILES/KEPT"]) is Mark.SAME
    only_changes = ALL_MARKS - {Mark.SAME}

    def known_totals(item: FileItem) -> Totals | None:
        return known.get(item.identity)

    shown = {path for path, item in found.items() if accepts(item, only_changes, known_totals)}
    assert shown == {"Files", "Files/a", "Files/b", "Files/becomes-directory", "Files/new"}
    assert not accepts(found["Files/a"], frozenset({Mark.ADDED}), known_totals)
    assert accepts(found["Files/a"], frozenset({Mark.ADDED}), lambda item: None)


@pytest.mark.parametrize(
    ("path", "shown"),
    [("Files", "C:\\"), ("Files/Windows/x", "C:\\Windows\\x"), ("Hives", "Hives"), ("Hives/Sam", "Hives\\Sam")],
)
def test_paths_are_those_of_windows(path: str, shown: str) -> None:
    assert windows_path(path) == shown


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LAYER, min_size=2, max_size=3))
def test_marks_are_the_differences_that_diff_finds(
    tmp_path_factory: pytest.TempPathFactory, layers: list[RandomLayer]
) -> None:
    made = random_chain(tmp_path_factory.mktemp("chain"), [], layers)
    with ChainSession(made) as session, MergedTree(list(made)) as after, MergedTree(list(made[1:])) as before:
        tree = ChainFiles(session.layers, session.layers[1:], times=True)
        found = {(path, mark) for path, both in marks(tree).items() for mark in both if mark.strip()}
        expected = {
            (each.path, {Change.ADDED: "+", Change.REMOVED: "-", Change.CHANGED: "~"}[each.change])
            for each in diff_trees(before, after)
            if not (each.change is Change.CHANGED and each.is_directory and not _other_than_times(each.fields))
        }
        assert found == expected


def _other_than_times(fields: dict[str, tuple[object, object]]) -> bool:
    return any(not name.endswith("_time") for name in fields)
