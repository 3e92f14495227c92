"""Times views of a chain of three layers with many files, and of a scratch over it; prints a table.

python -m benchmarks.views
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import wclayer
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import DataStream, Entry
from wclayer.view.merged import MergedTree
from wclayer.win32.attributes import FileBasicInfo

_TIME = 133_000_000_000_000_000
_FILE = FileBasicInfo(0x20, _TIME, _TIME, _TIME, _TIME)
_DIRECTORY = FileBasicInfo(0x10, _TIME, _TIME, _TIME, _TIME)
_IN_DIRECTORY = 1000
_LINKS = 4
"""One file of so many has a second name, as many files of Windows have one in WinSxS."""
_CALLS = 20_000
_DATA = b"x" * 200
_FILE_PATH = r"C:\d0\file7.dll"
_LINKED_PATH = r"C:\d0\file4.dll"


def make_chain(folder: Path, files: int) -> list[Path]:
    """Makes a base layer with directories of 1,000 names each and two layers over it; returns them, nearest first."""
    names = 0
    with DirectoryLayerWriter(folder / "base") as writer:
        writer.put(Entry("Files", _DIRECTORY))
        while names < files:
            if names % _IN_DIRECTORY == 0:
                directory = f"Files/d{names // _IN_DIRECTORY}"
                writer.put(Entry(directory, _DIRECTORY))
            number = names % _IN_DIRECTORY
            writer.put(Entry(f"{directory}/file{number}.dll", _FILE, len(_DATA)), [DataStream("", len(_DATA), [_DATA])])
            names += 1
            if number % _LINKS == 0 and names % _IN_DIRECTORY and names < files:
                target = f"{directory}/file{number}.dll"
                writer.put(Entry(f"{directory}/link{number}.dll", _FILE, len(_DATA), link_target=target))
                names += 1
    chain = [folder / "base"]
    for number in range(2):
        layer = folder / f"child{number}"
        wclayer.create_layer(layer, parents=chain)
        chain.insert(0, layer)
    wclayer.create_scratch_layer(folder / "scratch", chain)
    return chain


def _print(name: str, run: Callable[[], object], *, runs: int, times: int = 1, unit: str = "ms") -> None:
    """Prints the least and the median time of one of `times` calls."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        for _ in range(times):
            run()
        seconds.append((time.perf_counter() - start) / times)
    factor = 1e3 if unit == "ms" else 1e6
    print(f"{name:<44} {min(seconds) * factor:8.2f} {statistics.median(seconds) * factor:8.2f} {unit}", flush=True)


def print_table(folder: Path, chain: list[Path], runs: int) -> None:
    """Prints a row for each thing that is timed."""
    scratch = folder / "scratch"

    def opened(path: str, upper: Path | None = None) -> Callable[[], object]:
        def run() -> object:
            with wclayer.LayerView(chain, upper) as view:
                return view.stat(path)

        return run

    def walked() -> int:
        with MergedTree(chain) as tree:
            return sum(1 for _ in tree.walk(tree.root()))

    def scanned() -> int:
        with wclayer.LayerView(chain) as view:
            pending, count = ["C:\\"], 0
            while pending:
                for status in view.scan(pending.pop()):
                    count += 1
                    if status.is_directory:
                        pending.append(status.path)
            return count

    print(f"{'what':<44} {'least':>8} {'median':>8}")
    _print("open the chain, stat a file", opened(_FILE_PATH), runs=runs)
    _print("open the chain, stat a file with two names", opened(_LINKED_PATH), runs=runs)
    _print("open a scratch over it, stat a file", opened(_FILE_PATH, scratch), runs=runs)
    for name, view in (("", wclayer.LayerView(chain)), (" in a scratch", wclayer.LayerView(scratch=scratch))):
        with view:
            view.stat(_LINKED_PATH)
            find, stat = partial(view.volume.find, _FILE_PATH), partial(view.stat, _LINKED_PATH)
            _print(f"warm lookup{name}", find, runs=runs, times=_CALLS, unit="µs")
            _print(f"warm stat of a file with two names{name}", stat, runs=runs, times=_CALLS, unit="µs")
    _print("walk over all names (MergedTree.walk)", walked, runs=runs)
    _print("stat of all names (LayerView.scan)", scanned, runs=runs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.views", description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--files", type=int, default=100_000, help="names of files in the base layer")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where to work")
    arguments = parser.parse_args()
    work = arguments.folder / f"wclayer-views-{os.getpid()}"
    try:
        work.mkdir()
        print_table(work, make_chain(work, arguments.files), arguments.runs)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
