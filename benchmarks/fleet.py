"""Times `wclayer fleet scan`: against the number of images, against the number of layers, with one worker and with two.

    python -m benchmarks.fleet [--folder FOLDER] [--runs N] [--jobs 1 2] [--images 50 …] [--layers 15 …]
                               [--entries N] [--size BYTES]

The registry is Debian's docker-registry on loopback, with the images of `fleet_images`; it logs how many bytes it
serves of each layer. In the rows of images, more and more images have the same layers (the second largest number of
`--layers`). In the rows of layers, as many images (the second largest number of `--images`) have more and more layers.

A scan is a process, whose workers are processes of their own. The memory is the most that one of them had resident. The
seconds are those of the clock, and those that all of them had a CPU; "again" is a second scan, in seconds of the clock.
Medians of all runs, in each of which the rows follow one another; in brackets the least and the most.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.fleet_images import Layer, make_layers, put_images
from tests.fleet.registry_fleet import FleetRegistry


class Size(NamedTuple):
    """A row: how many images over how many layers, with how many workers."""

    jobs: int
    images: int
    layers: int


class Scan(NamedTuple):
    """What a scan took.

    Attributes:
        wall: seconds of the clock.
        cpu: seconds of the CPU, of all processes.
        memory: the most bytes that one of its workers had resident.
        downloaded: bytes of layers that the registry has served.
    """

    wall: float
    cpu: float
    memory: int
    downloaded: int


class _Watch:
    """Watches the processes that a process starts, in a thread."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._ended = threading.Event()
        self._most = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> int:
        """Ends watching, and returns the most bytes that one of the processes had resident."""
        self._ended.set()
        self._thread.join()
        return self._most

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            parents = dict(_processes())
            for process in parents:
                above = parents[process]
                while above in parents and above != self._process:
                    above = parents[above]
                if above == self._process:
                    self._most = max(self._most, _peak(process))


def _processes() -> Iterator[tuple[int, int]]:
    """Yields each process of the machine with its parent."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            yield int(folder.name), int(stat.rpartition(")")[2].split()[1])


def _peak(process: int) -> int:
    """The most bytes that a process had resident so far; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def scan(registry: FleetRegistry, layers: Sequence[Layer], listed: Path, target: Path, jobs: int) -> Scan:
    """Scans the images that a file lists, into a folder. Downloads of `layers` are counted."""
    os.sync()
    registry.forget()
    command = [
        sys.executable, "-m", "wclayer", "fleet", "scan", "--from", str(listed), "-o", str(target), "--jobs", str(jobs)
    ]  # fmt: skip
    output = listed.with_suffix(".output")
    start = time.perf_counter()
    with output.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        watch = _Watch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    memory = watch.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}\n{output.read_text()}")
    served = registry.served()
    return Scan(wall, usage.ru_utime + usage.ru_stime, memory, sum(served[layer.digest] for layer in layers))


class Rows:
    """The scans of each row.

    Args:
        registry: has no images yet.
        layers: enough for the largest row.
        folder: for what the scans write.
    """

    def __init__(self, registry: FleetRegistry, layers: Sequence[Layer], folder: Path) -> None:
        self._registry = registry
        self._layers = layers
        self._folder = folder
        self._taken: dict[Size, list[tuple[Scan, Scan]]] = {}

    def run(self, size: Size) -> None:
        """Scans twice, the second time with the results of the first one."""
        listed = self._folder / f"{size.images}-{size.layers}"
        if not listed.exists():
            references = put_images(self._registry, size.images, self._layers[: size.layers])
            listed.write_text("".join(f"{reference}\n" for reference in references))
        target = self._folder / "fleet"
        first, second = (scan(self._registry, self._layers, listed, target, size.jobs) for _ in range(2))
        shutil.rmtree(target)
        self._taken.setdefault(size, []).append((first, second))
        print(f"{size}: {first}, again {second}", file=sys.stderr, flush=True)

    def print(self) -> None:
        """Prints the medians of what was run."""
        print(
            f"{'workers':>7} {'images':>6} {'layers':>6} {'seconds':>24} {'CPU':>8} {'downloaded':>12}"
            f" {'of layers':>12} {'memory':>9} {'again':>8} {'downloaded':>12}"
        )
        for size, taken in self._taken.items():
            walls = [first.wall for first, _ in taken]
            first, second = (_medians([scans[number] for scans in taken]) for number in (0, 1))
            spread = f"{first.wall:.1f} ({min(walls):.1f} to {max(walls):.1f})"
            stored = sum(layer.size for layer in self._layers[: size.layers])
            print(
                f"{size.jobs:7} {size.images:6} {size.layers:6} {spread:>24} {first.cpu:6.1f} s {_mb(first.downloaded)}"
                f" {_mb(stored)} {first.memory >> 20:5} MiB {second.wall:6.1f} s {_mb(second.downloaded)}"
            )


def _medians(scans: Sequence[Scan]) -> Scan:
    walls, cpus, memories, downloads = zip(*scans, strict=True)
    return Scan(statistics.median(walls), statistics.median(cpus), max(memories), max(downloads))


def _mb(size: int) -> str:
    return f"{size / 1e6:9.3f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.fleet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "wclayer-benchmarks")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--images", type=int, nargs="+", default=[50, 100, 200, 400])
    parser.add_argument("--layers", type=int, nargs="+", default=[15, 30, 60, 120])
    parser.add_argument("--entries", type=int, default=2000, help="of a layer")
    parser.add_argument("--size", type=int, default=8_000_000, help="bytes of a layer's files")
    options = parser.parse_args()
    images, layers = sorted(options.images)[-2:][0], sorted(options.layers)[-2:][0]
    sizes = [Size(jobs, count, layers) for jobs in options.jobs for count in options.images]
    sizes += [Size(jobs, images, count) for jobs in options.jobs for count in options.layers]
    options.folder.mkdir(parents=True, exist_ok=True)
    made = make_layers(options.folder, max(options.layers), options.entries, options.size)
    print(f"{len(made)} layers of {options.entries} entries and {options.size / 1e6:.1f} MB")
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} before", flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as work, FleetRegistry(Path(work) / "registry") as registry:
        rows = Rows(registry, made, Path(work))
        for _ in range(options.runs):
            # A row that is both of images and of layers is run once.
            for size in dict.fromkeys(sizes):
                rows.run(size)
        rows.print()
    print(f"load {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
