"""`CopyPlan`: everything that a copy of an image will copy, read and checked before anything is copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from wclayer.errors import (
    FOREIGN_ERRORS,
    FormatError,
    FormatLimitError,
    InvalidDataError,
    InvalidParameterError,
    LayerError,
    limit_hint,
    translated,
)
from wclayer.images.blobs import Blob, errors_of, read_blob
from wclayer.images.choice import MOST_NESTED, check_platform, choose_image
from wclayer.images.config import ImageConfig, parse_config
from wclayer.images.descriptor import Descriptor
from wclayer.images.edit import replace_manifests
from wclayer.images.foreign import Foreign, converted
from wclayer.images.manifest import Index, Manifest, parse_manifest
from wclayer.images.platform import Platform
from wclayer.images.transport import DigestTagSource, ImageSource
from wclayer.model import limits_in_use

_MANIFESTS = 4
"""All manifests and configurations of one copy may be as large as so many of the largest one: they are in memory."""


@dataclass(frozen=True, slots=True)
class PlannedManifest:
    """A manifest or an index that will be copied, and its place in the order: after everything that it refers to."""

    descriptor: Descriptor
    data: bytes


@dataclass(slots=True)
class CopyPlan:
    """What a copy of an image copies.

    Attributes:
        root: the manifest or index that gets the name.
        blobs: the blobs by their digests: of each image, the layers in their order, then the configuration.
        known: the contents of the blobs that were read already, by their digests.
        manifests: the manifests, each after those that it lists or refers to.
        images: the manifests of images whose layers are those of a file system, with their configurations.
        tags: the tags of cosign, with the manifests that they mean.
    """

    root: Descriptor
    blobs: dict[str, Blob] = field(default_factory=dict)
    known: dict[str, bytes] = field(default_factory=dict)
    manifests: list[PlannedManifest] = field(default_factory=list)
    images: list[tuple[Manifest, ImageConfig]] = field(default_factory=list)
    tags: dict[str, Descriptor] = field(default_factory=dict)


def check_image(manifest: Manifest, config: ImageConfig) -> None:
    """Checks that a manifest and a configuration are of the same image.

    Raises:
        FormatError: they have different numbers of layers.
    """
    if len(manifest.layers) != len(config.diff_ids):
        raise FormatError(
            f"the manifest has {len(manifest.layers)} layers, and its configuration {manifest.config.digest} has"
            f" {len(config.diff_ids)} diff_ids"
        )


def make_plan(
    source: ImageSource,
    *,
    platform: Platform | None = None,
    all_platforms: bool = False,
    referrers: bool = False,
    foreign: Foreign = Foreign.PUSH,
    keeps_index: bool = False,
) -> CopyPlan:
    """Reads and checks all manifests and configurations of an image.

    Args:
        source: where the image is.
        platform: which image of an index is meant.
        all_platforms: copy the index, and all images in it.
        referrers: copy also what refers to the manifests.
        foreign: what is done with foreign layers.
        keeps_index: copy the index with the one image of the platform, and none of its other images.

    Raises:
        InvalidDataError: the manifest, the configuration and the layers do not fit together.
        InvalidParameterError: `referrers` is wanted of an image that `Foreign.CONVERT` changes.
        PathNotFoundError: a part is not there, or no image has the platform.
        LimitExceededError: there are too many manifests, or the layers are too large.
        NotSupportedError: a manifest of another kind.
    """
    planner = _Planner(source, foreign)
    try:
        root = source.resolve()
        if not all_platforms:
            root = planner.image_of(root, platform)
        planner.plan.root = planner.add(root)
        if platform is not None and not all_platforms:
            planner.check_platform(platform)
        if keeps_index and not all_platforms:
            planner.add_indexes()
        if referrers:
            planner.add_referrers()
        return planner.plan
    except LayerError:
        raise
    except FOREIGN_ERRORS as error:
        told = translated(source.name, error)
        assert told is not None
        raise told from error


class _Planner:
    def __init__(self, source: ImageSource, foreign: Foreign) -> None:
        self._source = source
        self._foreign = foreign
        self._size = 0
        self._sum = 0
        self._read: dict[str, Manifest | Index] = {}
        self._planned: dict[str, Descriptor] = {}
        self.plan = CopyPlan(Descriptor("", "", 0))

    def image_of(self, root: Descriptor, platform: Platform | None) -> Descriptor:
        """Returns the image of a platform; the image itself if there is no index."""
        return choose_image((root, self._manifest(root)), self._manifest, platform, self._source.name)[0]

    def add(self, descriptor: Descriptor, depth: int = 0) -> Descriptor:
        """Plans the copy of a manifest and everything below it.

        Returns:
            The descriptor of the manifest in the target, which is another one if a conversion changes the manifest.
        """
        if descriptor.digest in self._planned:
            return self._planned[descriptor.digest]
        if depth > MOST_NESTED:
            raise FormatError(f"an index in an index, more than {MOST_NESTED} times")
        item = self._manifest(descriptor)
        if isinstance(item, Index):
            item = _with_manifests(item, [self.add(child, depth + 1) for child in item.manifests])
        else:
            # The blobs have the descriptors of the source: a foreign layer may be at its `urls` alone.
            layers = item.layers
            if self._foreign is Foreign.CONVERT:
                item = converted(item)
            self._add_blobs(item, layers)
        made = item.descriptor
        kept = replace(descriptor, media_type=made.media_type, digest=made.digest, size=made.size, raw={})
        if depth == 0:
            # These annotations belong to the place in which the image was listed, such as its name there.
            kept = replace(kept, annotations={})
        self._planned[descriptor.digest] = kept
        self.plan.manifests.append(PlannedManifest(kept, item.data))
        return kept

    def check_platform(self, platform: Platform) -> None:
        """Checks that the one image that is planned has a platform: a name may mean an image, and no index.

        Raises:
            PathNotFoundError: it has another one.
        """
        for manifest, config in self.plan.images:
            check_platform(manifest.descriptor, config.platform, platform, self._source.name)

    def add_indexes(self) -> None:
        """Plans the copy of the indexes in which the planned image was found; the outermost one gets the name."""
        for item in reversed(self._read.values()):
            if isinstance(item, Index):
                self.plan.manifests.append(PlannedManifest(item.descriptor, item.data))
                self.plan.root = item.descriptor

    def add_referrers(self) -> None:
        """Plans the copy of everything that refers to the planned manifests, and to what refers to them."""
        level = list(self._planned)
        for _ in range(MOST_NESTED):
            below = [found for digest in level for found in self._add_referrers_of(digest)]
            if not below:
                return
            level = below
        raise FormatError(f"referrers of referrers, more than {MOST_NESTED} times")

    def _add_referrers_of(self, digest: str) -> list[str]:
        """Plans the copy of what refers to a manifest, by its subject or by a tag of cosign.

        Returns:
            The digests of the manifests that were not planned before.
        """
        planned = self._planned[digest]
        original = replace(planned, digest=digest, size=len(self._read[digest].data))
        tags = self._source.digest_tags(original) if isinstance(self._source, DigestTagSource) else {}
        found = []
        for referrer in (*self._source.referrers(original), *tags.values()):
            if planned.digest != digest:
                raise InvalidParameterError(
                    self._source.name,
                    f"converting its foreign layers changes {digest}, and {referrer.digest} refers to it and would"
                    " refer to nothing; copy without the referrers, or without the conversion",
                )
            if referrer.digest not in self._planned:
                self.add(referrer, 1)
                found.append(referrer.digest)
        self.plan.tags |= {tag: self._planned[root.digest] for tag, root in tags.items()}
        return found

    def _manifest(self, descriptor: Descriptor) -> Manifest | Index:
        if descriptor.digest not in self._read:
            data = self._source.manifest(descriptor)
            self._count(len(data))
            self._read[descriptor.digest] = parse_manifest(data, descriptor.media_type)
        return self._read[descriptor.digest]

    def _count(self, size: int) -> None:
        """Counts what stays in memory until the copy is done.

        Raises:
            FormatLimitError: it is too much.
        """
        most = limits_in_use().manifest_size * _MANIFESTS
        self._size += size
        if self._size > most:
            raise FormatLimitError(
                f"its manifests and configurations have more than {most} bytes together, {_MANIFESTS} times what one"
                f" may have {limit_hint('manifest_size')}"
            )

    def _add_blobs(self, manifest: Manifest, layers: Sequence[Descriptor]) -> None:
        config = Blob(manifest.config, "the configuration")
        if manifest.is_image:
            with errors_of(config, self._source.name):
                data = read_blob(self._source, manifest.config)
                parsed = parse_config(data)
            if manifest.config.digest not in self.plan.known:
                self._count(len(data))
            self.plan.known[manifest.config.digest] = data
            if manifest.has_file_system:
                check_image(manifest, parsed)
                self.plan.images.append((manifest, parsed))
        for number, layer in enumerate(layers, 1):
            if self._foreign is Foreign.KEEP and layer.is_foreign_layer:
                continue
            self._add_blob(Blob(layer, f"layer {number} of {len(layers)}"))
        self._add_blob(config)

    def _add_blob(self, blob: Blob) -> None:
        known = self.plan.blobs.setdefault(blob.descriptor.digest, blob)
        if known.descriptor.size != blob.descriptor.size:
            raise InvalidDataError(
                self._source.name,
                f"{blob.descriptor.digest} is {known.descriptor.size} bytes long as {known.what}, and"
                f" {blob.descriptor.size} as {blob.what}",
            )
        if known is blob:
            self._sum += blob.descriptor.size
            most = limits_in_use().total_size
            if self._sum > most:
                raise FormatLimitError(f"its layers have more than {most} bytes together {limit_hint('total_size')}")


def _with_manifests(index: Index, manifests: list[Descriptor]) -> Index:
    """Returns an index that lists other manifests in the places of its own; the same object if none is another one."""
    if all(old.digest == new.digest for old, new in zip(index.manifests, manifests, strict=True)):
        return index
    return replace_manifests(index, {old.digest: new for old, new in zip(index.manifests, manifests, strict=True)})
