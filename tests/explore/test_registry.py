"""The registry as a tree with marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explore.made import explored, marks
from tests.explore.registries import SOFTWARE, registry_base, registry_update, text
from wclayer.explore.model.explored import ChainSession, View, ViewKind
from wclayer.explore.model.reading import TreeReading
from wclayer.explore.model.registry import KeyItem, value_text
from wclayer.explore.model.search import Search, parse_query
from wclayer.explore.model.totals import TotalsMemory, count_totals
from wclayer.formats.regf.model import Value
from wclayer.formats.regf.values import ValueType
from wclayer.layers.cache import Cache
from wclayer.view.registry import LayerHives, diff_registries


@pytest.fixture
def session(tmp_path: Path) -> ChainSession:
    return explored(tmp_path, registry_base, registry_update).session()


@pytest.mark.parametrize("kind", [ViewKind.LAYER, ViewKind.ALL])
def test_keys_have_marks(session: ChainSession, kind: ViewKind) -> None:
    tree = session.registry(View(2, kind))
    found = marks(tree)
    assert {path: mark for path, mark in found.items() if mark.strip()} == {
        f"{SOFTWARE}\\Vendor\\Changed": "~", f"{SOFTWARE}\\Vendor\\Removed": "-",
        f"{SOFTWARE}\\Vendor\\Removed\\Below": "-", f"{SOFTWARE}\\Vendor\\Added": "+",
        f"{SOFTWARE}\\Vendor\\Added\\Below": "+",
    }  # fmt: skip
    assert f"{SOFTWARE}\\Other\\Deep" in found
    assert "HKEY_USERS\\.DEFAULT" in found


def test_all_of_the_base_layer_was_added(session: ChainSession) -> None:
    tree = session.registry(View(1))
    assert set(marks(tree).values()) == {"+"}


def test_marks_are_the_differences_that_diff_finds(session: ChainSession) -> None:
    after, before = session.above_and_below(View(2))
    tree = session.registry(View(2))
    found = {path for path, mark in marks(tree).items() if mark.strip()}
    expected = {each.key for each in diff_registries(LayerHives(before), LayerHives(after), times=False)}
    assert found == expected


def test_sums_tell_where_something_has_changed(session: ChainSession) -> None:
    tree = session.registry(View(2))
    found: Cache[str, object] = Cache()
    assert count_totals(TreeReading(tree), TotalsMemory(), found, lambda: False)  # type: ignore[arg-type]
    totals = found[f"{SOFTWARE}\\Vendor".upper()]
    assert (totals.added, totals.changed, totals.removed) == (2, 1, 2)  # type: ignore[attr-defined]
    assert not found[f"{SOFTWARE}\\Other".upper()].differs  # type: ignore[attr-defined]


def test_a_key_tells_its_values_with_what_was(session: ChainSession) -> None:
    tree = session.registry(View(2))
    search = Search[KeyItem]()
    query = parse_query("changed")
    search.run(tree, query.matches_key, lambda: False)
    (item,) = search.found
    facts = {fact.label: fact.text for fact in tree.facts(item)}
    assert facts["~ b"] == "REG_SZ  2"
    assert facts["was"] == "REG_SZ  1"
    assert facts["- gone"] == "REG_SZ  x"
    assert facts["in layers"] == "1, 2"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (text("a", "x"), "x"),
        (Value("a", ValueType.REG_SZ, b"\0\xd8"), "\ud800"),
        (Value("a", ValueType.REG_BINARY, bytes(3000)), f"{'00 ' * 64}… (3,000 bytes)"),
        (Value("a", 77, b"\1"), "01"),
    ],
)
def test_a_value_is_shown_as_text(value: Value, shown: str) -> None:
    assert value_text(value) == shown
