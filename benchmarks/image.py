"""The yardstick: every job on an image of the size of Windows Server Core, beside each peer that can do the job.

    python -m benchmarks.image [--folder FOLDER] [--memory-folder FOLDER] [--scale N] [--runs N] [--jobs NAME,…]
                               [--programs 'NAME;…'] [--before COMMAND] [--add] [--occupancy] [--write]

The image is made once in the folder (`benchmarks.servercore`). The programs of a job run in turn, each into a place of
its own, which is removed afterwards; what they read is in the folder, so in the host's cache. Each job runs twice: with
its results on the disk of the folder, and on the memory file system. Each figure is a median. The *limits* beside a job
are commands that do only a part of it. `--before` names the command of another wclayer, such as that of an older
checkout; it runs in the same turns. Results are kept in the folder: `--jobs` replaces those of its jobs, `--add` adds
runs to them, and the table is always that of all.

`--occupancy` looks at what the threads of an import and of an export do over time (`benchmarks.occupancy`). `--write`
puts the tables into docs/performance.md and the plots beside it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks import mounts
from benchmarks.document import machine, write_part, write_rows
from benchmarks.image_jobs import MOUNTS, OURS, Inputs, Job, Way, all_jobs, mount_jobs, mount_sizes
from benchmarks.image_table import Results, Run, aims, table
from benchmarks.measuring import measure_shell
from benchmarks.occupancy import occupancy
from benchmarks.servercore import NOTHING_MADE, Image, image

_PAUSE = 6
"""Seconds after large results were removed: ext4 avoids, slowly, what was removed in the last five."""
_LARGE = 64 << 20


def _size_of(path: Path) -> int:
    """The bytes that a result takes on its file system; a further name of a file takes none."""
    seen: set[int] = set()
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            stat = os.lstat(os.path.join(folder, name))
            if stat.st_ino not in seen:
                seen.add(stat.st_ino)
                total += stat.st_blocks * 512
    return total


def _discard(place: Path, trash: Path | None) -> None:
    """Removes a folder, or moves it into the folder `trash`."""
    if trash is None:
        shutil.rmtree(place)
    else:
        trash.mkdir(parents=True, exist_ok=True)
        place.rename(trash / f"{os.getpid()}-{time.monotonic_ns()}")


def _run(way: Way, place: Path, trash: Path | None) -> Run:
    """Runs one program once, in an empty folder, which is removed afterwards, or moved into the folder `trash`."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    prepared = shlex.quote(str(place))
    if way.prepare:
        measure_shell(way.prepare.replace("{out}", prepared))
    before = _size_of(place)
    measured = measure_shell(way.command.replace("{out}", prepared))
    size = _size_of(place)
    _discard(place, trash)
    if trash is None and size > _LARGE:
        os.sync()
        time.sleep(_PAUSE)
    return Run(way.who, way.kind, size=size - before, **asdict(measured))


def run_job(
    job: Job, runs: int, places: dict[str, Path], results: Results, programs: set[str] | None, trash: Path | None
) -> None:
    """Runs the programs of a job in turn, on each file system.

    Args:
        programs: the only ones that are wanted.
        trash: takes what was made on the disk; None to remove it.
    """
    for where, place in places.items():
        # A limit that writes nothing is the same everywhere.
        ways = [way for way in job.ways if where == "disk" or way.kind != "limit" or "{out}" in way.command]
        ways = [way for way in ways if programs is None or way.who in programs]
        for number in range(runs):
            turn = {}
            # Who goes first changes from run to run.
            for way in ways if number % 2 == 0 else ways[::-1]:
                turn[way.who] = run = _run(way, place / "out", trash if where == "disk" else None)
                print(f"{job.name}, {where}, {way.who}: {run.seconds:.2f} s, CPU {run.cpu:.2f} s", file=sys.stderr)
            results.keep(job, where, [turn[way.who] for way in ways])


