"""What a rebase would hide: files and registry keys that the own layers of an image have, and the new base changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from wclayer._types import StrPath
from wclayer._walk import Walk
from wclayer.errors import during, errors_at
from wclayer.formats.regf.composition import compose_all
from wclayer.formats.regf.delta import SUPERSEDE_LOCAL, SUPERSEDE_TREE, TOMBSTONE
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import Key, PathBudget, Value, check_depth, fold
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.layers.directory.database import EntryRow, Origin, from_column
from wclayer.layers.directory.hives import effective_root, open_hive
from wclayer.layers.hives import LAYER_HIVES
from wclayer.model import LayerReader, limits_in_use
from wclayer.view.diff import Change, compare_nodes, differences_below
from wclayer.view.merged import MergedTree, Node
from wclayer.view.part_tombstones import is_made_anew, stands_for_another
from wclayer.view.registry import differs_below
from wclayer.win32.names import path_key

SAME = "same"
"""What an own layer did to a file that it has, as its old base had it: the copy would hide that of the new base."""
_SERVICING = ("FILES/WINDOWS/WINSXS/", "FILES/WINDOWS/SERVICING/", "FILES/WINDOWS/SYSTEM32/CONFIG/COMPONENTS")
_SOFTWARE_DELTA = path_key("Hives/Software_Delta")
_CBS = ("Microsoft", "Windows", "CurrentVersion", "Component Based Servicing")


@dataclass(frozen=True, slots=True)
class RebaseConflict:
    r"""A file, a key or a value that the own layers of an image have, and that differs between its bases.

    Attributes:
        kind: "file", "key" or "value".
        path: the path in the layer ("Files/App/a.txt"), or that of the key ("HKEY_LOCAL_MACHINE\SOFTWARE\App").
        value: the name of the value; None for a file and a key.
        image: what the own layers did: "added", "changed", "removed", or "same" for a copy of what the old base had.
        base: what happened from the old base to the new one: "added", "changed", "removed".
        fields: what changed from the old base to the new one ("content", "security"), if both have it.
    """

    kind: str
    path: str
    value: str | None
    image: str
    base: str
    fields: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object."""
        record: dict[str, Any] = {"kind": self.kind, "path": self.path}
        if self.value is not None:
            record["value"] = self.value
        return record | {"image": self.image, "base": self.base, "fields": list(self.fields)}


def find_conflicts(layers: Sequence[StrPath], own: int, new_base: Sequence[StrPath]) -> Iterator[RebaseConflict]:
    """Yields what the own layers of an image would hide of a new base, because both have changed it.

    Files are compared by contents, attributes, descriptor, reparse data, EAs and streams; a time alone is no change.
    What both sides have made equal is no conflict.

    Args:
        layers: the layer directories of the image, nearest first.
        own: how many of them are the image's own.
        new_base: the layer directories of the new base, nearest first.

    Raises:
        PathNotFoundError, CorruptLayerError: a layer cannot be read.
        InvalidDataError: a hive is damaged.
    """
    with during("compare base images", layers[0]), ExitStack() as stack:
        opened = [stack.enter_context(open_layer(path)) for path in layers]
        target = [stack.enter_context(open_layer(path)) for path in new_base]
        if own:
            yield from _Files(MergedTree(opened[:own]), MergedTree(opened[own:]), MergedTree(target)).conflicts()
            yield from _registry_conflicts(opened[:own], opened[own:], target)


def lost_links(layers: Sequence[StrPath], own: int, new_base: Sequence[StrPath]) -> Iterator[str]:
    """Yields the hard links of the own layers of an image to files that a new base does not have. Over it, the layers
    cannot be unpacked; or a link brings back what a layer of the new base has deleted.

    Args:
        layers, own, new_base: see `find_conflicts`.
    """
    with during("compare base images", layers[0]), ExitStack() as stack:
        opened = [stack.enter_context(open_layer(path)) for path in (*layers[:own], *new_base)]
        for index, layer in enumerate(opened[:own]):
            below = MergedTree(opened[index + 1 :])
            for link in layer.links_to_parents():
                if not _has_file(below, link):
                    yield layer.path_of(link)


def _has_file(tree: MergedTree, link: EntryRow) -> bool:
    assert link.link_target is not None
    target = tree.lookup(from_column(link.link_target))
    return target is not None and not target.is_directory


