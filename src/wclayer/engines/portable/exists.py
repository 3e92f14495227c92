"""`layer_exists`."""

from __future__ import annotations

import os

from wclayer.layers.directory import is_layer


def layer_exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is a layer at `path`: a folder with a `layer.db`, a `Files` folder or a `sandbox.vhdx`.

    Reference: `LayerExists` of vmcompute.dll.
    """
    return is_layer(path)
