"""`import_layer`, `import_layer_from_tar`, `new_layer_writer`: the import of layers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import BinaryIO

from wclayer._types import Chain, StrPath
from wclayer.engines.portable.base_processing import ProcessingLayerWriter, ReplacingLayerWriter
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
    return import_tar(
        stream, path, parents, over_scratch=True, source=source, limits=limits, progress=progress, cancelled=cancelled
    )


def import_tar(
    stream: BinaryIO,
    path: StrPath,
    parents: Chain = (),
    *,
    accept: Callable[[ImportResult], None] | None = None,
    over_scratch: bool = False,
    over_damaged: bool = False,
    known_digest: str | None = None,
    abandon: Callable[[], None] | None = None,
    source: StrPath = "<stream>",
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> ImportResult:
    """Makes a layer directory from a tar. The caller is the boundary: errors name no operation.

    Args:
        accept: called with the result when all of the stream was read, and before the layer has its name. If it raises
            an error, there is no layer.
        over_scratch: replace a scratch at `path` that has the same parents.
        over_damaged: replace a damaged layer with the same contents at `path`, whose disks stay if they are sound.
        known_digest: the digest of the stream, if the stream itself verifies it (see `HashedInput`).
        abandon: called if the layer is not made, before the stream is left: it ends a read in another thread that may
            wait for ever.
        stream, path, parents, source, limits, progress, cancelled: see `Engine.import_layer_from_tar`.
    """
    kind = ReplacingLayerWriter if over_damaged else ProcessingLayerWriter
    with (
        kind(path, parents, limits=limits, over_scratch=over_scratch, source=source) as writer,
        TarLayerReader(
            stream, source, names=writer.names, keep_header_deltas=True, known_digest=known_digest
        ) as reader,
        ExitStack() as failed,
    ):
        if abandon is not None:
            failed.callback(abandon)
        done = copy_layer(reader, writer, progress=progress, cancelled=cancelled)
        reader.finish()
        result = ImportResult.of(reader, done.entries)
        if accept is not None:
            accept(result)
        for key in ("diff_id", "digest", "compression", "size", "stored_size"):
            writer.record(key, getattr(result, key))
        if reader.trailer_delta:
            writer.record(TRAILER_FORM, reader.trailer_delta)
        failed.pop_all()
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
