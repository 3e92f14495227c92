"""`diff_fleets`: what differs between two fleets, such as the same registry a month ago and now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, zip_longest
from types import TracebackType
from typing import Any, Self

from wclayer._types import StrPath
from wclayer.errors import boundary
from wclayer.fleet.model import ImageStatus
from wclayer.fleet.query.session import MEMORY, FleetSession
from wclayer.view.diff import Change

UPDATE = "update"
"""The kind of the items that are updates; all others are packages."""
_OLD, _NEW = "old", "new"

_NAMED = """
    SELECT *, row_number() OVER (PARTITION BY reference, release ORDER BY image) AS number FROM (
        SELECT DISTINCT ON (reference, image) *, CASE WHEN reference IN (FROM several) THEN build END AS release
        FROM {schema}.images
    )
"""
"""The images by their references. Several images of one reference are told apart by their releases of Windows."""
_SEVERAL = "SELECT reference FROM {schema}.images GROUP BY reference HAVING count(DISTINCT image) > 1"
_PAIRED = f"""
    WITH several AS ({_SEVERAL.format(schema=_OLD)} UNION {_SEVERAL.format(schema=_NEW)}),
    earlier AS ({_NAMED.format(schema=_OLD)}),
    later AS ({_NAMED.format(schema=_NEW)}),
    paired AS (
        SELECT coalesce(a.reference, b.reference) AS reference,
            CASE
                WHEN a.reference IS NULL THEN 'added'
                WHEN b.reference IS NULL THEN 'removed'
                WHEN a.image IS NOT DISTINCT FROM b.image AND a.status = b.status THEN 'same'
                ELSE 'changed'
            END AS change,
            a.image AS old_image, a.status AS old_status, a.os_version AS old_os, a.created AS old_created,
            a.size AS old_size, b.image AS new_image, b.status AS new_status, b.os_version AS new_os,
            b.created AS new_created, b.size AS new_size
        FROM earlier AS a FULL JOIN later AS b
            ON a.reference = b.reference AND a.number = b.number AND a.release IS NOT DISTINCT FROM b.release
    ),
    compared AS (
        SELECT old_image, new_image, min(reference) AS first FROM paired
        WHERE change = 'changed' AND old_image <> new_image
            AND old_status = '{ImageStatus.OK}' AND new_status = '{ImageStatus.OK}'
        GROUP BY old_image, new_image
    )
"""
"""The references of both fleets, and the pairs of images whose contents are compared."""


def _items(schema: str) -> str:
    """Returns a query for what the images of a fleet hold: updates without what is in their names only, packages."""
    return f"""
        SELECT image, '{UPDATE}' AS kind, coalesce(kb, split_part(name, '~', 1)) AS name,
            concat_ws(', ', version, state) AS version FROM {schema}.updates
        UNION ALL SELECT image, kind, name, coalesce(version, '') FROM {schema}.packages
    """


_ITEMS = f"""
    {_PAIRED},
    counted AS (
        SELECT first, old_image, new_image, kind, lower(name) AS key, min(name) AS name, version, sum(count) AS surplus
        FROM (
            SELECT compared.*, kind, name, version, -1 AS count
            FROM compared JOIN ({_items(_OLD)}) AS held ON held.image = old_image
            UNION ALL SELECT compared.*, kind, name, version, 1
            FROM compared JOIN ({_items(_NEW)}) AS held ON held.image = new_image
        ) GROUP BY first, old_image, new_image, kind, key, version HAVING surplus <> 0
    )
"""
"""What one image of a pair has more often than the other one (`surplus`; negative: the old one)."""
_COUNTS = f"""
    {_ITEMS},
    named AS (
        SELECT old_image, new_image, kind, key,
            coalesce(sum(surplus) FILTER (surplus > 0), 0) AS more,
            coalesce(sum(-surplus) FILTER (surplus < 0), 0) AS less
        FROM counted GROUP BY old_image, new_image, kind, key
    )
    SELECT kind = '{UPDATE}', sum(more - least(more, less)), sum(less - least(more, less)), sum(least(more, less))
    FROM named GROUP BY 1
