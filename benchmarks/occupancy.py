"""Looks at what every thread of a command does over time: it runs, waits for a core or a disk, or has nothing to do.

Linux tells for each thread how long it has run and how long it has been ready to run (`schedstat`), and in which state
it is. Threads of Python have the names that the program gave them; other processes are known by their commands.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import plots
from benchmarks.measuring import descendants

_LOOKS = 0.05
"""Seconds between two looks."""
_SPANS = 90
"""The spans of time of a plot."""
_LEAST = 0.01
"""A thread that has a smaller part of the CPU time is left out of a plot."""


@dataclass(slots=True)
class _Look:
    """What a thread had done at one moment: seconds that it had run, and had waited for a core; is it at a disk?"""

    at: float
    ran: float
    waited: float
    is_at_disk: bool


@dataclass(slots=True)
class _Thread:
    process: int
    is_main: bool
    command: str = ""
    looks: list[_Look] = field(default_factory=list)


def occupancy(command: str, title: str) -> str:
    """Runs a command of bash, and returns a plot of its threads.

    Raises:
        SystemExit: the command failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder, "names")
        names.touch()
        path = os.pathsep.join([str(Path(__file__).parent / "thread_names"), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "WCLAYER_THREAD_NAMES": str(names), "PYTHONPATH": path.rstrip(os.pathsep)}
        threads, seconds = _watch(command, environment)
        known = dict(line.split(" ", 1) for line in names.read_text().splitlines())
    processes = sorted({thread.process for thread in threads.values()})
    least = _LEAST * sum(thread.looks[-1].ran for thread in threads.values())
    rows = []
    for number, thread in sorted(threads.items(), key=lambda item: (item[1].process, not item[1].is_main, item[0])):
        if thread.looks[-1].ran >= least:
            shares = _shares(thread.looks, seconds)
            name = "main thread" if thread.is_main else known.get(str(number), "a thread of a library")
            process = f"{thread.command} {processes.index(thread.process) + 1}"
            rows.append((f"{process}: {name}, {thread.looks[-1].ran:.1f} s", shares))
    used = [sum(shares[span].runs for _, shares in rows) for span in range(_SPANS)]
    cores = os.cpu_count() or 1
    rows.append((f"all, of {cores} cores", [plots.Share(min(one / cores, 1), 0, 0) for one in used]))
    return plots.occupancy(title, seconds, rows)


def _watch(command: str, environment: dict[str, str]) -> tuple[dict[int, _Thread], float]:
    """Runs a command; returns its threads by number, and the seconds that it took."""
    threads: dict[int, _Thread] = {}
    start = time.perf_counter()
    process = subprocess.Popen(["bash", "-c", f"exec {command}"], stdout=subprocess.DEVNULL, env=environment)
    while process.poll() is None:
        now = time.perf_counter() - start
        for pid in [process.pid, *descendants(process.pid)]:
            _look_at(pid, now, threads)
        time.sleep(_LOOKS)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{command}: exit status {process.returncode}")
    return threads, seconds


def _look_at(pid: int, now: float, threads: dict[int, _Thread]) -> None:
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            ran, waited, _ = (task / "schedstat").read_text().split()
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            number = int(task.name)
            if number not in threads:
                threads[number] = _Thread(pid, number == pid)
            # A process that has just begun does not say yet what it runs.
            threads[number].command = threads[number].command or _command(pid)
        except OSError:
            # It has just ended.
            continue
        threads[number].looks.append(_Look(now, int(ran) / 1e9, int(waited) / 1e9, state == "D"))


def _command(pid: int) -> str:
    """What a process is, in few words: its program, or the module that Python runs in it."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    scripts = [Path(word).stem for word in words[1:] if word.endswith(".py")]
    if scripts:
        return scripts[0]
    if words[0] in ("", "bash"):
        return ""
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    if "wclayer" in (Path(word).name for word in words[:2]):
        return "wclayer"
    return Path(words[0]).name


def _shares(looks: list[_Look], seconds: float) -> list[plots.Share]:
    """What a thread does in each span of a plot: what the counters grew by, spread over the time between two looks."""
    span = seconds / _SPANS
    sums = [[0.0, 0.0, 0.0] for _ in range(_SPANS)]
    previous = _Look(max(looks[0].at - _LOOKS, 0), 0, 0, False)
    for look in looks:
        length = max(look.at - previous.at, 1e-6)
        idle = max(0.0, length - (look.ran - previous.ran) - (look.waited - previous.waited))
        grown = (look.ran - previous.ran, look.waited - previous.waited, idle if look.is_at_disk else 0.0)
        first, last = int(previous.at / span), min(int(look.at / span), _SPANS - 1)
        for index in range(first, last + 1):
            part = (min(look.at, (index + 1) * span) - max(previous.at, index * span)) / length
            for kind, value in enumerate(grown):
                sums[index][kind] += value * part / span
        previous = look
    return [plots.Share(*one) for one in sums]
