"""`create_layer`: a new, empty, read-only layer."""

from __future__ import annotations

from collections.abc import Sequence

from wclayer._types import StrPath
from wclayer.errors import during
from wclayer.layers.directory import DirectoryLayerWriter


@during("create layer")
def create_layer(path: StrPath, parent: StrPath | None = None, *, parents: Sequence[StrPath] = ()) -> None:
    """Creates a new, empty, read-only layer at `path`, on the parent `parent` (and that one's own parents).

    Args:
        path: where the layer will be: nothing, or an empty folder, in a folder that exists.
        parent: the nearest parent; None for a base layer.
        parents: the whole chain, nearest first, instead of `parent`.

    Raises:
        AlreadyExistsError: `path` is taken.
        PathNotFoundError: the folder of `path`, or a parent, does not exist.
        NotALayerError: a parent is not a layer directory.

    Reference: `CreateLayer` of vmcompute.dll.
    """
    chain = [parent] if parent is not None else list(parents)
    with DirectoryLayerWriter(path, chain):
        pass
