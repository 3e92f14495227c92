"""What a report tells of images: they are read once, in the order of their names, and counted."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from wclayer.fleet.model import ImageStatus
from wclayer.fleet.query.session import FleetSession
from wclayer.fleet.report.figures import AGES, AgeRow, Build, Level, Totals
from wclayer.images.config import FIRST_YEAR

WORST = 10
"""How many of the worst images are told."""
_BUILDS, _LEVELS, _SOURCES = 12, 40, 5
"""How many builds of Windows, levels of a build and places that were listed are told at most."""

_IMAGES = f"""
WITH last AS (SELECT max(scanned) AS scan FROM images),
read AS (
    SELECT images.*, scan, CASE WHEN year(created) >= {FIRST_YEAR} AND created <= scan THEN created END AS made,
        CASE WHEN base_layers > 0 THEN md5(array_to_string(layers[1:base_layers], ' ')) END AS base,
        status IN ('{ImageStatus.OK}', '{ImageStatus.INCOMPLETE}') AND image IS NOT NULL AS is_read
    FROM images, last
),
first AS (
    SELECT *, is_read AND row_number() OVER (
        PARTITION BY is_read, image ORDER BY status <> '{ImageStatus.OK}', reference, source
    ) = 1 AS counts
    FROM read
),
levels AS (
    SELECT build, revision, row_number() OVER (PARTITION BY build ORDER BY revision DESC) - 1 AS newer
    FROM (SELECT DISTINCT build, revision FROM first WHERE counts AND revision IS NOT NULL)
),
products AS (
    SELECT build, product_name AS product FROM first WHERE counts AND product_name IS NOT NULL
    GROUP BY build, product_name
    QUALIFY row_number() OVER (PARTITION BY build ORDER BY count(*) DESC, product_name) = 1
),
bases AS (
    SELECT base, min(image) AS image,
        coalesce(min(made) FILTER (layer_count = base_layers), min(made)) AS base_made
    FROM first WHERE counts AND base IS NOT NULL GROUP BY base
),
found AS (SELECT image, count(*) AS findings FROM findings GROUP BY image)
SELECT first.reference, first.source, coalesce(first.repository, ''), coalesce(first.image, ''), first.status,
    coalesce(first.error, ''), counts, first.scanned, build, revision, newer, product,
    date_diff('second', made, scan) // 86400 AS days, date_diff('second', base_made, scan) // 86400 AS base_days,
    first.base IS NOT NULL, coalesce(counts AND bases.image = first.image, false), size, own_size,
    CASE WHEN first.status <> '{ImageStatus.ERROR}' THEN layer_count END,
    CASE WHEN is_read THEN coalesce(findings, 0) END
