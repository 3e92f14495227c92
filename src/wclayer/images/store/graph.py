"""What a manifest or an index in a store refers to, and so keeps: other manifests, configurations, layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wclayer.errors import FormatLimitError, PathNotFoundError, limit_hint
from wclayer.images.config import ImageConfig, parse_config
from wclayer.images.descriptor import Descriptor
from wclayer.images.manifest import Index, Manifest, parse_manifest
from wclayer.images.store.folder import StoreFolder
from wclayer.model import limits_in_use


@dataclass(frozen=True, slots=True)
class ImageInStore:
    """One image of a name in a store.

    Attributes:
        descriptor: the manifest, as the index or the name describes it.
        manifest: the manifest.
        config: the configuration; None for an artifact that is no image, or if the store does not have it.
    """

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig | None


def images_of(folder: StoreFolder, root: Descriptor) -> Iterator[ImageInStore]:
    """Yields the images of a manifest or an index, each once. Manifests of an index that are not in the store are left
    out: they belong to platforms that were not pulled.

    Raises:
        PathNotFoundError: `root` itself is not in the store.
        CorruptLayerError, InvalidDataError, …: a manifest or a configuration is damaged.
    """
    for descriptor, item in manifests_of(folder, root):
        if isinstance(item, Manifest):
            yield ImageInStore(descriptor, item, config_of(folder, item))


@dataclass(frozen=True, slots=True)
class Reached:
    """What a manifest or an index keeps in a store.

    Attributes:
        blobs: the blobs, manifests and configurations, by digest, whether the store has them or not.
        chain_ids: the chainIDs of the layers.
    """

    blobs: dict[str, Descriptor]
    chain_ids: set[str]


def reached_from(folder: StoreFolder, root: Descriptor) -> Reached:
    """Returns what a manifest or an index keeps.

    Raises:
        PathNotFoundError: `root`, or the configuration of an image, is not in the store: nobody knows what it keeps.
        CorruptLayerError, InvalidDataError, …: a manifest or a configuration is damaged.
    """
    reached = Reached({}, set())
    for descriptor, item in manifests_of(folder, root):
        reached.blobs[descriptor.digest] = descriptor
        if isinstance(item, Index):
            reached.blobs.update((child.digest, child) for child in item.manifests)
            continue
        reached.blobs.update((blob.digest, blob) for blob in (item.config, *item.layers))
        if item.is_image:
            reached.chain_ids.update(parse_config(folder.read_blob(item.config)).chain_ids)
    return reached


def manifests_of(folder: StoreFolder, root: Descriptor) -> Iterator[tuple[Descriptor, Manifest | Index]]:
    """Yields a manifest or index, and all manifests and indexes below it that are in the store, each once.

    Raises:
        PathNotFoundError: `root` itself is not in the store.
        CorruptLayerError, InvalidDataError, …: a manifest is damaged.
    """
    most = limits_in_use().archive_members
    pending = [root]
    seen = {root.digest}
    while pending:
        descriptor = pending.pop()
        try:
            data = folder.read_blob(descriptor)
        except PathNotFoundError:
            if descriptor is root:
                raise
            continue
        item = parse_manifest(data, descriptor.media_type)
        yield descriptor, item
        if isinstance(item, Index):
            # Something of another kind is not read; it is kept like a blob.
            below = [
                child for child in item.manifests
                if child.digest not in seen and (child.is_index or child.is_manifest)
            ]  # fmt: skip
            seen.update(child.digest for child in below)
            if len(seen) > most:
                raise FormatLimitError(f"an index of more than {most} manifests {limit_hint('archive_members')}")
            pending += reversed(below)


def config_of(folder: StoreFolder, manifest: Manifest) -> ImageConfig | None:
    """Returns the configuration of an image; None for an artifact, or if the store does not have it."""
    if not manifest.is_image:
        return None
    try:
        return parse_config(folder.read_blob(manifest.config))
    except PathNotFoundError:
        return None
