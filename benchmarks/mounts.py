"""Times a mounted scratch beside fuse-overlayfs over the same files, and prints a table.

Both mounts are made anew for each run, with the files of the lower layer in the host's cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from benchmarks.measuring import Measured, adopt_orphans, cpu_seconds, descendants, proportional_memory

_MIB = 1 << 20
OVERLAY = "fuse-overlayfs"
# name, what it is run for, the command; in this order in a fresh mount.
_STEPS = (
    ("readdir, first time", "find . -name '*.none'"),
    ("readdir, again", "find . -name '*.none'"),
    ("stat, first time", "find small -size +9M"),
    ("stat, again", "find small -size +9M"),
    ("read {size}, first time", "dd if=big of=/dev/null bs=1M status=none"),
    ("read {size}, again", "dd if=big of=/dev/null bs=1M status=none"),
    ("write {size}", "dd if=/dev/zero of=written bs=1M count={count} status=none conv=fsync"),
    ("write 64 MiB by 4 KiB", "dd if=/dev/zero of=written4k bs=4k count=16384 status=none"),
    ("read {files} small files", "cat small/*/* > /dev/null"),
    ("copy 2,000 small files", "cp -r small/d0 small/d1 copied"),
    ("remove them", "rm -r copied"),
)


def make_lower(folder: Path, files: int, size: int) -> None:
    """A folder with directories of 1,000 small files each, and one large file."""
    for number in range(files // 1000):
        directory = folder / "small" / f"d{number}"
        directory.mkdir(parents=True)
        for file in range(1000):
            (directory / f"file{file}.dll").write_bytes(b"x" * 200)
    (folder / "copied").mkdir()
    with (folder / "big").open("wb") as big:
        for _ in range(size // _MIB):
            big.write(os.urandom(_MIB))


@contextmanager
def our_mount(work: Path, layer: Path, command: str) -> Iterator[Path]:
    """A fresh scratch, mounted by a wclayer.

    Args:
        work: an empty folder.
        layer: the layer directory below the scratch.
        command: the command of that wclayer.
    """
    scratch, place = work / "scratch", work / "mount"
    place.mkdir(parents=True)
    _shell(f"{command} create -l {layer} --size 64GiB {scratch}; {command} mount {scratch} {place}")
    try:
        yield place
    finally:
        _shell(f"{command} unmount {scratch}")


@contextmanager
def overlay_mount(work: Path, lower: Path) -> Iterator[Path]:
    """fuse-overlayfs over the same files, with a fresh upper directory.

    Args:
        work: an empty folder.
        lower: the files.
    """
    place = work / "mount"
    for name in ("mount", "upper", "work"):
        (work / name).mkdir(parents=True)
    _shell(f"fuse-overlayfs -o lowerdir={lower},upperdir={work / 'upper'},workdir={work / 'work'} {place}")
    try:
        yield place
    finally:
        _shell(f"fusermount3 -u {place}")


def _shell(command: str) -> None:
    # Without pipes: the server of a mount, which goes on, would hold them open.
    subprocess.run(["bash", "-ec", command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def _served(mounted: AbstractContextManager[Path]) -> Iterator[tuple[Path, list[int]]]:
    """A mount, and the processes that serve it."""
    adopt_orphans()
    others = set(descendants(os.getpid()))
    with mounted as place:
        servers = sorted(set(descendants(os.getpid())) - others)
        yield place, servers
    for server in servers:
        with suppress(ChildProcessError):
            os.waitpid(server, 0)


def measure_step(command: str, place: Path, servers: list[int]) -> Measured:
    """Measures a command in a mount. The CPU time and the memory are those of its processes and of the servers'."""
    os.sync()
    served = sum(map(cpu_seconds, servers))
    start = time.perf_counter()
    process = subprocess.Popen(["bash", "-ec", command], cwd=place, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{place}: {command}: exit status {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime + sum(map(cpu_seconds, servers)) - served
    memory = [proportional_memory(server) for server in servers]
    return Measured(seconds, cpu, sum(memory), max(memory, default=0), usage.ru_oublock * 512)


def step_names(files: int, size: int) -> list[str]:
    """The names of the steps, in their order."""
    return [name.format(**_sizes(files, size)) for name, _ in _STEPS]


def _sizes(files: int, size: int) -> dict[str, str]:
    return {"size": f"{size // _MIB:,} MiB", "count": str(size // _MIB), "files": f"{files:,}"}


def make_layers(work: Path, commands: Mapping[str, str], files: int, size: int) -> None:
    """A base layer for each wclayer, with the same files.

    Args:
        work: takes the layers.
        commands: the command of each wclayer by its name in tables.
        files: small files, in thousands.
        size: bytes of the large file.
    """
    first: Path | None = None
    for who in commands:
        layer = work / "layers" / who.replace(" ", "-")
        (layer / "Files").mkdir(parents=True)
        if first is None:
            make_lower(layer / "Files", files, size)
            first = layer
        else:
            _shell(f"cp -a {first}/Files/. {layer}/Files")
    for who, command in commands.items():
        _shell(f"{command} makebaselayer {work / 'layers' / who.replace(' ', '-')}")


def turn(work: Path, number: int, commands: Mapping[str, str], files: int, size: int) -> list[dict[str, Measured]]:
    """Runs all steps in a fresh mount of each program; returns for each step what it took by program.

    Args:
        work: the folder with the layers.
        number: of the turn: who goes first changes.
        commands: the command of each wclayer by its name in tables.
        files: small files.
        size: bytes of the large file.
    """
    layers = {who: work / "layers" / who.replace(" ", "-") for who in commands}
    results = []
    with ExitStack() as mounts:
        places: dict[str, tuple[Path, list[int]]] = {}
        for who, command in commands.items():
            folder = work / f"{layers[who].name}-{number}"
            places[who] = mounts.enter_context(_served(our_mount(folder, layers[who], command)))
        if shutil.which(OVERLAY):
            lower = next(iter(layers.values())) / "Files"
            places[OVERLAY] = mounts.enter_context(_served(overlay_mount(work / f"{OVERLAY}-{number}", lower)))
        order = list(places) if number % 2 else list(places)[::-1]
        for _, command in _STEPS:
            text = command.format(**_sizes(files, size))
            taken = {who: measure_step(text, *places[who]) for who in order}
            results.append({who: taken[who] for who in places})
    for who in places:
        shutil.rmtree(work / f"{who.replace(' ', '-')}-{number}")
    return results


def compare(work: Path, runs: int, files: int, size: int) -> None:
    """Prints the rows of the mounts: medians, and the median of the ratios run by run."""
    commands = {"wclayer": f"{sys.executable} -m wclayer"}
    make_layers(work, commands, files, size)
    turns = [turn(work, number, commands, files, size) for number in range(runs)]
    print(f"{'what':<28} {'ours':>9} {'overlay':>9} {'ratio':>6}  spread")
    for name, *row in zip(step_names(files, size), *turns, strict=True):
        own, peer = ([step[who].seconds for step in row] for who in ("wclayer", OVERLAY))
        ratios = [one / other for one, other in zip(own, peer, strict=True)]
        print(
            f"{name:<28} {statistics.median(own):7.3f} s {statistics.median(peer):7.3f} s"
            f" {statistics.median(ratios):6.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mounts", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=10_000, help="small files, in thousands")
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where to work")
    arguments = parser.parse_args()
    work = arguments.folder / f"wclayer-mounts-{os.getpid()}"
    try:
        compare(work, arguments.runs, arguments.files, arguments.size * _MIB)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