def run_mounts(inputs: Inputs, runs: int, scale: float, places: dict[str, Path], results: Results) -> None:
    """Runs the steps of `benchmarks.mounts`, on each file system."""
    jobs, sizes = mount_jobs(inputs, scale), mount_sizes(scale)
    for where, place in places.items():
        place.mkdir(parents=True, exist_ok=True)
        mounts.make_layers(place, inputs.commands, *sizes)
        for number in range(runs):
            for job, step in zip(jobs, mounts.turn(place, number, inputs.commands, *sizes), strict=True):
                kinds = {way.who: way.kind for way in job.ways}
                results.keep(
                    job, where, [Run(who, kinds[who], size=took.written, **asdict(took)) for who, took in step.items()]
                )
        shutil.rmtree(place)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.image", description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "wclayer-benchmarks" / "image")
    parser.add_argument(
        "--memory-folder", type=Path, default=Path("/dev/shm"), help="on a memory file system (default: /dev/shm)"
    )
    parser.add_argument("--where", choices=("disk", "memory"), help="only there")
    parser.add_argument("--scale", type=float, default=1, help="the part of the image that is wanted (default: 1)")
    parser.add_argument("--made", action="store_true", help="make the files of random words: needs no network")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--jobs", help="only these, separated by commas; 'none' prints the table of the last runs")
    parser.add_argument(
        "--programs", help="only these programs (the table's second column), separated by semicolons; not of mounts"
    )
    parser.add_argument("--before", help="the command of another wclayer, which runs in the same turns")
    parser.add_argument("--add", action="store_true", help="keep the earlier runs of the jobs, too")
    parser.add_argument(
        "--trash", action="store_true", help="leave what was made in FOLDER/trash: some disks remove 200 files a second"
    )
    parser.add_argument(
        "--occupancy", action="store_true", help="look at threads, and at no jobs that --jobs does not name"
    )
    parser.add_argument("--write", action="store_true", help="write the results into docs/performance.md")
    parser.add_argument("--list", action="store_true", help="print the names of the jobs")
    return parser.parse_args()


def _watch(folder: Path, work: Path, inputs: Inputs, trash: Path | None) -> None:
    """Makes the plots of what threads do, in the folder."""
    inputs.import_layers()
    for name, arguments in (
        ("import", f"import -i {inputs.image.base.gzip} {work}/layer"),
        ("export", f"export -z -o {work}/tar.gz {inputs.layer(OURS, 'base')}"),
        ("convert", f"convert -o {work}/x.vhdx {inputs.layer(OURS, 'base')}"),
    ):
        work.mkdir()
        title = f"wclayer {arguments.replace(str(folder), '').partition(' -')[0]} of the base layer"
        (folder / f"occupancy-{name}.svg").write_text(occupancy(f"{inputs.commands[OURS]} {arguments}", title))
        _discard(work, trash)


def _inputs(options: argparse.Namespace, made: Image) -> Inputs:
    return Inputs(options.folder, made, options.scale, options.before)


def _write(folder: Path, made: Image, jobs: list[Job], results: Results) -> None:
    """Puts what was measured into the document. Rows of jobs that were not measured with this folder stay."""
    document = Path(__file__).parents[1] / "docs" / "performance.md"
    plots = document.with_name("plots")
    plots.mkdir(exist_ok=True)
    shape = "\n".join(
        f"- {layer.name}: {layer.entries:,} entries ({layer.files:,} files with {layer.content / 1e9:.2f} GB,"
        f" {layer.links:,} hard links, {layer.directories:,} directories), {layer.gzip_size / 1e9:.2f} GB of gzip"
        for layer in made.layers
    )
    write_part(document, "image", f"{machine()} The image:\n\n{shape}")
    write_rows(document, "aims", aims(jobs, results))
    write_rows(document, "jobs", table(jobs, results))
    for plot in folder.glob("occupancy-*.svg"):
        shutil.copy(plot, plots / plot.name)


def main() -> None:
    options = _arguments()
    names = [job.name for job in all_jobs(_inputs(options, NOTHING_MADE))] + [MOUNTS]
    if options.list:
        print("\n".join(names))
        return
    wanted = options.jobs.split(",") if options.jobs else [] if options.occupancy else names
    unknown = set(wanted) - set(names) - {"none"}
    if unknown:
        raise SystemExit(f"no such job: {', '.join(sorted(unknown))}; --list prints their names")
    made = image(options.folder, options.scale, is_made=options.made, say=lambda text: print(text, file=sys.stderr))
    inputs = _inputs(options, made)
    jobs, of_mounts = all_jobs(inputs), mount_jobs(inputs, options.scale)
    # Of this process alone: another one may use the same image.
    work = options.folder / f"work-{os.getpid()}"
    places = {"disk": work}
    if os.access(options.memory_folder, os.W_OK):
        places["memory"] = options.memory_folder / f"wclayer-benchmarks-{os.getpid()}"
    if options.where:
        places = {where: place for where, place in places.items() if where == options.where}
    trash = options.folder / "trash" if options.trash else None
    programs = set(options.programs.split(";")) if options.programs else None
    results = Results(options.folder / "results.json")
    try:
        for job in jobs:
            if job.name in wanted:
                if not options.add:
                    results.forget(job, places)
                for prepare in job.inputs:
                    prepare()
                run_job(job, options.runs, places, results, programs, trash)
        if MOUNTS in wanted:
            for job in of_mounts:
                if not options.add:
                    results.forget(job, places)
            run_mounts(inputs, options.runs, options.scale, places, results)
        if options.occupancy:
            _watch(options.folder, work, inputs, trash)
    finally:
        for place in (work, *places.values()):
            shutil.rmtree(place, ignore_errors=True)
    print(table([*jobs, *of_mounts], results))
    if options.write:
        _write(options.folder, made, [*jobs, *of_mounts], results)


if __name__ == "__main__":
    main()
