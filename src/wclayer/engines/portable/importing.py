"""`import_layer`, `import_layer_from_tar`, `new_layer_writer`: the import of layers."""

from __future__ import annotations

from typing import BinaryIO

from wclayer._types import Chain, StrPath
from wclayer.engines.portable.base_processing import ProcessingLayerWriter
from wclayer.engines.results import ImportResult
from wclayer.errors import during
from wclayer.layers.backup_api import BackupLayerWriter
from wclayer.layers.copy import copy_layer
from wclayer.layers.directory.database import TRAILER_FORM
from wclayer.layers.progress import Cancelled, ProgressCallback
from wclayer.layers.tar import TarLayerReader
from wclayer.layers.transport import TransportLayerReader
from wclayer.model import Limits


@during("import layer")
def import_layer_from_tar(
    stream: BinaryIO,
    path: StrPath,
    parents: Chain = (),
    *,
    source: StrPath = "<stream>",
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> ImportResult:
    """Makes a layer directory from a tar, or commits a scratch. It keeps the data that an identical export needs."""
    with (
        ProcessingLayerWriter(path, parents, limits=limits, over_scratch=True, source=source) as writer,
        TarLayerReader(stream, source, names=writer.names, keep_header_deltas=True) as reader,
    ):
        done = copy_layer(reader, writer, progress=progress, cancelled=cancelled)
        reader.finish()
        result = ImportResult.of(reader, done.entries)
        for key in ("diff_id", "digest", "compression", "size", "stored_size"):
            writer.record(key, getattr(result, key))
        if reader.trailer_delta:
            writer.record(TRAILER_FORM, reader.trailer_delta)
    return result


@during("import layer")
def import_layer(
    path: StrPath,
    folder: StrPath,
    parents: Chain = (),
    *,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> None:
    """Makes a layer directory from a transport folder."""
    with (
        TransportLayerReader(folder, is_base=not parents) as reader,
        ProcessingLayerWriter(path, parents) as writer,
    ):
        copy_layer(reader, writer, progress=progress, cancelled=cancelled)


@during("import layer")
def new_layer_writer(path: StrPath, parents: Chain = ()) -> BackupLayerWriter:
    """Returns a writer of a layer directory that also makes the disks of a base layer."""
    return BackupLayerWriter(ProcessingLayerWriter(path, parents))
