"""`import_layer`, `import_layer_from_tar`, `new_layer_writer`: layers come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

from wclayer._types import StrPath
from wclayer.engines.portable.base_processing import ProcessingLayerWriter
from wclayer.engines.results import ImportResult
from wclayer.errors import during
from wclayer.layers.copy import ProgressCallback, copy_layer
from wclayer.layers.directory import DirectoryLayerWriter
from wclayer.layers.directory.database import TRAILER_FORM
from wclayer.layers.tar import TarLayerReader
from wclayer.layers.transport import TransportLayerReader
from wclayer.model import Limits


@during("import layer")
def import_layer_from_tar(
    stream: BinaryIO,
    path: StrPath,
    parents: Sequence[StrPath] = (),
    *,
    source: StrPath = "<stream>",
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ImportResult:
    """Makes the layer directory `path` from an OCI layer tar: plain, gzip or zstd.

    The layer remembers what it needs to be exported with the same bytes. Nothing is at `path` until all of it is.

    As with hcsshim, `path` may be a scratch on the same parents, whose own export the stream may be: it is committed.
    The finished layer takes its place in one step, when it is whole; the scratch, its disk too, is gone then. After a
    failure the scratch is as it was.

    Args:
        stream: the tar; read to its end, not closed.
        path: where the layer will be: nothing, an empty folder, or a scratch on `parents`, in a folder that exists.
        parents: the parent chain, nearest first, or only the nearest one; none for a base layer.
        source: what messages call the stream.
        limits: how much is accepted.
        progress, cancelled: see `copy_layer`.

    Raises:
        InvalidDataError: the stream is not a layer; the message names the member and the offset.
        LimitExceededError: it is larger than `limits` allow.
        AlreadyExistsError, PathNotFoundError, NotALayerError, InvalidParameterError: see `new_layer_writer`.

    Reference: hcsshim, `ociwclayer.ImportLayerFromTar`.
    """
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
    parents: Sequence[StrPath] = (),
    *,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Makes the layer directory `path` from the transport folder `folder`.

    Args:
        path: where the layer will be: nothing, or an empty folder, in a folder that exists.
        folder: the transport folder; it is left as it is.
        parents: the parent chain, nearest first, or only the nearest one; none for a base layer.
        progress, cancelled: see `copy_layer`.

    Raises:
        NotALayerError: `folder` is not a transport folder.
        InvalidDataError: a file in it is not of its form.
        AlreadyExistsError, PathNotFoundError, NotALayerError, InvalidParameterError: see `new_layer_writer`.

    Reference: `ImportLayer` of vmcompute.dll.
    """
    with (
        TransportLayerReader(folder, is_base=not parents) as reader,
        ProcessingLayerWriter(path, parents) as writer,
    ):
        copy_layer(reader, writer, progress=progress, cancelled=cancelled)


@during("import layer")
def new_layer_writer(path: StrPath, parents: Sequence[StrPath] = ()) -> DirectoryLayerWriter:
    """A writer that makes the layer directory `path`; the layer is there when its `close` returns.

    Args:
        path: where the layer will be: nothing, or an empty folder, in a folder that exists.
        parents: the parent chain, nearest first, or only the nearest one; none for a base layer.

    Raises:
        AlreadyExistsError: `path` is taken.
        PathNotFoundError: the folder of `path`, or a parent, does not exist.
        NotALayerError: a parent is not a layer directory.
        InvalidParameterError: the chain is in the wrong order.

    Reference: hcsshim, `NewLayerWriter`.
    """
    return ProcessingLayerWriter(path, parents)
