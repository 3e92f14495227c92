"""Prints the CPU time of `import wclayer` and of the command's start, and how many modules each loads.

python -m benchmarks.start
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

_STARTS = {
    "python (nothing)": ["-c", "pass"],
    "import wclayer": ["-c", "import wclayer"],
    "wclayer --version": ["-m", "wclayer", "--version"],
    "wclayer --help": ["-m", "wclayer", "--help"],
}
_MODULES = ["-X", "importtime"]


def cpu_seconds(arguments: list[str]) -> float:
    """Returns the CPU time of a Python process, of the user and the system."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def modules(arguments: list[str]) -> int:
    """Returns how many modules of wclayer a Python process loads."""
    done = subprocess.run([sys.executable, *_MODULES, *arguments], capture_output=True, check=True, text=True)
    names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
    return sum(name.split(".")[0] == "wclayer" for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.start", description=__doc__)
    parser.add_argument("--runs", type=int, default=11, help="the least of so many runs is printed")
    options = parser.parse_args()
    for name, arguments in _STARTS.items():
        seconds = min(cpu_seconds(arguments) for _ in range(options.runs))
        print(f"{name:<20} {seconds * 1000:6.0f} ms {modules(arguments):5} modules", flush=True)


if __name__ == "__main__":
    main()
