"""What a killed or failed scan leaves of the tables: each bucket is the old one or the new one, whole."""

from __future__ import annotations

import errno
import shutil
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("processes are forked and killed by what Linux has", allow_module_level=True)

from tests.fleet.made_fleet import file_rows, image_digest, layers_of, made_fleet, write_fleet
from tests.proof import killing
from tests.proof.conditions import leave, mounted
from wclayer.errors import DiskFullError
from wclayer.fleet.tables.dataset import BucketRows, Dataset
from wclayer.fleet.tables.schema import BUCKETED, TABLES

pytestmark = pytest.mark.kills


def _changed(rows: BucketRows) -> BucketRows:
    """Other rows of the same images, in every table, and one image less."""
    *kept, gone = sorted({row.image for row in rows.images if row.image})
    rows = BucketRows(**{table.name: [row for row in rows.of(table) if row.image != gone] for table in BUCKETED})
    assert kept
    rows.images = [row._replace(user="other") for row in rows.images]
    for table in BUCKETED[:3]:
        rows.of(table)[:] = [row._replace(properties='{"new": true}') for row in rows.of(table)]
    return rows


def _listed(dataset: Dataset, bucket: int) -> list[str]:
    return [name for table in BUCKETED for name in dataset.folder.names(f"{table.name}/bucket={bucket:03x}")]


@pytest.mark.parametrize("change", [_changed, lambda _: BucketRows()], ids=["replaced", "removed"])
def test_a_kill_leaves_the_old_bucket_or_the_new_one(change: object, tmp_path: Path) -> None:
    killing.check_counting()
    made = write_fleet(str(tmp_path / "made"), made_fleet())
    bucket = made.bucket_of(image_digest(3))
    old = made.read_bucket(bucket)
    new = _changed(made.read_bucket(bucket)) if change is _changed else BucketRows()
    assert old != new

    def place(number: object) -> Dataset:
        return Dataset(shutil.copytree(tmp_path / "made", tmp_path / f"{number}"))

    counted = place("counted")
    moments = killing.run(lambda: counted.replace_bucket(bucket, new), counted=True).naming_calls()
    assert len(moments) >= 5
    found = []
    for moment in [*moments, moments[-1] + 1000]:
        dataset = place(moment)
        killing.run_killed_before(moment, lambda dataset=dataset: dataset.replace_bucket(bucket, new))  # type: ignore[misc]
        found.append(dataset.read_bucket(bucket))
        assert found[-1] in (old, new), moment
        with dataset.locked():
            dataset.settle()
        assert dataset.read_bucket(bucket) == found[-1], moment
        assert len(_listed(dataset, bucket)) == (len(BUCKETED) if found[-1].images else 0), moment
        assert not list(Path(dataset.path).rglob(".*")), moment
        dataset.replace_bucket(bucket, new)
        assert dataset.read_bucket(bucket) == new
        shutil.rmtree(dataset.path)
    assert old in found
    assert found[-1] == new


def test_a_kill_leaves_the_entries_of_a_layer_or_nothing(tmp_path: Path) -> None:
    killing.check_counting()
    layer = layers_of(0)[0]
    rows = list(file_rows(layer, 0))

    def write(dataset: Dataset) -> None:
        dataset.write_files(layer, rows, {"digest": layer})

    ended = killing.run(lambda: write(Dataset(str(tmp_path / "counted"))), counted=True)
    seen = set()
    for moment in range(len(ended.calls)):
        dataset = Dataset(str(tmp_path / f"{moment}"))
        killing.run_killed_before(moment, lambda dataset=dataset: write(dataset))  # type: ignore[misc]
        is_there = layer in dataset.file_layers()
        seen.add(is_there)
        assert not is_there or list(dataset.read_files(layer)) == rows, moment
        dataset.settle()
        assert not list(Path(dataset.path).rglob(".*")), moment
    assert seen == {False, True}


def test_a_full_disk_leaves_the_old_bucket(tmp_path: Path) -> None:
    full = 0
    for room in (0, 8 << 10, 12 << 10, 16 << 10, 20 << 10, 24 << 10):
        with mounted(tmp_path / "m", "64m") as folder:
            dataset = write_fleet(str(folder / "fleet"), made_fleet())
            bucket = dataset.bucket_of(image_digest(3))
            old = dataset.read_bucket(bucket)
            new = _changed(dataset.read_bucket(bucket))
            leave(folder, room)
            try:
                dataset.replace_bucket(bucket, new)
            except DiskFullError as error:
                assert error.errno == errno.ENOSPC
                full += 1
                assert dataset.read_bucket(bucket) == old
            (folder / "filler").unlink()
            assert not [path for table in TABLES for path in (folder / "fleet" / table.name).rglob(".*")]
            dataset.replace_bucket(bucket, new)
            dataset.settle()
            assert dataset.read_bucket(bucket) == new
            assert len(_listed(dataset, bucket)) == len(BUCKETED)
    assert full > 2
