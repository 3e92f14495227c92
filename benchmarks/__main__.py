"""Times import and export beside GNU tar, and prints a table of medians and ratios; with --memory, peak memory too."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import layers

_WCLAYER = [sys.executable, "-m", "wclayer"]


def measure(command: list[str]) -> tuple[float, int]:
    """Wall seconds of a command and its peak memory in KiB (of the largest of its processes)."""
    # What earlier runs left to be written would be written in this one's time.
    os.sync()
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return seconds, usage.ru_maxrss


def _empty(path: Path, *, make: bool) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    if make:
        path.mkdir()


def pair(name: str, runs: int, ours: Callable[[], list[str]], theirs: Callable[[], list[str]], note: str = "") -> None:
    """Runs two commands in turn and prints a row: medians, and the median of the ratios pair by pair."""
    pairs = []
    memory = 0
    for _ in range(runs):
        peer, _ = measure(theirs())
        own, kib = measure(ours())
        memory = max(memory, kib)
        pairs.append((own, peer))
    ratios = [own / peer for own, peer in pairs]
    print(
        f"{name:<34} {statistics.median(o for o, _ in pairs):8.2f} s {statistics.median(p for _, p in pairs):8.2f} s"
        f" {statistics.median(ratios):6.2f}  ({min(ratios):.2f} to {max(ratios):.2f}) {memory / 1024:7.0f} MiB {note}",
        flush=True,
    )


def import_and_export(tar: Path, what: str, work: Path, runs: int) -> None:
    """Import against `tar -xzf`, export against `tar -czf` in the format that keeps times as ours does."""
    ours, theirs = work / "layer", work / "extracted"

    def import_() -> list[str]:
        _empty(ours, make=False)
        return [*_WCLAYER, "import", "-i", str(tar), str(ours)]

    def extract() -> list[str]:
        _empty(theirs, make=True)
        return ["tar", "--warning=no-unknown-keyword", "-xzf", str(tar), "-C", str(theirs)]

    pair(f"import {what} / tar -xzf", runs, import_, extract)
    packed, peer = work / "ours.tar.gz", work / "theirs.tar.gz"
    pair(
        f"export {what} / tar -czf",
        runs,
        lambda: [*_WCLAYER, "export", "-z", "-o", str(packed), str(ours)],
        lambda: ["tar", "--format=posix", "-czf", str(peer), "-C", str(theirs), "."],
    )
    print(f"{'':34} sizes: {packed.stat().st_size:,} and {peer.stat().st_size:,} bytes")


def memory(cache: Path, work: Path) -> None:
    """Peak memory with a million entries."""
    tar = cache / "million.tar.gz"
    layers.write(tar, layers.empty_files(1_000_000))
    layer = work / "million"
    _empty(layer, make=False)
    for name, command in (
        ("import of 1,000,000 entries", [*_WCLAYER, "import", "-i", str(tar), str(layer)]),
        ("export of 1,000,000 entries", [*_WCLAYER, "export", "-z", "-o", str(work / "million.gz"), str(layer)]),
    ):
        seconds, kib = measure(command)
        print(f"{name:<34} {seconds:8.2f} s {kib / 1024:36.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=sys.modules["benchmarks"].__doc__)
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "wclayer-benchmarks")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="also a layer of a million entries")
    options = parser.parse_args()
    work = options.folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    wheels, small = options.folder / "wheels.tar.gz", options.folder / "small.tar.gz"
    layers.write(wheels, layers.wheel_files(options.folder))
    layers.write(small, layers.small_files(100_000))
    print(f"{'':34} {'ours':>10} {'peer':>10} {'ratio':>6}")
    import_and_export(wheels, "300 MB", work, options.runs)
    import_and_export(small, "100,000 files", work, options.runs)
    if options.memory:
        memory(options.folder, work)


if __name__ == "__main__":
    main()
