"""The summary of a layer directory in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import during
from wclayer.layers.directory.opening import open_layer


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """The digests, sizes and counts of a layer. Values that describe a tar are None if it was not imported from one."""

    path: Path
    diff_id: str | None
    digest: str | None
    compression: str | None
    size: int | None
    """The size of the uncompressed tar, in bytes."""
    stored_size: int | None
    """The size of the tar as it was stored, in bytes."""
    entries: int
    tombstones: int
    security_descriptors: int
    """The number of distinct security descriptors."""
    forms: int
    """The number of entries whose tar header is not the canonical one."""
    parents: list[Path]


@during("info")
def summarize_layer(path: StrPath) -> LayerSummary:
    """Returns the summary of the layer directory at `path`.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: see `open_layer`.
    """
    with open_layer(path) as layer:
        totals = layer.totals()
        return LayerSummary(
            layer.path, layer.text("diff_id"), layer.text("digest"), layer.text("compression"), layer.number("size"),
            layer.number("stored_size"), totals.own_entries, totals.tombstones, totals.descriptors, totals.forms,
            layer.parents(),
        )  # fmt: skip
