"""Reads the merged tree for programs that know nothing of layers: damage to a hive is told, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wclayer._types import StrPath
from wclayer.errors import InvalidDataError, LimitExceededError, boundary
from wclayer.formats.regf.recovery import is_dirty
from wclayer.layers.directory.hives import effective_hive
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.hives import LAYER_HIVES, LayerHive
from wclayer.model import Entry
from wclayer.view.flatten import MergedLayerReader
from wclayer.view.merged import MergedTree, Node
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.names import path_key

LeftOut = Callable[[str, str], None]
"""Is called with the path of an entry or stream that a tar cannot hold as it is, and with what became of it."""
_HIVES = {path_key(hive.config): hive for hive in LAYER_HIVES}


@boundary
class RootfsReader(MergedLayerReader):
    """A `MergedLayerReader` that goes on after a damaged hive, and recovers the base's hives from their logs.

    Args:
        layers: the layer directories, nearest first.
        left_out: called for each hive whose changes are not in what is read.
    """

    operation = "read merged layers"

    def __init__(self, layers: Sequence[StrPath], left_out: LeftOut) -> None:
        super().__init__(layers)
        self._left_out = left_out
        self._without_file = {hive for hive in LAYER_HIVES if self._is_changed(hive)}

    @property
    def tree(self) -> MergedTree:
        """The tree that is read."""
        return self._merged

    def _advance(self) -> Entry | None:
        entry = super()._advance()
        if entry is None:
            for hive in sorted(self._without_file, key=lambda hive: hive.stem):
                self._left_out(hive.delta, "these changes of the registry are left out: the base has no hive for them")
            self._without_file.clear()
        return entry

    def _effective_hive(self, node: Node) -> bytes | None:
        hive = _HIVES.get(path_key(node.path))
        if hive is None or node.is_directory:
            return None
        self._without_file.discard(hive)
        try:
            if self._is_changed(hive) or _needs_recovery(self._merged.layers[-1], hive):
                return effective_hive(self._merged.layers, hive)
        except (InvalidDataError, LimitExceededError) as error:
            self._left_out(hive.config, f"changes of the registry are left out: {error.detail}")
        return None

    def _is_changed(self, hive: LayerHive) -> bool:
        return any(layer.lookup(hive.delta) is not None for layer in self._merged.layers[:-1])


def _needs_recovery(base: LayerDirectory, hive: LayerHive) -> bool:
    row = base.lookup(hive.config)
    if row is None or row.attributes & DIRECTORY or not row.size:
        return False
    return is_dirty(base.host.map(base.host_path(row)))
