"""What a report tells of single images beyond the list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from wclayer.fleet.query.session import FleetSession
from wclayer.fleet.report.figures import DetailLayer, Details, FirstTexts
from wclayer.fleet.report.layers import USED

_ROWS = 60
"""How many layers, updates, packages, findings or references of one image are named."""
_AMONG = "SEMI JOIN (SELECT unnest($images) AS image) USING (image)"
"""Keeps the rows of the wanted images."""


def details_of(session: FleetSession, images: Sequence[str]) -> list[Details]:
    """Returns the details of images.

    Args:
        session: the fleet.
        images: the digests of their manifests.
    """
    references = _texts(session, images, "reference", "images", "true")
    updates = _texts(session, images, "coalesce(kb, name)", "updates", "state = 'installed'")
    packages = _texts(
        session, images, "concat_ws(' ', name, version) || ' (' || kind || ')'", "packages", "NOT is_base"
    )
    findings = _texts(session, images, "kind || ': ' || place || ': ' || text", "findings", "true")
    layers = _layers(session, images)
    heads = session.ask(
        "SELECT image, concat_ws(' ', min(product_name), min(os_version)), min(created), min(layer_count)"
        f" FROM images {_AMONG} GROUP BY image ORDER BY list_position($images, image)",
        {"images": list(images)},
    )
    return [
        Details(
            image, windows, created, count, layers[image], references[image], updates[image], packages[image],
            findings[image],
        )
        for image, windows, created, count in heads
    ]  # fmt: skip


def _texts(
    session: FleetSession, images: Sequence[str], text: str, table: str, condition: str
) -> defaultdict[str, FirstTexts]:
    """Returns the first texts of each image, and how many it has.

    Args:
        session: the fleet.
        images: the digests of the images.
        text: the expression of the text.
        table: its table.
        condition: which rows of the table are told.
    """
    rows = session.ask(
        "SELECT image, list(text ORDER BY text), any_value(count) FROM ("
        f" SELECT image, text, count(*) OVER (PARTITION BY image) AS count FROM ("
        f"  SELECT DISTINCT image, {text} AS text FROM {table} {_AMONG} WHERE {condition})"
        " QUALIFY row_number() OVER (PARTITION BY image ORDER BY text) <= $most) GROUP BY image",
        {"images": list(images), "most": _ROWS},
    )
    found: defaultdict[str, FirstTexts] = defaultdict(lambda: FirstTexts((), 0))
    found.update((image, FirstTexts(tuple(texts), count)) for image, texts, count in rows)
    return found


def _layers(session: FleetSession, images: Sequence[str]) -> defaultdict[str, list[DetailLayer]]:
    rows = session.ask(
        f"{USED} SELECT image, layer, size, number <= coalesce(base_layers, 0), images, created_by FROM ("
        " SELECT image, base_layers, unnest(layers) AS layer, generate_subscripts(layers, 1) AS number FROM ("
        "  SELECT image, any_value(layers) AS layers, any_value(base_layers) AS base_layers"
        f"  FROM images {_AMONG} GROUP BY image))"
        " LEFT JOIN known USING (layer) WHERE number <= $most ORDER BY image, number",
        {"images": list(images), "most": _ROWS},
    )
    found: defaultdict[str, list[DetailLayer]] = defaultdict(list)
    for image, digest, size, is_base, count, created_by in rows:
        found[image].append(DetailLayer(digest, size, is_base, count, created_by or ""))
    return found
