"""A manifest for an image of a docker-archive that has none, or whose own names blobs that are not in the archive."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from wclayer.errors import FormatError
from wclayer.formats.compression import Compression, detect
from wclayer.images.archive.members import ArchiveMember
from wclayer.images.archive.opened import ImageArchive
from wclayer.images.config import ImageConfig, parse_config
from wclayer.images.descriptor import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Descriptor
from wclayer.images.docker_archive.saved import SavedImage
from wclayer.images.layout.entries import encoded

_TYPES = {
    Compression.NONE: DOCKER_LAYER,
    Compression.GZIP: f"{DOCKER_LAYER}.gzip",
    Compression.ZSTD: f"{DOCKER_LAYER}.zstd",
}
_CONFIG_NAME = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?\Z")
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """An image of an archive: its descriptor, and where its parts are.

    Attributes:
        descriptor: the manifest, or the index, that the image is known by.
        documents: manifests that are not in the archive, by digest.
        blobs: members that are not found by their digest, by digest.
    """

    descriptor: Descriptor
    documents: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, ArchiveMember] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SavedConfig:
    """The configuration of an image of a `manifest.json`."""

    member: ArchiveMember
    descriptor: Descriptor
    config: ImageConfig


def read_config(archive: ImageArchive, saved: SavedImage) -> SavedConfig:
    """Returns the configuration of an image.

    Raises:
        FormatError: it is not in the archive, is damaged, has not the digest that its name states, or has another
            number of layers than `manifest.json`.
    """
    member = archive.members.file(saved.config)
    if member is None:
        raise FormatError(f"the configuration {saved.config!r} is not in the archive")
    data = archive.read(member)
    descriptor = Descriptor.of(data, DOCKER_CONFIG)
    stated = _CONFIG_NAME.match(saved.config)
    if stated is not None and f"sha256:{stated[1]}" != descriptor.digest:
        raise FormatError(f"the configuration {saved.config!r} has the digest {descriptor.digest}")
    config = parse_config(data)
    if len(config.diff_ids) != len(saved.layers):
        raise FormatError(
            f"manifest.json names {len(saved.layers)} layers, and the configuration {saved.config!r} has"
            f" {len(config.diff_ids)} diff_ids"
        )
    return SavedConfig(member, descriptor, config)


def make_image(
    archive: ImageArchive, saved: SavedImage, config: SavedConfig, *, without_foreign: bool
) -> ArchivedImage | None:
    """Returns the image with a manifest of Docker's schema 2 that is made of `manifest.json`.

    A layer that is not compressed has its diffID as its digest; whoever reads it compares. The digest of a compressed
    one is computed.

    Args:
        archive: the archive.
        saved: the image.
        config: its configuration.
        without_foreign: True if a layer may be absent from the archive and have the descriptor that `LayerSources`
            states.

    Returns:
        The image; None if the descriptor of a layer is not known.

    Raises:
        FormatError: the member of a layer is a directory, or a link out of the archive.
    """
    blobs = {config.descriptor.digest: config.member}
    layers = []
    for name, diff_id in zip(saved.layers, config.config.diff_ids, strict=True):
        member = archive.members.linked_file(name)
        if member is None:
            source = saved.sources.get(diff_id) if without_foreign else None
            if source is None:
                return None
            layers.append(source)
            continue
        layer = _layer(archive, member, diff_id)
        blobs[layer.digest] = member
        layers.append(layer)
    data = encoded(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": config.descriptor.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
    )
    descriptor = Descriptor.of(data, DOCKER_MANIFEST)
    return ArchivedImage(descriptor, {descriptor.digest: data}, blobs)


def _layer(archive: ImageArchive, member: ArchiveMember, diff_id: str) -> Descriptor:
    compression = detect(archive.starts_with(member))
    if compression is Compression.NONE:
        return Descriptor(_TYPES[compression], diff_id, member.size)
    digest = hashlib.sha256()
    for piece in _pieces(archive, member):
        digest.update(piece)
    return Descriptor(_TYPES[compression], f"sha256:{digest.hexdigest()}", member.size)


def _pieces(archive: ImageArchive, member: ArchiveMember) -> Iterator[bytes]:
    with archive.open(member) as stream:
        while piece := stream.read(_PIECE):
            yield piece


def absent_layers(archive: ImageArchive, saved: SavedImage) -> str:
    """Returns the layers that are not in the archive, for a message."""
    absent = [
        f"layer {number} of {len(saved.layers)} ({name[:200]!r})"
        for number, name in enumerate(saved.layers, 1)
        if archive.members.linked_file(name) is None
    ]
    return ", ".join(absent)
