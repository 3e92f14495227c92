"""Opens a layer directory of either kind for reading."""

from __future__ import annotations

from wclayer._types import StrPath
from wclayer.layers.directory.database import open_read_only
from wclayer.layers.directory.finished import FinishedLayer
from wclayer.layers.directory.folder import open_place
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.schema import LayerKind
from wclayer.layers.directory.scratch_layer import ScratchLayer


def open_layer(path: StrPath) -> LayerDirectory:
    """Opens a layer directory for reading.

    Returns:
        A `FinishedLayer` or a `ScratchLayer`, which is a context manager.

    Raises:
        PathNotFoundError: the folder does not exist.
        NotALayerError: it is not a layer directory with a `layer.db`.
        CorruptLayerError: its `layer.db` is damaged.
        NotSupportedError: a newer wclayer made it.
    """
    opened = open_place(path, open_read_only)
    return ScratchLayer(opened) if opened.database.kind is LayerKind.SCRATCH else FinishedLayer(opened)
