"""`Dataset`: what is written is read back, by us and by others; a bucket is replaced as a whole."""

from __future__ import annotations

import pickle
from pathlib import Path

import duckdb
import pytest

from tests.fleet.made_fleet import by_bucket, image_digest, made_fleet, write_fleet
from wclayer.errors import InvalidParameterError, LayerBusyError, PathNotFoundError
from wclayer.fleet.tables.dataset import BucketRows, Dataset
from wclayer.fleet.tables.schema import BUCKETED, FILES, IMAGES, LAYERS, TABLES


@pytest.fixture(params=["path", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    places = {"path": str(tmp_path / "fleet"), "file": f"file://{tmp_path}/fleet", "memory": f"memory://{tmp_path}"}
    return places[request.param]


def test_a_fleet_is_read_back(url: str) -> None:
    fleet = made_fleet()
    write_fleet(url, fleet)
    dataset = pickle.loads(pickle.dumps(Dataset(url)))
    for bucket, rows in by_bucket(dataset, fleet.rows).items():
        found = dataset.read_bucket(bucket)
        for table in BUCKETED:
            assert sorted(found.of(table), key=repr) == sorted(rows.of(table), key=repr)
    assert sorted(dataset.read_images()) == sorted(fleet.rows.images)
    assert dataset.file_layers() == set(fleet.files)
    for layer, files in fleet.files.items():
        assert list(dataset.read_files(layer)) == files
        assert dataset.layer_summary(layer)["entries"] == len(files)
    assert sorted(dataset.read_layers()) == sorted(fleet.layers.values())


def test_duckdb_counts_the_same_rows(tmp_path: Path) -> None:
    fleet = made_fleet()
    dataset = write_fleet(str(tmp_path / "fleet"), fleet)
    for table in TABLES:
        counted = duckdb.read_parquet(dataset.places(table)).aggregate("count(*)").fetchall()
        wanted = {
            LAYERS: len(fleet.layers),
            FILES: sum(map(len, fleet.files.values())),
        }.get(table) or len(fleet.rows.of(table))
        assert counted == [(wanted,)], table.name


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    fleet = made_fleet()
    write_fleet(str(tmp_path / "a"), fleet)
    for rows in (fleet.rows.images, fleet.rows.packages, fleet.rows.updates, fleet.rows.registry, fleet.rows.findings):
        rows.reverse()
    write_fleet(str(tmp_path / "b"), fleet)
    a, b = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "a", tmp_path / "b")
    )
    assert a == b
    assert len(a) > 50


def test_a_bucket_is_replaced_as_a_whole(url: str) -> None:
    fleet = made_fleet()
    dataset = write_fleet(url, fleet)
    bucket = dataset.bucket_of(image_digest(3))
    rows = dataset.read_bucket(bucket)
    rows.packages = [row._replace(version="9") for row in rows.packages]
    dataset.replace_bucket(bucket, rows)
    assert {row.version for row in dataset.read_bucket(bucket).packages} == {"9"}
    assert all(len(dataset.folder.names(f"{table.name}/bucket={bucket:03x}")) == 1 for table in BUCKETED)
    dataset.replace_bucket(bucket, BucketRows())
    assert bucket not in dataset.hashes()
    assert all(not dataset.folder.names(f"{table.name}/bucket={bucket:03x}") for table in BUCKETED)


def test_rows_of_another_bucket_are_refused(url: str) -> None:
    dataset = write_fleet(url, made_fleet())
    rows = dataset.read_bucket(dataset.bucket_of(image_digest(3)))
    with pytest.raises(InvalidParameterError, match="not an image of bucket"):
        dataset.replace_bucket(dataset.bucket_of(image_digest(3)) ^ 1, rows)
    rows.images = []
    with pytest.raises(InvalidParameterError, match=r"packages: sha256:.* is not among the images"):
        dataset.replace_bucket(dataset.bucket_of(image_digest(3)), rows)


def test_two_scans_at_once_are_refused(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path / "fleet"))
    with dataset.locked(), pytest.raises(LayerBusyError, match="another scan"), Dataset(dataset.path).locked():
        pass
    with dataset.locked():
        pass


def test_a_place_without_a_fleet_says_so(url: str) -> None:
    dataset = Dataset(url)
    with pytest.raises(PathNotFoundError, match=r"no fleet\.json"):
        dataset.bucket_of(image_digest(0))
    assert dataset.hashes() == {}
    assert dataset.places(IMAGES) == dataset.places(FILES) == dataset.places(LAYERS) == []
