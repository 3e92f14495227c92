"""What it costs that results survive a power cut: each verb with and without `--no-sync`, and two ways to sync files.

`python -m benchmarks.sync [--runs N] [--folder FOLDER]` prints medians; what it makes is removed again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import layers
from benchmarks.measuring import WCLAYER, measure
from wclayer.host import root, system


def _seconds(command: list[str], made: Path, runs: int) -> float:
    found = []
    for _ in range(runs):
        shutil.rmtree(made, ignore_errors=True)
        made.unlink(missing_ok=True)
        found.append(measure(command)[0])
    return statistics.median(found)


def verbs(work: Path, count: int, runs: int) -> None:
    """Import, export and create of a layer of `count` small files."""
    tar, layer = work / "small.tar.gz", work / "layer"
    layers.write(tar, layers.small_files(count))
    measure([*WCLAYER, "import", "-i", str(tar), str(layer)])
    for name, arguments, made in (
        (f"import {count:,} files", ["import", "-i", str(tar)], work / "made"),
        (f"export {count:,} files", ["export", str(layer), "-o"], work / "made.tar"),
        ("create a scratch", ["create", "-l", str(layer)], work / "run"),
        ("convert", ["convert", str(layer), "-o"], work / "made.vhdx"),
    ):
        command = [*WCLAYER, *arguments, str(made)]
        # In turn: the machine may be busier at one time than at another.
        safe, fast = _seconds(command, made, runs), _seconds([*command, "--no-sync"], made, runs)
        print(f"{name:<26} {safe:8.2f} s {fast:8.2f} s {safe - fast:+8.2f} s", flush=True)


def ways(work: Path, count: int) -> None:
    """The two ways to make many small files safe."""
    for name in ("one by one", "the file system"):
        folder = work / name
        for number in range(count):
            place = folder / str(number % 100)
            place.mkdir(parents=True, exist_ok=True)
            (place / str(number)).write_bytes(os.urandom(1024))
        start = time.perf_counter()
        if name == "one by one":
            for place in folder.rglob("*"):
                (root.sync_file if place.is_file() else root.sync_directory)(place)
        else:
            directory = system.open_directory(folder)
            system.sync_file_system(directory)
            system.close_directory(directory)
        print(f"sync of {count:,} files, {name:<16} {time.perf_counter() - start:8.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.sync", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "wclayer-benchmarks")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--files", type=int, default=10_000)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        print(f"{'':<26} {'synced':>10} {'--no-sync':>10}")
        verbs(Path(work), options.files, options.runs)
        ways(Path(work), options.files)


if __name__ == "__main__":
    main()
