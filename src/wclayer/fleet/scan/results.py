"""`ScanResult`: what a scan did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class ScanError(NamedTuple):
    """What could not be read.

    Attributes:
        what: a reference, a repository, or the digest of a layer.
        text: why.
    """

    what: str
    text: str


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan did.

    Attributes:
        listed: the number of references that the scan looked at: those of the source that its patterns choose.
        references: the number of references of the source in the tables: also those that an earlier scan looked at and
            that the patterns of this one do not choose. An index counts once for each of its images.
        images: the number of images that they mean.
        new_images: the number of images of which rows were made.
        removed: the number of references that the source does not have any more.
        layers: the number of distinct layers of all images in the tables.
        new_layers: the number of layers that were read.
        bytes_read: the bytes that were read of blobs of layers.
        errors: what could not be read, each cause once: an image that only lacks a layer is not among them.
    """

    listed: int
    references: int
    images: int
    new_images: int
    removed: int
    layers: int
    new_layers: int
    bytes_read: int
    errors: tuple[ScanError, ...]

    @property
    def is_unchanged(self) -> bool:
        """True if there was nothing to do."""
        return not (self.new_images or self.new_layers or self.removed)
