"""The setting that makes results safe on the disk before they appear under their names (the default)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_wanted: ContextVar[bool] = ContextVar("wclayer_sync", default=True)


def is_wanted() -> bool:
    """Returns whether a result that is reported as done must survive a power cut."""
    return _is_wanted.get()


@contextmanager
def unsynced() -> Iterator[None]:
    """Lets functions of this thread return without waiting for the disk, inside the context.

    If a process dies, results still appear as a whole or not at all. After a power cut within the next seconds, a
    result may exist under its name with contents missing; `wclayer check` then reports this.

    Returns:
        A context manager. A `LayerView` or a writer that is closed inside it does not wait either. Explicit requests of
        an application (`sync` of an open file, fsync in a mount) are still carried out.
    """
    token = _is_wanted.set(False)
    try:
        yield
    finally:
        _is_wanted.reset(token)
