"""`find_parents`: the parents of a layer in a store of images that was moved since the layer recorded them."""

from __future__ import annotations

import re
from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import during
from wclayer.images.opening import open_image
from wclayer.images.store import ImageStore
from wclayer.layers.directory import open_layer

_DIGITS = re.compile(r"[0-9a-f]{64}\Z")


def find_parents(path: StrPath, store: ImageStore) -> list[Path]:
    """Returns the layers of a store that a layer records as its parents, by their chainIDs.

    The store then keeps their image by its digest.

    Args:
        path: the layer: a scratch, or a finished layer.
        store: the store, where it is now.

    Returns:
        The paths of the parents in the store, nearest first. An empty list if the layer finds all of its parents, or
        records other layers than those of a store, or if the store has no image of them.
    """
    with during("relink layer", path), open_layer(path) as layer:
        recorded = layer.parents()
    if all(parent.is_dir() for parent in recorded) or not all(_DIGITS.match(parent.name) for parent in recorded):
        return []
    chain = tuple(f"sha256:{parent.name}" for parent in reversed(recorded))
    for image in store.images():
        if image.chain_ids[: len(chain)] == chain:
            with open_image(image.manifest.digest, store, keep=True) as opened:
                return list(opened.layers[-len(chain) :])
    return []
