"""Which files of a layer are hives of its registry, or logs of one: their facts are the files themselves."""

from __future__ import annotations

from wclayer.layers.hives import LAYER_HIVES, LOG_SUFFIXES
from wclayer.win32.names import path_key

MAX_LOG = 1 << 27
"""The largest log that is read when a hive is opened (`open_hive`)."""
_HIVES = frozenset(path_key(path) for hive in LAYER_HIVES for path in (hive.config, hive.delta, hive.base))
_LOGS = frozenset(hive + suffix for hive in _HIVES for suffix in LOG_SUFFIXES)


def is_hive(key: str) -> bool:
    """Returns whether a path key is that of a hive: a whole one, or one of changes."""
    return key in _HIVES


def is_log(key: str) -> bool:
    """Returns whether a path key is that of a log of a hive."""
    return key in _LOGS
