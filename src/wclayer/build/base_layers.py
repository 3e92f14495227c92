"""Where the base image of an image ends: by a base that the user names, by annotations, or by the history."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.build.documents import ImageDocuments
from wclayer.errors import InvalidParameterError, PathNotFoundError
from wclayer.images.history import BASE_DIGEST, find_base
from wclayer.images.store import ImageStore


@dataclass(frozen=True, slots=True)
class FoundBase:
    """The base image of an image.

    Attributes:
        count: how many of the layers are the base's.
        documents: the documents of the base; None if only the history tells of it.
    """

    count: int
    documents: ImageDocuments | None


def base_layers(name: str, image: ImageDocuments, store: ImageStore, base: ImageDocuments | None = None) -> FoundBase:
    """Returns which layers of an image are those of its base image.

    It is the base that the user names, or the image of the store that the annotations of the manifest state, or what
    the history tells of Microsoft's base images ("Apply image", "Install update").

    Args:
        name: what the user calls the image, for messages.
        image: the image.
        store: where the base that the annotations state is looked up.
        base: the base that the user names.

    Raises:
        InvalidParameterError: the image is not made on the base that the user names, or nothing tells which base it
            has.
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
    stated = _in_store(image.annotations.get(BASE_DIGEST, ""), store)
    if stated is not None and _is_on(diff_ids, stated):
        return FoundBase(len(stated.config.diff_ids), stated)
    found = find_base(image.config, image.manifest)
    if found is None or found.layers is None:
        raise InvalidParameterError(
            name,
            "nothing tells which of its layers are those of its base image: its history does not begin with Microsoft's"
            " steps, and the base of its annotations is not in the store; name the base image (--old-base for rebase,"
            " --base for squash)",
        )
    return FoundBase(found.layers, None)


def _is_on(diff_ids: tuple[str, ...], base: ImageDocuments) -> bool:
    return bool(base.config.diff_ids) and diff_ids[: len(base.config.diff_ids)] == base.config.diff_ids


def _in_store(digest: str, store: ImageStore) -> ImageDocuments | None:
    """Returns the image with a digest; None if the store does not have it."""
    if not digest:
        return None
    try:
        with store.source(digest) as source:
            return ImageDocuments.of(source)
    except PathNotFoundError:
        return None