FROM first LEFT JOIN levels USING (build, revision) LEFT JOIN products USING (build) LEFT JOIN bases USING (base)
LEFT JOIN found ON found.image = first.image
ORDER BY first.reference, first.source
"""


class ListedImage(NamedTuple):
    """A reference, with what is known of the image that it names.

    Attributes:
        reference: the name.
        source: what was listed.
        repository: its repository; "" if it has none.
        image: the digest of the manifest; "" if it is not known.
        status: whether it was read (`ImageStatus`).
        error: why it was not, or not completely; "" if it was.
        counts: whether this is the first of the names of an image that was read.
        scanned: when.
        build, revision: the version of Windows; None if it is not known.
        newer: how many revisions of its build are newer in this fleet.
        product: what most images of this build call it.
        days: how many days before the last scan the image was made; None if that is not known.
        base_days: the same of its base.
        has_base: whether it is known which of its layers are the base's.
        is_first_on_base: whether it stands for its base where bases are counted.
        size: of the blobs of its layers, in bytes.
        own_size: of those that are not its base's.
        layers: how many layers it has.
        findings: how many findings its inventory has; None if there is none.
    """

    reference: str
    source: str
    repository: str
    image: str
    status: str
    error: str
    counts: bool
    scanned: datetime | None
    build: int | None
    revision: int | None
    newer: int | None
    product: str | None
    days: int | None
    base_days: int | None
    has_base: bool
    is_first_on_base: bool
    size: int | None
    own_size: int | None
    layers: int | None
    findings: int | None


def listed_images(session: FleetSession) -> Iterator[ListedImage]:
    """Yields all references, in the order of their names. Nothing else may be asked meanwhile."""
    return map(ListedImage._make, session.ask(_IMAGES))


class ImageTally:
    """Counts images while they are read.

    Attributes:
        at_newest, behind: the images at the newest level of their build, and those that are not.
    """

    def __init__(self) -> None:
        self.at_newest = self.behind = 0
        self._references: Counter[str] = Counter()
        self._images = self._incomplete = 0
        self._sources: set[str] = set()
        self._repositories: set[str] = set()
        self._scans: list[datetime] = []
        self._days: Counter[int | None] = Counter()
        self._base_days: Counter[int | None] = Counter()
        self._bases: Counter[int | None] = Counter()
        self._levels: dict[int, Counter[int | None]] = {}
        self._newer: dict[tuple[int, int], int] = {}
        self._products: dict[int, str] = {}
        self._worst: list[tuple[tuple[int, int, int], int, ListedImage]] = []

    def add(self, image: ListedImage) -> None:
        """Counts a reference, and the image if it is the first of its names."""
        self._references[image.status] += 1
        self._sources.add(image.source)
        self._repositories.add(image.repository)
        if image.scanned is not None:
            self._scans = [min([*self._scans, image.scanned]), max([*self._scans, image.scanned])]
        if image.counts:
            self._images += 1
            self._incomplete += image.status == ImageStatus.INCOMPLETE
            self._add_age(image)
            self._add_level(image)
            self._add_bad(image)

    def _add_age(self, image: ListedImage) -> None:
        self._days[image.days] += 1
        if image.has_base:
            self._base_days[image.base_days] += 1
            self._bases[image.base_days] += image.is_first_on_base

    def _add_level(self, image: ListedImage) -> None:
        if image.newer is not None:
            self.at_newest += image.newer == 0
            self.behind += image.newer > 0
        if image.build is not None:
            self._levels.setdefault(image.build, Counter())[image.revision] += 1
            self._products[image.build] = image.product or "Windows"
            if image.revision is not None and image.newer is not None:
                self._newer[image.build, image.revision] = image.newer

    def _add_bad(self, image: ListedImage) -> None:
        badness = image.newer or 0, image.findings or 0, image.days or 0
        if any(badness):
            # Of equal ones, the first by name stays.
            heapq.heappush(self._worst, (badness, -self._images, image))
            if len(self._worst) > WORST:
                heapq.heappop(self._worst)

    @property
    def worst(self) -> list[ListedImage]:
        """The images with most newer levels; of equal ones those with most findings, then the oldest."""
        return [image for _, _, image in sorted(self._worst, reverse=True)]

    @property
    def totals(self) -> Totals:
        """How much the fleet is."""
        sources = sorted(self._sources)
        return Totals(
            sources=tuple(sources[:_SOURCES]), sources_left_out=len(sources[_SOURCES:]),
            first_scan=min(self._scans, default=None), last_scan=max(self._scans, default=None),
            references=self._references.total(), repositories=len(self._repositories - {""}), images=self._images,
            incomplete=self._incomplete, failed=self._references[ImageStatus.ERROR],
            others=self._references[ImageStatus.OTHER_PLATFORM] + self._references[ImageStatus.ARTIFACT],
        )  # fmt: skip

    @property
    def ages(self) -> tuple[AgeRow, ...]:
        """How many images and bases are of each age, those of unknown age last."""
        starts = (0, *AGES)
        bounds = [*((start, end - 1) for start, end in zip(starts, AGES, strict=False)), (AGES[-1], None)]
        counted = (self._days, self._base_days, self._bases)
        return (
            *(AgeRow(days, *(_between(each, *days) for each in counted)) for days in bounds),
            AgeRow(None, *(each[None] for each in counted)),
        )

    @property
    def median_age(self) -> int | None:
        """The median age of images, in days; None if none is known."""
        return _median(self._days)

    @property
    def median_base_age(self) -> int | None:
        """The median age of the bases of images, in days; None if none is known."""
        return _median(self._base_days)

    @property
    def builds(self) -> tuple[tuple[Build, ...], tuple[int, int]]:
        """The most frequent builds of Windows; how many there are beside them, and the images that have these."""
        numbers = sorted(self._levels, key=lambda number: (-self._levels[number].total(), -number))
        rest = numbers[_BUILDS:]
        left_out = len(rest), sum(self._levels[number].total() for number in rest)
        return tuple(map(self._build, numbers[:_BUILDS])), left_out

    def _build(self, number: int) -> Build:
        counts = self._levels[number]
        levels = [
            Level(revision, counts[revision], self._newer[number, revision])
            for revision in sorted((revision for revision in counts if revision is not None), reverse=True)
        ]
        rest = levels[_LEVELS:]
        left_out = len(rest), sum(level.images for level in rest)
        return Build(number, self._products[number], counts.total(), tuple(levels[:_LEVELS]), counts[None], left_out)


def _between(counts: Counter[int | None], least: int, most: int | None) -> int:
    return sum(
        count for days, count in counts.items() if days is not None and least <= days and (most is None or days <= most)
    )


def _median(counts: Counter[int | None]) -> int | None:
    """Returns the lower median of what is counted, without None."""
    known = sorted((days, count) for days, count in counts.items() if days is not None)
    left = (sum(count for _, count in known) + 1) // 2
    for days, count in known:
        left -= count
        if left <= 0:
            return days
    return None
