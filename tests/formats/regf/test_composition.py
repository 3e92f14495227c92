"""Several deltas as one: it does to any base what they do one after the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.regf.support import metadata_of, reread, trees
from tests.formats.regf.support import values as some_values
from wclayer.formats.regf.composition import compose, compose_all, without_needless_tombstones
from wclayer.formats.regf.delta import merge
from wclayer.formats.regf.model import Key, KeyMetadata, TreeKey, Value, fold, walk
from wclayer.formats.regf.structs import KeyFlags, LayerSemantics
from wclayer.formats.regf.writer import write_hive

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
NORMAL, TOMBSTONE = LayerSemantics.NORMAL, LayerSemantics.TOMBSTONE
LOCAL, TREE = LayerSemantics.SUPERSEDE_LOCAL, LayerSemantics.SUPERSEDE_TREE


@st.composite
def deltas_over(draw: st.DrawFn, key: Key | None, depth: int = 0) -> TreeKey:
    """A delta that often has the names of the keys and values of a tree: any semantics, tombstones, inherited class."""
    kinds = [NORMAL, NORMAL, NORMAL, LOCAL, TREE] + ([TOMBSTONE] * 2 if depth else [])
    metadata = KeyMetadata(
        draw(st.integers(0, 50)),
        draw(st.sampled_from([None, b"a" * 20, b"d" * 24])),
        draw(st.sampled_from([b"", b"X\0"])),
        draw(st.sampled_from([0, 8])),
        semantics=draw(st.sampled_from(kinds)),
        inherits_class=draw(st.booleans()),
    )
    name = "ROOT" if key is None else draw(st.sampled_from([key.name, key.name.swapcase()]))
    if fold(name) != fold(key.name if key is not None else "ROOT"):
        name = key.name if key is not None else name
    delta = TreeKey(name, metadata)
    if metadata.semantics is TOMBSTONE:
        return delta
    known = [] if key is None else key.values()
    for value in known:
        what = draw(st.integers(0, 3))
        if what == 1:
            delta.set(Value(value.name, 0, b"", is_tombstone=True))
        elif what == 2:
            delta.set(value._replace(data=draw(st.binary(max_size=6))))
    if draw(st.booleans()):
        delta.set(draw(some_values)._replace(data=b"new"))
    if draw(st.integers(0, 3)) == 0:
        delta.set(Value("never there", 0, b"", is_tombstone=True))
    for child in [] if key is None else key.subkeys():
        if draw(st.booleans()):
            delta.add(draw(deltas_over(child, depth + 1)))
    if draw(st.integers(0, 2)) == 0:
        added = draw(trees)
        if fold(added.name) not in delta.below:
            delta.add(added)
    return delta


@st.composite
def chains(draw: st.DrawFn) -> tuple[TreeKey | None, list[TreeKey]]:
    """A base, or none, and up to four deltas over it, each over what the ones before have made."""
    base = draw(st.one_of(st.none(), trees))
    deltas: list[TreeKey] = []
    current: Key | None = base
    for _ in range(draw(st.integers(1, 4))):
        # Names of what is deleted now, too, so that they are made again.
        over = draw(st.sampled_from([current, base]))
        delta = draw(deltas_over(over))
        deltas.append(delta)
        current = merge(current, delta)
    return base, deltas


def _one_by_one(base: Key | None, deltas: list[TreeKey]) -> Key:
    current = base
    for delta in deltas:
        current = merge(current, delta)
    assert current is not None
    return current


def _plain(key: Key) -> object:
    return {path.upper(): seen for path, seen in metadata_of(key).items()}


@given(chains())
def test_the_composed_delta_does_what_the_deltas_do(chain: tuple[TreeKey | None, list[TreeKey]]) -> None:
    base, deltas = chain
    expected = _plain(_one_by_one(base, deltas))
    composed = compose_all(deltas)
    assert composed is not None
    for delta in (composed, without_needless_tombstones(composed, base)):
        merged = merge(base, delta)
        assert merged is not None
        assert _plain(merged) == expected
    # As a file, too, and by lookups instead of a walk.
    written = reread(write_hive(without_needless_tombstones(composed, base), has_layered_keys=True))
    merged = merge(base, written)
    assert merged is not None
    assert _plain(merged) == expected
    for path, key in walk(written):
        looked_up: Key | None = composed
        for name in path.split("\\") if path else []:
            looked_up = None if looked_up is None else looked_up.subkey(name)
        assert looked_up is not None
        assert looked_up.metadata == key.metadata


@given(chains(), trees)
def test_it_does_so_on_every_other_base(chain: tuple[TreeKey | None, list[TreeKey]], other: TreeKey) -> None:
    composed = compose_all(chain[1])
    assert composed is not None
    merged = merge(other, composed)
    assert merged is not None
    assert _plain(merged) == _plain(_one_by_one(other, chain[1]))


@given(chains())
def test_every_tombstone_that_stays_deletes_something(chain: tuple[TreeKey | None, list[TreeKey]]) -> None:
    base, deltas = chain
    composed = compose_all(deltas)
    assert composed is not None

    def check(delta: Key, above: Key | None) -> None:
        if delta.metadata.semantics is TOMBSTONE:
            assert above is not None
            return
        if delta.metadata.semantics is TREE:
            above = None
        had = set() if above is None else {fold(value.name) for value in above.values()}
        assert all(fold(value.name) in had for value in delta.values() if value.is_tombstone)
        for child in delta.subkeys():
            check(child, None if above is None else above.subkey(child.name))

    check(without_needless_tombstones(composed, base), base)


def _key(name: str, *below: TreeKey, semantics: LayerSemantics = NORMAL, **values: bytes | None) -> TreeKey:
    key = TreeKey(name, KeyMetadata(10, b"sd", semantics=semantics))
    for value_name, data in values.items():
        key.set(Value(value_name, 0 if data is None else 3, data or b"", data is None))
    for child in below:
        key.add(child)
    return key


def test_what_one_delta_deletes_and_the_next_makes_again_hides_what_was_there() -> None:
    composed = compose(
        _key("ROOT", _key("a", semantics=TOMBSTONE)), _key("ROOT", _key("a", _key("new"), v=b"1", gone=None))
    )
    assert composed is not None
    a = composed.subkey("A")
    assert a is not None
    assert a.metadata.semantics is TREE
    assert a.values() == [Value("v", 3, b"1")]
    assert [child.metadata.semantics for child in a.subkeys()] == [TREE]


def test_what_one_delta_makes_and_the_next_deletes_stays_deleted_only_where_the_base_has_it() -> None:
    composed = compose(_key("ROOT", _key("a", v=b"1"), w=b"2"), _key("ROOT", _key("a", semantics=TOMBSTONE), w=None))
    assert composed is not None
    kept = without_needless_tombstones(composed, _key("ROOT", _key("A"), W=b"0"))
    assert [(child.name, child.metadata.semantics) for child in kept.subkeys()] == [("a", TOMBSTONE)]
    assert [value.is_tombstone for value in kept.values()] == [True]
    for base in (_key("ROOT"), None):
        dropped = without_needless_tombstones(composed, base)
        assert (dropped.subkeys(), dropped.values()) == ([], [])
        assert dropped.subkey("a") is None


def test_a_handle_that_becomes_a_key_has_only_the_new_values() -> None:
    handle = _key("k")
    handle.metadata = handle.metadata._replace(flags=int(KeyFlags.PREDEF_HANDLE))
    composed = compose(_key("ROOT", handle), _key("ROOT", _key("k", n=b"1")))
    assert composed is not None
    for base in (_key("ROOT", _key("k", old=b"0")), None):
        merged = merge(base, composed)
        assert merged is not None
        k = merged.subkey("k")
        assert k is not None
        assert k.values() == [Value("n", 3, b"1")]
    again = compose(composed, _key("ROOT", handle))
    assert again is not None
    key = again.subkey("k")
    assert key is not None
    assert key.values() == []
