"""The contents of the tar of a layer without parents that belong on a volume of the whole container."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from wclayer._types import StrPath
from wclayer.errors import NotSupportedError
from wclayer.layers.hives import LAYER_HIVES
from wclayer.layers.inputs import is_standard_input
from wclayer.model import LayerItem
from wclayer.win32.names import path_key

_FILES = "FILES"
_DELTAS = frozenset(path_key(hive.delta) for hive in LAYER_HIVES)


def is_tar(path: StrPath) -> bool:
    """Returns whether a path leads to something that may be a tar: a file, a FIFO, the standard input, not a folder."""
    if is_standard_input(path):
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)


def base_contents(items: Iterable[LayerItem], source: str) -> Iterator[LayerItem]:
    """Yields the items in `Files`. The hives that layers are built on, and the utility VM, are left out.

    Args:
        items: those of a whole layer.
        source: its path, for messages.

    Raises:
        NotSupportedError: the layer has parents, whose contents and registry its own change.
    """
    for item in items:
        key = path_key(item.entry.name)
        if item.entry.info is None or (key in _DELTAS and item.entry.size):
            raise NotSupportedError(
                source,
                f"entry {item.entry.name!r} changes what parents have: import the layer with its parents, and convert "
                "that; `alone` takes a layer without tombstones as it is",
            )
        if key == _FILES or key.startswith(_FILES + "/"):
            yield item
