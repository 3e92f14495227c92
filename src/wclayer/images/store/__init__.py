"""The store: a folder of images, which any number of processes may use at the same time (docs/formats/store.md)."""

from wclayer.images.store.folder import default_store
from wclayer.images.store.image_store import ImageStore
from wclayer.images.store.ingest import Ingest
from wclayer.images.store.listing import StoredImage
from wclayer.images.store.pruning import PruneResult
from wclayer.images.store.transports import StoreSource, StoreTarget

__all__ = ["ImageStore", "Ingest", "PruneResult", "StoreSource", "StoreTarget", "StoredImage", "default_store"]
