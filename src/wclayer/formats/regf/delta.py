"""Merges delta hives onto a base, and makes them from a base and its changed copy.

The layer semantics of a delta hive's key say what happens to the key of the same path in the layers above ("Layered
keys" in the specification). `merge` applies them; `delta_of` is its inverse. Both preserve names, values, class names,
security, last-written times and flags. Access bits, which record who accessed a key, are taken from the delta; a
difference in them alone makes no delta.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wclayer.formats.regf import structs
from wclayer.formats.regf.model import (
    NO_METADATA,
    Key,
    KeyMetadata,
    TreeKey,
    Value,
    copy_key,
    fold,
    index_by_name,
)
from wclayer.formats.regf.structs import KeyFlags, LayerSemantics

NORMAL = LayerSemantics.NORMAL
TOMBSTONE = LayerSemantics.TOMBSTONE
SUPERSEDE_LOCAL = LayerSemantics.SUPERSEDE_LOCAL
SUPERSEDE_TREE = LayerSemantics.SUPERSEDE_TREE


def merge(base: Key | None, delta: Key | None) -> Key | None:
    """Returns the effective key of `delta` over `base`, computed lazily; None if there is no such key.

    Reference: `ORMergeHives` of offreg.dll; the merge of several deltas is the merge of each onto the result before.
    """
    if delta is None:
        return base
    if delta.metadata.semantics is TOMBSTONE:
        return None
    return MergedKey(base, delta)


class MergedKey:
    """A key of a delta hive over the key of the same path above, which may be missing."""

    __slots__ = ("_base", "_delta", "_semantics", "name")

    def __init__(self, base: Key | None, delta: Key) -> None:
        self._semantics = delta.metadata.semantics
        self._base = None if self._semantics is SUPERSEDE_TREE else base
        self._delta = delta
        self.name = delta.name

    @property
    def metadata(self) -> KeyMetadata:
        """The metadata of the delta, except that the class name may be inherited and the later time is taken."""
        own = self._delta.metadata
        above = None if self._base is None or self._semantics is SUPERSEDE_LOCAL else self._base.metadata
        class_name, last_written = own.class_name, own.last_written
        if own.inherits_class:
            class_name = b"" if above is None else above.class_name
        if above is not None:
            last_written = max(last_written, above.last_written)
        return own._replace(last_written=last_written, class_name=class_name, semantics=NORMAL, inherits_class=False)

    def values(self) -> list[Value]:
        """Returns the values of the key above with the delta's changes, then the new ones."""
        if self._delta.metadata.flags & KeyFlags.PREDEF_HANDLE:
            # A predefined handle stands for another key, and has no values that a hive could hold.
            return []
        own = self._delta.values()
        if self._base is None or self._semantics is SUPERSEDE_LOCAL:
            return [value for value in own if not value.is_tombstone]
        merged = {fold(value.name): value for value in self._base.values()}
        for value in own:
            if value.is_tombstone:
                merged.pop(fold(value.name), None)
            else:
                merged[fold(value.name)] = value
        return list(merged.values())

    def subkeys(self) -> list[Key]:
        """Returns the subkeys of the key above with the delta's changes, then the new ones."""
        own = index_by_name(self._delta.subkeys())
        above = [] if self._base is None else self._base.subkeys()
        merged = [merge(child, own.pop(fold(child.name), None) if own else None) for child in above]
        merged += [merge(None, child) for child in own.values()]
        return [key for key in merged if key is not None]

    def subkey(self, name: str) -> Key | None:
        """Returns the subkey of that name in any case, or None."""
        return merge(None if self._base is None else self._base.subkey(name), self._delta.subkey(name))


def delta_of(base: Key, changed: Key) -> TreeKey | None:
    """Returns the smallest delta, in bytes of its cells, that turns `base` into `changed`; None if they are equal.

    Each key is merged, superseded alone or superseded with its subtree, whichever is smallest. A key whose time went
    back cannot be merged. Values are compared by name, regardless of their order.
    """
    top = _Pair(base, changed)
    path = [top]
    while True:
        current = path[-1]
        if current.pending:
            base_child, changed_child = current.pending.pop()
            path.append(_Pair(base_child, changed_child))
            continue
        path.pop()
        found = current.smallest()
        if not path:
            return None if found is None else found[0]
        if found is not None:
            path[-1].take(*found)


