"""What the tests of builds share: a store with a base image of two layers, unpacked."""

from __future__ import annotations

from pathlib import Path

from tests.images import samples, stores
from wclayer.images.descriptor import Descriptor
from wclayer.images.store import ImageStore

BASE = "base:1"


def store_with_base(path: Path, image: samples.Image | None = None) -> tuple[ImageStore, samples.Image, Descriptor]:
    """Returns a store with a base image under the name `BASE`, the image as it was put in, and its descriptor."""
    store, image = ImageStore(path), image or samples.servercore()
    descriptor = stores.fill(store, BASE, image)
    stores.unpack(store, image)
    return store, image, descriptor
