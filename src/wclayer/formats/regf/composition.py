"""Makes one delta of several: what they do to any base one after the other, it does at once.

`merge(merge(base, lower), upper)` is `merge(base, compose(lower, upper))` for every base.
"""

from __future__ import annotations

from collections.abc import Iterable

from wclayer.formats.regf.delta import NORMAL, SUPERSEDE_LOCAL, SUPERSEDE_TREE, TOMBSTONE, merge
from wclayer.formats.regf.model import Key, KeyMetadata, Value, fold, index_by_name
from wclayer.formats.regf.structs import KeyFlags

_WHOLE = (TOMBSTONE, SUPERSEDE_TREE)
"""The semantics of a key that leaves nothing of the keys above."""


def compose(lower: Key | None, upper: Key | None) -> Key | None:
    """Returns the key of one delta that does what `lower` and then `upper` do, computed lazily. None changes nothing.

    A tombstone stays one, because the base may have the key. What `upper` makes anew after `lower` deleted it
    supersedes its tree.

    A predefined handle in `lower` that is an ordinary key in `upper` loses the last-written time and the class name of
    the base, because only a key that supersedes the one above hides its values. Windows makes no such handles.
    """
    if lower is None or upper is None:
        return upper if lower is None else lower
    if upper.metadata.semantics in _WHOLE:
        return upper
    if lower.metadata.semantics in _WHOLE:
        made = merge(merge(None, lower), upper)
        assert made is not None
        return _SupersedingKey(made)
    return _ComposedKey(lower, upper)


def compose_all(deltas: Iterable[Key]) -> Key | None:
    """Returns the key of one delta that does what several do, the lowest first; None if there are none."""
    composed: Key | None = None
    for delta in deltas:
        composed = compose(composed, delta)
    return composed


def without_needless_tombstones(delta: Key, base: Key | None) -> Key:
    """Returns a delta without the tombstones of keys and values that its base does not have, computed lazily.

    Args:
        delta: the delta.
        base: what it is merged with; None if there is nothing.
    """
    return _NeededKey(delta, base)


def has_needless_tombstones(delta: Key, base: Key | None) -> bool:
    """Returns whether `without_needless_tombstones` leaves something out."""
    pairs = [(delta, without_needless_tombstones(delta, base))]
    while pairs:
        whole, needed = pairs.pop()
        if len(whole.values()) != len(needed.values()):
            return True
        below, needed_below = whole.subkeys(), needed.subkeys()
        if len(below) != len(needed_below):
            return True
        pairs += zip(below, needed_below, strict=True)
    return False


class _ComposedKey:
    """A key of two deltas, neither of which deletes or supersedes the whole key above."""

    __slots__ = ("_lower", "_upper", "name")

    def __init__(self, lower: Key, upper: Key) -> None:
        self._lower = lower
        self._upper = upper
        self.name = upper.name

    @property
    def metadata(self) -> KeyMetadata:
        """What `upper` says; what it inherits, from `lower`, or else from the base."""
        lower, upper = self._lower.metadata, self._upper.metadata
        if upper.semantics is SUPERSEDE_LOCAL:
            return upper
        composed = upper._replace(last_written=max(lower.last_written, upper.last_written))
        if upper.inherits_class:
            composed = composed._replace(class_name=lower.class_name, inherits_class=lower.inherits_class)
        hides_values = _is_handle(lower) and not _is_handle(upper)
        return composed._replace(semantics=SUPERSEDE_LOCAL if hides_values else lower.semantics)

    def values(self) -> list[Value]:
        """Returns the values of `lower` with the changes of `upper`, then the new ones."""
        lower, upper = self._lower.metadata, self._upper.metadata
        if _is_handle(upper):
            return []
        own = self._upper.values()
        if upper.semantics is SUPERSEDE_LOCAL:
            return [value for value in own if not value.is_tombstone]
        below = [] if _is_handle(lower) else self._lower.values()
        values = {fold(value.name): value for value in (*below, *own)}
        if self.metadata.semantics is SUPERSEDE_LOCAL:
            return [value for value in values.values() if not value.is_tombstone]
        return list(values.values())

    def subkeys(self) -> list[Key]:
        """Returns the subkeys of `lower` with the changes of `upper`, then the new ones."""
        own = index_by_name(self._upper.subkeys())
        composed = [compose(child, own.pop(fold(child.name), None)) for child in self._lower.subkeys()]
        return [key for key in (*composed, *own.values()) if key is not None]

    def subkey(self, name: str) -> Key | None:
        """Returns the subkey of that name in any case, or None."""
        return compose(self._lower.subkey(name), self._upper.subkey(name))


class _SupersedingKey:
    """A key that supersedes its tree, and so does everything below it."""

    __slots__ = ("_key", "name")

    def __init__(self, key: Key) -> None:
        self._key = key
        self.name = key.name

    @property
    def metadata(self) -> KeyMetadata:
        return self._key.metadata._replace(semantics=SUPERSEDE_TREE)

    def values(self) -> list[Value]:
        return self._key.values()

    def subkeys(self) -> list[Key]:
        return [_SupersedingKey(child) for child in self._key.subkeys()]

    def subkey(self, name: str) -> Key | None:
        found = self._key.subkey(name)
        return None if found is None else _SupersedingKey(found)


class _NeededKey:
    """A key of a delta, of whose tombstones only those are there that delete something of the base."""

    __slots__ = ("_base", "_delta", "name")

    def __init__(self, delta: Key, base: Key | None) -> None:
        self._delta = delta
        self._base = None if delta.metadata.semantics is SUPERSEDE_TREE else base
        self.name = delta.name

    @property
    def metadata(self) -> KeyMetadata:
        return self._delta.metadata

    def values(self) -> list[Value]:
        values = self._delta.values()
        if not any(value.is_tombstone for value in values):
            return values
        is_merged = self._base is not None and self.metadata.semantics is NORMAL
        above = {fold(value.name) for value in self._base.values()} if is_merged and self._base is not None else set()
        return [value for value in values if not value.is_tombstone or fold(value.name) in above]

    def subkeys(self) -> list[Key]:
        found = (self._needed(child) for child in self._delta.subkeys())
        return [key for key in found if key is not None]

    def subkey(self, name: str) -> Key | None:
        child = self._delta.subkey(name)
        return None if child is None else self._needed(child)

    def _needed(self, child: Key) -> Key | None:
        above = None if self._base is None else self._base.subkey(child.name)
        if child.metadata.semantics is TOMBSTONE:
            return None if above is None else child
        return _NeededKey(child, above)


def _is_handle(metadata: KeyMetadata) -> bool:
    return bool(metadata.flags & KeyFlags.PREDEF_HANDLE)
