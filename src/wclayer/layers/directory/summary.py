"""What a layer directory is, in a few numbers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wclayer.layers.directory.database import Origin
from wclayer.layers.directory.layer import LayerDirectory


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """The digests, sizes and counts of a layer; None where it was not imported from a tar."""

    path: Path
    diff_id: str | None
    digest: str | None
    compression: str | None
    size: int | None
    """Bytes of the tar, uncompressed."""
    stored_size: int | None
    """Bytes of the tar as it was stored."""
    entries: int
    tombstones: int
    security_descriptors: int
    """Distinct ones."""
    forms: int
    """Entries whose tar header is not the one that would be written anew."""
    parents: list[Path]


def summarize_layer(path: str | os.PathLike[str], *, operation: str = "info") -> LayerSummary:
    """Returns the summary of the layer directory at `path`.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: see `LayerDirectory`.
    """
    with LayerDirectory(path, operation=operation) as layer:
        counts = [
            int(layer.query(f"SELECT {what}").fetchone()[0])
            for what in (
                f"COUNT(*) FROM entries WHERE origin = {int(Origin.OWN)}",
                "COUNT(*) FROM tombstones",
                "COUNT(*) FROM security",
                "COUNT(form) FROM entries",
            )
        ]
        records = {key: layer.record(key) for key in ("diff_id", "digest", "compression", "size", "stored_size")}
        texts = {key: value if isinstance(value, str) else None for key, value in records.items()}
        sizes = {key: value if isinstance(value, int) else None for key, value in records.items()}
        return LayerSummary(
            layer.path, texts["diff_id"], texts["digest"], texts["compression"], sizes["size"], sizes["stored_size"],
            counts[0], counts[1], counts[2], counts[3], layer.parents(),
        )  # fmt: skip
