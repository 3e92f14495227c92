"""`StoredImage`: an image in a store, as a listing shows it, and how much of the store it alone uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from wclayer.errors import FormatError, LayerError, OutOfMemoryError, detail_of
from wclayer.images.config import ImageConfig
from wclayer.images.descriptor import Descriptor
from wclayer.images.history import find_base
from wclayer.images.platform import Platform
from wclayer.images.store.folder import StoreFolder
from wclayer.images.store.graph import ImageInStore, images_of
from wclayer.images.store.names import Name, Names


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image in a store. The images of an index, one for each platform that is there, have the same name.

    Attributes:
        name: the name in familiar form; the digest for an image that is kept without a name.
        descriptor: what the name means: the manifest, or an index of several.
        manifest: the manifest of this image; `descriptor` if nothing of the image could be read.
        platform: the machine that it is made for; None for what is not the image of a system, such as a signature.
        created: when it was made, as the configuration writes it; "" if that is not stated.
        tagged: when it got its name in the store, in seconds since 1970.
        base: the image that it is made from: as its annotation says, or the stored one whose layers it begins with, or
            the version of Windows that its history begins with; "" if that is unknown.
        config: the configuration; None for what is not an image.
        chain_ids: the chainIDs of its layers, base layer first.
        is_unpacked: True if all its layers are unpacked.
        shared_size: the bytes of its blobs and unpacked layers that other images in the store use, too.
        own_size: those that no other image uses: what a removal would free.
        problem: why the image cannot be read; "" if it can be.
    """

    name: str
    descriptor: Descriptor
    manifest: Descriptor
    platform: Platform | None = None
    created: str = ""
    tagged: int = 0
    base: str = ""
    config: Descriptor | None = None
    chain_ids: tuple[str, ...] = ()
    is_unpacked: bool = False
    shared_size: int = 0
    own_size: int = 0
    problem: str = ""

    @property
    def size(self) -> int:
        """The bytes of its blobs and unpacked layers in the store."""
        return self.shared_size + self.own_size


@dataclass(frozen=True, slots=True)
class _Found:
    """An image of a name; `image` is None if it cannot be read."""

    name: Name
    image: ImageInStore | None
    problem: str = ""


def list_images(folder: StoreFolder) -> list[StoredImage]:
    """Returns the images in a store, sorted by name."""
    if not folder.exists:
        return []
    with folder.in_use():
        # Nobody removes between two looks at an image what a name kept at the first.
        return _listed(folder)


def _listed(folder: StoreFolder) -> list[StoredImage]:
    found = [one for name in Names(folder).all() for one in _images_of(folder, name)]
    parts = {one.image.descriptor.digest: _parts(folder, one) for one in found if one.image is not None}
    users = Counter(part for each in parts.values() for part in each)
    configs = {
        one.name.text: one.image.config for one in found if one.image is not None and one.image.config is not None
    }
    return [_stored(folder, one, parts, users, configs) for one in found]


def _images_of(folder: StoreFolder, name: Name) -> Iterator[_Found]:
    is_empty = True
    try:
        for image in images_of(folder, name.descriptor):
            yield _Found(name, image)
            is_empty = False
    except OutOfMemoryError:
        # The host's problem, not one of the image.
        raise
    except (LayerError, FormatError) as error:
        yield _Found(name, None, detail_of(error))
        return
    if is_empty:
        yield _Found(name, None, "none of the index's images is in the store")


def _parts(folder: StoreFolder, found: _Found) -> dict[str, int]:
    """Returns what an image has in the store, by path, with the sizes in bytes."""
    image = found.image
    assert image is not None
    blobs = (found.name.descriptor, image.descriptor, image.manifest.config, *image.manifest.layers)
    parts = {f"blobs/{blob.digest}": blob.size for blob in blobs if folder.has_blob(blob)}
    for chain_id in image.config.chain_ids if image.config is not None else ():
        if folder.has_layer(chain_id):
            parts[f"layers/{chain_id}"] = folder.layer_size(chain_id)
    return parts


def _stored(
    folder: StoreFolder,
    found: _Found,
    parts: dict[str, dict[str, int]],
    users: Counter[str],
    configs: dict[str, ImageConfig],
) -> StoredImage:
    name, image = found.name, found.image
    if image is None:
        return StoredImage(name.text, name.descriptor, name.descriptor, tagged=name.tagged, problem=found.problem)
    own = parts[image.descriptor.digest]
    shared_size = sum(size for part, size in own.items() if users[part] > 1)
    config = image.config
    chain = config.chain_ids if config is not None else ()
    return StoredImage(
        name.text,
        name.descriptor,
        image.descriptor,
        config.platform if config is not None else None,
        config.created if config is not None else "",
        name.tagged,
        _base_of(image, configs),
        image.manifest.config if config is not None else None,
        chain,
        bool(chain) and all(folder.has_layer(chain_id) for chain_id in chain),
        shared_size,
        sum(own.values()) - shared_size,
    )


def _base_of(image: ImageInStore, configs: dict[str, ImageConfig]) -> str:
    """Returns what an image is made from (see `StoredImage.base`)."""
    config = image.config
    if config is None:
        return ""
    stated = find_base(config, image.manifest)
    if stated is not None and stated.name:
        return stated.name
    bases = [
        (len(base.diff_ids), name)
        for name, base in configs.items()
        if 0 < len(base.diff_ids) < len(config.diff_ids) and config.diff_ids[: len(base.diff_ids)] == base.diff_ids
    ]
    if bases:
        return max(bases)[1]
    return f"Windows {stated.version}" if stated is not None else ""
