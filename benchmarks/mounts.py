"""Times a mounted scratch beside fuse-overlayfs over the same files, and lookups in a view; prints a table.

Both mounts are made anew for each run, with the files of the lower layer in the host's cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import wclayer
from wclayer.view.fuse import mount

_MIB = 1 << 20
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
def our_mount(work: Path, number: int) -> Iterator[Path]:
    """A fresh scratch, mounted."""
    scratch, place = work / f"scratch{number}", work / "ours"
    wclayer.create_scratch_layer(scratch, [work / "layer"])
    wclayer.expand_scratch_size(scratch, 64 << 30)
    mount.start(place, scratch=scratch)
    try:
        yield place
    finally:
        mount.unmount(place)
        mount.wait_until_free(scratch)
        shutil.rmtree(scratch)


@contextmanager
def overlay_mount(work: Path) -> Iterator[Path]:
    """fuse-overlayfs over the same files, with a fresh upper directory."""
    place = work / "theirs"
    for name in ("upper", "work"):
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir()
    options = f"lowerdir={work / 'layer' / 'Files'},upperdir={work / 'upper'},workdir={work / 'work'}"
    subprocess.run(["fuse-overlayfs", "-o", options, str(place)], check=True, stderr=subprocess.DEVNULL)
    try:
        yield place
    finally:
        subprocess.run(["fusermount3", "-u", str(place)], check=True)


def _seconds(command: str, place: Path) -> float:
    os.sync()
    start = time.perf_counter()
    done = subprocess.run(["bash", "-ec", command], cwd=place, check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{place}: {command}: exit status {done.returncode}")
    return time.perf_counter() - start


def compare(work: Path, runs: int, files: int, size: int) -> None:
    """The rows of the mounts: medians, and the median of the ratios run by run."""
    names = {"size": f"{size // _MIB:,} MiB", "count": str(size // _MIB), "files": f"{files:,}"}
    times: list[list[tuple[float, float]]] = [[] for _ in _STEPS]
    for number in range(runs):
        with our_mount(work, number) as ours, overlay_mount(work) as theirs:
            for row, (_, command) in zip(times, _STEPS, strict=True):
                text = command.format(**names)
                # In turn, who goes first.
                first, second = (ours, theirs) if number % 2 else (theirs, ours)
                pair = {first: _seconds(text, first), second: _seconds(text, second)}
                row.append((pair[ours], pair[theirs]))
    print(f"{'what':<28} {'ours':>9} {'overlay':>9} {'ratio':>6}  spread")
    for row, (name, _) in zip(times, _STEPS, strict=True):
        ratios = [own / peer for own, peer in row]
        print(
            f"{name.format(**names):<28} {statistics.median(o for o, _ in row):7.3f} s"
            f" {statistics.median(p for _, p in row):7.3f} s {statistics.median(ratios):6.2f}"
            f"  ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def lookups(work: Path, files: int) -> None:
    """How long it takes to open a chain, and to look names up in it."""
    layers = [work / "layer"]
    for number in range(2):
        child = work / f"child{number}"
        wclayer.create_layer(child, parents=layers)
        layers.insert(0, child)
    opened = []
    for _ in range(5):
        start = time.perf_counter()
        with wclayer.LayerView(layers) as view:
            view.stat(r"C:\small\d0\file7.dll")
            opened.append(time.perf_counter() - start)
    print(f"open a chain of three layers with {files:,} files, first lookup: {statistics.median(opened) * 1e3:.1f} ms")
    with wclayer.LayerView(layers) as view:
        path, count = r"C:\small\d0\file7.dll", 100_000
        view.volume.find(path)
        start = time.perf_counter()
        for _ in range(count):
            view.volume.find(path)
        print(f"warm lookup: {(time.perf_counter() - start) / count * 1e6:.2f} µs")
    wclayer.create_scratch_layer(work / "looked", layers)
    with wclayer.LayerView(scratch=work / "looked") as view:
        view.volume.find(path)
        start = time.perf_counter()
        for _ in range(count):
            view.volume.find(path)
        print(f"warm lookup in a scratch: {(time.perf_counter() - start) / count * 1e6:.2f} µs")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mounts", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=10_000, help="small files, in thousands")
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--chain-files", type=int, default=100_000, help="files of the chain that is opened")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where to work")
    arguments = parser.parse_args()
    work = arguments.folder / f"wclayer-mounts-{os.getpid()}"
    try:
        for name in ("ours", "theirs", "layer/Files"):
            (work / name).mkdir(parents=True)
        make_lower(work / "layer" / "Files", arguments.files, arguments.size * _MIB)
        wclayer.make_base_layer(work / "layer")
        compare(work, arguments.runs, arguments.files, arguments.size * _MIB)
        shutil.rmtree(work / "layer")
        (work / "layer" / "Files").mkdir(parents=True)
        make_lower(work / "layer" / "Files", arguments.chain_files, 0)
        wclayer.make_base_layer(work / "layer")
        lookups(work, arguments.chain_files)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
