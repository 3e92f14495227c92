"""Writes the records of a layer whose files are in their place already."""

from __future__ import annotations

import os
from pathlib import Path

from wclayer.layers.directory.host_files import FilesInPlace, HostFiles
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.staging import Stage, StagedDatabase


class InPlaceLayerWriter(DirectoryLayerWriter):
    """A `LayerWriter` that makes an existing folder a base layer: it records what it is given, and changes no file.

    The entries must come from that folder (see `FolderLayerReader`). Until `close` returns, the folder is no layer.
    """

    operation = "make layer in place"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)

    def _stage(self, place: Path) -> Stage:
        return StagedDatabase(place)

    def _host_files(self) -> HostFiles:
        return FilesInPlace(self._staged.path, self._staged.lock)
