"""`find_entries`: finds entries by their names, their metadata, and what layers do to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wclayer.errors import during
from wclayer.search.query import MARKS, EntryKind, EntryQuery, EntryTest, NameMark, kind_of
from wclayer.search.walking import entries_at
from wclayer.survey.fate import Fate
from wclayer.survey.names import NameWalk, Top, find_top
from wclayer.survey.opening import Subject, open_tree
from wclayer.view.merged import MergedTree, Node
from wclayer.win32.attributes import attribute_names
from wclayer.win32.filetime import to_iso


@dataclass(frozen=True, slots=True)
class NameChange:
    """What a layer does to a name.

    Attributes:
        layer: the number of the layer; the base layer is 1.
        mark: what it does.
    """

    layer: int
    mark: NameMark

    def to_json(self) -> dict[str, Any]:
        """Returns the change for JSON."""
        return {"layer": self.layer, "mark": str(self.mark)}


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """An entry that was searched for.

    Attributes:
        path: its path from the layer's root, as it is stored: `Files/Windows`.
        kind: what it is.
        size: the bytes of its contents.
        attributes: its file attributes.
        last_write_time: a FILETIME.
        layer: the number of the layer that has the entry; the base layer is 1.
        changes: what layers did to the name, base layer first; empty if the query has no marks.
    """

    path: str
    kind: EntryKind
    size: int
    attributes: int
    last_write_time: int
    layer: int
    changes: tuple[NameChange, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the entry for JSON."""
        record: dict[str, Any] = {
            "path": self.path, "kind": str(self.kind), "size": self.size, "attributes": self.attributes,
            "attribute_names": attribute_names(self.attributes), "last_write_time": to_iso(self.last_write_time),
            "layer": self.layer,
        }  # fmt: skip
        if self.changes:
            record["changes"] = [change.to_json() for change in self.changes]
        return record


@during("find", takes_over=True)
def find_entries(
    subject: Subject, paths: Sequence[str] = (), query: EntryQuery | None = None, *, depth: int | None = None
) -> Iterator[FoundEntry]:
    """Yields the entries of an image, or of any other chain, that fit to a query: at paths and below them.

    Directories come before what is in them. The memory does not grow with the number of entries, apart from the entries
    of a directory that is merged of several layers.

    With `marks`, each name is looked at that any layer has. A name that is not visible is told with the entry that it
    had last.

    Args:
        subject: where it is searched: an open image (`open_image`, or `open_image_facts`); the path of a layer
            directory, which is taken over the parents that it records; or the paths of a chain, nearest first.
        paths: in any spelling that `layer_path` accepts; links at their ends are followed. By default, everything.
        query: what is searched for; by default, every entry.
        depth: how deep it is searched: the depth of `paths` is 0.

    Raises:
        PathNotFoundError: a path does not exist, or a layer cannot be opened. This and the other errors are raised when
            the first entry is requested.
        NotALayerError, CorruptLayerError: a layer cannot be opened, or is damaged.
        InvalidParameterError: an owner is no account that every Windows has; the chain has no such layer.
        LimitExceededError: a layer has more entries, or longer paths, than the limits allow.
    """
    wanted = query or EntryQuery()
    with open_tree(subject) as tree:
        test = EntryTest(wanted, tree)
        if wanted.marks:
            yield from _changed(tree, paths, wanted, test, depth)
            return
        for node in entries_at(tree, paths, depth):
            if test.fits(node):
                yield _found(tree, node)


def _found(tree: MergedTree, node: Node, changes: tuple[NameChange, ...] = ()) -> FoundEntry:
    row = node.row
    return FoundEntry(
        node.path, kind_of(node), row.size, row.attributes, row.last_write_time, tree.depth(node.layer), changes
    )


def _changed(
    tree: MergedTree, paths: Sequence[str], query: EntryQuery, test: EntryTest, depth: int | None
) -> Iterator[FoundEntry]:
    walk = NameWalk(tree)
    for top in [find_top(tree, walk, path) for path in paths or ("",)]:
        for key, path, fate in _names(walk, top, depth):
            changes = tuple(NameChange(layer, MARKS[step]) for layer, step in fate.steps)
            if not any(change.mark in query.marks and query.layer in (None, change.layer) for change in changes):
                continue
            node = _node(tree, key, path, fate, query.layer)
            if node is not None and test.fits(node):
                yield _found(tree, node, changes)


def _names(walk: NameWalk, top: Top, depth: int | None) -> Iterator[tuple[str, str, Fate]]:
    if top.fate is not None:
        yield top.key, top.path, top.fate
    if depth == 0:
        return
    for _, key, path, fate in walk.below(top, depth):
        if fate is not None and key is not None and path is not None:
            yield key, path, fate


def _node(tree: MergedTree, key: str, path: str, fate: Fate, layer: int | None) -> Node | None:
    """Returns the entry of a name that is told: that of the layer that was asked for, or else the visible one, or else
    the last one that was."""
    stored = [(number, row) for number, row in fate.stored if layer is None or number <= layer]
    if layer is None and fate.row is not None:
        stored = [(fate.layer, fate.row)]
    if not stored:
        return None
    number, row = stored[-1]
    return Node(path, key, row, len(tree.layers) - number, {len(tree.layers) - number: row.id})
