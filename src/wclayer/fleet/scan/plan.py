"""What a scan has to do: the layers that have no facts yet, and the buckets whose images are new or changed.

A reference whose image has its rows already costs one request, for its manifest. Images wait for the layers that they
need; the layers for which most images wait are read first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from wclayer.fleet.model import ImageStatus, ResolvedImage
from wclayer.fleet.scan.found import FoundImage, FoundLayer
from wclayer.fleet.sources.filters import Filters
from wclayer.fleet.tables.schema import ImageRow

_PLACES, _MOST_PLACES = 3, 16
"""Repositories that are asked for a layer, one after the other; and if they do not agree on its size."""
_DONE = frozenset({ImageStatus.OK, ImageStatus.OTHER_PLATFORM, ImageStatus.ARTIFACT})
"""What an image stays: its digest names all that can be known."""


@dataclass(slots=True)
class LayerJob:
    """A layer that is to be read.

    Attributes:
        digest: the digest of its blob.
        places: locations of images that have it, with what these say of it.
        buckets: the buckets that wait for it.
        waiting: how many images wait for it.
    """

    digest: str
    places: list[tuple[str, FoundLayer]] = field(default_factory=list)
    buckets: list[BucketJob] = field(default_factory=list)
    waiting: int = 0

    @property
    def size(self) -> int:
        """The bytes of the blob, as the first manifest says."""
        return self.places[0][1].descriptor.size

    def add(self, location: str, layer: FoundLayer) -> None:
        """Notes an image that has the layer."""
        self.waiting += 1
        sizes = {known.descriptor.size for _, known in self.places}
        # A manifest may state another size than the blob has. That does not keep the layer from the other images.
        if len(self.places) < _PLACES or (len(self.places) < _MOST_PLACES and layer.descriptor.size not in sizes):
            self.places.append((location, layer))


@dataclass(slots=True)
class BucketJob:
    """A bucket that may have to be replaced.

    Attributes:
        number: its number.
        images: all references of the source in it, each with its image.
        layers: the digests of the layers that had no facts when the scan began.
        missing: those of them that it still waits for.
        is_changed: whether it lacks rows, or has some that are not right any more.
        attempts: how often its task was begun.
    """

    number: int
    images: list[FoundImage] = field(default_factory=list)
    layers: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    is_changed: bool = False
    attempts: int = 0

    @property
    def new_images(self) -> int:
        """How many images need rows."""
        return len({each.image.digest for each in self.images if each.documents})

    def give_up(self, error: str) -> None:
        """Replaces the images that need rows by an error."""
        self.images = [
            FoundImage(replace(each.image, status=ImageStatus.ERROR, error=error)) if each.documents else each
            for each in self.images
        ]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scan has to do.

    Attributes:
        buckets: the buckets that have, or had, references of the source.
        layers: the layers without facts, those first for which most images wait.
        removed: the number of references that are gone, or mean another image now.
    """

    buckets: list[BucketJob]
    layers: list[LayerJob]
    removed: int


class KnownImages:
    """What earlier scans know of images.

    Args:
        rows: the rows of all images.
        source: the source that is scanned.
    """

    def __init__(self, rows: Iterable[ImageRow], source: str) -> None:
        self._rows: list[ImageRow] = []
        self._done: dict[str, ResolvedImage] = {}
        self._by_reference: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if row.image is not None and row.status in _DONE:
                self._done[row.image] = FoundImage.of_row(row).image
                self._by_reference[row.reference].append(row.image)
            if row.source == source:
                self._rows.append(row)

    @property
    def rows(self) -> list[ImageRow]:
        """The rows of the source."""
        return self._rows

    def is_done(self, digest: str) -> bool:
        """Returns whether an image need not be read again."""
        return digest in self._done

    def images_of(self, references: Iterable[str]) -> dict[str, ResolvedImage]:
        """Returns the images that references meant, as far as they need not be read again, by their digests."""
        return {digest: self._done[digest] for each in references for digest in self._by_reference.get(each, ())}

    def kept(self, filters: Filters, failed: Collection[str]) -> list[FoundImage]:
        """Returns the images whose rows stay, because this scan does not know whether they are still there.

        Args:
            filters: what this scan reads.
            failed: the repositories that could not be listed.
        """
        return [
            FoundImage.of_row(row)
            for row in self._rows
            if not filters.has(row.repository or "", row.tag or "")
            or (row.repository in failed and row.tag is not None)
        ]


def make_plan(
    found: Iterable[FoundImage], known: KnownImages, facts: Collection[str], bucket_of: Callable[[str], int]
) -> Plan:
    """Returns what is to be done for the images of a source.

    Args:
        found: all references of the source, each with its image.
        known: what earlier scans know.
        facts: the digests of the layers that have facts.
        bucket_of: returns the bucket of a digest, or of a reference without one.
    """
    buckets: dict[int, BucketJob] = {}
    layers: dict[str, LayerJob] = {}
    wanted: dict[int, set[tuple[str, ...]]] = defaultdict(set)

    def bucket(key: str) -> BucketJob:
        number = bucket_of(key)
        return buckets.setdefault(number, BucketJob(number))

    for each in sorted(found, key=lambda item: (item.image.listed.reference, item.image.digest)):
        job = bucket(each.key)
        job.images.append(each)
        wanted[job.number].add(_state(each.image))
        for layer in each.layers:
            digest = layer.descriptor.digest
            if digest in facts:
                continue
            needed = layers.setdefault(digest, LayerJob(digest))
            needed.add(each.image.listed.location, layer)
            if digest not in job.layers:
                job.layers.add(digest)
                needed.buckets.append(job)
    had: dict[int, set[tuple[str, ...]]] = defaultdict(set)
    for row in known.rows:
        had[bucket(row.image or row.reference).number].add(_state(FoundImage.of_row(row).image))
    for job in buckets.values():
        job.missing = set(job.layers)
        job.is_changed = wanted[job.number] != had[job.number]
    order = sorted(layers.values(), key=lambda job: (-job.waiting, -job.size, job.digest))
    removed = sum(len(_references(had[number]) - _references(wanted[number])) for number in buckets)
    return Plan(sorted(buckets.values(), key=lambda job: job.number), order, removed)


def _state(image: ResolvedImage) -> tuple[str, ...]:
    return image.listed.reference, image.digest, image.status, image.error


def _references(states: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {state[:2] for state in states}
