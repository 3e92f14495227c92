"""`Descriptor`: what names a blob or a manifest, its digest, size and media type (OCI image-spec, descriptor.md)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from wclayer.errors import FormatError
from wclayer.images.json_view import JsonView
from wclayer.images.platform import Platform

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"

INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
_FOREIGN_LAYERS = (OCI_FOREIGN_LAYER, DOCKER_FOREIGN_LAYER)

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_SHA512 = re.compile(r"sha512:[0-9a-f]{128}\Z")
_MAX_SIZE = (1 << 63) - 1


def check_digest(text: str, what: str) -> str:
    """Returns a digest unchanged.

    Raises:
        FormatError: it is not "sha256:" and 64 hexadecimal digits in lower case. No other algorithm is supported.
    """
    if _DIGEST.match(text):
        return text
    if _SHA512.match(text):
        raise FormatError(f"{what}: {text[:30]}… is a SHA-512 digest; only sha256 is supported")
    raise FormatError(f"{what}: {text[:80]!r} is not a digest (sha256: and 64 hexadecimal digits)")


def digest_of(data: bytes) -> str:
    """Returns the digest of bytes ("sha256:…")."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What names a blob or a manifest.

    Attributes:
        media_type: the type of the contents.
        digest: their digest ("sha256:…").
        size: their length in bytes.
        urls: other addresses of the contents; a foreign layer has them.
        platform: the platform of a manifest in an index; None if it is not stated.
        artifact_type: the type of an artifact; "" if it is not stated.
        annotations: the annotations.
        raw: the JSON object, with the keys that have no field here.
    """

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    platform: Platform | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_json(cls, view: JsonView) -> Self:
        """Returns the descriptor that a JSON object describes.

        Raises:
            FormatError: a field is missing, or its value is not possible.
        """
        size = view.number("size", -1)
        if not 0 <= size <= _MAX_SIZE:
            raise FormatError(f"{view.what}: the size {size} is not possible, or is missing")
        platform = Platform.from_json(view.view("platform").record, view.what) if "platform" in view else None
        return cls(
            media_type=view.text("mediaType"),
            digest=check_digest(view.text("digest"), view.what),
            size=size,
            urls=view.texts("urls"),
            platform=platform,
            artifact_type=view.text("artifactType"),
            annotations=view.mapping("annotations"),
            raw=view.record,
        )

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Self:
        """Returns the descriptor of contents."""
        return cls(media_type, digest_of(data), len(data))

    @property
    def is_index(self) -> bool:
        """True for an index: a list of manifests."""
        return self.media_type in INDEX_TYPES

    @property
    def is_manifest(self) -> bool:
        """True for the manifest of one image. An index is none."""
        return self.media_type in MANIFEST_TYPES

    @property
    def is_foreign_layer(self) -> bool:
        """True for a layer that its maker did not want to be distributed. Only the media type says so, not `urls`."""
        return self.media_type.startswith(_FOREIGN_LAYERS)

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object: `raw` if there is one, else an object of the fields."""
        if self.raw:
            return dict(self.raw)
        record: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.urls:
            record["urls"] = list(self.urls)
        if self.artifact_type:
            record["artifactType"] = self.artifact_type
        if self.annotations:
            record["annotations"] = dict(self.annotations)
        if self.platform is not None:
            record["platform"] = self.platform.to_json()
        return record

    def __str__(self) -> str:
        return self.digest
