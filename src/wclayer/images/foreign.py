"""Foreign layers: layers that their maker did not want to be distributed, until 2023 those of Windows itself.

References: image-spec, layer.md, "Non-Distributable Layers"; docs/images.md.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from wclayer.errors import InvalidParameterError
from wclayer.images.descriptor import (
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    OCI_FOREIGN_LAYER,
    OCI_LAYER,
    Descriptor,
)
from wclayer.images.edit import replace_layers
from wclayer.images.manifest import Manifest

_ORDINARY = {OCI_FOREIGN_LAYER: OCI_LAYER, DOCKER_FOREIGN_LAYER: DOCKER_LAYER}


class Foreign(Enum):
    """What a copy does with foreign layers.

    Attributes:
        KEEP: their descriptors are copied, and not their bytes: whoever pulls the image gets them from their `urls`.
        PUSH: their bytes are copied like those of any layer. No byte of the manifest changes.
        CONVERT: they become ordinary layers without `urls`. The manifest gets another digest; the layers do not.
    """

    KEEP = "keep"
    PUSH = "push"
    CONVERT = "convert"

    @classmethod
    def of(cls, text: Foreign | str) -> Foreign:
        """Returns the choice that a caller names.

        Raises:
            InvalidParameterError: there is no such choice.
        """
        try:
            return cls(text)
        except ValueError:
            words = ", ".join(choice.value for choice in cls)
            raise InvalidParameterError(str(text), f"is not a choice for foreign layers: {words}") from None


def ordinary_type(media_type: str) -> str:
    """Returns the media type of an ordinary layer with the same contents."""
    for foreign, ordinary in _ORDINARY.items():
        if media_type.startswith(foreign):
            return ordinary + media_type.removeprefix(foreign)
    return media_type


def is_convertible(layer: Descriptor) -> bool:
    """Returns whether a conversion changes the descriptor of a layer: it is foreign, or has `urls`."""
    return layer.is_foreign_layer or bool(layer.urls)


def converted(manifest: Manifest) -> Manifest:
    """Returns a manifest without foreign layers and `urls`; the same object if it has none of both.

    Every other byte stays, and the configuration with its diff_ids.
    """
    if not any(is_convertible(layer) for layer in manifest.layers):
        return manifest
    layers = [
        replace(layer, media_type=ordinary_type(layer.media_type), urls=()) if is_convertible(layer) else layer
        for layer in manifest.layers
    ]
    return replace_layers(manifest, layers)
