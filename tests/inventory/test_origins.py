"""The layer that brought a key or a value is the one in which it was made or changed."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.layers.hive_layers import base_layer, child_layer
from wclayer.formats.regf.delta import delta_of
from wclayer.formats.regf.empty import empty_root
from wclayer.formats.regf.model import KeyMetadata, TreeKey, Value
from wclayer.formats.regf.writer import write_hive
from wclayer.inventory.subject.subject import Subject

Tree = dict[tuple[str, ...], dict[str, int]]
"""The keys of a hive by their paths, each with its values."""

_PATHS = (("A",), ("A", "B"), ("A", "B", "C"), ("D",))
_VALUES = st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 2), max_size=2)


@st.composite
def _trees(draw: st.DrawFn) -> Tree:
    chosen = draw(st.sets(st.sampled_from(_PATHS)))
    return {path: draw(_VALUES) for path in _PATHS if path in chosen and (len(path) == 1 or path[:-1] in chosen)}


def _hive(tree: Tree) -> TreeKey:
    root = empty_root(10)
    made: dict[tuple[str, ...], TreeKey] = {(): root}
    for path, values in tree.items():
        if path[:-1] in made:
            key = made[path] = TreeKey(path[-1], KeyMetadata(10, root.metadata.security))
            made[path[:-1]].add(key)
            for name, number in values.items():
                key.set(Value(name, 4, number.to_bytes(4, "little")))
    return root


def _connected(tree: Tree) -> Tree:
    """The keys whose keys above are there, too."""
    kept: Tree = {}
    for path, values in tree.items():
        if len(path) == 1 or path[:-1] in kept:
            kept[path] = values
    return kept


def _expected(states: list[Tree], path: tuple[str, ...], value: str | None) -> int:
    """The number of the last layer, from 1, that changed whether the key exists, or what the value is."""

    def seen(tree: Tree) -> object:
        return path in tree if value is None else tree.get(path, {}).get(value)

    return max(number for number, tree in enumerate(states, 1) if number == 1 or seen(states[number - 2]) != seen(tree))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_trees().map(_connected), min_size=1, max_size=4))
def test_keys_and_values_have_the_layer_that_made_or_set_them(states: list[Tree]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        layers = [base_layer(folder, SOFTWARE=write_hive(_hive(states[0])))]
        for number, (old, new) in enumerate(pairwise(states), 2):
            delta = delta_of(_hive(old), _hive(new))
            deltas = {} if delta is None else {"Software": write_hive(delta, has_layered_keys=True)}
            layers.insert(0, child_layer(folder, f"child{number}", *layers, **deltas))
        with Subject.of_layers(layers, "chain") as subject:
            for path, values in states[-1].items():
                key = "\\".join(("HKLM", "SOFTWARE", *path))
                for value in (None, *values):
                    origin = subject.registry.origin(key, value)
                    assert origin.place == key
                    assert origin.layer is not None
                    assert origin.layer.number == _expected(states, path, value), (path, value)
