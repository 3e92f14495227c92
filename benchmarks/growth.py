"""How time and memory grow with the number of entries: import, export and conversion of layers of empty files.

    python -m benchmarks.growth [--folder FOLDER] [--memory-folder FOLDER] [--where disk|memory] [--sizes N,…]
                                [--runs N] [--write]

Empty files show what an entry costs; the bytes of files cost the same in layers of any size. The time that a layer with
a few entries takes is the start, which is subtracted from the time of an entry.

The table has all points of docs/plots/growth.json; what is measured replaces the points of the same job, size and
file system. `--write` puts each point into that file as soon as it is measured, the table into docs/performance.md, and
the plots beside it. `--sizes=` (none) measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import layers, plots
from benchmarks.document import write_part
from benchmarks.measuring import WCLAYER, Measured, measure_shell

SIZES = (10_000, 100_000, 1_000_000)
"""The numbers of entries; larger layers are only imported and converted."""
_START = 10
_REPEATED = 100_000
"""Up to so many entries, each measurement is the median of several."""
_LIMIT = layers.LIMITS.entries
_DISK = 256 << 30
"""Bytes of the disks: room for the records of five million files."""
_DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
_POINTS = Path("plots", "growth.json")
"""Where the points are kept, beside the document."""


@dataclass(frozen=True, slots=True)
class Point:
    """What a job took on a layer."""

    where: str
    """The file system: "disk" or "memory"."""
    job: str
    entries: int
    seconds: float
    start: float
    """Seconds of the same job on a layer with a few entries."""
    cpu: float
    """CPU seconds of an entry, without those of the start."""
    memory: int

    @property
    def microseconds(self) -> float:
        """Of one entry, without the start."""
        return (self.seconds - self.start) / self.entries * 1e6


def measure_growth(folder: Path, where: str, wclayer: str, runs: int, sizes: Iterable[int]) -> Iterator[Point]:
    """Measures import, export and conversion of layers of all sizes, and yields each point when it is measured. More
    than a million entries are not exported.

    Args:
        folder: takes the layers, and what is made of them.
        where: the kind of its file system.
        wclayer: the command.
        runs: of each job on the smaller layers.
        sizes: the numbers of entries.
    """
    starts: dict[str, tuple[float, float]] = {}
    for entries in (_START, *sizes):
        tar = folder / f"empty-{entries}.tar.gz"
        layers.write(tar, layers.empty_files(entries))
        layer, packed, disk = folder / "layer", folder / "layer.tar.gz", folder / "layer.vhdx"
        commands = {
            "import": f"{wclayer} import --max-entries {_LIMIT} -i {tar} {layer}",
            "export": f"{wclayer} export -z -o {packed} {layer}",
            "convert": f"{wclayer} convert --alone --max-entries {_LIMIT} --size {_DISK} -o {disk} {layer}",
        }
        for job, command in commands.items():
            if job == "export" and entries > max(SIZES):
                continue
            measured: list[Measured] = []
            for _ in range(runs if entries <= _REPEATED else 1):
                _remove({"import": layer, "export": packed, "convert": disk}[job])
                measured.append(measure_shell(command))
            seconds = statistics.median(one.seconds for one in measured)
            cpu = statistics.median(one.cpu for one in measured)
            memory = max(one.memory for one in measured)
            if entries == _START:
                starts[job] = seconds, cpu
            else:
                start, start_cpu = starts[job]
                yield Point(where, job, entries, seconds, start, (cpu - start_cpu) / entries, memory)
            print(f"{job} of {entries:,} entries: {seconds:.2f} s, {memory >> 20} MiB", file=sys.stderr)
        for made in (layer, packed, disk):
            _remove(made)
        tar.unlink()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def table(points: Iterable[Point]) -> str:
    """The table in Markdown. An entry's time is compared with that in the layer of 100,000 entries."""
    known = list(points)
    head: tuple[str, ...] = ("job", "file system", "entries", "time", "of an entry", "× that of 100,000")
    head += ("CPU of an entry", "× that of 100,000", "peak memory")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for point in sorted(known, key=_order):
        same = [one for one in known if (one.job, one.where) == (point.job, point.where)]
        reference = [one for one in same if one.entries == 100_000]
        ratios = [""] * 2
        if reference:
            pairs = (point.microseconds, reference[0].microseconds), (point.cpu, reference[0].cpu)
            ratios = [f"{value / other:.2f}" for value, other in pairs]
        lines.append(
            f"| {point.job} | {point.where} | {point.entries:,} | {point.seconds:.2f} s | {point.microseconds:.1f} µs"
            f" | {ratios[0]} | {point.cpu * 1e6:.1f} µs | {ratios[1]} | {point.memory / (1 << 20):.0f} MiB |"
        )
    return "\n".join(lines)


