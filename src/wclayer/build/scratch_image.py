"""`scratch_image`: the beginning of an image that has no base (`FROM scratch`): a base layer with registry hives."""

from __future__ import annotations

import io

from wclayer.build.image import BuiltImage, Step
from wclayer.build.scratch_base import write_scratch_base
from wclayer.build.workspace import layer_from_reader
from wclayer.images.platform import Platform
from wclayer.images.store import ImageStore
from wclayer.layers.tar import TarLayerReader, TarLayerWriter

STEP = Step("FROM scratch", "1970-01-01T00:00:00Z", comment="the registry hives without which Windows unpacks no image")


def scratch_image(store: ImageStore, platform: Platform) -> BuiltImage:
    """Returns an image with the base layer that Windows needs, and nothing else. The layer is always the same.

    The caller holds `store.in_use()` until a name keeps the layer, which is unpacked in the store.

    Args:
        store: the store.
        platform: what the configuration states.
    """
    tar = io.BytesIO()
    with TarLayerWriter(tar) as writer:
        write_scratch_base(writer)
    tar.seek(0)
    with TarLayerReader(tar, "the base layer") as reader:
        layer = layer_from_reader(store, reader, ())
    return BuiltImage.empty(platform).with_layer(layer, STEP)
