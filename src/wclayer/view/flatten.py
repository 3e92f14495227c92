"""Reads the merged tree of a chain as a sequence of entries: a whole container as one layer without parents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wclayer._types import StrPath
from wclayer.errors import boundary
from wclayer.formats.threads import Workers
from wclayer.layers.base import FirstNames, LayerReaderBase
from wclayer.layers.budget import Budget
from wclayer.layers.directory.hives import effective_hive
from wclayer.layers.hives import LAYER_HIVES
from wclayer.model import DataStream, Entry, limits_in_use
from wclayer.view.merged import MergedTree, Node
from wclayer.win32.names import path_key

_HIVES = {path_key(hive.config): hive for hive in LAYER_HIVES}


@boundary
class MergedLayerReader(LayerReaderBase):
    """A `LayerReader` over the merged `Files` of several layers.

    Deleted names are left out, an entry of a nearer layer replaces those of the other layers, and the hives in
    `Windows/System32/config` are the effective ones. Files that are hard links of each other in one layer stay hard
    links.

    Args:
        layers: the layer directories, nearest first.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: a layer cannot be opened.
    """

    operation = "read merged layers"

    def __init__(self, layers: Sequence[StrPath]) -> None:
        self._merged = MergedTree(layers)
        super().__init__(str(self._merged.layers[0].path))
        budget = Budget(self.source, limits_in_use())
        self._hasher = Workers(1, "wclayer-verify")
        for layer in self._merged.layers:
            layer.budget, layer.hasher = budget, self._hasher
        try:
            top = self._merged.lookup("Files")
        except BaseException:
            self._merged.close()
            raise
        self._nodes: Iterator[Node] = iter(()) if top is None else self._all(top)
        self._node: Node | None = None
        self._hive: bytes | None = None
        self._first_names = FirstNames()

    def lend_files(self) -> None:
        """Has the reader lend the files of contents, so that a writer can have them copied (`StoredStream`)."""
        for layer in self._merged.layers:
            layer.lend_files()

    def _all(self, top: Node) -> Iterator[Node]:
        yield top
        yield from self._merged.walk(top)

    def _advance(self) -> Entry | None:
        node = self._node = next(self._nodes, None)
        self._hive = None
        if node is None:
            return None
        entry = self._merged.entry(node)
        entry.name, entry.link_target, entry.header_delta = node.path, None, None
        row = node.row
        layer = self._merged.layers[node.layer]
        has_names = not node.is_directory and (row.link is not None or layer.link_count(row) > 1)
        if has_names and self._first_names.link(entry, (node.layer, row.link or row.id)):
            return entry
        self._hive = self._effective_hive(node)
        if self._hive is not None:
            entry.size = len(self._hive)
        return entry

    def _effective_hive(self, node: Node) -> bytes | None:
        """Returns the effective hive for the file, or None if no layer above the base has changed it."""
        hive = _HIVES.get(path_key(node.path))
        layers = self._merged.layers
        if hive is None or not any(layer.lookup(hive.delta) is not None for layer in layers[:-1]):
            return None
        return effective_hive(layers, hive)

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        node = self._node
        assert node is not None
        if entry.link_target is not None:
            return iter(())
        if self._hive is None:
            return self._merged.streams(node)
        rest = (stream for stream in self._merged.streams(node) if stream.name)
        return iter((DataStream("", len(self._hive), (self._hive,)), *rest))

    def _release(self) -> None:
        self._hasher.close()
        self._merged.close()
