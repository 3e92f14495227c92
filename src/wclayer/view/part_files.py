"""Which names are names of one file, across several layers that become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wclayer.layers.base import FirstNames
from wclayer.layers.directory.database import EntryRow, Origin, from_column
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.model import Entry
from wclayer.view.merged import MergedTree, Node


class _File(NamedTuple):
    """A file: the layer that has its first name, and the id of this name there."""

    layer: int
    entry: int


class PartFiles:
    """The files of the one layer that several become, and their names.

    A layer may have a further name of a file of a parent. If the parent becomes part of the same layer, the two are
    names of one file there; otherwise the name stays a link to the parent's file.

    Args:
        layers: the whole chain, nearest first.
        parts: the tree of the layers that become one.
        count: how many of the layers become one.
    """

    def __init__(self, layers: Sequence[LayerDirectory], parts: MergedTree, count: int) -> None:
        self._layers = layers
        self._parts = parts
        self._count = count
        self._first_names = FirstNames()
        # For each file of which a layer has a name that a parent had before: where it comes from, and its path there.
        self._sources: dict[_File, tuple[_File, str]] = {}
        for index, layer in enumerate(layers[:count]):
            for row in layer.links_to_parents():
                if (source := self._source(index, row)) is not None:
                    self._sources[_File(index, row.id)] = source
        self._shared = {source for source, _ in self._sources.values()}

    def _source(self, index: int, row: EntryRow) -> tuple[_File, str] | None:
        """Returns the file that a link means, as an import finds it, and its path; None if it is in no parent."""
        found: tuple[_File, str] | None = None
        while row.link_target is not None:
            path = from_column(row.link_target)
            for below in range(index + 1, len(self._layers)):
                if (target := self._layers[below].lookup(path)) is not None:
                    break
            else:
                break
            index, row = below, self._layers[below].first_name(target)
            found = _File(index, row.id), path
            if index >= self._count:
                break
        return found

    def link(self, entry: Entry, node: Node) -> bool:
        """Makes the entry of a file a link, if its file has a name already.

        Returns:
            Whether it is one to a name of the same layer, which has the data.
        """
        entry.link_target = None
        row, layer = node.row, self._layers[node.layer]
        file = _File(node.layer, row.link or row.id)
        source, path = self._sources.get(file, (file, ""))
        if source.layer >= self._count and self._parts.lookup(path) is None:
            entry.link_target = path
            return False
        if source == file and layer.link_count(row) == 1 and file not in self._shared:
            return False
        return self._first_names.link(entry, source)

    def is_own_of_utility_vm(self, node: Node) -> bool:
        """Returns whether one of the layers has an entry for a name of the utility VM; the others are a parent's."""
        if node.row.origin != Origin.CLONED:
            return node.row.origin == Origin.OWN
        for layer in self._layers[node.layer + 1 : self._count]:
            row = layer.lookup(node.path)
            if row is not None and row.origin != Origin.CLONED:
                return row.origin == Origin.OWN
        return False
