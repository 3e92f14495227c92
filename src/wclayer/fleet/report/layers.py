"""What a report tells of layers: how much it saves that images share them, and why some could not be read."""

from __future__ import annotations

from wclayer.fleet.model import ImageStatus
from wclayer.fleet.query.session import FleetSession
from wclayer.fleet.report.figures import Problem, SharedLayer, Sharing

_MOST, _PROBLEMS = 12, 30
"""How many shared layers, and reasons why something is missing, are told at most."""

USED = f"""
WITH one AS (
    SELECT image, min({{'reference': reference, 'source': source}}) AS name FROM images
    WHERE image IS NOT NULL AND status IN ('{ImageStatus.OK}', '{ImageStatus.INCOMPLETE}') GROUP BY image
),
used AS (
    SELECT layer, count(*) AS images FROM (
        SELECT unnest(list_distinct(layers)) AS layer FROM images
        SEMI JOIN one ON one.image = images.image AND name = {{'reference': reference, 'source': source}}
    ) GROUP BY layer
),
known AS (
    SELECT coalesce(used.layer, layers.layer) AS layer, images, stored_size::HUGEINT AS size,
        coalesce(is_base, false) AS is_base, coalesce(created_by, '') AS created_by
    FROM used FULL JOIN layers USING (layer)
)
"""
"""The beginning of a query: its table `known` says how many images have each layer. An image counts once, whatever its
names, and stores a layer once that it has twice. Sizes are those that manifests state: their sum may be any number."""


def sharing_of(session: FleetSession) -> Sharing:
    """Returns what it saves that the images of a fleet share layers."""
    (totals,) = session.ask(
        f"{USED} SELECT count(images), count(*) FILTER (images > 1), coalesce(sum(size) FILTER (images > 0), 0),"
        " coalesce(sum(images * size), 0), count(*) FILTER (images > 0 AND size IS NULL),"
        " count(*) FILTER (images IS NULL) FROM known"
    )
    most = session.ask(
        f"{USED} SELECT layer, images, size, is_base, created_by FROM known WHERE images > 1 AND size IS NOT NULL"
        f" ORDER BY (images - 1) * size DESC, layer LIMIT {_MOST}"
    )
    layers, shared, stored, summed, unknown, unused = totals
    shared_layers = tuple(SharedLayer(*row) for row in most)
    return Sharing(layers, shared, stored, summed, unknown, unused, shared_layers)


def problems_of(session: FleetSession) -> tuple[tuple[Problem, ...], int]:
    """Returns the reasons why something is missing, those of most images first, and how many more there are."""
    rows = list(
        session.ask(
            "SELECT kind = 'layer', place, coalesce(error, ''), image_references, count(*) OVER () FROM errors"
            f" ORDER BY image_references DESC, kind DESC, place LIMIT {_PROBLEMS}"
        )
    )
    return tuple(Problem(*row[:4]) for row in rows), rows[0][4] - len(rows) if rows else 0
