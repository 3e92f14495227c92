"""Times the tables of a fleet without any scan: buckets, what they take, and questions; and a layer of many entries.

    python -m benchmarks.fleet_tables [--folder FOLDER] [--images N] [--rows N] [--entries N]

The images are those of `tests.fleet.made_fleet`, each with so many rows more: six of ten are of the registry, three are
packages, one is an update. Their values repeat from image to image as those of Windows do. A question is asked three
times, by DuckDB alone and by `wclayer fleet query`; the first time counts, with the files in the host's cache.

The entries are those of one layer of empty files, whose facts are made first. Its rows are written by a process of its
own, whose memory is the most that it had resident.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import duckdb

from benchmarks import layers
from tests.fleet.made_fleet import add_image, base_of, image_digest, is_error, is_linux
from tests.memory import peak_memory
from wclayer.fleet.query.asking import query_fleet
from wclayer.fleet.tables.dataset import BucketRows, Dataset
from wclayer.fleet.tables.file_rows import file_rows
from wclayer.fleet.tables.schema import BUCKETED, FILES, IMAGES, PACKAGES, UPDATES, RegistryRow
from wclayer.images.descriptor import OCI_LAYER, Descriptor
from wclayer.inventory.facts.archive import unpack_facts
from wclayer.inventory.facts.reading import make_facts
from wclayer.win32.shown import size_text

_PROGRAM = "import sys; from benchmarks.fleet_tables import write_entries; write_entries(*sys.argv[1:])"


def add_rows(rows: BucketRows, number: int, more: int) -> None:
    """Adds the rows of an image, and further ones."""
    add_image(rows, number)
    if is_error(number) or is_linux(number):
        return
    image, base = image_digest(number), base_of(number)
    package, update = rows.packages[-1], rows.updates[-1]
    for count in range(more * 6 // 10):
        rows.registry.append(
            RegistryRow(
                image, "service", f"Service{count}", None, None, rf"HKLM\SYSTEM\CurrentControlSet\Services\Svc{count}",
                base.layers[0], True, f'{{"display_name": "The service number {count}", "start": "auto"}}',
            )
        )  # fmt: skip
    for count in range(more * 3 // 10):
        name, version = f"package-{number % 97}-{count}", f"{number % 13}.{count}.0"
        rows.packages.append(
            package._replace(kind="python-package", name=name, version=version, purl=f"pkg:pypi/{name}@{version}")
        )
    for count in range(more // 10):
        rows.updates.append(update._replace(kb=f"KB{4000000 + count}", name=f"Package_{count}_for_{update.name}"))


def write_buckets(dataset: Dataset, images: int, more: int) -> list[float]:
    """Writes all buckets, and returns the seconds that each took."""
    numbers: defaultdict[int, list[int]] = defaultdict(list)
    probe = BucketRows()
    for number in range(images):
        if is_error(number):
            add_image(probe, number)
            key = probe.images.pop().reference
        else:
            key = image_digest(number)
        numbers[dataset.bucket_of(key)].append(number)
    seconds = []
    for bucket in sorted(numbers):
        rows = BucketRows()
        for number in numbers[bucket]:
            add_rows(rows, number, more)
        seconds.append(_seconds(lambda bucket=bucket, rows=rows: dataset.replace_bucket(bucket, rows)))  # type: ignore[misc]
    return seconds


def images(folder: Path, count: int, more: int) -> None:
    """Prints what the tables of many images take."""
    shutil.rmtree(folder, ignore_errors=True)
    dataset = Dataset(folder)
    dataset.create(count)
    seconds = write_buckets(dataset, count, more)
    dataset.write_layers([])
    least, usual, most = (1000 * value for value in (min(seconds), statistics.median(seconds), max(seconds)))
    print(
        f"{count:,} images with {more} rows more each: {len(seconds):,} buckets in {sum(seconds):,.0f} s,"
        f" one in {usual:,.0f} ms ({least:,.0f} to {most:,.0f})"
    )
    for table in BUCKETED:
        places = dataset.places(table)
        size = sum(Path(place).stat().st_size for place in places)
        rows = duckdb.read_parquet(places).aggregate("count(*)").fetchall()[0][0]
        print(f"  {table.name:<10} {rows:>12,} rows {size_text(size):>10} in {len(places):,} files")
    print(f"  one listing of images/: {_seconds(dataset.hashes) * 1000:,.0f} ms")
    print(f"  all rows of images read: {_seconds(lambda: sum(1 for _ in dataset.read_images())):.1f} s")


def _seconds(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def questions(folder: Path) -> None:
    """Prints how long questions take."""
    dataset = Dataset(folder)
    tables = {
        table.name: f"read_parquet({dataset.places(table)!r}, hive_partitioning = false)"
        for table in (IMAGES, PACKAGES, UPDATES)
    }
    for name, sql in (
        ("images by build", "SELECT build, count(*) FROM images GROUP BY build"),
        ("images with log4j-core 2.14.1", "SELECT count(DISTINCT image) FROM packages WHERE name LIKE '%log4j-core'"
         " AND version = '2.14.1'"),
        ("images without KB502000", "SELECT count(*) FROM images WHERE image NOT IN"
         " (SELECT image FROM updates WHERE kb = 'KB502000' AND state = 'installed')"),
    ):  # fmt: skip
        alone = sql
        for table, source in tables.items():
            alone = alone.replace(f"FROM {table} ", f"FROM {source} ")
        direct = [_seconds(lambda alone=alone: duckdb.execute(alone).fetchall()) for _ in range(3)]  # type: ignore[misc]
        ours = [_seconds(lambda sql=sql: _ask(folder, sql)) for _ in range(3)]  # type: ignore[misc]
        print(
            f"  {name:<30} DuckDB {direct[0]:6.1f} s (at best {min(direct):.1f}),"
            f" fleet query {ours[0]:6.1f} s (at best {min(ours):.1f})"
        )


def _ask(folder: Path, sql: str) -> list[object]:
    with query_fleet(folder, sql) as answer:
        return list(answer)


def entries(folder: Path, count: int) -> None:
    """Prints what the rows of a layer of many entries take."""
    tar, facts = folder / f"{count}.tar.gz", folder / f"{count}.facts"
    layers.write(tar, layers.empty_files(count))
    if not facts.exists():
        descriptor = Descriptor(OCI_LAYER, f"sha256:{_sha256(tar)}", tar.stat().st_size)
        packed = folder / f"{count}.tar.zst"
        make_facts(lambda: tar.open("rb"), descriptor, packed)
        unpack_facts(packed, facts)
    out = folder / "layer"
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(facts), str(out)], check=True, capture_output=True, text=True
    )
    (place,) = Dataset(out).places(FILES)
    query = f"SELECT count(*) FROM read_parquet('{place}') WHERE path LIKE '%/file_0000%'"
    print(
        f"{count:,} entries of one layer: {done.stdout.strip()}, {size_text(Path(place).stat().st_size)};"
        f" a search of all paths: {_seconds(lambda: duckdb.execute(query).fetchall()):.2f} s"
    )


def write_entries(facts: str, out: str) -> None:
    """Writes the rows of a layer, and prints what it took: the body of a process of its own."""
    layer = "sha256:" + "0" * 64
    before = peak_memory()
    seconds = _seconds(lambda: Dataset(out).write_files(layer, file_rows(Path(facts), layer), {}))
    print(f"{seconds:.1f} s, {size_text(peak_memory())} of memory, {size_text(before)} of it before")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.fleet_tables", description=sys.modules[__name__].__doc__)
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "wclayer-benchmarks" / "tables")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--entries", type=int, default=1_000_000)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.images:
        images(options.folder / "out", options.images, options.rows)
        questions(options.folder / "out")
    if options.entries:
        entries(options.folder, options.entries)


if __name__ == "__main__":
    main()
