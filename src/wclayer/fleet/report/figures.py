"""What a report tells of a fleet: its figures, and how they are named.

An *image* is a manifest; several references may name it, and it counts once. A *level* is a revision of a build of
Windows that an image of the fleet has; the *newest* is the highest of the build.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

AGES = (30, 90, 180, 365, 730, 1095, 1825)
"""The days at which the next row of ages begins."""


@dataclass(frozen=True, slots=True)
class Totals:
    """How much the fleet is.

    Attributes:
        sources: where the images were listed, or the first of these places.
        sources_left_out: how many more places there are.
        first_scan, last_scan: when the first and the last image was scanned; None if none was.
        references: the names of images that were found, those with errors among them.
        repositories: how many repositories the references are in.
        images: the images that could be read, or parts of which could.
        incomplete: those of which a layer could not be read.
        failed: the references that could not be read at all.
        others: the references that name no image of Windows.
    """

    sources: tuple[str, ...]
    sources_left_out: int
    first_scan: datetime | None
    last_scan: datetime | None
    references: int
    repositories: int
    images: int
    incomplete: int
    failed: int
    others: int


@dataclass(frozen=True, slots=True)
class AgeRow:
    """How many are of an age.

    Attributes:
        days: the least and the most days, both included; None for an age that is not known, or has no upper bound.
        images: images that were made so long before the scan.
        on_bases: images whose base was.
        bases: the bases themselves.
    """

    days: tuple[int, int | None] | None
    images: int
    on_bases: int
    bases: int


@dataclass(frozen=True, slots=True)
class Level:
    """A revision of a build of Windows in the fleet.

    Attributes:
        revision: its number (UBR).
        images: the images that have it.
        newer: how many levels of the build are newer in this fleet.
    """

    revision: int
    images: int
    newer: int


@dataclass(frozen=True, slots=True)
class Build:
    """A build of Windows in the fleet.

    Attributes:
        number: the build (20348).
        name: what most images call the product ("Windows Server 2022 Datacenter").
        images: the images that have it.
        levels: its revisions, the newest first.
        unknown: the images that do not say their revision.
        left_out: how many levels are not in `levels`, and the images of these.
    """

    number: int
    name: str
    images: int
    levels: tuple[Level, ...]
    unknown: int
    left_out: tuple[int, int]


@dataclass(frozen=True, slots=True)
class SharedLayer:
    """A layer that several images have.

    Attributes:
        digest: the digest of its blob.
        images: how many images have it.
        size: of its blob, in bytes.
        is_base: whether it belongs to the base of an image.
        created_by: the step that made it; "" if that is unknown.
    """

    digest: str
    images: int
    size: int
    is_base: bool
    created_by: str

    @property
    def saved(self) -> int:
        """The bytes that are not stored again."""
        return (self.images - 1) * self.size


@dataclass(frozen=True, slots=True)
class Sharing:
    """What it saves that images share layers. Sizes are those of blobs, in bytes.

    Attributes:
        layers: the layers of the images.
        shared: those that more than one image has.
        stored: the sum of the layers, each once.
        summed: the sum over the images, each with all of its layers.
        unknown: the layers whose size is not known; they are in no sum.
        unused: the layers of the tables that no image has any more.
        most: the layers that save most.
    """

    layers: int
    shared: int
    stored: int
    summed: int
    unknown: int
    unused: int
    most: tuple[SharedLayer, ...]


@dataclass(frozen=True, slots=True)
class Package:
    """A package in the fleet.

    Attributes:
        kind: the kind of the item ("python-package").
        name: its name.
        images: how many images have it.
        versions: how many versions of it there are.
        frequent: the versions that most images have, each with their number.
    """

    kind: str
    name: str
    images: int
    versions: int
    frequent: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A reason why something is missing in the tables.

    Attributes:
        is_layer: whether a layer could not be read, or a reference.
        what: the digest of the layer, or the reference.
        text: the error.
        references: how many references it concerns.
    """

    is_layer: bool
    what: str
    text: str
    references: int


@dataclass(frozen=True, slots=True)
class DetailLayer:
    """A layer of an image in its details.

    Attributes:
        digest: the digest of its blob.
        size: of its blob, in bytes; None if it is not known.
        is_base: whether it is one of the base image's.
        images: how many images have it.
        created_by: the step that made it; "" if that is unknown.
    """

    digest: str
    size: int | None
    is_base: bool
    images: int
    created_by: str


@dataclass(frozen=True, slots=True)
class FirstTexts:
    """The first of several texts, and how many there are."""

    texts: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Details:
    """What is told of one image beyond the list.

    Attributes:
        image: the digest of its manifest.
        windows: the product and its version; "" if they are not known.
        created: when it was made; None if that is not known.
        layer_count: how many layers it has.
        layers: its first layers, base layer first.
        references: its names.
        updates: the updates of Windows that are installed in it.
        packages: what it brings beyond its base.
        findings: what is wrong with it, or could not be read.
    """

    image: str
    windows: str
    created: datetime | None
    layer_count: int
    layers: Sequence[DetailLayer]
    references: FirstTexts
    updates: FirstTexts
    packages: FirstTexts
    findings: FirstTexts
