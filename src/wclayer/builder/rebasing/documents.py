"""The manifest and the configuration of an image, changed together; every byte that no change names stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from wclayer.images.config import ImageConfig, parse_config
from wclayer.images.descriptor import (
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    OCI_FOREIGN_LAYER,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
)
from wclayer.images.edit import edit_annotations, replace_config
from wclayer.images.inspection import image_of, read_config, read_root
from wclayer.images.json_edit import JsonText
from wclayer.images.manifest import Manifest, parse_manifest
from wclayer.images.platform import Platform
from wclayer.images.transport import ImageSource

_KINDS = ((OCI_LAYER, DOCKER_LAYER), (OCI_FOREIGN_LAYER, DOCKER_FOREIGN_LAYER))
_SUFFIXES = {True: {"": "", ".gzip": "+gzip"}, False: {"": "", "+gzip": ".gzip"}}
"""The compressions of layers in the words of OCI's manifests (True) and Docker's (False), by those of the other."""


@dataclass(frozen=True, slots=True)
class ImageDocuments:
    """The documents of an image. Nothing changes them: each method returns others.

    Attributes:
        manifest: the manifest.
        config: the configuration.
    """

    manifest: Manifest
    config: ImageConfig

    @classmethod
    def of(cls, source: ImageSource, platform: Platform | None = None) -> Self:
        """Returns the documents of an image.

        Args:
            source: where the image is. Only its documents are read.
            platform: which image of an index is meant; None for the only one.

        Raises:
            PathNotFoundError: there is no such image, or none for the platform.
            InvalidParameterError: several images may be meant.
            InvalidDataError: the documents have other digests, or do not fit together.
            NotSupportedError: it is an artifact, not an image.
        """
        manifest = image_of(source, read_root(source), platform)
        return cls(manifest, read_config(source, manifest))

    @property
    def is_oci(self) -> bool:
        """True for OCI's manifest, False for Docker's."""
        return self.manifest.media_type == OCI_MANIFEST

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of the manifest."""
        return self.manifest.view.mapping("annotations")

    def with_layers(self, layers: Sequence[Descriptor]) -> Self:
        """Returns documents whose manifest lists other layers; one at its old place keeps its bytes."""
        text = JsonText(self.manifest.data)
        for number, layer in enumerate(layers):
            text.set(("layers", number), layer.to_json())
        text.remove_all(("layers",), range(len(layers), len(self.manifest.layers)))
        return self._with_manifest(text.data)

    def with_config(self, data: bytes) -> Self:
        """Returns documents with another configuration."""
        return replace(self, manifest=replace_config(self.manifest, data), config=parse_config(data))

    def with_annotations(self, wanted: Mapping[str, str], without: Sequence[str] = ()) -> Self:
        """Returns documents with annotations of the manifest set and removed."""
        return replace(self, manifest=edit_annotations(self.manifest, wanted, without))

    def fitting(self, layer: Descriptor) -> Descriptor:
        """Returns the descriptor of a layer as a manifest of this kind has it: OCI's media type, or Docker's."""
        for oci, docker in _KINDS:
            own, other = (oci, docker) if self.is_oci else (docker, oci)
            suffix = _SUFFIXES[self.is_oci].get(layer.media_type.removeprefix(other))
            if layer.media_type.startswith(other) and suffix is not None:
                raw = {**layer.raw, "mediaType": own + suffix} if layer.raw else {}
                return replace(layer, media_type=own + suffix, raw=raw)
        return layer

    def _with_manifest(self, data: bytes) -> Self:
        manifest = parse_manifest(data, self.manifest.media_type)
        assert isinstance(manifest, Manifest)
        return replace(self, manifest=manifest)


def history_records(config: ImageConfig) -> list[dict[str, Any]]:
    """Returns the entries of the history as they are written, with the keys that have no field."""
    return [view.record for view in config.view.views("history")]