_ORDER = ("import", "export", "convert")


def _order(point: Point) -> tuple[int, str, int]:
    return _ORDER.index(point.job), point.where, point.entries


def plot(points: Iterable[Point]) -> str:
    """The plot of the time of an entry."""
    series: dict[str, list[tuple[float, float]]] = {}
    for point in sorted(points, key=_order):
        series.setdefault(f"{point.job}, {point.where}", []).append((point.entries, point.microseconds))
    return plots.lines("Time of an entry", "entries of the layer", "microseconds", series)


def memory_plot(points: Iterable[Point]) -> str:
    """The plot of the peak memory."""
    series: dict[str, list[tuple[float, float]]] = {}
    for point in sorted(points, key=_order):
        series.setdefault(f"{point.job}, {point.where}", []).append((point.entries, point.memory / (1 << 20)))
    return plots.lines("Peak memory", "entries of the layer", "MiB", series)


def read_points(path: Path) -> list[Point]:
    """Returns the points that are kept in a file."""
    return [Point(**point) for point in json.loads(path.read_text())]


def joined(kept: Iterable[Point], measured: Iterable[Point]) -> list[Point]:
    """Returns all points in the order of the table: what was measured replaces what was kept of the same row."""
    points = {_order(point): point for point in (*kept, *measured)}
    return [points[key] for key in sorted(points)]


def write(document: Path, points: list[Point]) -> None:
    """Puts the table into the document, and beside it, in the folder `plots`, the plots and the points."""
    write_part(document, "growth", table(points))
    folder = document.with_name("plots")
    (document.parent / _POINTS).write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n")
    (folder / "growth.svg").write_text(plot(points))
    (folder / "growth-memory.svg").write_text(memory_plot(points))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "wclayer-benchmarks")
    parser.add_argument(
        "--memory-folder", type=Path, default=Path("/dev/shm"), help="on a memory file system (default: /dev/shm)"
    )
    parser.add_argument("--where", choices=("disk", "memory"), help="only there")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of entries, separated by commas")
    parser.add_argument("--runs", type=int, default=3, help="of each job on the smaller layers")
    parser.add_argument("--write", action="store_true", help="write the results into docs/performance.md")
    return parser.parse_args()


def main() -> None:
    """Measures, and prints or writes the table."""
    options = _arguments()
    sizes = [int(size) for size in options.sizes.split(",") if size]
    folders = {"disk": options.folder, "memory": options.memory_folder}
    points = read_points(_DOCUMENT.parent / _POINTS)
    if options.write:
        write(_DOCUMENT, points)
    for where, folder in folders.items():
        if not sizes or options.where not in (None, where):
            continue
        # Of this process alone: another one may use the same folder.
        place = folder / f"growth-{os.getpid()}"
        place.mkdir(parents=True)
        try:
            for point in measure_growth(place, where, shlex.join(WCLAYER), options.runs, sizes):
                points = joined(points, [point])
                if options.write:
                    write(_DOCUMENT, points)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    print(table(points))


if __name__ == "__main__":
    main()
