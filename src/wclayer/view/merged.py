"""The tree that a chain of layers shows: the nearest layer's entries over its parents', tombstones applied.

Layers are read when a name is looked up, and names are remembered. A scratch may be the nearest layer: code that
changes it must call the `forget…` methods. They drop single names: if each change dropped all of them, a mount would
have to look up every name again.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from types import TracebackType
from typing import Self

from wclayer._types import StrPath
from wclayer._walk import Walk
from wclayer.errors import InvalidParameterError, boundary, during, names_operation
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.layers.directory.chain import as_chain
from wclayer.layers.directory.database import EntryRow, Origin, from_column
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.backup import StreamId
from wclayer.win32.names import collation_key, name_key, path_key, sorted_keys, split_path
from wclayer.win32.reparse import is_name_surrogate

_REMEMBERED = 250_000
"""The maximal number of names in memory."""
_COUNTED = 65_536
"""The maximal number of files whose link count is kept in memory."""


@dataclass(slots=True)
class Node:
    """A name in the merged tree: the visible entry, the index of its layer, and the directories it is merged from."""

    path: str
    key: str
    """`path_key` of the path."""
    row: EntryRow
    layer: int
    merged: dict[int, int] = field(default_factory=dict)
    """The entry ids of a directory by layer, for each layer that has a part of it."""
    memo: object = field(default=None, compare=False, repr=False)
    """A cache for the user of the tree: a mount stores what it has told the kernel about the node."""

    @property
    def is_directory(self) -> bool:
        return bool(self.row.attributes & DIRECTORY)

    @property
    def name(self) -> str:
        """The last component."""
        return self.path.rpartition("/")[2]

    @property
    def link_target(self) -> str | None:
        """The path of the file with which it was imported as a further name; None for a first name."""
        return None if self.row.link_target is None else from_column(self.row.link_target)

    @property
    def file(self) -> tuple[int, int]:
        """The layer and id of the file, which are the same for all its names."""
        return self.layer, self.row.link or self.row.id


def _hides_others(row: EntryRow) -> bool:
    """Returns whether an entry hides what the layers below have under its name."""
    return not row.attributes & DIRECTORY or (row.reparse is not None and is_name_surrogate(row.reparse))


@boundary
class MergedTree:
    """The merged tree of a chain of layers.

    Args:
        layers: the layers, nearest first, as paths or open. A single path means only that layer, without its parents.
        remember: each name is read once and kept in memory, with one node for each name.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: a layer cannot be opened.
        InvalidParameterError: `layers` is empty.
    """

    operation = "find entry"

    @during("open layer")
    def __init__(
        self,
        layers: StrPath | Sequence[StrPath | LayerDirectory],
        *,
        remember: bool = False,
    ) -> None:
        named = as_chain(layers) if isinstance(layers, (str, os.PathLike)) else layers
        if not named:
            raise InvalidParameterError("", "no layer was named")
        with ExitStack() as stack:
            self.layers = [
                layer if isinstance(layer, LayerDirectory) else stack.enter_context(open_layer(layer))
                for layer in named
            ]
            root = self.layers[0].root()
            self._stack = stack.pop_all()
        # For each layer, None until it is needed: parent path key to the name keys deleted in it.
        self._tombstones: list[dict[str, set[str]] | None] = [None] * len(self.layers)
        self._root = Node("", "", root, 0, dict.fromkeys(range(len(self.layers)), 0))
        # For each layer: path keys of the directories at or above a tombstone, each with the names that lead to one.
        self._touched: list[dict[str, set[str]]] = [{} for _ in self.layers]
        self._remembers = remember
        self._nodes: dict[str, Node | None] = {}
        self._listings: dict[str, list[Node]] = {}
        self._link_counts: dict[tuple[int, int], int] = {}
        # Path keys of directories all of whose names are in memory.
        self._complete: set[str] = set()
        # Directories that were reached by their own paths, without a link on the way.
        self._reached: dict[str, Node] = {}

    @classmethod
    @during("open layer")
    def of(cls, layer: StrPath, *, with_parents: bool) -> Self:
        """Returns the tree of one layer, alone or over the parents that it records."""
        if not with_parents:
            return cls([layer])
        with open_layer(layer) as directory:
            return cls([layer, *directory.parents_in_place()])

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @names_operation
    def depth(self, layer: int) -> int:
        """Returns the position of a layer counted from the base, which is 1."""
        return len(self.layers) - layer

    def root(self) -> Node:
        """Returns the node above `Files`, `Hives` and `UtilityVM`."""
        return self._root

    def children(self, node: Node) -> list[Node]:
        """Returns the entries of a directory, in the order in which Windows lists them."""
        listing = self._listings.get(node.key)
        if listing is not None:
            return listing
        found = self._children(node)
        if self._remembers:
            self._make_room()
            self._listings[node.key] = found = [self._remember(child) for child in found]
            self._complete.add(node.key)
        return found

    @names_operation
    def listed(self, node: Node) -> list[Node] | None:
        """Returns what `children` gives for a directory if that is in memory, or None."""
        return self._listings.get(node.key)

    def _children(self, node: Node) -> list[Node]:
        found: dict[str, Node] = {}
        closed: set[str] = set()
        for index, layer in enumerate(self.layers):
            if (entry_id := node.merged.get(index)) is not None:
                rows = layer.children(entry_id)
                if not (found or closed) and node.merged.keys().isdisjoint(range(index + 1, len(self.layers))):
                    # No other layer has anything to say about the directory.
                    found = {(key := from_column(row.key)): self._node(node, key, row, index) for row in rows}
                    break
                for row in rows:
                    key = from_column(row.key)
                    if key in closed:
                        continue
                    child = found.get(key)
                    if child is None:
                        child = found[key] = self._node(node, key, row, index)
                    elif row.attributes & DIRECTORY:
                        self._merge(child, row, index)
                    if _hides_others(row):
                        closed.add(key)
            # A layer can delete a name in a directory that it has no entry for.
            closed |= self._deleted(index).get(node.key, set())
        return [found[key] for key in sorted_keys(found)]

    def beginning(self, node: Node, beginning: str) -> Iterator[Node]:
        """Yields the entries of a directory whose names begin with a text, without regard to case, sorted by the code
        points of their keys. No more of a large directory is read than the caller takes, and nothing is remembered."""
        listed = heapq.merge(
            *(self._rows(index, entry_id, beginning) for index, entry_id in sorted(node.merged.items())),
            key=lambda item: (isinstance(item[1].key, bytes), item[1].key),
        )
        for column, rows in groupby(listed, key=lambda item: item[1].key):
            key = from_column(column)
            child: Node | None = None
            asked = 0
            for index, row in rows:
                if any(key in self._deleted(nearer).get(node.key, ()) for nearer in range(asked, index)):
                    break
                asked = index
                if child is None:
                    child = self._node(node, key, row, index)
                elif row.attributes & DIRECTORY:
                    self._merge(child, row, index)
                if _hides_others(row):
                    break
            if child is not None:
                yield child

    def _rows(self, index: int, entry_id: int, beginning: str) -> Iterator[tuple[int, EntryRow]]:
        for row in self.layers[index].children(entry_id, beginning):
            yield index, row

    def each_child(self, node: Node) -> Iterator[Node]:
        """Yields the entries of a directory: without a list of them if they are all of one layer, and then in the order
        of `layer.db`, which differs from that of `children` after the first name with a character above U+FFFF."""
        nearest = min(node.merged, default=None)
        others = any(self._deleted(index).get(node.key) for index in range(nearest or 0))
        if nearest is None or len(node.merged) > 1 or others or self._remembers:
            yield from self.children(node)
            return
        for row in self.layers[nearest].children(node.merged[nearest]):
            yield self._node(node, from_column(row.key), row, nearest)

    def child(self, node: Node, name: str) -> Node | None:
        """Returns the entry of a directory under a name, without regard to case, or None."""
        key = name_key(name)
        whole = f"{node.key}/{key}" if node.key else key
        try:
            return self._nodes[whole]
        except KeyError:
            pass
        if node.key in self._complete or not node.is_directory:
            return None
        found = self._look_up(node, name, key, 0)
        if self._remembers:
            self._make_room()
            self._nodes[whole] = found
        return found

    def child_in_parents(self, node: Node, name: str) -> Node | None:
        """Returns the entry that the layers below the nearest one show under a name, or None."""
        return self._look_up(node, name, name_key(name), 1)

    def _look_up(self, node: Node, name: str, key: str, first: int) -> Node | None:
        found: Node | None = None
        for index in range(first, len(self.layers)):
            if (entry_id := node.merged.get(index)) is not None:
                row = self.layers[index].child(entry_id, name)
                if row is not None:
                    if found is None:
                        found = self._node(node, key, row, index)
                    elif row.attributes & DIRECTORY:
                        self._merge(found, row, index)
                    if _hides_others(row):
                        break
            if key in self._deleted(index).get(node.key, ()):
                break
        return found

    @staticmethod
    def _node(parent: Node, key: str, row: EntryRow, layer: int) -> Node:
        name = from_column(row.name)
        merged = {layer: row.id} if row.attributes & DIRECTORY else {}
        if not parent.key:
            return Node(name, key, row, layer, merged)
        return Node(f"{parent.path}/{name}", f"{parent.key}/{key}", row, layer, merged)

    @staticmethod
    def _merge(node: Node, row: EntryRow, layer: int) -> None:
        """Merges a further layer's directory into a node, if that is a directory, too."""
        if node.is_directory:
            node.merged[layer] = row.id
            if node.row.origin == Origin.IMPLIED and row.origin != Origin.IMPLIED:
                # A root directory that the nearer layer has no entry for looks as its parent's does.
                node.row, node.layer = row, layer

    def _remember(self, node: Node) -> Node:
        """Returns the node that is already known for the name, or remembers this one: there is one for each name."""
        known = self._nodes.get(node.key)
        if known is None:
            self._nodes[node.key] = known = node
        return known

    def _deleted(self, index: int) -> dict[str, set[str]]:
        deleted = self._tombstones[index]
        if deleted is None:
            deleted = {}
            for tombstone in self.layers[index].tombstones():
                parent, _, name = tombstone.key.rpartition("/")
                deleted.setdefault(parent, set()).add(name)
                self._touch(index, parent)
            self._tombstones[index] = deleted
        return deleted

    def deleted_names(self, key: str, layer: int) -> Set[str]:
        """Returns the name keys that a layer deletes in the directory with that path key."""
        return self._deleted(layer).get(key, set())

    def _touch(self, index: int, key: str) -> None:
        touched = self._touched[index]
        below: str | None = None
        while True:
            names = touched.get(key)
            is_known = names is not None
            if names is None:
                names = touched[key] = set()
            if below is not None:
                names.add(below)
            if is_known or not key:
                return
            key, _, below = key.rpartition("/")

    @names_operation
    def knows(self, node: Node) -> bool:
        """Returns whether a node is the one that stands for its name now."""
        return node is self._root or self._nodes.get(node.key) is node

    def lookup(self, path: str) -> Node | None:
        """Returns the node at a path as `layer_path` returns it, without regard to case, or None."""
        known = self._nodes.get(path_key(path))
        if known is not None:
            return known
        node: Node | None = self._root
        for part in split_path(path):
            if node is None:
                return None
            node = self.child(node, part)
        return node

    @names_operation
    def known(self, path: str, *, follow: bool) -> Node | None:
        """Returns the entry at a path as `layer_path` returns it, if it is in memory and the path leads to it without a
        link on the way; None if that is not known.

        Args:
            follow: the entry must not be a link itself, either.
        """
        key = path_key(path)
        node = self._nodes.get(key)
        if node is None or (follow and node.row.reparse is not None):
            return None
        return None if self.reached_directory(key.rpartition("/")[0]) is None else node

    @names_operation
    def reached_directory(self, key: str) -> Node | None:
        """Returns the directory with that path key if a path has led to it, without a link on the way.

        A directory with an entry in it cannot become a link, and the move of a directory drops all names from memory.
        So while the node is known and is not a link itself, the same path still leads to it.
        """
        node = self._reached.get(key)
        if node is None or self._nodes.get(key) is not node or node.row.reparse is not None:
            return None
        return node

    def note_reached(self, node: Node) -> None:
        """Remembers a directory to which its own path leads, without a link on the way."""
        if node.is_directory and self._nodes.get(node.key) is node:
            self._reached[node.key] = node

    def walk(self, node: Node) -> Iterator[Node]:
        """Yields everything below a node, parents before children."""
        walk = Walk(self.children(node), None)
        for _, child in walk:
            yield child
            if child.is_directory:
                walk.enter(self.children(child), None)

    def other_names(self, node: Node) -> list[Node]:
        """Returns the other names of a file that nearer layers have neither deleted nor replaced."""
        layer = self.layers[node.layer]
        if node.is_directory or layer.link_count(node.row) == 1:
            return []
        found = [self.lookup(layer.path_of(row)) for row in layer.names(node.row)]
        return [other for other in found if other is not None and other.key != node.key and other.file == node.file]

    def link_count(self, node: Node) -> int:
        """Returns the number of visible names of a node's file. The number is cached, because a file may have many."""
        if node.is_directory or self.layers[node.layer].link_count(node.row) == 1:
            return 1
        count = self._link_counts.get(node.file)
        if count is None:
            if len(self._link_counts) >= _COUNTED:
                self._link_counts.clear()
            self._link_counts[node.file] = count = 1 + len(self.other_names(node))
        return count

    def entry(self, node: Node) -> Entry:
        """Returns the node's entry with all metadata."""
        return self.layers[node.layer].entry(node.row)

    def streams(self, node: Node) -> Iterator[DataStream]:
        """Returns an iterator over the node's data streams."""
        layer = self.layers[node.layer]
        row = layer.first_name(node.row)
        return layer.streams(row, has_data=row.sha256 is not None)

    def security(self, node: Node) -> bytes | None:
        """Returns the node's security descriptor, or None if it has none."""
        return self.layers[node.layer].security(node.row)

    def digest(self, node: Node) -> bytes | None:
        """Returns the SHA-256 of the node's main data stream, or None if it has no such stream."""
        return self.layers[node.layer].digest(node.row)

    def parts(self, node: Node) -> list[tuple[int, int | None]]:
        """Returns from what a directory, and all that lies below it, is merged, nearest first.

        For each layer that has a part of it, or that deletes a name in it or anywhere below it: the index of the layer
        and the id of its entry, None if it only deletes. Two directories with the same parts of the same layers show
        the same.
        """
        for index in range(len(self.layers)):
            self._deleted(index)
        return [
            (index, node.merged.get(index))
            for index in range(len(self.layers))
            if index in node.merged or node.key in self._touched[index]
        ]

    def names_of(self, node: Node, layer: int) -> set[str]:
        """Returns the name keys of a directory about which a layer says anything: it has an entry of that name, or
        deletes the name, or one below it."""
        entry_id = node.merged.get(layer)
        names = set() if entry_id is None else {from_column(row.key) for row in self.layers[layer].children(entry_id)}
        return names | self._deleted(layer).get(node.key, set()) | self._touched[layer].get(node.key, set())

    def stream_digests(self, node: Node) -> list[tuple[str, int, bytes]]:
        """Returns name, size and SHA-256 of each alternate stream of the node."""
        layer = self.layers[node.layer]
        found = [
            (stream.name, stream.size, stream.sha256)
            for stream in layer.stream_rows(layer.first_name(node.row))
            if stream.stream_id == StreamId.ALTERNATE_DATA
        ]
        return sorted(found, key=lambda stream: collation_key(stream[0]))

    # For code that changes the nearest layer.

    @names_operation
    def remembered(self, key: str) -> Node | None:
        """Returns the node with that path key, if it is in memory."""
        return self._nodes.get(key)

    def _make_room(self) -> None:
        if len(self._nodes) > _REMEMBERED:
            self._nodes.clear()
            self._listings.clear()
            self._complete.clear()
            self._reached.clear()

    def note_created(self, directory: Node, row: EntryRow) -> Node:
        """Remembers an entry that was just created in the nearest layer, and returns its node.

        Nothing of the other layers is part of it: no entry was visible under the name, and a tombstone stays in the way
        of a directory that was deleted.
        """
        node = self._node(directory, from_column(row.key), row, 0)
        if node.is_directory:
            node.merged[0] = row.id
        if self._remembers:
            self._make_room()
        is_complete = directory.key in self._complete
        self.forget(node.key)
        if self._remembers:
            self._nodes[node.key] = node
            if is_complete:
                self._complete.add(directory.key)
            if node.is_directory:
                self._complete.add(node.key)
        return node

    @names_operation
    def forget(self, key: str) -> None:
        """Forgets a name that was created, removed or given another entry, and that has no entries below it."""
        self._link_counts.clear()
        self._nodes.pop(key, None)
        self._listings.pop(key, None)
        parent = key.rpartition("/")[0]
        self._listings.pop(parent, None)
        self._complete.discard(key)
        self._complete.discard(parent)
        self._reached.pop(key, None)

    def forget_all(self) -> None:
        """Forgets all names, because any of them may have changed."""
        self._link_counts.clear()
        self._nodes.clear()
        self._listings.clear()
        self._complete.clear()
        self._reached.clear()
        self._root.merged = dict.fromkeys(range(len(self.layers)), 0)

    def forget_tombstones(self) -> None:
        """Forgets which names the nearest layer deletes, because they have changed."""
        self._link_counts.clear()
        self._tombstones[0] = None

    def is_deleted(self, key: str) -> bool:
        """Returns whether the nearest layer deletes the name with that path key from the other layers."""
        parent, _, name = key.rpartition("/")
        return name in self._deleted(0).get(parent, ())

    def note_tombstone(self, key: str, *, is_deleted: bool) -> None:
        """Notes that the nearest layer deletes the name with that path key now, or no longer."""
        self._link_counts.clear()
        deleted = self._tombstones[0]
        if deleted is not None:
            parent, _, name = key.rpartition("/")
            names = deleted.setdefault(parent, set())
            (names.add if is_deleted else names.discard)(name)
            if not names:
                del deleted[parent]
            self._touch(0, parent)
