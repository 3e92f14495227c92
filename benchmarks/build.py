"""Times a build on a base of 100,000 files: COPY of 10,000 files and 50 RUN lines that change the registry.

The base is in the store and unpacked, and nothing is cached. Beside it is what comes nearest on Linux with the same
files. umoci adds 51 layers without a look at the base (`insert`: the files, and 50 times a file of the size of a delta
hive); or it unpacks the base, the files are copied, and it makes one layer of what has changed (`unpack`, `repack`).
buildah builds a Containerfile with a COPY of the files and 50 of a file of the size of a delta hive, so 51 layers, on
the base in its own storage (`overlay`); no process runs in it. Neither makes hives or descriptors. A row whose program
is missing, or is not permitted here, is left out, with the reason. Each row has the peak memory of the largest process.
`--runs N` gives medians.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks import layers
from benchmarks.images import plain_tar, windows_tar, write_image
from benchmarks.measuring import WCLAYER, measure
from wclayer.builder.scratch_base import write_scratch_base
from wclayer.model import DataStream, Entry

_DELTA = 12_288
"""The bytes of a delta hive with one value."""

Row = Callable[[], list[list[str]]]
"""Prepares a row, and returns its commands."""


class _Hives:
    """A writer that keeps the entries of a base for images from scratch: valid hives, and the directories above."""

    def __init__(self) -> None:
        self.entries: list[tuple[Entry, bytes]] = []

    def put(self, entry: Entry, streams: Iterator[DataStream] = iter(())) -> None:  # noqa: B008
        self.entries.append((entry, b"".join(stream.read_all() for stream in streams)))


def _base(count: int) -> Iterator[tuple[Entry, bytes]]:
    hives = _Hives()
    write_scratch_base(hives)  # type: ignore[arg-type]
    yield from hives.entries
    files = layers.small_files(count)
    # The first entry is the root, which is there already.
    next(files)
    yield from files


def make_bases(folder: Path, count: int) -> tuple[Path, Path]:
    """The layouts of the base for Windows and of that for Linux, made once."""
    found = folder / f"build-bases-with-history-{count}"
    if not (found / "done").exists():
        shutil.rmtree(found, ignore_errors=True)
        (found / "parts").mkdir(parents=True)
        for kind, make in (("windows", windows_tar), ("linux", plain_tar)):
            layer = make(found / "parts" / f"{kind}.tar.gz", _base(count))
            write_image(found / kind, [layer], is_windows=kind == "windows")
        (found / "done").touch()
    return found / "windows", found / "linux"


def make_context(folder: Path, files: int, runs: int) -> None:
    """A folder with files of 0.5 to 4 KiB in directories of a hundred, and a Dockerfile."""
    chance = random.Random(2)
    pool = chance.randbytes(1 << 16)
    for number in range(files):
        place = folder / "files" / f"directory{number // 100:03d}" / f"some_file_{number:05d}.dll"
        place.parent.mkdir(parents=True, exist_ok=True)
        start = chance.randrange(len(pool) - 4096)
        place.write_bytes(pool[start : start + chance.randrange(512, 4096)])
    lines = ["FROM base:1", r"COPY files C:\app"]
    lines += [
        rf"RUN reg add HKLM\SOFTWARE\App\Part{number} /v Level /t REG_DWORD /d {number} /f" for number in range(runs)
    ]
    (folder / "Dockerfile").write_text("# escape=`\n" + "\n".join(lines) + "\n")


class Rows:
    """The rows of the table.

    Args:
        work: a folder for what is made, with the context in it.
        linux: the layout of the base for Linux.
        runs: the number of RUN lines.
    """

    def __init__(self, work: Path, linux: Path, runs: int) -> None:
        self._work = work
        self._linux = linux
        self._runs = runs
        self._context = work / "context"

    def build(self) -> list[list[str]]:
        """The build, with an empty cache."""
        return [self._built("--no-cache")]

    def build_cached(self) -> list[list[str]]:
        """The same build once more: everything is in the cache."""
        return [self._built()]

    def _built(self, *options: str) -> list[str]:
        store = ["--store", str(self._work / "store")]
        return [*WCLAYER, "build", "-q", *options, *store, "-t", "out:1", str(self._context)]

    def umoci_insert(self) -> list[list[str]]:
        """A layer for each step, which umoci adds without a look at the base."""
        layout = self._fresh("layout")
        shutil.copytree(self._linux, layout, copy_function=os.link)
        delta = self._work / "delta"
        delta.write_bytes(random.Random(3).randbytes(_DELTA))
        insert = ["umoci", "insert", "--rootless", "--image", f"{layout}:1"]
        edits = [[*insert, str(delta), f"/hives/part{number}"] for number in range(self._runs)]
        return [[*insert, str(self._context / "files"), "/app"], *edits]

    def umoci_repack(self) -> list[list[str]]:
        """One layer of all that has changed in the unpacked base."""
        layout, bundle = self._fresh("layout"), self._fresh("bundle")
        shutil.copytree(self._linux, layout, copy_function=os.link)
        image = ["--image", f"{layout}:1", str(bundle)]
        return [
            ["umoci", "unpack", "--rootless", *image],
            ["cp", "-r", str(self._context / "files"), str(bundle / "rootfs" / "app")],
            ["umoci", "repack", *image],
        ]

    def buildah(self) -> list[list[str]]:
        """A layer for each step, on a base that is in buildah's storage."""
        context = self._work / "buildah-context"
        if not context.exists():
            shutil.copytree(self._context / "files", context / "files", copy_function=os.link)
            lines = ["FROM localhost/base:1", "COPY files /app"]
            for number in range(self._runs):
                (context / f"delta{number}").write_bytes(random.Random(number).randbytes(_DELTA))
                lines.append(f"COPY delta{number} /hives/part{number}")
            (context / "Containerfile").write_text("\n".join(lines) + "\n")
            pulled = self._buildah("pull", "-q", f"oci:{self._linux}:1")
            name = subprocess.run(pulled, check=True, capture_output=True, text=True).stdout.strip()
            subprocess.run(self._buildah("tag", name, "localhost/base:1"), check=True, capture_output=True, text=True)
        build = ["build", "-q", "--no-cache", "--layers", "--isolation", "chroot", "-t", "out:1", str(context)]
        return [self._buildah(*build)]

    def _buildah(self, *arguments: str) -> list[str]:
        storage = self._work / "buildah"
        places = ["--root", str(storage / "root"), "--runroot", str(storage / "run")]
        return ["buildah", "--storage-driver", "overlay", *places, *arguments]

    def _fresh(self, name: str) -> Path:
        path = self._work / name
        shutil.rmtree(path, ignore_errors=True)
        return path


