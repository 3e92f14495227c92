"""What a report tells of layers: how much it saves that images share them, and why some could not be read."""

from __future__ import annotations

from wclayer.fleet.model import ImageStatus
from wclayer.fleet.query.session import FleetSession
from wclayer.fleet.report.figures import Problem, SharedLayer, Sharing

_MOST, _PROBLEMS = 12, 30
"""How many shared layers, and reasons why something is missing, are told at most."""

_SHARING = f"""
WITH used AS (
    SELECT layer, count(*) AS images FROM (
        SELECT DISTINCT image, unnest(layers) AS layer
        FROM images WHERE image IS NOT NULL AND status IN ('{ImageStatus.OK}', '{ImageStatus.INCOMPLETE}')
    ) GROUP BY layer
)
SELECT coalesce(used.layer, layers.layer), images, stored_size, is_base, coalesce(created_by, ''),
    count(images) OVER (), count(*) FILTER (images > 1) OVER (),
    coalesce(sum(stored_size) FILTER (images > 0) OVER (), 0)::BIGINT,
    coalesce(sum(images * stored_size) OVER (), 0)::BIGINT,
    count(*) FILTER (images > 0 AND stored_size IS NULL) OVER (),
    count(*) FILTER (images IS NULL) OVER ()
FROM used FULL JOIN layers USING (layer)
ORDER BY (images - 1) * stored_size DESC NULLS LAST, layer LIMIT {_MOST}
"""
"""An image that has a layer twice stores it once."""


def sharing_of(session: FleetSession) -> Sharing:
    """Returns what it saves that the images of a fleet share layers."""
    rows = list(session.ask(_SHARING))
    if not rows:
        return Sharing(0, 0, 0, 0, 0, 0, ())
    most = (SharedLayer(*row[:5]) for row in rows if row[1] is not None and row[1] > 1 and row[2] is not None)
    layers, shared, stored, summed, unknown, unused = rows[0][5:]
    return Sharing(layers, shared, stored, summed, unknown, unused, tuple(most))


def problems_of(session: FleetSession) -> tuple[tuple[Problem, ...], int]:
    """Returns the reasons why something is missing, those of most images first, and how many more there are."""
    rows = list(
        session.ask(
            "SELECT kind = 'layer', place, coalesce(error, ''), image_references, count(*) OVER () FROM errors"
            f" ORDER BY image_references DESC, kind DESC, place LIMIT {_PROBLEMS}"
        )
    )
    return tuple(Problem(*row[:4]) for row in rows), rows[0][4] - len(rows) if rows else 0