"""
"""How many updates, and how many packages, were added, removed, changed."""


@dataclass(frozen=True, slots=True)
class FleetItemChange:
    """An update or a package that differs between the old and the new image of a reference.

    Attributes:
        change: what happened to it.
        kind: "update", or the kind of the package.
        name: its name.
        old, new: its version, of an update with its state; "" for what has none, None where it is not there.
    """

    change: Change
    kind: str
    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class FleetImage:
    """An image in one of two fleets.

    Attributes:
        image: the digest of its manifest; "" if that is unknown.
        status: what became of it in the scan.
        os_version: the version of Windows; "" if that is unknown.
        created: when it was made, in ISO 8601 (UTC); "" if that is unknown.
        size: bytes of its compressed layers; None if that is unknown.
    """

    image: str
    status: str
    os_version: str
    created: str
    size: int | None


@dataclass(frozen=True, slots=True)
class FleetImageChange:
    """References that differ in the same way.

    Attributes:
        change: whether only the new fleet has them, only the old one, or both with another image or status.
        references: the references.
        old, new: the images; None where there is none.
        items: the updates and packages that differ.
        is_compared: whether `items` was found out: both images were read whole, and are not the same.
    """

    change: Change
    references: tuple[str, ...]
    old: FleetImage | None
    new: FleetImage | None
    items: tuple[FleetItemChange, ...]
    is_compared: bool


@dataclass(frozen=True, slots=True)
class FleetLayerChange:
    """A layer that only one of two fleets has.

    Attributes:
        change: added or removed.
        layer: the digest of its blob.
        stored_size: bytes of its blob; None if that is unknown.
        created_by: the step that made it; "" if that is unknown.
    """

    change: Change
    layer: str
    stored_size: int | None
    created_by: str


@dataclass(frozen=True, slots=True)
class FleetDiffSummary:
    """How much differs between two fleets. It is true if anything does.

    Attributes:
        images: how many references were added, removed, changed.
        same: how many references are the same.
        updates, packages: how many were added, removed, changed between two images, however many references have them.
        layers: how many layers were added, removed.
        layer_sizes: bytes of their blobs.
    """

    images: dict[Change, int]
    same: int
    updates: dict[Change, int]
    packages: dict[Change, int]
    layers: dict[Change, int]
    layer_sizes: dict[Change, int]

    def __bool__(self) -> bool:
        return any(self.images.values()) or any(self.layers.values())


@boundary
class FleetDifference:
    """What differs between two fleets. It is found out while it is asked for; the end of its context closes both.

    Args:
        old, new: the fleets: paths, or URLs that fsspec knows.
        memory: bytes of memory that DuckDB may use.
        threads: how many threads DuckDB uses; by default one for each processor.

    Raises:
        PathNotFoundError, NotSupportedError, InvalidDataError: see `query_fleet`.
    """

    operation = "compare fleets"

    def __init__(self, old: StrPath, new: StrPath, *, memory: int = MEMORY, threads: int | None = None) -> None:
        self.old, self.new = str(old), str(new)
        self._session = FleetSession({_OLD: old, _NEW: new}, memory=memory, threads=threads)

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def images(self) -> Iterator[FleetImageChange]:
        """Yields the references that were removed, those that were added, then those that have another image or status.

        Of what images hold, only what differs between two images is in memory.
        """
        rows = self._session.ask(f"""
            {_PAIRED}
            SELECT change, list(reference ORDER BY reference) AS names,
                old_image, old_status, any_value(old_os), any_value(old_created), any_value(old_size),
                new_image, new_status, any_value(new_os), any_value(new_created), any_value(new_size)
            FROM paired WHERE change <> 'same' GROUP BY change, old_image, old_status, new_image, new_status
            ORDER BY list_position(['removed', 'added', 'changed'], change), names[1], old_image, new_image
        """)
        items = _Items(self._session)
        for change, names, *sides in rows:
            old, new = _image(*sides[:5]), _image(*sides[5:])
            is_compared = _is_compared(old, new)
            found = tuple(items.of(old, new)) if old and new and is_compared else ()
            yield FleetImageChange(Change(change), tuple(names), old, new, found, is_compared)

    def layers(self) -> Iterator[FleetLayerChange]:
        """Yields the layers that only images of the old fleet have, then those that only images of the new one have."""
        rows = self._session.ask(
            " UNION ALL ".join(map(_layers_only_in, (_OLD, _NEW), (_NEW, _OLD))) + " ORDER BY 1 DESC, 2"
        )
        for change, layer, stored_size, created_by in rows:
            yield FleetLayerChange(Change(change), layer, stored_size, created_by or "")

    def summary(self) -> FleetDiffSummary:
        """Returns how much differs."""
        images: dict[str, int] = dict(
            self._session.ask(f"{_PAIRED} SELECT change, count(*) FROM paired GROUP BY change")
        )
        updates, packages = (dict.fromkeys(Change, 0) for _ in range(2))
        for is_update, added, removed, changed in self._session.ask(_COUNTS):
            counts = updates if is_update else packages
            counts |= {Change.ADDED: int(added), Change.REMOVED: int(removed), Change.CHANGED: int(changed)}
        layers, sizes = (dict.fromkeys((Change.ADDED, Change.REMOVED), 0) for _ in range(2))
        for layer in self.layers():
            layers[layer.change] += 1
            sizes[layer.change] += layer.stored_size or 0
        changes = {change: images.get(change.value, 0) for change in Change}
        return FleetDiffSummary(changes, images.get("same", 0), updates, packages, layers, sizes)


class _Items:
    """The items that differ, of one pair of images after the other, in the order in which `images` yields the pairs."""

    def __init__(self, session: FleetSession) -> None:
        rows = session.ask(f"""
            {_ITEMS} SELECT old_image, new_image, kind, key, name, version, surplus FROM counted
            ORDER BY first, old_image, new_image, kind <> '{UPDATE}', kind, key, version
        """)
        self._pairs = groupby(rows, lambda row: row[:2])
        self._next = next(self._pairs, None)

    def of(self, old: FleetImage, new: FleetImage) -> Iterator[FleetItemChange]:
        """Yields the items that differ between two images."""
        if self._next is None or self._next[0] != (old.image, new.image):
            return
        for (kind, _), rows in groupby(self._next[1], lambda row: row[2:4]):
            yield from _changes(kind, list(rows))
        self._next = next(self._pairs, None)


def _changes(kind: str, rows: list[tuple[Any, ...]]) -> Iterator[FleetItemChange]:
    """Yields the changes of what has one name: what one image has more often replaces what the other one has."""
    old = [row[5] for row in rows for _ in range(-row[6])]
    new = [row[5] for row in rows for _ in range(row[6])]
    for before, after in zip_longest(old, new):
        change = Change.ADDED if before is None else Change.REMOVED if after is None else Change.CHANGED
        yield FleetItemChange(change, kind, rows[-1][4], before, after)


def _image(
    image: str | None, status: str | None, os_version: str | None, created: datetime | None, size: int | None
) -> FleetImage | None:
    if status is None:
        return None
    return FleetImage(image or "", status, os_version or "", created.isoformat() + "Z" if created else "", size)


def _is_compared(old: FleetImage | None, new: FleetImage | None) -> bool:
    return old is not None and new is not None and old.status == new.status == ImageStatus.OK and old.image != new.image


def _layers_only_in(schema: str, other: str) -> str:
    change = Change.REMOVED if schema == _OLD else Change.ADDED
    return f"""
        SELECT '{change.value}' AS change, layer, stored_size, created_by
        FROM (SELECT DISTINCT layer FROM {schema}.image_layers) LEFT JOIN {schema}.layers USING (layer)
        WHERE layer NOT IN (SELECT layer FROM {other}.image_layers)
    """


def diff_fleets(old: StrPath, new: StrPath, *, memory: int = MEMORY, threads: int | None = None) -> FleetDifference:
    """Returns what differs from one fleet to another: references, what their images hold, layers.

    References are compared by their names; the contents of two images are compared if both were read whole.

    Args:
        old, new: the fleets: paths, or URLs that fsspec knows.
        memory: bytes of memory that DuckDB may use.
        threads: how many threads DuckDB uses; by default one for each processor.

    Returns:
        The difference, which is found out while it is asked for; the end of its context closes the fleets.

    Raises:
        PathNotFoundError: there is no fleet, or a file of it is missing.
        NotSupportedError: DuckDB is not installed, or another version of wclayer has made a fleet.
        InvalidDataError: a table is damaged.
        OutOfMemoryError: the comparison needs more memory than it may use.
    """
    return FleetDifference(old, new, memory=memory, threads=threads)
