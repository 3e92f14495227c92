"""SQL for the files that images show: what `MergedTree` does, as joins over the entries of layers.

Whether a layer hides an entry of a layer below it depends on these two alone. So what is hidden is found once for each
pair of layers, not for each image:

- the layer above has an entry or a tombstone of the same name, or
- it has a file, a link or a tombstone under the name of a directory above the entry.
"""

from __future__ import annotations

from wclayer.fleet.model import ImageStatus
from wclayer.fleet.tables.schema import FileKind

CHAINS = (
    "SELECT image, number, layers[number] AS layer, layers[number + 1:] AS nearer FROM ("
    "SELECT image, any_value(layers) AS layers, unnest(generate_series(1, len(any_value(layers)))) AS number"
    f" FROM images WHERE status = '{ImageStatus.OK}' GROUP BY image)"
)
"""The layers of the images that were read whole, each with those that are nearer."""

_TEMPLATE = """
WITH chain AS MATERIALIZED ({chains}),
entry AS (SELECT * FROM {entries}),
pair AS MATERIALIZED (SELECT DISTINCT layer AS below, unnest(nearer) AS above FROM chain),
-- The names that are those of a directory with something in it, in any layer.
folder AS MATERIALIZED (
    SELECT DISTINCT array_to_string(parts[1:size], '/') AS key FROM (
        SELECT parts, unnest(generate_series(1, len(parts))) AS size
        FROM (SELECT DISTINCT string_split({parent}, '/') AS parts FROM entry)
    )
),
-- What a layer has instead of such a directory hides all that layers below it have there.
closed AS MATERIALIZED (
    SELECT DISTINCT below, above, key FROM entry JOIN pair ON above = layer
    WHERE kind <> '{directory}' AND key IN (SELECT key FROM folder)
),
hidden_folder AS MATERIALIZED (
    SELECT DISTINCT below, above, inner_key FROM (
        SELECT layer, key AS inner_key, array_to_string(parts[1:size], '/') AS outer_key FROM (
            SELECT layer, key, string_split(key, '/') AS parts, unnest(generate_series(1, len(parts))) AS size
            FROM (SELECT DISTINCT layer, {parent} AS key FROM entry WHERE layer IN (SELECT below FROM closed))
        )
    ) JOIN closed ON below = layer AND closed.key = outer_key
),
hidden AS MATERIALIZED (
    SELECT below, key, list(DISTINCT above) AS aboves FROM (
        SELECT below, above, lower_entry.key FROM pair
        JOIN entry AS upper_entry ON upper_entry.layer = above
        JOIN entry AS lower_entry ON lower_entry.layer = below AND lower_entry.key = upper_entry.key
        UNION ALL
        SELECT below, above, key FROM hidden_folder JOIN entry ON layer = below AND {parent} = inner_key
    ) GROUP BY below, key
)
SELECT chain.image, chain.number, entry.* FROM chain JOIN entry USING (layer)
LEFT JOIN hidden ON hidden.below = entry.layer AND hidden.key = entry.key
WHERE kind <> '{tombstone}' AND (aboves IS NULL OR NOT list_has_any(aboves, nearer))
"""
_PARENT = "regexp_replace(key, '/[^/]*$', '')"


def visible_files(chains: str, entries: str) -> str:
    """Returns a query for the entries that images show, with `image` and `number` (of the layer, from the base).

    Args:
        chains: a query for the columns of `CHAINS`.
        entries: the entries of the layers: `files`, or a query in parentheses for some of them. These must be all that
            have one of a set of names, and all that have a name above one of these.
    """
    return _TEMPLATE.format(
        chains=chains,
        entries=entries,
        parent=_PARENT,
        directory=FileKind.DIRECTORY,
        tombstone=FileKind.TOMBSTONE,
    )
