"""The tree that a chain of layers shows: the nearest layer's entries over its parents', tombstones applied.

Read-only, and nothing is read before it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from wclayer.layers.directory import LayerDirectory
from wclayer.layers.directory.database import EntryRow, from_column
from wclayer.layers.tree import ROOTS
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.names import path_key, split_path

_ROOT_KEYS = frozenset(path_key(root) for root in ROOTS if "/" not in root)


def layer_path(text: str) -> str:
    r"""A path inside a layer, from any spelling people use.

    `C:\Windows`, `\Windows`, `/Windows`, `Windows` and `Files/Windows` all mean `Files/Windows`; `Hives/…` and
    `UtilityVM/…` mean themselves. Nothing, `/` and `\` mean the layer's root, `C:\` means `Files`.
    """
    drive = len(text) >= 2 and text[1] == ":" and text[0].isalpha()
    parts = split_path(text[2:] if drive else text)
    if drive or (parts and path_key(parts[0]) not in _ROOT_KEYS):
        parts.insert(0, "Files")
    return "/".join(parts)


@dataclass(slots=True)
class Node:
    """A name in the merged tree: the entry that shows, the layer it is of, and the directories it is merged from."""

    path: str
    row: EntryRow
    layer: int
    merged: dict[int, int] = field(default_factory=dict)
    """Of a directory: layer to entry id, for every layer that has a part of it."""

    @property
    def is_directory(self) -> bool:
        return bool(self.row.attributes & DIRECTORY)


class MergedTree:
    """The tree of layers given nearest first; one layer alone shows just itself.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: see `LayerDirectory`.
    """

    def __init__(self, layers: Sequence[str | os.PathLike[str]]) -> None:
        with ExitStack() as stack:
            self.layers = [stack.enter_context(LayerDirectory(layer)) for layer in layers]
            self._stack = stack.pop_all()
        # Of each layer: parent path key to the name keys deleted in it.
        self._tombstones: list[dict[str, set[str]]] = []
        # Path keys of the directories at or above a tombstone of any layer.
        self._touched: set[str] = set()
        for layer in self.layers:
            deleted: dict[str, set[str]] = {}
            for (key,) in layer.query("SELECT key FROM tombstones"):
                parent, _, name = from_column(key).rpartition("/")
                deleted.setdefault(parent, set()).add(name)
            self._tombstones.append(deleted)
            for parent in deleted:
                while parent and parent not in self._touched:
                    self._touched.add(parent)
                    parent = parent.rpartition("/")[0]

    @classmethod
    def of(cls, layer: str | os.PathLike[str], *, with_parents: bool) -> Self:
        """The tree of one layer, alone or over the parents it knows."""
        if not with_parents:
            return cls([layer])
        with LayerDirectory(layer) as directory:
            return cls([layer, *directory.parents()])

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def root(self) -> Node:
        """The node above `Files`, `Hives` and `UtilityVM`."""
        return Node("", self.layers[0].root(), 0, dict.fromkeys(range(len(self.layers)), 0))

    def children(self, node: Node) -> list[Node]:
        """What a directory shows, in the order in which Windows lists it."""
        found: dict[str, Node] = {}
        closed: set[str] = set()
        directory_key = path_key(node.path)
        for index, layer in enumerate(self.layers):
            if (entry_id := node.merged.get(index)) is not None:
                for row in layer.children(entry_id):
                    key = from_column(row.key)
                    if key in closed:
                        continue
                    if key not in found:
                        name = from_column(row.name)
                        found[key] = Node(f"{node.path}/{name}" if node.path else name, row, index)
                    if row.attributes & DIRECTORY and found[key].is_directory:
                        found[key].merged[index] = row.id
                    if row.reparse is not None or not row.attributes & DIRECTORY:
                        closed.add(key)
            # A layer can delete a name in a directory that it has no entry for.
            closed |= self._tombstones[index].get(directory_key, set())
        return [found[key] for key in sorted(found)]

    def lookup(self, path: str) -> Node | None:
        """The node at a path as `layer_path` gives it, found without regard to case, or None."""
        node = self.root()
        for part in split_path(path):
            key = path_key(part)
            child = next((c for c in self.children(node) if path_key(c.path.rpartition("/")[2]) == key), None)
            if child is None:
                return None
            node = child
        return node

    def walk(self, node: Node) -> Iterator[Node]:
        """Everything below a node, parents before children."""
        pending = [iter(self.children(node))]
        while pending:
            child = next(pending[-1], None)
            if child is None:
                pending.pop()
                continue
            yield child
            if child.is_directory:
                pending.append(iter(self.children(child)))

    def entry(self, node: Node) -> Entry:
        """The node's entry with all metadata."""
        return self.layers[node.layer].entry(node.row)

    def streams(self, node: Node) -> Iterator[DataStream]:
        """The node's data streams."""
        return self.layers[node.layer].streams(node.row, has_data=node.row.sha256 is not None)

    def has_tombstones_below(self, node: Node) -> bool:
        """Whether a layer deletes a name in this directory or anywhere below it."""
        return path_key(node.path) in self._touched

    def stream_digests(self, node: Node) -> list[tuple[str, int, bytes]]:
        """Name, size and SHA-256 of the node's alternate streams."""
        if not node.row.streams:
            return []
        rows = self.layers[node.layer].query(
            "SELECT name, size, sha256 FROM streams WHERE entry = ? AND stream_id = 4 ORDER BY id", (node.row.id,)
        )
        return [(from_column(name), size, sha256) for name, size, sha256 in rows]