class _Files:
    """The files of the own layers of an image, of its old base, and of its new one."""

    def __init__(self, own: MergedTree, old: MergedTree, new: MergedTree) -> None:
        self._own = own
        self._old = old
        self._new = new
        self._deleted = {row.key: row.path for layer in own.layers for row in layer.tombstones()}
        self._below: dict[int, MergedTree] = {}
        """What is below an own layer over the new base, by the number of the layer."""

    def conflicts(self) -> Iterator[RebaseConflict]:
        """Yields the conflicts, each once: what is hidden may be so for several reasons."""
        told = set[str]()
        for conflict in self._found():
            if (key := path_key(conflict.path)) not in told:
                told.add(key)
                yield conflict

    def _found(self) -> Iterator[RebaseConflict]:
        for key, path in sorted(self._deleted.items()):
            if self._own.lookup(path) is None and not _has_parent_in(key, self._deleted):
                yield from self._of_hidden(path)
        for node in self._own.walk(self._own.root()):
            if node.key == "HIVES" or node.key.startswith("HIVES/") or node.row.origin != Origin.OWN:
                continue
            yield from self._of_entry(node)
            if self._hides_what_is_below(node):
                yield from self._of_hidden(node.path)

    def _hides_what_is_below(self, node: Node) -> bool:
        """Returns whether nothing shows through a name of what a base has below it."""
        if not node.is_directory or stands_for_another(node) or node.key in self._deleted:
            return True
        above = self._own.lookup(node.path.rpartition("/")[0])
        return above is not None and is_made_anew(self._own, above, node)

    def _of_entry(self, node: Node) -> Iterator[RebaseConflict]:
        old, new = self._old.lookup(node.path), self._new.lookup(node.path)
        change, fields = _change(self._old, old, self._new, new)
        if change is None or _change(*self._over_new(node), self._new, new)[0] is None:
            return
        mine, _ = _change(self._old, old, self._own, node)
        yield RebaseConflict("file", node.path, None, SAME if mine is None else mine.value, change.value, fields)

    def _over_new(self, node: Node) -> tuple[MergedTree, Node]:
        """Returns what an own entry shows over the new base: of a hard link to a file below its layer, that file."""
        tree, index = self._own, node.layer
        while index < len(self._own.layers):
            target = tree.layers[node.layer].first_name(node.row).link_target
            if target is None:
                break
            if (below := self._below.get(index)) is None:
                below = self._below[index] = MergedTree([*self._own.layers[index + 1 :], *self._new.layers])
            found = below.lookup(from_column(target))
            if found is None:
                # Without the file there is no rebase (`lost_links`).
                break
            tree, node, index = below, found, index + 1 + found.layer
        return tree, node

    def _of_hidden(self, path: str) -> Iterator[RebaseConflict]:
        """Yields the conflicts of a name that the own layers delete or make anew, and of what lies below it."""
        old, new = self._old.lookup(path), self._new.lookup(path)
        change, fields = _change(self._old, old, self._new, new)
        removed = Change.REMOVED.value
        if new is None:
            return
        own = self._own.lookup(path)
        if change is not None and own is None:
            yield RebaseConflict("file", path, None, removed, change.value, fields)
        if not new.is_directory:
            return
        if old is not None and old.is_directory:
            for found in differences_below(self._old, old, self._new, new, times=False):
                if found.change is not Change.REMOVED and self._own.lookup(found.path) is None:
                    yield RebaseConflict("file", found.path, None, removed, found.change.value, tuple(found.fields))
        elif own is not None and _change(self._own, own, self._new, new)[0] is None:
            # Both sides have made the same directory, so that itself is no conflict.
            for node in self._new.walk(new):
                if self._own.lookup(node.path) is None:
                    yield RebaseConflict("file", node.path, None, removed, Change.ADDED.value)


def _has_parent_in(key: str, keys: Iterable[str]) -> bool:
    while "/" in key:
        key = key.rpartition("/")[0]
        if key in keys:
            return True
    return False


def _change(
    a: MergedTree, in_a: Node | None, b: MergedTree, in_b: Node | None
) -> tuple[Change | None, tuple[str, ...]]:
    """Returns what happened to a name from tree `a` to tree `b`, without what lies below it; None if nothing did."""
    if in_a is None or in_b is None:
        return (None if in_a is in_b else Change.ADDED if in_a is None else Change.REMOVED), ()
    if in_a.is_directory != in_b.is_directory:
        return Change.CHANGED, ("kind",)
    fields = tuple(compare_nodes(a, in_a, b, in_b, times=False))
    return (Change.CHANGED if fields else None), fields


def _registry_conflicts(
    own: Sequence[LayerDirectory], old: Sequence[LayerDirectory], new: Sequence[LayerDirectory]
) -> Iterator[RebaseConflict]:
    for hive in LAYER_HIVES:
        with errors_at(own[0].path / hive.delta):
            found = [opened for layer in reversed(own) if (opened := open_hive(layer, hive.delta)) is not None]
            delta = compose_all(opened.root() for opened in found)
            if delta is not None:
                yield from _key_conflicts(
                    "\\".join(hive.mount), delta, effective_root(old, hive), effective_root(new, hive)
                )


