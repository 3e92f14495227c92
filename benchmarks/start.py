"""Times how commands start, and prints a table: wall and CPU time, and the modules of wclayer that each one loads.

python -m benchmarks.start
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import wclayer

_WCLAYER = ["-m", "wclayer"]
_MODULES = ["-X", "importtime"]


def _starts(layer: Path) -> dict[str, list[str]]:
    scratch = str(layer.with_name("scratch"))
    return {
        "python (nothing)": ["-c", "pass"],
        "import wclayer": ["-c", "import wclayer"],
        "wclayer --version": [*_WCLAYER, "--version"],
        "wclayer --help": [*_WCLAYER, "--help"],
        "wclayer ls LAYER": [*_WCLAYER, "ls", str(layer)],
        "wclayer ls SCRATCH PATH": [*_WCLAYER, "ls", scratch, "C:\\dir"],
        "wclayer cat LAYER FILE": [*_WCLAYER, "cat", str(layer), "C:\\dir\\file"],
        "wclayer acl get LAYER FILE": [*_WCLAYER, "acl", "get", str(layer), "C:\\dir\\file"],
        "wclayer images": [*_WCLAYER, "images"],
        "wclayer import --help": [*_WCLAYER, "import", "--help"],
        "wclayer pull --help": [*_WCLAYER, "pull", "--help"],
        "wclayer build --help": [*_WCLAYER, "build", "--help"],
    }


def seconds_of(arguments: list[str]) -> tuple[float, float]:
    """Returns the wall time of a Python process, and its CPU time, of the user and the system."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit status {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime


def modules(arguments: list[str]) -> int:
    """Returns how many modules of wclayer a Python process loads."""
    done = subprocess.run([sys.executable, *_MODULES, *arguments], capture_output=True, check=True, text=True)
    names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
    return sum(name.split(".")[0] == "wclayer" for name in names)


def make_layers(folder: Path) -> Path:
    """Makes a small base layer and a scratch over it in a folder, and returns the path of the base layer."""
    layer = folder / "layer"
    directory = layer / "Files" / "dir"
    directory.mkdir(parents=True)
    (directory / "file").write_bytes(b"contents")
    wclayer.make_base_layer(layer)
    wclayer.create_scratch_layer(folder / "scratch", layer)
    return layer


def print_table(starts: dict[str, list[str]], runs: int, tell: Callable[[str], None]) -> None:
    """Prints a row for each command: the least of its times."""
    tell(f"{'command':<28} {'wall':>9} {'CPU':>9} {'modules':>8}")
    for name, arguments in starts.items():
        times = [seconds_of(arguments) for _ in range(runs)]
        wall, cpu = (min(column) * 1000 for column in zip(*times, strict=True))
        tell(f"{name:<28} {wall:6.0f} ms {cpu:6.0f} ms {modules(arguments):8}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--runs", type=int, default=11, help="the least of so many runs is printed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wclayer-start-") as folder:
        os.environ["WCLAYER_STORE"] = str(Path(folder) / "store")
        print_table(_starts(make_layers(Path(folder))), options.runs, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
