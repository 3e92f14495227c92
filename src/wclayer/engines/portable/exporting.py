"""`export_layer`, `export_layer_to_tar`, `new_layer_reader`: layers go out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

from wclayer._types import StrPath
from wclayer.engines.results import ExportResult
from wclayer.errors import during
from wclayer.formats.compression import Compression
from wclayer.layers.copy import ProgressCallback, copy_layer
from wclayer.layers.directory import DirectoryLayerReader
from wclayer.layers.directory.chain import check_chain
from wclayer.layers.names import TRUSTED
from wclayer.layers.tar import TarLayerWriter
from wclayer.layers.transport import TransportLayerWriter


@during("export layer")
def export_layer_to_tar(
    stream: BinaryIO,
    path: StrPath,
    parents: Sequence[StrPath] = (),
    *,
    target: StrPath = "<stream>",
    compression: Compression | str = Compression.NONE,
    level: int | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ExportResult:
    """Writes the layer at `path` to `stream` as an OCI layer tar.

    A layer that was imported from a tar gives the same bytes (before compression); any other layer gives the canonical
    form, the same bytes for the same content.

    Args:
        stream: written to, not closed; after a failure it holds a part.
        path: the layer directory.
        parents: the parent chain; if given, it must be the layer's own.
        target: what messages call the stream.
        compression: "none", "gzip" or "zstd".
        level: of the compression; by default 6 for gzip and 3 for zstd.
        progress, cancelled: see `copy_layer`.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
        InvalidParameterError: `parents` are not the layer's.
        CorruptLayerError: its contents do not agree with its records.

    Reference: hcsshim, `ociwclayer.ExportLayerToTar`.
    """
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
    parents: Sequence[StrPath] = (),
    *,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Writes the layer at `path` as a transport folder, which appears at `folder` when it is whole.

    Args:
        path: the layer directory.
        folder: nothing, or an empty folder, in a folder that exists.
        parents: the parent chain; if given, it must be the layer's own.
        progress, cancelled: see `copy_layer`.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
        AlreadyExistsError: `folder` is taken.
        NotSupportedError: the layer holds what the form cannot (see docs/formats/transport-folder.md).

    Reference: `ExportLayer` of vmcompute.dll.
    """
    with DirectoryLayerReader(path) as reader:
        check_chain(reader.layer, parents)
        with TransportLayerWriter(folder) as writer:
            copy_layer(reader, writer, progress=progress, cancelled=cancelled)


@during("read layer")
def new_layer_reader(path: StrPath, parents: Sequence[StrPath] = ()) -> DirectoryLayerReader:
    """A reader of the layer at `path`: its entries and tombstones in their original order.

    Args:
        path: the layer directory.
        parents: the parent chain; if given, it must be the layer's own.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
        InvalidParameterError: `parents` are not the layer's.

    Reference: hcsshim, `NewLayerReader`.
    """
    reader = DirectoryLayerReader(path)
    try:
        check_chain(reader.layer, parents)
    except BaseException:
        reader.close()
        raise
    return reader
