"""Opens a layer directory of either kind for reading."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path

from wclayer._types import StrPath
from wclayer.layers.directory.database import open_read_only
from wclayer.layers.directory.finished import FinishedLayer
from wclayer.layers.directory.folder import OpenedFolder, open_place
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
    opened = open_layer_folder(path)
    return ScratchLayer(opened) if opened.database.kind is LayerKind.SCRATCH else FinishedLayer(opened)


def open_layer_folder(path: StrPath) -> OpenedFolder:
    """Opens the folder and the database of a layer directory for reading, as `open_layer` does."""
    kept = _kept.get()
    return open_place(path, open_read_only) if kept is None else kept.open(path)


@contextmanager
def layers_stay_open() -> Iterator[None]:
    """Inside the context, a finished layer that this thread opens stays open for the next one that opens it.

    For work in many steps on one chain, each of which would open every layer of the chain anew. A layer that was
    replaced in the meantime is opened anew; scratches are, too.
    """
    with ExitStack() as stack:
        token = _kept.set(_KeptLayers(stack))
        try:
            yield
        finally:
            _kept.reset(token)


class _KeptLayers:
    """The finished layers that stay open until a stack is closed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._known: dict[Path, OpenedFolder] = {}

    def open(self, path: StrPath) -> OpenedFolder:
        place = Path(os.path.abspath(path))
        known = self._known.get(place)
        if known is not None and known.is_unchanged:
            return known
        opened = open_place(place, open_read_only)
        if opened.database.kind is LayerKind.FINISHED:
            # One that was replaced stays open, too: a layer may still use it.
            self._stack.callback(opened.close)
            opened = self._known[place] = opened._replace(is_kept=True)
        return opened


_kept: ContextVar[_KeptLayers | None] = ContextVar("wclayer_kept_layers", default=None)
