"""`import_layer_from_tar` and `export_layer_to_tar`, with Windows reading and writing the layer.

Reference: hcsshim, `ociwclayer`.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import BinaryIO

from wclayer._types import Chain, StrPath
from wclayer.engines.hcs.functions import activate_layer, deactivate_layer, prepare_layer, unprepare_layer
from wclayer.engines.hcs.reader import new_layer_reader
from wclayer.engines.hcs.writer import new_layer_writer
from wclayer.engines.results import ExportResult, ImportResult
from wclayer.errors import during
from wclayer.formats.compression import Compression
from wclayer.layers.copy import copy_layer
from wclayer.layers.progress import Cancelled, ProgressCallback
from wclayer.layers.tar import TarLayerReader, TarLayerWriter
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
    """Makes the layer `path` from an OCI layer tar with Windows' functions. A failure leaves nothing of it.

    Raises:
        InvalidDataError, LimitExceededError: the stream is not a layer, or too large.
        AlreadyExistsError, PathNotFoundError, AccessDeniedError: see `new_layer_writer`.
    """
    with (
        new_layer_writer(path, parents) as writer,
        TarLayerReader(
            stream,
            source,
            is_base=not writer.chain,
            find_in_parents=writer.find_in_parents if writer.chain else None,
            limits=limits,
        ) as reader,
    ):
        done = copy_layer(reader, writer, progress=progress, cancelled=cancelled)
        reader.finish()
        return ImportResult.of(reader, done.entries)


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
    """Writes the layer at `path` to `stream` as a canonical OCI layer tar.

    A child is activated, prepared and unprepared first, which initializes it, and deactivated at the end.

    Raises:
        LayerError: see `new_layer_reader` and `prepare_layer`.
    """
    with ExitStack() as stack:
        if parents:
            activate_layer(path)
            stack.callback(deactivate_layer, path)
            prepare_layer(path, parents)
            unprepare_layer(path)
        reader = stack.enter_context(new_layer_reader(path, parents))
        writer = stack.enter_context(TarLayerWriter(stream, target, compression=Compression(compression), level=level))
        done = copy_layer(reader, writer, progress=progress, cancelled=cancelled)
    return ExportResult.of(writer, done.entries, unchanged=False)
