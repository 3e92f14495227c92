"""The newest tags of each repository, which their images tell, and the groups in which references are resolved."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from wclayer.fleet.access import ImageAccess
from wclayer.fleet.model import ImageStatus, Listed, ResolvedImage
from wclayer.fleet.resolve import resolve_images
from wclayer.images.location import Transport
from wclayer.images.parallel import in_order

_BATCH = 16
_BATCH_OF_LAYOUT = 512
"""The images of a layout cost no requests, and each batch reads its whole index."""
_THREADS = 8
_LAYOUT = f"{Transport.LAYOUT.value}:"


def in_batches(listed: Iterable[Listed]) -> Iterator[list[Listed]]:
    """Yields references in groups, each for one task. What could not be listed is in them.

    Those of one repository follow each other, so that one worker needs few tokens.

    Args:
        listed: the references of a source.
    """
    batch: list[Listed] = []
    for item in listed:
        batch.append(item)
        is_of_layout = batch[0].location.startswith(_LAYOUT) and item.location.startswith(_LAYOUT)
        if len(batch) >= (_BATCH_OF_LAYOUT if is_of_layout else _BATCH):
            yield batch
            batch = []
    if batch:
        yield batch


def newest_of(images: Iterable[ResolvedImage], newest: int | None) -> list[ResolvedImage]:
    """Returns the images of the newest tags of each repository, in their order.

    The API of registries has no times of tags: when an image was made is in its configuration, so every tag must be
    resolved first, which is two or three small requests. Of tags that were made in the same second, the one with the
    higher number is newer (1.10 before 1.9). Tags without an image for Windows do not count, and are left out. What
    failed is returned, and so is what has no tag.

    Args:
        images: the images of whole repositories.
        newest: the number of tags; None returns all.
    """
    images = list(images)
    if newest is None:
        return images
    times: dict[str, dict[str, int]] = defaultdict(dict)
    for image in images:
        if image.status is ImageStatus.OK:
            tags = times[_repository(image.listed)]
            tags[image.listed.tag] = max(image.created, tags.get(image.listed.tag, 0))
    kept = {
        (repository, tag)
        for repository, tags in times.items()
        for tag in sorted(tags, key=lambda tag: (tags[tag], _by_numbers(tag)), reverse=True)[:newest]
    }
    return [
        image
        for image in images
        if image.status is ImageStatus.ERROR
        or not image.listed.tag
        or (_repository(image.listed), image.listed.tag) in kept
    ]


def list_newest(listed: Iterable[Listed], access: ImageAccess, newest: int) -> Iterator[Listed]:
    """Yields the references of the newest tags of each repository, and what failed as an item with an error.

    Args:
        listed: the references of a source.
        access: how they are reached.
        newest: the number of tags.
    """
    batches = in_batches(listed)
    found = in_order(lambda batch: resolve_images(batch, access), batches, jobs=_THREADS, name="the newest tags")
    images = (replace(image, manifest=b"", config=b"") for images in found for image in images)
    seen: set[Listed] = set()
    for image in newest_of(images, newest):
        item = replace(image.listed, error=image.error) if image.status is ImageStatus.ERROR else image.listed
        if item not in seen:
            seen.add(item)
            yield item


def _repository(item: Listed) -> str:
    """Returns what the locations of all tags of one repository have in common."""
    return item.location.removesuffix(item.tag)


def _by_numbers(text: str) -> list[tuple[int, str]]:
    """Returns what orders texts by the numbers in them."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"[0-9]{1,18}|[^0-9]+", text)]
