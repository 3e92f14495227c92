"""Writes the records of a layer whose files are in their place already."""

from __future__ import annotations

import os
from pathlib import Path

from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.host import HostRoot
from wclayer.layers.staging import Stage, StagedDatabase


class InPlaceLayerWriter(DirectoryLayerWriter):
    """A `LayerWriter` that makes an existing folder a base layer: it records what it is given, and touches no file.

    The entries must come from that folder (see `FolderLayerReader`). Until `close` returns, the folder is no layer.
    """

    operation = "make layer in place"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)

    def _stage(self, place: Path) -> Stage:
        return StagedDatabase(place)

    def _may_pool(self) -> bool:
        return False

    def _make_directory(self, host_path: bytes) -> None:
        if not os.path.isdir(os.path.join(os.fsencode(self._staged.path), host_path)):
            super()._make_directory(host_path)

    def _make_file(self, host_path: bytes) -> None:
        pass

    def _store(self, chunk: bytes | memoryview) -> None:
        pass

    def _link_or_copy(self, root: HostRoot, source: bytes, target: bytes) -> None:
        pass

    def _set_directory_times(self) -> None:
        pass
