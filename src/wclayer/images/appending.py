"""`appending`: of all processes, one at a time reads an index, adds to it, and gives the result the index's name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from wclayer.images.layout_names import BLOBS
from wclayer.images.location import Location, Transport
from wclayer.images.store import ImageStore
from wclayer.layers.atomic import wait_for_place

_PATIENCE = 600.0
"""For how many seconds another process may add to an index: it may copy layers meanwhile."""


@contextmanager
def appending(place: Location, store: ImageStore) -> Iterator[None]:
    """Keeps other processes from adding to an index inside the context, and waits for one that does.

    What they read would be without what this one adds, and would take its name. A registry has no such lock: there, the
    last one wins. The file of an archive is not changed.

    Args:
        place: where the index is.
        store: the store of `store:`.

    Raises:
        LayerBusyError: another process has been adding to an index there for minutes.
    """
    path = _lock_of(place, store)
    if path is None or not os.path.lexists(path):
        # Whoever reads the index says that it is not there.
        yield
        return
    with closing(
        wait_for_place(path, patience=_PATIENCE, busy="another process is adding to an index here; try again")
    ):
        yield


def _lock_of(place: Location, store: ImageStore) -> Path | None:
    """Returns the folder whose lock stands for the index, and which nothing else locks; None where there is none."""
    if place.transport is Transport.STORE:
        return store.path / BLOBS
    return Path(place.path) / BLOBS / "sha256" if place.transport is Transport.LAYOUT else None
