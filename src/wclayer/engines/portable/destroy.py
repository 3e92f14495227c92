"""`destroy_layer`: removes a layer and its folder."""

from __future__ import annotations

import os
from pathlib import Path

from wclayer.errors import NotALayerError, PathNotFoundError, from_os_error
from wclayer.layers.directory import is_layer
from wclayer.layers.staging import remove_leftovers, remove_whole

_OPERATION = "destroy layer"


def destroy_layer(path: str | os.PathLike[str]) -> None:
    """Removes the layer at `path`, whole: an interruption leaves nothing under its name.

    What an interrupted call left beside it is removed by the next call of any function that creates or removes layers
    in the same folder.

    Raises:
        PathNotFoundError: there is nothing at `path`.
        NotALayerError: the folder is not a layer; it is not touched.
        LayerBusyError: another process is removing it.

    Reference: `DestroyLayer` of vmcompute.dll.
    """
    place = Path(os.path.abspath(path))
    try:
        if not os.path.lexists(place):
            if place.parent.is_dir():
                remove_leftovers(place.parent)
            raise PathNotFoundError(_OPERATION, place, "the layer does not exist")
        if place.is_symlink() or not place.is_dir() or not is_layer(place):
            raise NotALayerError(_OPERATION, place, "not a layer: it has neither layer.db, nor Files, nor sandbox.vhdx")
        remove_whole(_OPERATION, place)
    except OSError as error:
        raise from_os_error(_OPERATION, place, error) from error
