"""Deltas: merged as Windows merges them, and made as small as they can be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from tests.formats.regf.craft import CraftedKey, CraftedValue, craft
from tests.formats.regf.support import changed_pairs, hive_bytes, metadata_of, reread, trees
from wclayer.formats.regf.delta import delta_of, merge
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import Key, KeyMetadata, TreeKey, Value, copy_key
from wclayer.formats.regf.structs import KeyFlags, LayerSemantics
from wclayer.formats.regf.writer import write_hive

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
NORMAL, TOMBSTONE = LayerSemantics.NORMAL, LayerSemantics.TOMBSTONE
LOCAL, TREE = LayerSemantics.SUPERSEDE_LOCAL, LayerSemantics.SUPERSEDE_TREE


def _key(name: str, *below: TreeKey, metadata: KeyMetadata | None = None, **values: bytes | None) -> TreeKey:
    """A key; a value of None is a tombstone."""
    key = TreeKey(name, metadata or KeyMetadata(10, b"sd", b"C\0"))
    for value_name, data in values.items():
        key.set(Value(value_name, 0 if data is None else 3, data or b"", data is None))
    for child in below:
        key.add(child)
    return key


def _metadata(semantics: LayerSemantics = NORMAL, time: int = 20, **more: object) -> KeyMetadata:
    return replace_metadata(KeyMetadata(time, b"sd2", b"D\0", semantics=semantics), **more)


def replace_metadata(metadata: KeyMetadata, **more: object) -> KeyMetadata:
    return metadata._replace(**more)  # type: ignore[arg-type]


def _merged(base: Key | None, delta: Key) -> Key:
    found = merge(base, delta)
    assert found is not None
    return found


BASE = _key("ROOT", _key("a", _key("x", v=b"xv"), _key("y"), v=b"av", w=b"aw"), _key("b"), r=b"root")


def test_a_normal_key_is_merged() -> None:
    delta = _key("ROOT", _key("A", _key("z"), metadata=_metadata(), w=None, n=b"new"), metadata=_metadata())
    merged = _merged(BASE, delta)
    assert [child.name for child in merged.subkeys()] == ["A", "b"]
    a = merged.subkey("a")
    assert a is not None
    assert a.metadata == KeyMetadata(20, b"sd2", b"D\0")
    assert a.values() == [Value("v", 3, b"av"), Value("n", 3, b"new")]
    assert [child.name for child in a.subkeys()] == ["x", "y", "z"]
    assert merged.values() == [Value("r", 3, b"root")]


def test_the_latest_time_counts() -> None:
    for time, expected in ((5, 10), (15, 15)):
        assert _merged(BASE, _key("ROOT", metadata=_metadata(time=time))).metadata.last_written == expected


def test_the_class_is_inherited_when_the_delta_says_so() -> None:
    assert _merged(BASE, _key("ROOT", metadata=_metadata())).metadata.class_name == b"D\0"
    inheriting = _metadata(inherits_class=True, class_name=b"")
    assert _merged(BASE, _key("ROOT", metadata=inheriting)).metadata.class_name == b"C\0"
    # There is nothing above a key that supersedes, or that is new.
    assert _merged(None, _key("ROOT", metadata=inheriting)).metadata.class_name == b""
    assert _merged(BASE, _key("ROOT", metadata=replace_metadata(inheriting, semantics=TREE))).metadata.class_name == b""


def test_a_tombstone_deletes_the_key_and_all_below() -> None:
    merged = _merged(BASE, _key("ROOT", _key("a", metadata=_metadata(TOMBSTONE)), metadata=_metadata()))
    assert [child.name for child in merged.subkeys()] == ["b"]
    assert merged.subkey("A") is None
    assert merge(BASE, _key("ROOT", metadata=_metadata(TOMBSTONE))) is None


def test_superseding_alone_keeps_what_is_below() -> None:
    delta = _key("ROOT", _key("a", _key("y", metadata=_metadata(TOMBSTONE)), metadata=_metadata(LOCAL, time=3), n=b"n"))
    a = _merged(BASE, delta).subkey("a")
    assert a is not None
    assert a.metadata == KeyMetadata(3, b"sd2", b"D\0")
    assert a.values() == [Value("n", 3, b"n")]
    assert [child.name for child in a.subkeys()] == ["x"]


def test_superseding_a_tree_hides_what_is_below() -> None:
    delta = _key("ROOT", _key("a", _key("x", metadata=_metadata(TREE)), metadata=_metadata(TREE), n=b"n"))
    a = _merged(BASE, delta).subkey("a")
    assert a is not None
    assert [child.name for child in a.subkeys()] == ["x"]
    x = a.subkey("x")
    assert x is not None
    assert x.values() == []


def test_a_key_that_stands_for_another_has_no_values() -> None:
    """Their number would be read as its handle."""
    handle = _metadata(flags=int(KeyFlags.PREDEF_HANDLE))
    merged = merge(_key("root", _key("k", v=b"1")), _key("root", _key("k", metadata=handle)))
    assert merged is not None
    key = merged.subkey("k")
    assert key is not None
    assert key.values() == []
    assert metadata_of(Hive(write_hive(merged)).root()) == metadata_of(merged)


def test_a_merged_tree_has_no_layer_semantics_left() -> None:
    delta = Hive(hive_bytes("a delta")).root()
    for merged in (_merged(None, delta), _merged(BASE, delta)):
        for metadata, values in metadata_of(merged).values():
            assert metadata.semantics is NORMAL
            assert not metadata.inherits_class
            assert not any(value.is_tombstone for value in values.values())


def test_merging_deltas_one_by_one() -> None:
    first = _key("ROOT", _key("a", metadata=_metadata(TOMBSTONE)), metadata=_metadata())
    second = _key("ROOT", _key("a", metadata=_metadata(TREE), again=b"1"), metadata=_metadata())
    merged = _merged(_merged(BASE, first), second)
    a = merged.subkey("a")
    assert a is not None
    assert a.values() == [Value("again", 3, b"1")]
    assert a.subkeys() == []


def test_a_delta_over_a_real_system_hive() -> None:
    """All that the delta sets is there, and what it deletes is not."""
    base, delta = Hive(hive_bytes("SYSTEM")).root(), Hive(_real_delta()).root()
    before, own = metadata_of(base), metadata_of(delta)
    data = write_hive(_merged(base, delta))
    after = {path.upper(): seen for path, seen in metadata_of(reread(data)).items()}
    assert len(after) > len(before)
    for path, (metadata, values) in own.items():
        if metadata.semantics is TOMBSTONE:
            assert path.upper() not in after
            continue
        for value in values.values():
            seen = {name.upper(): found for name, found in after[path.upper()][1].items()}
            assert seen.get(value.name.upper()) == (None if value.is_tombstone else value)
    untouched = set(before) - {path for path in before if path.upper() in {p.upper() for p in own}}
    assert all(before[path] == after[path.upper()] for path in untouched)


def _real_delta() -> bytes:
    """A delta, cell by cell, of keys that the real hive has."""
    services = CraftedKey(
        "Services",
        below=[
            CraftedKey("acpitime", layered=1),
            CraftedKey("Beep", [CraftedValue("displayname", 0, b"", flags=2), CraftedValue("Start", 4, b"\4\0\0\0")]),
            CraftedKey("atapi", [CraftedValue("Start", 4, b"\4\0\0\0")], [CraftedKey("New", layered=3)], layered=0x83),
            CraftedKey("Fresh", [CraftedValue("Start", 4, b"\4\0\0\0")]),
        ],
    )
    return craft(CraftedKey("ROOT", below=[CraftedKey("ControlSet001", below=[services])]), minor=6, flags=2).data


@given(changed_pairs())
def test_the_delta_of_a_change_makes_it(pair: tuple[TreeKey, TreeKey]) -> None:
    base, changed = pair
    delta = delta_of(base, changed)
    if delta is None:
        assert metadata_of(base) == metadata_of(changed)
        return
    assert metadata_of(base) != metadata_of(changed)
    assert metadata_of(_merged(base, delta)) == metadata_of(changed)
    # Through files, too.
    written = reread(write_hive(delta, has_layered_keys=True))
    assert metadata_of(_merged(reread(write_hive(base)), written)) == metadata_of(changed)
    _check_semantics(delta, below_tree=False)


@given(trees, trees)
def test_the_delta_of_unrelated_trees(base: TreeKey, changed: TreeKey) -> None:
    renamed = replace(changed, name=base.name)
    delta = delta_of(base, renamed)
    merged = base if delta is None else _merged(base, delta)
    assert metadata_of(merged) == metadata_of(renamed)


@given(trees)
def test_nothing_changed_nothing_in_the_delta(tree: TreeKey) -> None:
    assert delta_of(tree, copy_key(tree)) is None


def _check_semantics(key: Key, *, below_tree: bool) -> None:
    """Under a key that supersedes its tree, all but tombstones do; a tombstone holds nothing."""
    semantics = key.metadata.semantics
    if semantics is TOMBSTONE:
        assert not key.values()
        assert not key.subkeys()
        assert key.metadata.class_name == b""
    elif below_tree:
        assert semantics is TREE
    for child in key.subkeys():
        _check_semantics(child, below_tree=semantics is TREE)


def _size(delta: Key | None) -> int:
    assert delta is not None
    return len(write_hive(delta, has_layered_keys=True))


def test_a_small_change_of_a_large_hive_is_a_small_delta() -> None:
    base = Hive(hive_bytes("SYSTEM")).root()
    changed = copy_key(base)
    services = changed.subkey("ControlSet001")
    assert isinstance(services, TreeKey)
    services.set(Value("Mine", 4, bytes(4)))
    delta = delta_of(base, changed)
    assert delta is not None
    assert [child.name for child in delta.subkeys()] == ["ControlSet001"]
    assert delta.subkeys()[0].metadata.inherits_class
    assert _size(delta) == 8192


@pytest.mark.parametrize(
    ("change", "semantics"),
    [("keep most values", NORMAL), ("drop most values", LOCAL), ("drop most keys", TREE), ("an older time", LOCAL)],
)
def test_the_smallest_way_is_taken(change: str, semantics: LayerSemantics) -> None:
    base, changed = _key("ROOT"), _key("ROOT")
    old, new = _key("key"), _key("key")
    for number in range(50):
        old.set(Value(f"value{number}", 4, bytes(4)))
        old.add(_key(f"sub{number}", v=bytes(100)))
        if number < 5 or change != "drop most values":
            new.set(Value(f"value{number}", 4, bytes(4)))
        if number < 1 or change != "drop most keys":
            new.add(_key(f"sub{number}", v=bytes(100)))
    if change == "drop most keys":
        new.by_name.clear()
    if change == "an older time":
        new.metadata = new.metadata._replace(last_written=5)
    else:
        new.set(Value("value0", 4, b"1234"))
    base.add(old)
    changed.add(new)
    delta = delta_of(base, changed)
    assert delta is not None
    found = delta.subkey("key")
    assert found is not None
    assert found.metadata.semantics is semantics
    assert metadata_of(_merged(base, delta)) == metadata_of(changed)


def test_access_bits_make_no_delta() -> None:
    changed = copy_key(BASE)
    changed.metadata = changed.metadata._replace(access_bits=3)
    assert delta_of(BASE, changed) is None
