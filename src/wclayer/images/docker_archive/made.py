"""A manifest for an image of a docker-archive that has none, or whose own names blobs that are not in the archive."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from wclayer.errors import FormatError, FormatLimitError, limit_hint
from wclayer.formats.compression import Compression, detect
from wclayer.images.archive.members import ArchiveMember
from wclayer.images.archive.opened import ImageArchive
from wclayer.images.config import ImageConfig, parse_config
from wclayer.images.descriptor import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Descriptor
from wclayer.images.docker_archive.saved import SavedImage
from wclayer.images.layout.entries import encoded
from wclayer.model import limits_in_use

_TYPES = {
    Compression.NONE: DOCKER_LAYER,
    Compression.GZIP: f"{DOCKER_LAYER}.gzip",
    Compression.ZSTD: f"{DOCKER_LAYER}.zstd",
}
_CONFIG_NAME = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?\Z")
_PIECE = 1 << 20
_CONFIGS = 64
"""All configurations of an archive may be as large as so many of the largest one."""


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


class ManifestMaker:
    """Makes manifests for the images of an archive.

    Args:
        archive: the archive.
    """

    def __init__(self, archive: ImageArchive) -> None:
        self._archive = archive
        self._digests: dict[str, str] = {}
        self._read = 0

    def config(self, saved: SavedImage) -> SavedConfig:
        """Returns the configuration of an image.

        Raises:
            FormatError: it is not in the archive, is damaged, has not the digest that its name states, or has another
                number of layers than `manifest.json`.
            FormatLimitError: it is larger than `manifest_size`, or all that were read are much larger.
        """
        member = self._archive.members.file(saved.config)
        if member is None:
            raise FormatError(f"the configuration {saved.config!r} is not in the archive")
        # `manifest.json` may name one configuration many times.
        self._read += member.size
        most = limits_in_use().manifest_size * _CONFIGS
        if self._read > most:
            raise FormatLimitError(
                f"the configurations of all images have more than {most} bytes, {_CONFIGS} times what one may have"
                f" {limit_hint('manifest_size')}"
            )
        data = self._archive.read(member)
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

    def image(self, saved: SavedImage, config: SavedConfig, *, without_foreign: bool) -> ArchivedImage | None:
        """Returns an image with a manifest of Docker's schema 2 that is made of `manifest.json`.

        A layer that is not compressed has its diffID as its digest; whoever reads it compares. The digest of a
        compressed one is computed.

        Args:
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
            member = self._archive.members.linked_file(name)
            if member is None:
                source = saved.sources.get(diff_id) if without_foreign else None
                if source is None:
                    return None
                layers.append(source)
                continue
            layer = self._layer(member, diff_id)
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

    def _layer(self, member: ArchiveMember, diff_id: str) -> Descriptor:
        compression = detect(self._archive.starts_with(member))
        digest = diff_id if compression is Compression.NONE else self._digest(member)
        return Descriptor(_TYPES[compression], digest, member.size)

    def _digest(self, member: ArchiveMember) -> str:
        """Returns the digest of a member. It is read once."""
        if member.name not in self._digests:
            digest = hashlib.sha256()
            with self._archive.open(member) as stream:
                while piece := stream.read(_PIECE):
                    digest.update(piece)
            self._digests[member.name] = f"sha256:{digest.hexdigest()}"
        return self._digests[member.name]


def absent_layers(archive: ImageArchive, saved: SavedImage) -> str:
    """Returns the layers that are not in the archive, for a message."""
    absent = [
        f"layer {number} of {len(saved.layers)} ({name[:200]!r})"
        for number, name in enumerate(saved.layers, 1)
        if archive.members.linked_file(name) is None
    ]
    return ", ".join(absent)
