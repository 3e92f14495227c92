"""`list_layout`: the images of an OCI image layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from wclayer.fleet.model import Listed
from wclayer.fleet.sources.filters import Filters
from wclayer.fleet.sources.locations import listed_place
from wclayer.images.layout import LayoutSource
from wclayer.images.location import Location

_LONGEST_NAME = 1024


def list_layout(place: Location, filters: Filters) -> Iterator[Listed]:
    """Yields the images of a layout, by each of their names; one without a name by its digest.

    Args:
        place: the folder, or the tar of one.
        filters: which of its images are meant.

    Raises:
        PathNotFoundError, NotALayerError, InvalidDataError, …: the layout cannot be read.
    """
    with LayoutSource(place.path) as source:
        images = source.images()
    for image in images:
        names = [name for name in image.names if len(name) <= _LONGEST_NAME and name.isprintable()]
        for name in names or [image.descriptor.digest]:
            item = listed_place(replace(place, name=name))
            if filters.has(item.repository, item.tag):
                yield item