def _without_the_missing(named: dict[str, Row]) -> dict[str, Row]:
    """The rows whose programs are there and work here; says of the others why they do not."""
    found = {}
    for name, row in named.items():
        try:
            missing = [command[0] for command in row() if shutil.which(command[0]) is None]
        except FileNotFoundError as error:
            missing = [error.filename]
        except subprocess.CalledProcessError as error:
            print(f"{name}: {error.stderr.strip()}")
            continue
        if missing:
            print(f"{name}: {missing[0]} is missing")
        else:
            found[name] = row
    return found


def _timed(row: Row) -> tuple[float, int]:
    """Seconds of all commands of a row, and the most memory of one in KiB."""
    measured = [measure(command) for command in row()]
    return sum(seconds for seconds, _ in measured), max(kib for _, kib in measured)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.build", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "wclayer-benchmarks")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--base", type=int, default=100_000, help="files of the base")
    parser.add_argument("--files", type=int, default=10_000, help="files to be copied")
    parser.add_argument("--edits", type=int, default=50, help="RUN lines")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    # In a process of its own: the peak memory of a command counts from the size of the process that starts it.
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as text,
        ProcessPoolExecutor(1, get_context("spawn")) as other,
    ):
        work = Path(text)
        windows, linux = other.submit(make_bases, options.folder, options.base).result()
        other.submit(make_context, work / "context", options.files, options.edits).result()
        load = [*WCLAYER, "load", "-q", "-i", str(windows), "-t", "base:1", "--store", str(work / "store")]
        subprocess.run(load, check=True, stdout=subprocess.DEVNULL)
        rows = Rows(work, linux, options.edits)
        named: dict[str, Row] = {
            "build": rows.build,
            "build, all of it cached": rows.build_cached,
            "umoci insert, layer by layer (Linux)": rows.umoci_insert,
            "umoci unpack, cp, repack (Linux)": rows.umoci_repack,
            "buildah build, layer by layer (Linux)": rows.buildah,
        }
        named = _without_the_missing(named)
        # In turn, so that what else the machine does meets all of them.
        runs = [{name: _timed(row) for name, row in named.items()} for _ in range(options.runs)]
    print(f"{'':38} {'seconds':>8} {'build is':>9} {'memory':>10}")
    for name in named:
        seconds = [run[name][0] for run in runs]
        ratio = statistics.median(run["build"][0] / one for run, one in zip(runs, seconds, strict=True))
        memory = max(run[name][1] for run in runs)
        print(f"{name:<38} {statistics.median(seconds):8.2f} {ratio:8.2f}x {memory / 1024:6.0f} MiB")


if __name__ == "__main__":
    main()
