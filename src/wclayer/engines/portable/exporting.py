"""`export_layer`, `export_layer_to_tar`, `new_layer_reader`: the export of layers."""

from __future__ import annotations

from typing import BinaryIO

from wclayer._types import Chain, StrPath
from wclayer.engines.results import ExportResult
from wclayer.errors import during
from wclayer.formats.compression import Compression
from wclayer.layers.backup_api import BackupLayerReader
from wclayer.layers.copy import copy_layer
from wclayer.layers.directory.chain import check_chain
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.names import TRUSTED
from wclayer.layers.progress import Cancelled, ProgressCallback
from wclayer.layers.tar import TarLayerWriter
from wclayer.layers.transport import TransportLayerWriter


@during("export layer")
def export_layer_to_tar(
    stream: BinaryIO,
    path: StrPath,
    parents: Chain = (),
    *,
    target: StrPath = "<stream>",
    compression: Compression | str = Compression.NONE,
    level: int | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> ExportResult:
    """Writes the layer as the tar that it was imported from, or as a canonical tar."""
    with DirectoryLayerReader(path) as reader:
        check_chain(reader.layer, parents)
        writer = TarLayerWriter(
            stream,
            target,
            compression=Compression(compression),
            level=level,
            trailer_delta=reader.trailer_delta,
            names=TRUSTED,
        )
        with writer:
            done = copy_layer(reader, writer, progress=progress, cancelled=cancelled)
        unchanged = writer.diff_id == reader.layer.record("diff_id")
    return ExportResult.of(writer, done.entries, unchanged=unchanged)


@during("export layer")
def export_layer(
    path: StrPath,
    folder: StrPath,
    parents: Chain = (),
    *,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> None:
    """Writes the layer into a temporary transport folder, which is then renamed to its final name."""
    with DirectoryLayerReader(path) as reader:
        check_chain(reader.layer, parents)
        with TransportLayerWriter(folder) as writer:
            copy_layer(reader, writer, progress=progress, cancelled=cancelled)


@during("read layer")
def new_layer_reader(path: StrPath, parents: Chain = ()) -> BackupLayerReader:
    """Returns a reader of a layer directory, with the entries in their original order."""
    reader = DirectoryLayerReader(path)
    try:
        check_chain(reader.layer, parents)
    except BaseException:
        reader.close()
        raise
    return BackupLayerReader(reader)
