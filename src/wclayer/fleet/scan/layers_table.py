"""`update_layers`: the table of all layers, which is made when a scan ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wclayer.errors import errors_at
from wclayer.fleet.scan.layer import CREATED_BY
from wclayer.fleet.scan.plan import LayerJob
from wclayer.fleet.tables.dataset import Dataset
from wclayer.fleet.tables.rows import failed_layer_row, layer_row
from wclayer.fleet.tables.schema import LayerRow
from wclayer.images.json_view import JsonView
from wclayer.inventory.facts.summary import FACTS_VERSION, LayerSummary


def update_layers(dataset: Dataset, jobs: Iterable[LayerJob], failed: Mapping[str, str]) -> int:
    """Replaces the table of layers, unless it says the same already.

    Args:
        dataset: the tables. Those of images are up to date.
        jobs: the layers that were to be read.
        failed: those that could not be, with the reasons.

    Returns:
        The number of distinct layers that images have.
    """
    before = {row.layer: row for row in dataset.read_layers()}
    base: set[str] = set()
    used: set[str] = set()
    for image in dataset.read_images():
        base.update(image.layers[: image.base_layers or 0])
        used.update(image.layers)
    rows = {
        digest: _row_of_read(dataset, digest, before.get(digest), digest in base) for digest in dataset.file_layers()
    }
    for job in jobs:
        if job.digest in failed:
            layer = job.places[0][1]
            rows[job.digest] = failed_layer_row(
                layer.descriptor, failed[job.digest], is_base=job.digest in base, created_by=layer.created_by
            )
    # What failed for another source, which this scan has not asked.
    rows = {digest: row for digest, row in before.items() if row.error is not None and digest in used} | rows
    if rows != before:
        dataset.write_layers(rows.values())
    return len(used)


def _row_of_read(dataset: Dataset, digest: str, before: LayerRow | None, is_base: bool) -> LayerRow:
    if before is not None and before.error is None and before.facts_version == FACTS_VERSION:
        return before._replace(is_base=is_base)
    record = dataset.layer_summary(digest)
    with errors_at(dataset.path):
        view = JsonView(record, f"the summary of {digest}")
        return layer_row(LayerSummary.from_json(view), is_base=is_base, created_by=view.text(CREATED_BY))