_Keys = tuple[Key, Key | None, Key | None]
"""A key of the own delta, and the keys of the old and the new base at its path."""


def _key_conflicts(path: str, delta: Key, old: Key | None, new: Key | None) -> Iterator[RebaseConflict]:
    budget = PathBudget(limits_in_use().key_paths)
    yield from _of_key(path, delta, old, new)
    walk = Walk(_below(delta, old, new), path)
    for above, (child, in_old, in_new) in walk:
        check_depth(walk.depth, child)
        path = budget.join(above, child.name)
        yield from _of_key(path, child, in_old, in_new)
        walk.enter(_below(child, in_old, in_new), path)


def _below(delta: Key, old: Key | None, new: Key | None) -> list[_Keys]:
    """Returns what is to be compared below a key: nothing if one of the keys is not there."""
    if new is None or delta.metadata.semantics in (TOMBSTONE, SUPERSEDE_TREE):
        return []
    return [
        (child, None if old is None else old.subkey(child.name), new.subkey(child.name)) for child in delta.subkeys()
    ]


def _of_key(path: str, delta: Key, old: Key | None, new: Key | None) -> Iterator[RebaseConflict]:
    """Yields the conflicts of a key and its values, without those of its subkeys."""
    semantics = delta.metadata.semantics
    if new is None:
        if old is not None and semantics is not TOMBSTONE:
            yield RebaseConflict("key", path, None, Change.CHANGED.value, Change.REMOVED.value)
        return
    base = Change.ADDED if old is None else Change.CHANGED
    if semantics in (TOMBSTONE, SUPERSEDE_TREE):
        if old is None or differs_below(old, new):
            mine = Change.REMOVED if semantics is TOMBSTONE else Change.ADDED if old is None else Change.CHANGED
            yield RebaseConflict("key", path, None, mine.value, base.value)
        return
    wanted, has = delta.metadata.security, new.metadata.security
    if wanted != has and (old is None or old.metadata.security != has):
        mine_text = SAME if old is not None and old.metadata.security == wanted else base.value
        yield RebaseConflict("key", path, None, mine_text, base.value, ("security",))
    yield from _of_values(path, delta, old, new)


def _of_values(path: str, delta: Key, old: Key | None, new: Key) -> Iterator[RebaseConflict]:
    before, after = _values(old), _values(new)
    for value in delta.values():
        name = fold(value.name)
        was, now = before.get(name), after.get(name)
        if was == now or now == value or (now is None and value.is_tombstone):
            continue
        base = Change.ADDED if was is None else Change.REMOVED if now is None else Change.CHANGED
        mine = Change.REMOVED if value.is_tombstone else Change.ADDED if was is None else Change.CHANGED
        mine_text = SAME if value == was else mine.value
        yield RebaseConflict(
            "value", path, value.name, mine_text, base.value, ("data",) if base is Change.CHANGED else ()
        )
    if delta.metadata.semantics is SUPERSEDE_LOCAL:
        own = _values(delta)
        for name, hidden in after.items():
            if name not in own and before.get(name) != hidden:
                base = Change.CHANGED if name in before else Change.ADDED
                yield RebaseConflict("value", path, hidden.name, Change.REMOVED.value, base.value)


def _values(key: Key | None) -> dict[str, Value]:
    return {} if key is None else {fold(value.name): value for value in key.values()}


def servicing_state(layers: Iterable[LayerReader]) -> Iterator[str]:
    """Yields the paths of files and keys in layers that belong to the servicing of Windows.

    Such a layer holds updates or features of its own base: on another one, the component store and the files would
    disagree. They are what lies in `Windows\\WinSxS` and `Windows\\servicing`, the hive COMPONENTS, and the keys of
    component based servicing.

    Args:
        layers: readers of the layers, which are read to their ends.
    """
    for reader in layers:
        for item in reader:
            key = path_key(item.entry.name)
            if key.startswith(_SERVICING):
                yield item.entry.name
            elif key == _SOFTWARE_DELTA and 0 < item.entry.size <= limits_in_use().hive_size:
                data = next(item.streams()).read_all()
                with errors_at(item.entry.name):
                    if _changes_servicing(Hive(data).root()):
                        yield "\\".join(("HKEY_LOCAL_MACHINE", "SOFTWARE", *_CBS))


def _changes_servicing(root: Key) -> bool:
    key: Key | None = root
    for name in _CBS:
        key = None if key is None else key.subkey(name)
    if key is None:
        return False
    return bool(key.metadata.semantics or key.values() or key.subkeys())
