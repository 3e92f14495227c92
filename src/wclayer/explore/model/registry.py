"""The registry of a chain as a tree of keys, with marks for what differs from another chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

from wclayer.errors import InvalidDataError
from wclayer.explore.model.details import Fact, FactKind, heading, warning
from wclayer.explore.model.marks import Mark, mark_of
from wclayer.explore.model.metadata import hex_text
from wclayer.explore.model.security import Accounts, rights_facts, security_facts
from wclayer.explore.model.sides import WAS, both_sides
from wclayer.explore.model.tree import MarkedItem, MarkedTree
from wclayer.formats.regf.hive import HiveKey
from wclayer.formats.regf.model import Key, Value, fold
from wclayer.formats.regf.structs import KeyFlags
from wclayer.formats.regf.values import to_text, type_name
from wclayer.layers.directory import LayerDirectory
from wclayer.layers.directory.hives import open_hive
from wclayer.layers.hives import LAYER_HIVES, LayerHive
from wclayer.rights.kinds import ObjectKind
from wclayer.view.registry import Deltas, HiveTree, LayerHives, deltas_between, diff_pair, key_pairs
from wclayer.win32 import filetime

_MOST_VALUES = 500
_MOST_TEXT = 2_000
"""Characters of a value that are shown."""
_KINDS = {
    Mark.ADDED: FactKind.ADDED,
    Mark.CHANGED: FactKind.CHANGED,
    Mark.REMOVED: FactKind.REMOVED,
    Mark.SAME: FactKind.FIELD,
}


class KeyItem(MarkedItem):
    """A key of the registry, with the keys that it stands for: of the chain before, and of the one that is shown."""

    __slots__ = ("after", "before", "damage", "deltas", "hive")

    def __init__(
        self, path: str, hive: LayerHive | None, before: Key | None, after: Key | None, deltas: Deltas, mark: Mark
    ) -> None:
        key = after or before
        can_open = key is None or not isinstance(key, HiveKey) or bool(key.subkey_count)
        if isinstance(before, HiveKey) and before.subkey_count:
            can_open = True
        may_differ = before is not None and after is not None and (deltas is None or any(map(_has_keys, deltas)))
        if hive is None:
            may_differ = True
        super().__init__(path.rpartition("\\")[2], path, fold(path), can_open, 0, False, mark, may_differ, 0)
        self.hive = hive
        self.before = before
        self.after = after
        self.deltas = deltas
        self.damage = ""
        """What is wrong with the hive, if it cannot be read."""

    @classmethod
    def of_damage(cls, path: str, hive: LayerHive, damage: str) -> Self:
        """Returns the item of a hive that cannot be read."""
        item = cls(path, hive, None, None, None, Mark.SAME)
        item.is_directory = False
        item.damage = damage
        return item

    @property
    def title(self) -> str:
        """The name; of a damaged hive, it says so."""
        return f"{self.name} cannot be read" if self.damage else self.name


def _has_keys(delta: Key) -> bool:
    return not isinstance(delta, HiveKey) or bool(delta.subkey_count)


class RegistryTree(MarkedTree[KeyItem]):
    """The registry of a chain, with marks for what differs from a chain before it.

    Args:
        after: the hives of the chain that is shown.
        before: the hives of the chain that it is compared with; None for none: all that is shown was added.
        layers: the layer directories of the chain that is shown, nearest first; empty if there are none.
        layers_before: the layer directories of the chain before; None if they are among `layers`.
        times: whether a key with another time counts as changed. One that leads to a change has a new one in every
            layer.
        accounts: the names of accounts; None for those alone that every Windows has.
        accounts_before: those of the chain before; None if they are the same ones.
    """

    def __init__(
        self,
        after: HiveTree,
        before: HiveTree | None,
        layers: Sequence[LayerDirectory],
        *,
        layers_before: Sequence[LayerDirectory] | None = None,
        times: bool = False,
        accounts: Accounts | None = None,
        accounts_before: Accounts | None = None,
    ) -> None:
        self._after = after
        self._before = before
        self._layers = layers
        self._layers_before = layers if layers_before is None else layers_before
        self._times = times
        self._accounts = accounts
        self._accounts_before = accounts_before or accounts

    def roots(self) -> list[KeyItem]:
        names = dict.fromkeys(hive.mount[0] for hive in LAYER_HIVES)
        mark = Mark.ADDED if self._before is None else Mark.SAME
        tops = [KeyItem(name, None, None, None, None, mark) for name in sorted(names)]
        return [top for top in tops if self._hives(top)]

    def children(self, item: KeyItem) -> Sequence[KeyItem]:
        with self._after.reading():
            return self._hives(item) if item.hive is None else self._below(item)

    def _hives(self, top: KeyItem) -> list[KeyItem]:
        found = []
        for hive in LAYER_HIVES:
            if hive.mount[0] != top.path:
                continue
            path = "\\".join(hive.mount)
            try:
                with self._after.reading():
                    before = None if self._before is None else self._before.root(hive)
                    after = self._after.root(hive)
                    if before is not None or after is not None:
                        found.append(self._item(path, hive, before, after, self._deltas(hive)))
            except InvalidDataError as error:
                # The other hives can be read nevertheless.
                found.append(KeyItem.of_damage(path, hive, str(error)))
        return sorted(found, key=lambda item: item.key)

    def _deltas(self, hive: LayerHive) -> Deltas:
        if isinstance(self._after, LayerHives) and isinstance(self._before, LayerHives):
            return deltas_between(self._before, self._after, hive)
        return None

    def _below(self, item: KeyItem) -> list[KeyItem]:
        def path(key: Key) -> str:
            return f"{item.path}\\{key.name}"

        before, after = item.before, item.after
        if after is None or before is None or not item.may_differ:
            # All that is below has the same mark.
            mark = Mark.SAME if before is not None and after is not None else item.mark
            source = after or before
            assert source is not None
            return [
                KeyItem(path(key), item.hive, None if before is None else key, None if after is None else key, [], mark)
                for key in sorted(source.subkeys(), key=lambda key: fold(key.name))
            ]
        compared = {}
        for old, new, deltas in key_pairs(before, after, item.deltas):
            key = new or old
            assert key is not None
            assert item.hive is not None
            compared[fold(key.name)] = self._item(path(key), item.hive, old, new, deltas)
        found = dict(compared)
        if item.deltas is not None:
            for key in after.subkeys():
                folded = fold(key.name)
                if folded not in compared:
                    found[folded] = KeyItem(path(key), item.hive, key, key, [], Mark.SAME)
        return [found[name] for name in sorted(found)]

    def _item(self, path: str, hive: LayerHive, before: Key | None, after: Key | None, deltas: Deltas) -> KeyItem:
        if before is None:
            mark = Mark.ADDED
        elif after is None:
            mark = Mark.REMOVED
        else:
            is_same = next(diff_pair(path, before, after, self._times), None) is None
            mark = Mark.SAME if is_same else Mark.CHANGED
        return KeyItem(path, hive, before, after, deltas, mark)

    def same_below(self, item: KeyItem) -> object | None:
        return None

    def facts(self, item: KeyItem) -> Iterator[Fact]:
        if item.damage:
            yield warning(item.damage)
            return
        with self._after.reading():
            before, after = item.before, item.after
            key = after or before
            if key is None or item.hive is None:
                return
            numbers_before = _layers_with(item, item.hive, self._layers_before)
            accounts = self._accounts_before if after is None else self._accounts
            rights = rights_facts(key.metadata.security, ObjectKind.KEY, accounts)
            if before is None or after is None or before is after:
                numbers = numbers_before if after is None else _layers_with(item, item.hive, self._layers)
                told = list(_facts_of(key, numbers, accounts))
            else:
                told = both_sides(
                    _facts_of(before, numbers_before, self._accounts_before),
                    _facts_of(after, _layers_with(item, item.hive, self._layers), accounts),
                )
                old = rights_facts(before.metadata.security, ObjectKind.KEY, self._accounts_before)
                rights = iter(both_sides(old, rights))
            at = next((number for number, fact in enumerate(told) if fact.kind is FactKind.HEADING), len(told))
            yield from told[:at]
            yield from self._values(item)
            yield from told[at:]
            yield from rights

    def _values(self, item: KeyItem) -> Iterator[Fact]:
        changes: dict[str, tuple[Mark, Value | None]] = {}
        if item.before is not None and item.after is not None and item.mark is Mark.CHANGED:
            for each in diff_pair(item.path, item.before, item.after, False):
                if each.value is not None:
                    old = each.fields["data"][0]
                    changes[fold(each.value)] = mark_of(each.change), old if isinstance(old, Value) else None
        key = item.after or item.before
        assert key is not None
        values = list(key.values())
        gone = [old for mark, old in changes.values() if mark is Mark.REMOVED and old is not None]
        yield heading(f"Values ({len(values):,})")
        for value in [*values, *gone][:_MOST_VALUES]:
            mark, old = changes.get(fold(value.name), (Mark.SAME, None))
            label = f"{mark.value} {value.name or '(default)'}" if changes else value.name or "(default)"
            yield Fact(f"{type_name(value.type)}  {value_text(value)}", label, _KINDS[mark])
            if mark is Mark.CHANGED and old is not None:
                yield Fact(f"{type_name(old.type)}  {value_text(old)}", WAS)
        if len(values) > _MOST_VALUES:
            yield warning(f"and {len(values) - _MOST_VALUES:,} more values")


def _facts_of(key: Key, layers: Sequence[int], accounts: Accounts | None) -> Iterator[Fact]:
    """Yields what is known of a key beside its values.

    Args:
        key: the key.
        layers: the numbers of the layers that have it.
        accounts: the names of accounts.
    """
    meta = key.metadata
    yield Fact(filetime.to_iso(meta.last_written), "written")
    if meta.class_name:
        yield Fact(meta.class_name.decode("utf-16-le", "surrogatepass"), "class")
    if meta.flags:
        yield Fact(" ".join(flag.name for flag in KeyFlags if flag & meta.flags and flag.name), "flags")
    if layers:
        yield Fact(", ".join(map(str, layers)), "in layers")
    yield from security_facts(meta.security, ObjectKind.KEY, accounts)


def _layers_with(item: KeyItem, hive: LayerHive, layers: Sequence[LayerDirectory]) -> Sequence[int]:
    """Returns the numbers of the layers that have a key in their own hives, base layer first."""
    names = item.path.split("\\")[len(hive.mount) :]
    numbers = []
    for index, layer in enumerate(layers):
        found = open_hive(layer, hive.delta)
        if found is None and index == len(layers) - 1:
            found = open_hive(layer, hive.config) or open_hive(layer, hive.base)
        key: Key | None = None if found is None else found.root()
        for name in names:
            key = None if key is None else key.subkey(name)
        if key is not None:
            numbers.append(len(layers) - index)
    return numbers[::-1]


def value_text(value: Value) -> str:
    """Returns the data of a value as text, the beginning of a long one."""
    try:
        text = to_text(value) if len(value.data) <= _MOST_TEXT else hex_text(value.data)
    except ValueError:
        text = hex_text(value.data)
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"
