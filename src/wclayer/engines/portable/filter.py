"""The portable engine's side of `FilterLayerReader` and `FilterLayerWriter`."""

from __future__ import annotations

from wclayer._types import Chain, StrPath
from wclayer.engines.portable.exporting import new_layer_reader
from wclayer.engines.portable.importing import new_layer_writer
from wclayer.errors import during
from wclayer.layers.backup_api import BackupLayerWriter
from wclayer.win32.attributes import FileBasicInfo


class PortableExport:
    """Yields a layer entry by entry, as `FilterLayerReader` does."""

    def __init__(self, path: StrPath, parents: Chain) -> None:
        self._reader = new_layer_reader(path, parents)

    def next(self) -> tuple[str, int, FileBasicInfo | None] | None:
        entry = self._reader.next()
        return None if entry is None else (entry.name.replace("/", "\\"), entry.size, entry.info)

    def read(self, size: int = -1, /) -> bytes:
        return self._reader.read(size)

    def close(self) -> None:
        self._reader.close()


@during("read layer")
def open_export(path: StrPath, parents: Chain = ()) -> PortableExport:
    """Returns an export of the layer for a `FilterLayerReader`."""
    return PortableExport(path, parents)


@during("write layer")
def open_import(path: StrPath, parents: Chain = ()) -> BackupLayerWriter:
    """Returns a writer of the layer for a `FilterLayerWriter`."""
    return new_layer_writer(path, parents)
