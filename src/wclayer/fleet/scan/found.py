"""`FoundImage`: a resolved image as it travels from the worker that resolved it to the one that makes its rows."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from typing import Any, Self

from wclayer.fleet.model import ImageStatus, Listed, ResolvedImage
from wclayer.fleet.tables.schema import ImageRow
from wclayer.images.config import parse_config
from wclayer.images.descriptor import Descriptor
from wclayer.images.history import history_steps
from wclayer.images.manifest import Manifest, parse_manifest

_LENGTH = 8


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """A layer, as an image tells of it.

    Attributes:
        descriptor: its blob.
        created_by: the step that made it; "" if the history does not say.
    """

    descriptor: Descriptor
    created_by: str


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A reference, and the image that it means.

    Attributes:
        image: the image without its documents: the client has all images of a registry in memory.
        layers: its layers, base layer first; none if its rows are there already, or it cannot be read.
        documents: the manifest and the configuration, compressed; empty if there are no layers.
    """

    image: ResolvedImage
    layers: tuple[FoundLayer, ...] = ()
    documents: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, image: ResolvedImage) -> Self:
        """Returns what travels of an image."""
        if not image.manifest:
            return cls(image)
        manifest = parse_manifest(image.manifest, image.media_type)
        assert isinstance(manifest, Manifest)
        steps = {step.layer: step.entry.created_by for step in history_steps(parse_config(image.config))}
        layers = (Descriptor(layer.media_type, layer.digest, layer.size, layer.urls) for layer in manifest.layers)
        length = len(image.manifest).to_bytes(_LENGTH, "big")
        return cls(
            replace(image, manifest=b"", config=b""),
            tuple(FoundLayer(layer, steps.get(number, "")) for number, layer in enumerate(layers)),
            zlib.compress(length + image.manifest + image.config),
        )

    @classmethod
    def of_row(cls, row: ImageRow) -> Self:
        """Returns the image of a row that an earlier scan has made."""
        listed = Listed(row.reference, row.reference, row.repository or "", row.tag or "")
        created = max(0, int(row.created.timestamp())) if row.created is not None else 0
        return cls(
            ResolvedImage(listed, ImageStatus(row.status), row.error or "", digest=row.image or "", created=created)
        )

    def sharing(self, known: dict[FoundLayer, FoundLayer]) -> Self:
        """Returns the same with equal layers of other images in the place of its own, which need no memory then."""
        return replace(self, layers=tuple(known.setdefault(layer, layer) for layer in self.layers))

    @property
    def key(self) -> str:
        """What decides the bucket of the rows: the digest, or the reference if that is not known."""
        return self.image.digest or self.image.listed.reference

    @property
    def is_error(self) -> bool:
        """True if the reference could not be read."""
        return self.image.status is ImageStatus.ERROR

    def resolved(self) -> ResolvedImage:
        """Returns the image with its documents, if it has some."""
        if not self.documents:
            return self.image
        data = zlib.decompress(self.documents)
        end = _LENGTH + int.from_bytes(data[:_LENGTH], "big")
        return replace(self.image, manifest=data[_LENGTH:end], config=data[end:])


def fields_of_reference(image: ResolvedImage) -> dict[str, Any]:
    """Returns the columns of a row that tell of the reference, and nothing of the image."""
    listed = image.listed
    return {"reference": listed.reference, "repository": listed.repository or None, "tag": listed.tag or None}
