"""Stores to test with: filled from sample images, with layers unpacked by the public importer."""

from __future__ import annotations

import io
from pathlib import Path

from tests.images.memory import MemorySource
from tests.images.samples import Image, Index
from wclayer.engines.portable import engine as portable
from wclayer.images.descriptor import Descriptor
from wclayer.images.store import ImageStore
from wclayer.images.transfer import copy_image


def fill(store: ImageStore, name: str, item: Image | Index) -> Descriptor:
    """Copies a sample image into a store under a name."""
    with MemorySource(item) as source, store.target(name) as target:
        copy_image(source, target, all_platforms=True)
    return store.find(name)


def unpack(store: ImageStore, image: Image) -> list[Path]:
    """Unpacks the layers of a sample image into a store, base layer first, and returns their paths."""
    paths: list[Path] = []
    for layer, chain_id in zip(image.layers, image.chain_ids, strict=True):
        path = store.layer_path(chain_id)
        if not store.has_layer(chain_id):
            portable.import_layer_from_tar(io.BytesIO(layer.data), path, paths[::-1])
        paths.append(path)
    return paths
