"""`inspect_image`: everything that the documents of an image say, without its layers."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.errors import InvalidParameterError, NotSupportedError, during
from wclayer.images.blobs import read_blob
from wclayer.images.choice import check_platform, choose_image
from wclayer.images.config import ImageConfig, parse_config
from wclayer.images.descriptor import Descriptor
from wclayer.images.history import HistoryStep, ImageBase, find_base, history_steps
from wclayer.images.manifest import Index, Manifest, parse_manifest
from wclayer.images.plan import check_image
from wclayer.images.platform import Platform
from wclayer.images.store import ImageStore
from wclayer.images.transport import ImageSource
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.utility_vm import FILES as UTILITY_VM


@dataclass(frozen=True, slots=True)
class ImageInspection:
    """The documents of an image.

    Attributes:
        name: what the user calls the image.
        descriptor: what the name means: a manifest or an index.
        index: the index; None if the name means one image.
        manifest: the manifest of the image; None if the index has several that may be meant.
        config: the configuration of the image; None without a manifest, and for an artifact that is no image.
    """

    name: str
    descriptor: Descriptor
    index: Index | None
    manifest: Manifest | None
    config: ImageConfig | None

    @property
    def steps(self) -> tuple[HistoryStep, ...]:
        """The history, each step with the layer that it made."""
        return () if self.config is None else history_steps(self.config)

    @property
    def base(self) -> ImageBase | None:
        """The base image; None if nothing tells which it is."""
        return None if self.config is None else find_base(self.config, self.manifest)


def inspect_image(source: ImageSource, platform: Platform | None = None) -> ImageInspection:
    """Reads the documents of an image, verified.

    Args:
        source: where the image is.
        platform: which image of an index is meant; None for the only one. If there are several, the index is returned
            alone.

    Raises:
        PathNotFoundError: there is no such image, or none for the platform.
        InvalidParameterError: several images have the platform.
        InvalidDataError: the documents have other digests, or do not fit together.
        NotSupportedError: a manifest of another kind.
    """
    with during("inspect image", source.name):
        found = read_root(source)
        root, item = found
        index = item if isinstance(item, Index) else None
        try:
            manifest = image_of(source, found, platform)
        except InvalidParameterError:
            if platform is not None:
                raise
            return ImageInspection(source.name, root, index, None, None)
        config = read_config(source, manifest) if manifest.has_file_system else None
        if config is not None:
            check_platform(manifest.descriptor, config.platform, platform, source.name)
        return ImageInspection(source.name, root, index, manifest, config)


def read_root(source: ImageSource) -> tuple[Descriptor, Manifest | Index]:
    """Returns what the name of a source means."""
    root = source.resolve()
    return root, _read(source, root)


def image_of(source: ImageSource, root: tuple[Descriptor, Manifest | Index], platform: Platform | None) -> Manifest:
    """Returns the image of a platform.

    Args:
        source: where the image is.
        root: what its name means (`read_root`).
        platform: which image of an index is meant; None for the only one.

    Raises:
        PathNotFoundError, InvalidParameterError, FormatError: see `choose_image`.
    """
    return choose_image(root, lambda listed: _read(source, listed), platform, source.name)[1]


def _read(source: ImageSource, descriptor: Descriptor) -> Manifest | Index:
    return parse_manifest(source.manifest(descriptor), descriptor.media_type)


def read_config(source: ImageSource, manifest: Manifest) -> ImageConfig:
    """Returns the configuration of an image.

    Raises:
        FormatError: it does not fit to the manifest.
        NotSupportedError: the manifest is that of an artifact, not of an image.
    """
    if not manifest.has_file_system:
        kind = manifest.artifact_type or manifest.config.media_type
        raise NotSupportedError(source.name, f"is an artifact of the type {kind[:100]!r}, not an image")
    config = parse_config(read_blob(source, manifest.config))
    check_image(manifest, config)
    return config


def has_utility_vm(config: ImageConfig, store: ImageStore) -> bool | None:
    """Returns whether the base layer of an image has a utility VM; None if it is not unpacked in a store."""
    if not config.chain_ids or not store.has_layer(config.chain_ids[0]):
        return None
    with open_layer(store.layer_path(config.chain_ids[0])) as layer:
        return layer.lookup(UTILITY_VM) is not None
