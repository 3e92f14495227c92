"""`Manifest` and `Index`: views over the raw bytes of a manifest and of a list of manifests."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wclayer.errors import FormatError, FormatLimitError, NotRepresentableError, limit_hint
from wclayer.images.descriptor import (
    DOCKER_CONFIG,
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_CONFIG,
    OCI_FOREIGN_LAYER,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    digest_of,
)
from wclayer.images.json_view import JsonView, parse_json
from wclayer.model import limits_in_use

_LAYER_TYPES = (OCI_LAYER, DOCKER_LAYER, OCI_FOREIGN_LAYER, DOCKER_FOREIGN_LAYER)
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of one image: its configuration and its layers, the lowest first.

    Attributes:
        data: the bytes.
        media_type: their type.
        config: the descriptor of the configuration.
        layers: the descriptors of the layers, base layer first.
        subject: the manifest that this one refers to; None if it refers to none.
        artifact_type: the type of an artifact; "" for an image.
        view: the JSON object.
    """

    data: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str
    view: JsonView

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the manifest itself."""
        return Descriptor.of(self.data, self.media_type)

    @property
    def is_image(self) -> bool:
        """True if the configuration is that of an image, not of another artifact."""
        return self.config.media_type in (OCI_CONFIG, DOCKER_CONFIG)

    @property
    def has_file_system(self) -> bool:
        """True for an image with layers of files. Signatures and attestations have the configuration of an image, too,
        and layers of other types."""
        return self.is_image and all(layer.media_type.startswith(_LAYER_TYPES) for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Index:
    """A list of manifests, usually of one image for several platforms.

    Attributes:
        data: the bytes.
        media_type: their type.
        manifests: the descriptors of the manifests, in their order.
        view: the JSON object.
    """

    data: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    view: JsonView

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the index itself."""
        return Descriptor.of(self.data, self.media_type)


def referrer_of(item: Manifest | Index) -> Descriptor:
    """Returns the descriptor of what refers to another manifest, as a list of referrers has it: with the type of the
    artifact and the annotations (distribution-spec, "Listing Referrers")."""
    config_type = item.config.media_type if isinstance(item, Manifest) else ""
    return replace(
        item.descriptor,
        artifact_type=item.view.text("artifactType") or config_type,
        annotations=item.view.mapping("annotations"),
    )


def check_manifest_size(size: int) -> None:
    """Checks the size of a manifest, an index or a configuration before it is read.

    Raises:
        FormatLimitError: it is larger than the limit `manifest_size`.
    """
    most = limits_in_use().manifest_size
    if size > most:
        raise FormatLimitError(f"{size} bytes, more than {most} {limit_hint('manifest_size')}")


def check_contents(data: bytes, descriptor: Descriptor) -> bytes:
    """Returns bytes unchanged if they have the size and the digest of a descriptor.

    Raises:
        FormatError: they have another size or another digest.
    """
    if len(data) != descriptor.size:
        raise FormatError(
            f"{descriptor.digest}: {len(data)} bytes, where {descriptor.size} were expected; take it from elsewhere"
        )
    if (digest := digest_of(data)) != descriptor.digest:
        raise FormatError(f"{descriptor.digest}: the contents have the digest {digest}; take it from elsewhere")
    return data


def parse_manifest(data: bytes, media_type: str = "") -> Manifest | Index:
    """Returns the view of a manifest or an index.

    Args:
        data: the bytes.
        media_type: the type that the descriptor or the registry states; "" if it is unknown.

    Raises:
        FormatError: it is not a manifest, or its kind is ambiguous: it states another type than `media_type`, or has
            the fields of both kinds. Programs would not agree what such an image is.
        NotRepresentableError: it is a manifest of another kind, such as Docker's schema 1.
        FormatLimitError: it is larger than the limit `manifest_size`.
    """
    check_manifest_size(len(data))
    view = parse_json(data, "the manifest")
    media_type = media_type.partition(";")[0].strip()
    stated = view.text("mediaType")
    if media_type.startswith(_SCHEMA1) or stated.startswith(_SCHEMA1) or view.number("schemaVersion") == 1:
        raise NotRepresentableError(
            "a manifest of Docker's schema 1, which has no digests of layers; push the image anew with a current Docker"
        )
    if view.number("schemaVersion") != 2:
        raise FormatError(f"the manifest: schemaVersion is {str(view.number('schemaVersion'))[:20]}, not 2")
    if stated and media_type and stated != media_type:
        raise FormatError(f"the manifest is announced as {media_type!r}, and says itself that it is {stated!r}")
    kind = stated or media_type
    has_layers, has_manifests = "layers" in view or "config" in view, "manifests" in view
    if has_layers and has_manifests:
        raise FormatError("the manifest has the fields of an image and of an index")
    if not kind:
        kind = OCI_INDEX if has_manifests else OCI_MANIFEST
    if kind in INDEX_TYPES and not has_layers:
        return Index(data, kind, tuple(Descriptor.from_json(item) for item in view.views("manifests")), view)
    if kind in MANIFEST_TYPES and not has_manifests:
        return _manifest(data, kind, view)
    if kind in INDEX_TYPES | MANIFEST_TYPES:
        raise FormatError(f"the manifest has the type {kind!r} and not its fields")
    raise NotRepresentableError(f"a manifest of the type {kind[:100]!r}, which is neither an image nor an index")


def _manifest(data: bytes, media_type: str, view: JsonView) -> Manifest:
    subject = Descriptor.from_json(view.view("subject")) if "subject" in view else None
    return Manifest(
        data,
        media_type,
        Descriptor.from_json(view.view("config")),
        tuple(Descriptor.from_json(item) for item in view.views("layers")),
        subject,
        view.text("artifactType"),
        view,
    )
