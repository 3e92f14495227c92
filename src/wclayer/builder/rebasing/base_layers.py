"""Where the base image of an image ends: by a base that the user names, annotations, the history, or other images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wclayer.builder.rebasing.documents import ImageDocuments
from wclayer.errors import AccessDeniedError, InvalidParameterError, LayerError, PathNotFoundError
from wclayer.images.config import ImageConfig
from wclayer.images.history import BASE_DIGEST, BASE_NAME, find_base
from wclayer.images.reference import Reference, parse_reference
from wclayer.images.registry import RegistryOptions, RegistrySource
from wclayer.images.store import ImageStore
from wclayer.images.transport import ImageSource

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class FoundBase:
    """The base image of an image.

    Attributes:
        count: how many of the layers are the base's.
        documents: the documents of the base; None if only the history tells of it.
    """

    count: int
    documents: ImageDocuments | None


@dataclass(frozen=True, slots=True)
class BaseLookup:
    """Where the base that an image states is looked up.

    Attributes:
        store: the store.
        source: where the image is: its own registry may have the base, too. No other registry is asked.
        registry: how registries are reached.
    """

    store: ImageStore
    source: ImageSource | None = None
    registry: RegistryOptions | None = None

    def find(self, annotations: Mapping[str, str]) -> ImageDocuments | None:
        """Returns the base that annotations state; None if it is not there."""
        digest = annotations.get(BASE_DIGEST, "")
        if not digest:
            return None
        try:
            with self.store.source(digest) as source:
                return ImageDocuments.of(source)
        except PathNotFoundError:
            pass
        reference = self._reference(annotations.get(BASE_NAME, ""), digest)
        if reference is None:
            return None
        try:
            with RegistrySource(reference, self.registry) as remote:
                return ImageDocuments.of(remote)
        except (PathNotFoundError, AccessDeniedError):
            return None

    def _reference(self, name: str, digest: str) -> Reference | None:
        """Returns the base in the registry of the image; None if it is elsewhere."""
        if not isinstance(self.source, RegistrySource):
            return None
        try:
            reference = parse_reference(name)
            wanted = parse_reference(f"{reference.familiar_name}@{digest}")
        except LayerError:
            return None
        return wanted if wanted.registry == self.source.reference.registry else None

    def longest(self, config: ImageConfig, name: str) -> ImageDocuments | None:
        """Returns the image of the store whose layers are the first ones of an image: the one with the most layers.

        Raises:
            InvalidParameterError: several images have these layers.
        """
        found: dict[int, dict[str, str]] = {}
        for image in self.store.images():
            count = len(image.chain_ids)
            if 0 < count < len(config.chain_ids) and image.chain_ids == config.chain_ids[:count]:
                found.setdefault(count, {})[image.manifest.digest] = image.name
        if not found:
            return None
        longest = found[max(found)]
        if len(longest) > 1:
            several = ", ".join(sorted(longest.values())[:_SHOWN])
            raise InvalidParameterError(
                name, f"several images of the store may be its base ({several}); name one (--old-base for rebase,"
                " --base for squash)"
            )  # fmt: skip
        with self.store.source(next(iter(longest))) as source:
            return ImageDocuments.of(source)


def base_layers(name: str, image: ImageDocuments, lookup: BaseLookup, base: ImageDocuments | None = None) -> FoundBase:
    """Returns which layers of an image are those of its base image.

    It is the first of these that there is:

    1. the base that the user names;
    2. the image that the annotations of the manifest state, in the store or in the registry of the image;
    3. what the history tells of Microsoft's base images ("Apply image", "Install update");
    4. the image of the store whose layers are the first ones of the image.

    Args:
        name: what the user calls the image, for messages.
        image: the image.
        lookup: where the base is looked up.
        base: the base that the user names.

    Raises:
        InvalidParameterError: the image is not made on the base that the user names; or nothing tells which base it
            has, or several images may be it.
    """
    diff_ids = image.config.diff_ids
    if base is not None:
        if not _is_on(diff_ids, base):
            raise InvalidParameterError(
                name,
                f"is not made on that base: its first {len(base.config.diff_ids)} layers are not those of"
                f" {base.manifest.descriptor.digest}",
            )
        return FoundBase(len(base.config.diff_ids), base)
    stated = lookup.find(image.annotations)
    if stated is not None and _is_on(diff_ids, stated):
        return FoundBase(len(stated.config.diff_ids), stated)
    found = find_base(image.config, image.manifest)
    if found is not None and found.layers is not None:
        return FoundBase(found.layers, None)
    longest = lookup.longest(image.config, name)
    if longest is None:
        raise InvalidParameterError(
            name,
            "nothing tells which of its layers are those of its base image: its history does not begin with Microsoft's"
            " steps, the base of its annotations is neither in the store nor in its registry, and no image of the store"
            " has its first layers; name the base image (--old-base for rebase, --base for squash)",
        )
    return FoundBase(len(longest.config.diff_ids), longest)


def _is_on(diff_ids: tuple[str, ...], base: ImageDocuments) -> bool:
    return bool(base.config.diff_ids) and diff_ids[: len(base.config.diff_ids)] == base.config.diff_ids
