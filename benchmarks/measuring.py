"""Measures a command with all of its processes: seconds, CPU time, memory, bytes written.

A small process of its own starts the command, so that neither memory nor time of the benchmark counts. It adopts what
the command leaves behind, and ends when the last process has ended.
"""

from __future__ import annotations

import compileall
import ctypes
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

WCLAYER = [sys.executable, "-m", "wclayer"]
"""The command of this checkout."""
_SAMPLES = 0.1
"""Seconds between two looks at the memory."""
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command took."""

    seconds: float
    """From its start to its end, as its user sees it."""
    cpu: float
    """CPU seconds, of the user and the system, of all processes that it started, directly or not."""
    memory: int
    """The most bytes that all processes had at one moment, shared pages counted once (PSS, ten looks a second).

    Of a command that ends before the first look, the most of one process, or 0 if that is not known.
    """
    largest: int
    """The most resident bytes of one process (`ru_maxrss`)."""
    written: int
    """Bytes written to disks (`ru_oublock`); a memory file system counts none."""


def measure_shell(command: str) -> Measured:
    """Measures a command of bash; a part of a pipe that fails fails it.

    Raises:
        SystemExit: the command failed.
    """
    # What earlier runs left to be written would be written in this one's time.
    os.sync()
    with tempfile.TemporaryFile() as errors:
        runner = [sys.executable, "-I", "-S", __file__, command]
        done = subprocess.run(runner, stdout=subprocess.PIPE, stderr=errors, check=False)
        if done.returncode:
            errors.seek(0)
            raise SystemExit(
                f"{command}: exit status {done.returncode}\n{errors.read(10_000).decode(errors='replace')}"
            )
    return Measured(**json.loads(done.stdout))


def measure(command: list[str], *, statuses: tuple[int, ...] = (0,)) -> tuple[float, int]:
    """Wall seconds of a command, which must end with one of the exit statuses, and its peak memory in KiB (of the
    largest of its processes)."""
    os.sync()
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in statuses:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return seconds, usage.ru_maxrss


def compiled_environment() -> dict[str, str]:
    """Returns the environment for a command of this checkout whose modules are compiled, as those of an installed
    package are. It compiles those that are not."""
    compileall.compile_dir(Path(__file__).parents[1] / "src", quiet=2)
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def descendants(pid: int) -> list[int]:
    """The processes below one, as Linux lists them."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in listed.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has taken until now, of the user and the system, as Linux counts it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def adopt_orphans() -> None:
    """Makes this process the parent of what its children leave behind, so that their time counts as its children's."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def proportional_memory(pid: int) -> int:
    """The memory of a process, in which a page counts by the part that is its own."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def _run(command: str) -> Measured:
    adopt_orphans()
    start = time.perf_counter()
    process = subprocess.Popen(["bash", "-c", f"set -eo pipefail; {command}"], stdout=subprocess.DEVNULL)
    descriptor = os.pidfd_open(process.pid)
    ended = select.poll()
    ended.register(descriptor, select.POLLIN)
    memory = 0
    while not ended.poll(_SAMPLES * 1000):
        memory = max(memory, sum(map(proportional_memory, descendants(os.getpid()))))
    seconds = time.perf_counter() - start
    if process.wait():
        raise SystemExit(process.returncode)
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    largest = usage.ru_maxrss << 10
    # A process counts the memory that this one had when it started it.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    alone = largest if largest > own else 0
    return Measured(seconds, usage.ru_utime + usage.ru_stime, memory or alone, largest, usage.ru_oublock * 512)


if __name__ == "__main__":
    print(json.dumps(asdict(_run(sys.argv[1]))))
