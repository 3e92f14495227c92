"""`resolve`: the task that finds out what references mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wclayer.fleet.model import Listed, ResolvedImage
from wclayer.fleet.resolve import resolve_images
from wclayer.fleet.scan.environment import environment
from wclayer.fleet.scan.found import FoundImage


def resolve(scan: str, listed: Sequence[Listed], known: Mapping[str, ResolvedImage]) -> list[FoundImage]:
    """Returns the images that references mean.

    Args:
        scan: the name of the scan.
        listed: the references.
        known: images that need not be read again, by their digests: no document of theirs is asked for.
    """
    with environment(scan) as here:
        return [FoundImage.of(image) for image in resolve_images(listed, here.access, known)]
