"""`get_shared_base_images`: the base images of the operating system's central store, or of wclayer's."""

from __future__ import annotations

from wclayer._types import StrPath
from wclayer.engines.base_image import BaseImage
from wclayer.engines.selection import engine
from wclayer.errors import during
from wclayer.images.config import parse_config
from wclayer.images.history import find_base
from wclayer.images.platform import WINDOWS
from wclayer.images.store.folder import StoreFolder
from wclayer.images.store.listing import StoredImage, list_images


@during("get shared base images")
def get_shared_base_images(store: StrPath | None = None) -> list[BaseImage]:
    """Returns the base images of the central image store.

    With the hcs engine and without a `store`, it is the store of Windows. Otherwise it is that of wclayer, whose base
    images are those for Windows that are not made from another one: they have one layer, or their history has no other
    steps than those of a base image. Their path is that of the unpacked top layer; "" if it is not unpacked.

    Args:
        store: the folder of a store of wclayer; by default `$WCLAYER_STORE`, or the user's store.

    Raises:
        CorruptLayerError: the database of the store is damaged.

    Reference: `GetBaseImages` of vmcompute.dll.
    """
    if store is None and (found := engine().system_base_images()) is not None:
        return found
    folder = StoreFolder(store)
    if not folder.exists:
        return []
    with folder.in_use():
        return [_base_image(folder, image) for image in list_images(folder) if _is_base(folder, image)]


def _is_base(folder: StoreFolder, image: StoredImage) -> bool:
    if image.platform is None or image.platform.os.lower() != WINDOWS or not image.chain_ids:
        return False
    if len(image.chain_ids) == 1:
        return True
    assert image.config is not None
    base = find_base(parse_config(folder.read_blob(image.config)))
    return base is not None and base.layers == len(image.chain_ids)


def _base_image(folder: StoreFolder, image: StoredImage) -> BaseImage:
    assert image.platform is not None
    top = image.chain_ids[-1]
    path = str(folder.layer_path(top)) if folder.has_layer(top) else ""
    return BaseImage(image.name, image.platform.os_version, path, image.size, image.created)
