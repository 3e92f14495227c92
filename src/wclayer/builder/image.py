"""`BuiltImage`: an image while it is made: a base, to which layers and changes of the configuration are added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from wclayer.builder.workspace import NewLayer
from wclayer.errors import NotSupportedError, during
from wclayer.images.composed import ComposedSource
from wclayer.images.config import ImageConfig, parse_config
from wclayer.images.descriptor import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
)
from wclayer.images.edit import ConfigChanges, edit_config, edit_config_in_steps
from wclayer.images.edit_history import Step, append_empty_steps, append_history
from wclayer.images.history import BASE_DIGEST, BASE_NAME
from wclayer.images.inspection import image_of, read_config, read_root
from wclayer.images.json_edit import write_json
from wclayer.images.manifest import Manifest, parse_manifest
from wclayer.images.platform import Platform
from wclayer.images.store import ImageStore, StoreSource
from wclayer.images.transport import ImageSource

__all__ = ["BuiltImage", "BuiltSource", "Step"]

_CONFIG_TYPES = {OCI_MANIFEST: OCI_CONFIG, DOCKER_MANIFEST: DOCKER_CONFIG}
_DOCKER_SUFFIXES = {"": "", "+gzip": ".gzip"}


@dataclass(frozen=True)
class BuiltImage:
    """An image while it is made. Nothing changes it: each method returns another one.

    Attributes:
        manifest_type: the media type of the manifest, OCI's or Docker's.
        config: the bytes of the configuration.
        layers: the descriptors of the layers, base layer first.
        annotations: the annotations of the manifest.
    """

    manifest_type: str
    config: bytes
    layers: tuple[Descriptor, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, source: ImageSource, platform: Platform | None = None) -> Self:
        """Returns an image as it is, with its annotations.

        Args:
            source: where it is. Only its documents are read.
            platform: which image of an index is meant; None for the only one.

        Raises:
            PathNotFoundError: there is no such image, or none for the platform.
            InvalidParameterError: several images may be meant.
            InvalidDataError: the documents have other digests, or do not fit together.
            NotSupportedError: it is an artifact, not an image.
        """
        return cls._read(source, platform)[0]

    @classmethod
    def on(cls, source: ImageSource, platform: Platform | None = None, *, name: str = "") -> Self:
        """Returns the beginning of an image on a base: its layers and its configuration.

        The annotations of the base do not hold for the new image. OCI's manifest states the base instead
        (`org.opencontainers.image.base.name`, `.digest`); Docker's has no annotations.

        Args:
            source: where the base is. Only its documents are read.
            platform: which image of an index is meant; None for the only one.
            name: the whole reference of the base (`name_of`); "" states only its digest.

        Raises:
            PathNotFoundError, InvalidParameterError, InvalidDataError, NotSupportedError: see `of`.
        """
        base, digest = cls._read(source, platform)
        stated = {BASE_NAME: name, BASE_DIGEST: digest} if base.manifest_type == OCI_MANIFEST else {}
        return replace(base, annotations={key: value for key, value in stated.items() if value})

    @classmethod
    def _read(cls, source: ImageSource, platform: Platform | None) -> tuple[Self, str]:
        """Returns an image as it is, and the digest of its manifest."""
        with during("read image", source.name):
            manifest = image_of(source, read_root(source), platform)
            config = read_config(source, manifest)
            annotations = manifest.view.mapping("annotations")
            return cls(manifest.media_type, config.data, manifest.layers, annotations), manifest.descriptor.digest

    @classmethod
    def empty(cls, platform: Platform) -> Self:
        """Returns an image without layers, of OCI's kind."""
        record = {**platform.to_json(), "config": {}, "rootfs": {"type": "layers", "diff_ids": []}, "history": []}
        return cls(OCI_MANIFEST, write_json(record).encode())

    @property
    def parsed(self) -> ImageConfig:
        """The configuration."""
        return parse_config(self.config)

    @property
    def chain_ids(self) -> tuple[str, ...]:
        """The chainIDs of the layers, base layer first."""
        return self.parsed.chain_ids

    @property
    def manifest(self) -> Manifest:
        """The manifest."""
        config = Descriptor.of(self.config, _CONFIG_TYPES[self.manifest_type])
        record: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": self.manifest_type,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.annotations:
            record["annotations"] = dict(self.annotations)
        manifest = parse_manifest(write_json(record).encode(), self.manifest_type)
        assert isinstance(manifest, Manifest)
        return manifest

    def with_layer(self, layer: NewLayer, step: Step) -> Self:
        """Returns the image with a layer on top, and the step that made it in its history.

        Raises:
            NotSupportedError: Docker's manifest has no media type for its compression.
            InvalidParameterError: the time of the step is none.
        """
        descriptor = replace(layer.descriptor, media_type=self.layer_type(layer.descriptor.media_type))
        config = append_history(self.config, step, diff_id=layer.diff_id)
        return replace(self, config=config, layers=(*self.layers, descriptor))

    def layer_type(self, media_type: str) -> str:
        """Returns the media type that a layer has in this image.

        Args:
            media_type: OCI's type.

        Raises:
            NotSupportedError: Docker's manifest has none for its compression.
        """
        if self.manifest_type == OCI_MANIFEST:
            return media_type
        suffix = _DOCKER_SUFFIXES.get(media_type.removeprefix(OCI_LAYER))
        if suffix is None:
            raise NotSupportedError(
                media_type,
                "the base image is Docker's, whose layers are compressed with gzip or not at all; choose gzip",
            )
        return DOCKER_LAYER + suffix

    def with_config(self, changes: ConfigChanges, step: Step | None = None) -> tuple[Self, list[str]]:
        """Returns the image with changes of its configuration, and warnings for the user.

        Args:
            changes: what to change.
            step: the entry of the history, which states that the step made no layer; None adds no entry.

        Raises:
            InvalidParameterError: a change is not possible.
        """
        config, warnings = edit_config(self.config, changes)
        changed = replace(self, config=config)
        return changed if step is None else changed.with_step(step), warnings

    def with_all(self, changes: Sequence[ConfigChanges]) -> Self:
        """Returns the image with several changes of its configuration, one after the other.

        Raises:
            InvalidParameterError: a change is not possible.
        """
        return replace(self, config=edit_config_in_steps(self.config, changes)[0])

    def with_steps(self, steps: Sequence[tuple[ConfigChanges, Step]]) -> tuple[Self, list[list[str]]]:
        """Returns the image after several steps that made no layer, as `with_config` makes them one after the other,
        and the warnings of each of them. The time is linear in the number of steps.

        Raises:
            InvalidParameterError: a change is not possible.
        """
        config = self.config
        warnings: list[list[str]] = []
        # The first step makes "created" and "history" if they are missing, among the keys that other changes make.
        for part in (steps[:1], steps[1:]):
            if part:
                config, told = edit_config_in_steps(config, [changes for changes, _ in part])
                config = append_empty_steps(config, [step for _, step in part])
                warnings += told
        return replace(self, config=config), warnings

    def with_step(self, step: Step) -> Self:
        """Returns the image with a step in its history that made no layer."""
        return replace(self, config=append_history(self.config, step, diff_id=None))

    def with_annotations(self, annotations: Mapping[str, str], without: Sequence[str] = ()) -> Self:
        """Returns the image with annotations of its manifest set and removed."""
        kept = {name: value for name, value in self.annotations.items() if name not in without}
        return replace(self, annotations={**kept, **annotations})

    def put(self, store: ImageStore) -> Descriptor:
        """Stores the configuration and the manifest, and returns the descriptor of the manifest. The caller holds
        `store.in_use()` until a name keeps them."""
        store.put_document(self.config, _CONFIG_TYPES[self.manifest_type])
        manifest = self.manifest
        return store.put_document(manifest.data, manifest.media_type)

    def as_source(self, store: ImageStore, base: ImageSource | None = None) -> BuiltSource:
        """Returns the image as a source, to be copied to any place.

        Args:
            store: the store, which has the new layers.
            base: where the other layers are, which stays open; None if the store has all of them.
        """
        return BuiltSource(self, store, base)


class BuiltSource(ComposedSource):
    """An `ImageSource` of an image that was made: its layers are read from a store, or from the place of its base.

    Args:
        image: the image.
        store: the store, in which `prune` does nothing until the source is closed.
        base: where the layers are that the store does not have; it stays open.
    """

    def __init__(self, image: BuiltImage, store: ImageStore, base: ImageSource | None = None) -> None:
        manifest = image.manifest
        self._stored: StoreSource = store.source(manifest.descriptor.digest)
        missing = {layer.digest for layer in image.layers if not store.has_blob(layer)}
        owners = {} if base is None else dict.fromkeys(missing, base)
        sources = [self._stored] if base is None else [self._stored, base]
        super().__init__(manifest, sources, [image.config], owners)

    def close(self) -> None:
        """Ends the use of the store. The place of the base stays open."""
        self._stored.close()
