"""`layer_exists`."""

from __future__ import annotations

from wclayer._types import StrPath
from wclayer.errors import during
from wclayer.layers.directory import is_layer


@during("layer exists")
def layer_exists(path: StrPath) -> bool:
    """Whether there is a layer at `path`: a folder with a `layer.db`, a `Files` folder or a `sandbox.vhdx`.

    Reference: `LayerExists` of vmcompute.dll.
    """
    return is_layer(path)
