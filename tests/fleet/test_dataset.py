"""`Dataset`: what is written is read back, by us and by others; a bucket is replaced as a whole."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from tests.fleet.made_fleet import by_bucket, image_digest, made_fleet, write_fleet
from tests.s3_server import BUCKET, S3Server
from wclayer.errors import (
    CorruptLayerError,
    InvalidDataError,
    InvalidParameterError,
    LayerBusyError,
    NotSupportedError,
    PathNotFoundError,
)
from wclayer.fleet.tables import writing
from wclayer.fleet.tables.dataset import BucketRows, Dataset
from wclayer.fleet.tables.schema import BUCKETED, FILES, IMAGES, LAYERS, TABLES, FileRow
from wclayer.fleet.tables.writing import NOTE


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


def test_a_store_of_objects_holds_a_fleet() -> None:
    with S3Server():
        fleet = made_fleet(12)
        dataset = write_fleet(f"s3://{BUCKET}/fleet", fleet)
        assert sorted(dataset.read_images()) == sorted(fleet.rows.images)
        assert dataset.file_layers() == set(fleet.files)
        layer, files = next(iter(fleet.files.items()))
        assert list(dataset.read_files(layer)) == files
        bucket = dataset.bucket_of(image_digest(3))
        dataset.replace_bucket(bucket, BucketRows())
        assert bucket not in dataset.hashes()
        assert image_digest(3) not in {image.image for image in dataset.read_images()}
        with dataset.locked(), pytest.raises(LayerBusyError, match="scan of process"), Dataset(dataset.path).locked():
            pass
        assert not dataset.folder.exists("scan.json")


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


@pytest.mark.parametrize(
    ("images", "buckets"), [(0, 16), (2048, 16), (2049, 32), (100_000, 1024), (524_288, 4096), (10_000_000, 4096)]
)
def test_the_number_of_buckets_follows_the_number_of_images(images: int, buckets: int, tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    dataset.create(images)
    assert dataset.buckets == buckets
    dataset.create(5)
    assert Dataset(tmp_path).buckets == buckets
    ends = [dataset.bucket_of(f"sha256:{digit * 64}") for digit in "0f"]
    assert ends == [0, buckets - 1]


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


def test_a_task_that_runs_twice_at_the_same_time_does_no_harm(url: str) -> None:
    dataset = write_fleet(url, made_fleet())
    bucket = dataset.bucket_of(image_digest(3))
    with ThreadPoolExecutor(4) as pool:
        for number in range(10):
            rows = dataset.read_bucket(bucket)
            rows.images = [row._replace(user=f"{number}") for row in rows.images]
            list(pool.map(lambda _, rows=rows: Dataset(url).replace_bucket(bucket, rows), range(4)))
            assert {row.user for row in dataset.read_bucket(bucket).images} == {f"{number}"}
            assert all(len(dataset.folder.names(f"{table.name}/bucket={bucket:03x}")) == 1 for table in BUCKETED)


def test_other_buckets_stay_as_they_are(url: str) -> None:
    dataset = write_fleet(url, made_fleet())
    bucket, *others = dataset.hashes()
    before = {name: size for name, size in dataset.folder.names("").items() if f"bucket={bucket:03x}" not in name}
    rows = dataset.read_bucket(bucket)
    rows.images = [row._replace(scanned=None) for row in rows.images]
    same = dataset.hashes()[bucket]
    dataset.replace_bucket(bucket, rows)
    assert dataset.hashes()[bucket] == same
    assert None not in {row.scanned for row in dataset.read_bucket(bucket).images}
    dataset.replace_bucket(bucket, BucketRows())
    assert dataset.folder.names("") == before
    assert [*dataset.hashes()] == others


def test_rows_of_another_bucket_are_refused(url: str) -> None:
    dataset = write_fleet(url, made_fleet())
    rows = dataset.read_bucket(dataset.bucket_of(image_digest(3)))
    with pytest.raises(InvalidParameterError, match="not an image of bucket"):
        dataset.replace_bucket(dataset.bucket_of(image_digest(3)) ^ 1, rows)
    rows.images = []
    with pytest.raises(InvalidParameterError, match=r"packages: sha256:.* is not among the images"):
        dataset.replace_bucket(dataset.bucket_of(image_digest(3)), rows)


def test_at_a_url_a_killed_scan_is_forgotten_after_some_minutes(tmp_path: Path) -> None:
    dataset = Dataset(f"memory://{tmp_path}")

    def leave_note(age: int) -> None:
        note = {"scan": "x", "host": "h", "process": 7, "renewed": int(time.time()) - age}
        with dataset.folder.new_file(NOTE) as stream:
            stream.write(json.dumps(note).encode())

    leave_note(200)
    with pytest.raises(LayerBusyError, match=r"process 7 on h .* try again in (100|99) s"), dataset.locked():
        pass
    leave_note(400)
    with dataset.locked():
        assert dataset.folder.exists(NOTE)
    assert not dataset.folder.exists(NOTE)
    with dataset.folder.new_file(NOTE) as stream:
        stream.write(b"{")
    with dataset.locked():
        pass


def test_at_a_url_a_scan_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_EVERY", 0.01)
    dataset = Dataset(f"memory://{tmp_path}")
    with dataset.locked():
        dataset.folder.remove(NOTE)
        while not dataset.folder.exists(NOTE):
            time.sleep(0.01)
    assert not dataset.folder.exists(NOTE)


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


# What another version, or somebody else, left.


def _write_document(dataset: Dataset, text: str) -> None:
    with dataset.folder.new_file("fleet.json") as stream:
        stream.write(text.encode())


def test_tables_of_a_newer_version_are_refused(url: str) -> None:
    dataset = write_fleet(url, made_fleet(3))
    before = dataset.folder.names("")
    _write_document(dataset, '{"format": "wclayer-fleet", "version": 2, "buckets": "many"}')
    for use in (dataset.exists, lambda: dataset.create(3), lambda: Dataset(url).buckets):
        with pytest.raises(NotSupportedError, match=r"version 2 of the tables.*install a newer") as caught:
            use()
        assert caught.value.path == dataset.folder.place("fleet.json")
    assert dataset.folder.names("").keys() == before.keys()


def test_tables_of_an_older_version_are_made_anew(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write_fleet(url, made_fleet(20))
    with dataset.folder.new_file("facts/sha256/aa/x") as stream:
        stream.write(b"facts")
    for module in ("dataset", "parquet"):
        monkeypatch.setattr(f"wclayer.fleet.tables.{module}.SCHEMA_VERSION", 2)
    with pytest.raises(NotSupportedError, match=r"version 1 of the tables.*writes 2: scan again"):
        list(Dataset(url).read_images())
    dataset.create(20)
    assert list(dataset.folder.names("")) == ["facts/sha256/aa/x", "fleet.json"]
    with dataset.folder.open("fleet.json") as stream:
        assert b'"version": 2' in stream.read()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"), ("[]", "not a JSON object"), ("{}", "not the fleet.json of a fleet"),
        ('{"format": "wclayer-fleet", "version": 1, "buckets": 17}', "17 buckets; a power of 2"),
        ('{"format": "wclayer-fleet", "version": 1}', "0 buckets"),
        ('{"format": "wclayer-fleet", "version": true, "buckets": 16}', "version is 'True', not an integer"),
        ('{"format": "other", "version": 1, "buckets": 16}', "not the fleet.json of a fleet"),
    ],
)  # fmt: skip
def test_a_damaged_document_is_told(text: str, says: str, tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    _write_document(dataset, text)
    with pytest.raises(InvalidDataError, match=says) as caught:
        dataset.create(5)
    assert "fleet.json" in str(caught.value)
    assert (tmp_path / "fleet.json").read_text() == text


def test_a_bucket_that_lacks_a_file_is_removed_so_that_it_is_made_again(url: str) -> None:
    dataset = write_fleet(url, made_fleet())
    first, second, *others = dataset.hashes()
    dataset.folder.remove(next(iter(dataset.folder.names(f"updates/bucket={first:03x}"))))
    dataset.settle()
    assert [*dataset.hashes()] == [second, *others]
    assert not dataset.folder.names(f"packages/bucket={first:03x}")
    assert dataset.read_bucket(second).images


def test_files_of_others_are_left_alone(url: str) -> None:
    dataset = write_fleet(url, made_fleet(5))
    others = ["README", "images/notes.txt", "files/x.parquet", "packages/bucket=000/x.parquet", "layers/old.parquet"]
    for name in others:
        with dataset.folder.new_file(name) as stream:
            stream.write(b"x")
    dataset.settle()
    assert set(others) <= dataset.folder.names("").keys()
    assert dataset.file_layers() == set(made_fleet(5).files)
    assert not any(name in place for table in TABLES for place in dataset.places(table) for name in others)


def test_a_damaged_table_is_told_with_its_place(tmp_path: Path) -> None:
    dataset = write_fleet(str(tmp_path), made_fleet(5))
    for table in TABLES:
        place = Path(dataset.places(table)[0])
        place.write_bytes(place.read_bytes()[:-20])
    with pytest.raises(InvalidDataError, match="no intact Parquet file") as caught:
        list(dataset.read_images())
    assert caught.value.path == dataset.places(IMAGES)[0]
    with pytest.raises(InvalidDataError, match="no intact Parquet file"):
        dataset.read_layers()
    layer = sorted(dataset.file_layers())[0]
    for read in (lambda: list(dataset.read_files(layer)), lambda: dataset.layer_summary(layer)):
        with pytest.raises(InvalidDataError, match="no intact Parquet file"):
            read()


def test_an_error_of_the_rows_leaves_no_entries(url: str) -> None:
    dataset = write_fleet(url, made_fleet(3))
    layer, files = next(iter(made_fleet(3).files.items()))
    dataset.remove_files(layer)

    def broken() -> Iterator[FileRow]:
        yield files[0]
        raise CorruptLayerError("facts", "are damaged")

    with pytest.raises(CorruptLayerError):
        dataset.write_files(layer, broken(), {})
    assert layer not in dataset.file_layers()
    with pytest.raises(PathNotFoundError):
        dataset.layer_summary(layer)
