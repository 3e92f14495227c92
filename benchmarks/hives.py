"""Times the hive reader and writer beside regipy and dissect.regf, each in a process of its own.

    python -m benchmarks.hives SYSTEM [--runs N]

`SYSTEM` is any large hive; one of a real machine tells most. Each measurement starts a process that has the modules
imported and the file read, and times the work alone; the peak memory is that of the process.
"""

from __future__ import annotations

import argparse
import io
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dissect.regf import regf
from regipy.registry import RegistryHive

from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import copy_key, walk
from wclayer.formats.regf.writer import write_hive

Work = Callable[[Path], Callable[[], object]]


def _open_dissect(path: Path) -> Any:
    opened: Any = regf.RegistryHive
    return opened(io.BytesIO(path.read_bytes()))


def _open_regipy(path: Path) -> Any:
    opened: Any = RegistryHive
    return opened(str(path))


def _walk_ours(path: Path) -> Callable[[], object]:
    data = path.read_bytes()

    def work() -> int:
        count = 0
        for _, key in walk(Hive(data).root()):
            count += 1 + len(key.metadata.class_name)
            for value in key.values():
                count += len(value.data)
        return count

    return work


def _walk_dissect(path: Path) -> Callable[[], object]:
    hive = _open_dissect(path)

    def work() -> int:
        count = 0
        pending = [hive.root()]
        while pending:
            key = pending.pop()
            count += 1
            for value in key.values():
                count += len(value.data) if value.cell.Data != 0xFFFFFFFF else 0
            pending += list(key.subkeys())
        return count

    return work


def _walk_regipy(path: Path) -> Callable[[], object]:
    hive = _open_regipy(path)
    return lambda: sum(1 for _ in hive.recurse_subkeys(fetch_values=True))


def _deepest(path: Path) -> str:
    """The path of the key to look up: the last of the deepest ones."""
    return max((path for path, _ in walk(Hive(path.read_bytes()).root())), key=lambda p: p.count("\\"))


def _lookup_ours(path: Path) -> Callable[[], object]:
    data, key = path.read_bytes(), _deepest(path)
    return lambda: Hive(data).find(key)


def _lookup_dissect(path: Path) -> Callable[[], object]:
    data, key = path.read_bytes(), _deepest(path)
    opened: Any = regf.RegistryHive
    return lambda: opened(io.BytesIO(data)).open(key)


def _lookup_regipy(path: Path) -> Callable[[], object]:
    key = _deepest(path)
    return lambda: _open_regipy(path).get_key("\\" + key)


def _write_ours(path: Path) -> Callable[[], object]:
    hive = Hive(path.read_bytes())
    tree = copy_key(hive.root())
    return lambda: write_hive(tree)


def _rewrite_ours(path: Path) -> Callable[[], object]:
    data = path.read_bytes()
    return lambda: write_hive(Hive(data).root())


WORKS: dict[str, dict[str, Work]] = {
    "walk of all keys and values": {"wclayer": _walk_ours, "dissect.regf": _walk_dissect, "regipy": _walk_regipy},
    "open, look up the deepest key": {
        "wclayer": _lookup_ours,
        "dissect.regf": _lookup_dissect,
        "regipy": _lookup_regipy,
    },
    "write from memory": {"wclayer": _write_ours},
    "read and write": {"wclayer": _rewrite_ours},
}


def _measure(what: str, who: str, path: Path) -> tuple[float, float]:
    """Seconds of the work and MiB of peak memory, from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.hives", str(path), "--work", what, "--of", who]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(output[-2]), float(output[-1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.hives", description=sys.modules[__name__].__doc__)
    parser.add_argument("hive", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)
    parser.add_argument("--of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work = WORKS[options.work][options.of](options.hive)
        start = time.perf_counter()
        work()
        print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    print(f"{'':<32} {'':<14} {'seconds':>9} {'peer/ours':>10} {'peak memory':>12}")
    for what, works in WORKS.items():
        own = 0.0
        for who in works:
            runs = [_measure(what, who, options.hive) for _ in range(options.runs)]
            seconds = statistics.median(taken for taken, _ in runs)
            own = own or seconds
            ratio = "" if who == "wclayer" else f"{seconds / own:.1f}"
            print(f"{what:<32} {who:<14} {seconds:9.4f} {ratio:>10} {max(m for _, m in runs):8.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
