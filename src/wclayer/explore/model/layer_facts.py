"""What is known of a layer, as facts."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.explore.model.details import Fact
from wclayer.explore.model.explored import ShownLayer
from wclayer.explore.model.metadata import size_fact


def layer_facts(layer: ShownLayer) -> Iterator[Fact]:
    """Yields what is known of a layer."""
    yield Fact(str(layer.number), "layer")
    if layer.owner:
        yield Fact(layer.owner, "is in")
    yield Fact("base image" if layer.is_base else "own layer", "belongs to")
    if layer.created_by:
        yield Fact(layer.created_by, "created by")
    if layer.created:
        yield Fact(layer.created, "created")
    if layer.comment:
        yield Fact(layer.comment, "comment")
    if layer.size is not None:
        yield size_fact(layer.size, "tar")
    if layer.stored is not None:
        yield size_fact(layer.stored, "blob")
    if layer.digest:
        yield Fact(layer.digest, "digest")
    if layer.diff_id:
        yield Fact(layer.diff_id, "diffID")
    yield Fact(layer.path, "stored in")
