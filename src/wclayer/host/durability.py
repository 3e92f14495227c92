"""The choice whether results are made safe on the disk before they appear under their names (the default)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_wanted: ContextVar[bool] = ContextVar("wclayer_sync", default=True)


def is_wanted() -> bool:
    """Returns whether what is reported as done must survive a power cut."""
    return _is_wanted.get()


@contextmanager
def unsynced() -> Iterator[None]:
    """In its context, functions of this thread return without waiting for the disk.

    Results still appear whole or not at all when a process dies. After a power cut within the next seconds, a result
    may stand under its name with contents missing; `wclayer check` then tells.

    Returns:
        A context manager. A `LayerView` or a writer that is closed inside it does not wait either; what an application
        asks for itself (`sync` of an open file, fsync in a mount) is still done.
    """
    token = _is_wanted.set(False)
    try:
        yield
    finally:
        _is_wanted.reset(token)
