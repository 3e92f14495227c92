"""`make_bucket`: the task that makes the rows of the images of a bucket from the facts of their layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wclayer.errors import (
    CorruptLayerError,
    FormatError,
    InvalidDataError,
    LayerError,
    NotSupportedError,
)
from wclayer.fleet.model import ImageStatus, ResolvedImage
from wclayer.fleet.scan.environment import Environment, environment
from wclayer.fleet.scan.found import FoundImage, fields_of_reference
from wclayer.fleet.tables.dataset import BucketRows
from wclayer.fleet.tables.rows import add_holdings, image_row
from wclayer.fleet.tables.schema import OF_IMAGES, ImageRow
from wclayer.images.config import parse_config
from wclayer.images.manifest import Manifest, parse_manifest
from wclayer.inventory.facts.subject import inventory_of_facts
from wclayer.inventory.item import Inventory

_DAMAGE = (FormatError, InvalidDataError, CorruptLayerError, NotSupportedError)
"""Errors of facts. Others are the host's."""


@dataclass(frozen=True, slots=True)
class BucketOutcome:
    """What became of a bucket.

    Attributes:
        images: the number of images that were merged, or could not be.
        errors: those that could not be, with the reasons. An image that lacks a layer is not among them.
    """

    images: int
    errors: tuple[tuple[str, str], ...]


def make_bucket(scan: str, number: int, images: Sequence[FoundImage], failed: Mapping[str, str]) -> BucketOutcome:
    """Replaces the rows of a source in a bucket.

    Args:
        scan: the name of the scan.
        number: the bucket.
        images: all references of the source in it, each with its image. Those without documents have rows already.
        failed: the layers that cannot be read, with the reasons.

    Raises:
        LayerError: the worker has no room for the facts, or the rows cannot be written.
    """
    with environment(scan) as here:
        bucket = _Bucket(here, here.dataset.read_bucket(number), failed)
        for image in images:
            bucket.add(image)
        here.check_wanted()
        here.dataset.replace_bucket(number, bucket.finish())
        return BucketOutcome(bucket.merged, tuple(bucket.errors))


class _Bucket:
    """The new rows of a bucket.

    Args:
        here: the worker.
        old: the rows that it has.
        failed: the layers that cannot be read, with the reasons.

    Attributes:
        merged: the number of images that were merged, or could not be.
        errors: the images that could not be merged, with the reasons.
    """

    def __init__(self, here: Environment, old: BucketRows, failed: Mapping[str, str]) -> None:
        self._here = here
        self._source = here.settings.source
        self._old = old
        self._failed = failed
        self._new = BucketRows()
        self._made: dict[str, ImageRow] = {}
        """The rows of images that were made now, by their digests."""
        self._same = {(row.reference, row.image): row for row in old.images if row.source == self._source}
        self._of_digest = {row.image: row for row in old.images if row.status != ImageStatus.ERROR}
        self.errors: list[tuple[str, str]] = []

    @property
    def merged(self) -> int:
        """The number of images that were merged, or could not be."""
        return len(self._made)

    def add(self, each: FoundImage) -> None:
        """Adds the row of a reference; and, once, those of what its image holds, if they are not there yet."""
        image = each.image
        if each.documents:
            if image.digest not in self._made:
                self._made[image.digest] = self._merge(each)
            row = self._made[image.digest]._replace(**fields_of_reference(image))
        else:
            row = self._row_of_known(image)
        self._new.images.append(row)

    def _row_of_known(self, image: ResolvedImage) -> ImageRow:
        settings = self._here.settings
        same = self._same.get((image.listed.reference, image.digest or None))
        if same is not None and (same.status, same.error or "") == (image.status, image.error):
            return same
        other = self._of_digest.get(image.digest)
        if other is None:
            return image_row(image, self._source, settings.time)
        return other._replace(**fields_of_reference(image), source=self._source, scanned=settings.time)

    def _merge(self, each: FoundImage) -> ImageRow:
        """Adds the rows of what an image holds, and returns its own."""
        image, time = each.resolved(), self._here.settings.time
        digests = [layer.descriptor.digest for layer in each.layers]
        missing = next((digest for digest in digests if digest in self._failed), "")
        inventory, error = None, self._failed.get(missing, "")
        if not missing:
            try:
                inventory = self._inventory(image, digests)
            except _DAMAGE as damage:
                error = str(damage)
            except (LayerError, OSError, MemoryError):
                raise
            except Exception as defect:  # noqa: BLE001 (whatever it is, it concerns this one image, and its row tells it)
                error = f"a defect of wclayer: {type(defect).__name__}: {defect}"
            if error:
                image = replace(image, status=ImageStatus.ERROR, error=error)
                self.errors.append((image.listed.reference, error))
        add_holdings(self._new, image, inventory)
        return image_row(image, self._source, time, inventory, error=error if missing else "", error_layer=missing)

    def _inventory(self, image: ResolvedImage, digests: Sequence[str]) -> Inventory:
        manifest = parse_manifest(image.manifest, image.media_type)
        assert isinstance(manifest, Manifest)
        with self._here.cache.hold(digests[::-1]) as folders:
            try:
                return inventory_of_facts(folders, image.listed.reference, manifest, parse_config(image.config))
            except _DAMAGE as damage:
                raise FormatError(_told(damage, folders, digests[::-1])) from damage

    def finish(self) -> BucketRows:
        """Returns all rows: those that were made, those of other sources, and what images that have rows hold."""
        for row in self._old.images:
            if row.source != self._source:
                made = self._made.get(row.image or "")
                # An image may have been made whole for this source, which lacked a layer for the other one.
                more = {name: getattr(row, name) for name in ("reference", "source", "repository", "tag")}
                self._new.images.append(row if made is None else made._replace(**more))
        kept = {row.image for row in self._new.images} - self._made.keys()
        for table in OF_IMAGES:
            self._new.of(table).extend(row for row in self._old.of(table) if row.image in kept)
        return self._new


def _told(damage: Exception, folders: Sequence[Path], digests: Sequence[str]) -> str:
    """Returns what is wrong with an image. It names layers, not the folders of a worker: these are others at each scan,
    and an equal error makes an equal row."""
    if isinstance(damage, LayerError):
        damage.operation = ""
    text = str(damage)
    for folder, digest in zip(folders, digests, strict=True):
        text = text.replace(str(folder), digest)
    return text