@dataclass(slots=True)
class _Pair:
    """A key that exists on both sides, while the differences below it are searched."""

    base: Key
    changed: Key
    pending: list[tuple[Key, Key]] = field(init=False)
    """Subkeys that exist on both sides and are not compared yet."""
    _below: list[TreeKey] = field(init=False, default_factory=list)
    _below_cost: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        old, new = index_by_name(self.base.subkeys()), index_by_name(self.changed.subkeys())
        self.pending = [(old[name], new[name]) for name in old if name in new]
        security = self.changed.metadata.security
        for name, key in old.items():
            if name not in new:
                gone = TreeKey(key.name, NO_METADATA._replace(security=security, semantics=TOMBSTONE))
                self.take(gone, _node_cost(gone))
        for name, key in new.items():
            if name not in old:
                self.take(copy_key(key), _tree_cost(key, None))

    def take(self, child: TreeKey, cost: int) -> None:
        """Adds a key of the delta below this one."""
        self._below.append(child)
        self._below_cost += cost

    def smallest(self) -> tuple[TreeKey, int] | None:
        """Returns the smallest delta of this key and everything below it, with its cost; None if nothing differs."""
        old, new = self.base.metadata, self.changed.metadata
        values = self._changed_values()
        same_class = old.class_name == new.class_name
        metadata = new._replace(
            semantics=NORMAL, inherits_class=same_class, class_name=b"" if same_class else new.class_name
        )
        is_same = old._replace(access_bits=0) == new._replace(access_bits=0) and self.base.name == self.changed.name
        if is_same and not values and not self._below:
            return None
        merged = TreeKey(self.changed.name, metadata)
        local = TreeKey(self.changed.name, new._replace(semantics=SUPERSEDE_LOCAL))
        for value in values:
            merged.set(value)
        for value in self.changed.values():
            local.set(value)
        best, cost = local, self._below_cost + _node_cost(local)
        if new.last_written >= old.last_written:
            merged_cost = self._below_cost + _node_cost(merged)
            if merged_cost <= cost:
                best, cost = merged, merged_cost
        tree_cost = _tree_cost(self.changed, cost)
        if tree_cost < cost:
            return _superseding(self.changed), tree_cost
        for child in self._below:
            best.add(child)
        return best, cost

    def _changed_values(self) -> list[Value]:
        """Returns the values that differ, and tombstones for the deleted ones."""
        old = {fold(value.name): value for value in self.base.values()}
        changed = [value for value in self.changed.values() if old.pop(fold(value.name), None) != value]
        return changed + [Value(value.name, 0, b"", is_tombstone=True) for value in old.values()]


def _superseding(key: Key) -> TreeKey:
    """Returns a copy of a key in which every node supersedes its subtree."""
    top = copy_key(key)
    pending = [top]
    while pending:
        current = pending.pop()
        current.metadata = current.metadata._replace(semantics=SUPERSEDE_TREE)
        pending += [child for child in current.below.values() if isinstance(child, TreeKey)]
    return top


def _tree_cost(key: Key, limit: int | None) -> int:
    """Returns the bytes of a key and everything below it. Counting stops at `limit`."""
    total = 0
    pending = [key]
    while pending and (limit is None or total < limit):
        current = pending.pop()
        total += _node_cost(current)
        pending += current.subkeys()
    return total


def _node_cost(key: Key) -> int:
    """Returns the bytes of the cells of a key and its values, with its element in the list of subkeys."""
    metadata = key.metadata
    cost = _cell(structs.KEY_NODE.size + _name_size(key.name)) + structs.NAMED_ELEMENT.size
    if metadata.class_name:
        cost += _cell(len(metadata.class_name))
    for value in key.values():
        cost += _cell(structs.KEY_VALUE.size + _name_size(value.name)) + structs.OFFSET_ELEMENT.size
        if len(value.data) > structs.MAX_RESIDENT:
            cost += _data_cost(len(value.data))
    return cost


def _data_cost(size: int) -> int:
    """Returns the bytes of the cells of a value's data (see `_HiveWriter._write_data`)."""
    if size <= structs.BIG_DATA_SEGMENT:
        return _cell(size)
    segments = -(-size // structs.BIG_DATA_SEGMENT)
    listed = _cell(segments * structs.OFFSET_ELEMENT.size)
    return _cell(structs.BIG_DATA.size) + listed + segments * _cell(structs.BIG_DATA_SEGMENT)


def _cell(content: int) -> int:
    return (content + 4 + 7) & ~7


def _name_size(name: str) -> int:
    return len(name) if name.isascii() or max(name) < "\u0100" else len(name.encode("utf-16-le", "surrogatepass"))
