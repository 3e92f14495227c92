"""`list_store`: the images of the store."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.fleet.model import Listed
from wclayer.fleet.sources.filters import Filters
from wclayer.fleet.sources.locations import listed_place
from wclayer.images.location import Location, Transport
from wclayer.images.store import ImageStore


def list_store(store: ImageStore, filters: Filters) -> Iterator[Listed]:
    """Yields the images of a store by their names.

    Args:
        store: the store.
        filters: which of its images are meant.

    Raises:
        CorruptLayerError: the database of the names is damaged.
    """
    for name in store.names():
        item = listed_place(Location(Transport.STORE, "", name))
        if filters.has(item.repository, item.tag):
            yield item
