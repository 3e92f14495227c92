"""Where the references of a scan come from: a registry, a file, a layout, the store."""

from wclayer.fleet.sources.filters import Filters
from wclayer.fleet.sources.listing import list_images

__all__ = ["Filters", "list_images"]
