"""Keeps the runs of the yardstick's jobs, and makes the table of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.image_jobs import BEFORE, OURS, Job
from benchmarks.mounts import OVERLAY

_HEAD = (
    "job", "program", "disk", "disk: wclayer ÷ it", "disk: before ÷ it", "memory fs", "memory fs: wclayer ÷ it",
    "memory fs: before ÷ it", "CPU", "peak memory", "written",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one program (`measuring.Measured`), and the bytes that its result takes."""

    who: str
    kind: str
    size: int
    seconds: float
    cpu: float
    memory: int
    largest: int
    written: int


class Results:
    """The runs, in a JSON file: for each job and file system a list of turns, each with one run of each program."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turns: dict[str, list[list[Run]]] = {}
        if path.exists():
            for key, turns in json.loads(path.read_text()).items():
                self._turns[key] = [[Run(**run) for run in turn] for turn in turns]

    def forget(self, job: Job, places: Iterable[str]) -> None:
        """Forgets the runs of a job on some file systems."""
        for where in places:
            self._turns.pop(f"{job.name}, {where}", None)

    def keep(self, job: Job, where: str, turn: list[Run]) -> None:
        """Adds a turn, and writes the file."""
        self._turns.setdefault(f"{job.name}, {where}", []).append(turn)
        partial = self._path.with_suffix(".partial")
        partial.write_text(
            json.dumps({key: [list(map(asdict, turn)) for turn in turns] for key, turns in self._turns.items()})
        )
        partial.rename(self._path)

    def runs(self, job: Job, where: str, who: str) -> list[Run]:
        """The runs of one program."""
        return [run for turn in self._turns.get(f"{job.name}, {where}", ()) for run in turn if run.who == who]

    def ratios(self, job: Job, where: str, who: str, other: str) -> list[float]:
        """How much longer one program takes than another, turn by turn.

        Where they have no turn in common, the median of the one is compared with that of the other; a limit that
        writes nothing runs on the disk only.
        """
        pairs = []
        for turn in self._turns.get(f"{job.name}, {where}", ()):
            seconds = {run.who: run.seconds for run in turn}
            if who in seconds and other in seconds:
                pairs.append(seconds[who] / seconds[other])
        if pairs:
            return pairs
        own = self.runs(job, where, who)
        limit = self.runs(job, where, other) or self.runs(job, "disk", other)
        if own and limit:
            pairs = [_median_seconds(own) / _median_seconds(limit)]
        return pairs


def _median_seconds(runs: list[Run]) -> float:
    return statistics.median(run.seconds for run in runs)


def table(jobs: Iterable[Job], results: Results) -> str:
    """The table in Markdown."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    for job in jobs:
        for way in job.ways:
            on = {where: results.runs(job, where, way.who) for where in ("disk", "memory")}
            all_runs = on["disk"] + on["memory"]
            if not all_runs:
                continue
            cells = [job.name, way.who]
            for where, runs in on.items():
                cells.append(_seconds([run.seconds for run in runs]))
                cells.append("" if way.kind == "ours" else _ratio(results.ratios(job, where, OURS, way.who)))
                cells.append(
                    "" if way.kind in ("ours", "before") else _ratio(results.ratios(job, where, BEFORE, way.who))
                )
            written = [run.written for run in on["disk"]] or [run.size for run in on["memory"]]
            cells += [
                f"{statistics.median(run.cpu for run in all_runs):.2f} s",
                _memory(max(run.memory for run in all_runs)),
                _bytes(statistics.median(written), statistics.median(run.size for run in all_runs)),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _seconds(values: list[float]) -> str:
    if not values:
        return ""
    digits = 1 if min(values) >= 10 else 2 if min(values) >= 1 else 3
    return f"{statistics.median(values):.{digits}f} s ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _memory(value: int) -> str:
    return f"{value / (1 << 20):.0f} MiB" if value else ""


def _ratio(values: list[float]) -> str:
    return f"{statistics.median(values):.2f}" if values else ""


def _bytes(written: float, size: float) -> str:
    """The bytes that were written, and those of the result where they are others."""
    if max(written, size) < 1e6:
        return ""
    return (
        f"{written / 1e6:,.0f} MB"
        if abs(written - size) < size / 100
        else f"{written / 1e6:,.0f} MB for {size / 1e6:,.0f}"
    )


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wanted of a job: at most so many times as long as a peer, or at most so many seconds."""

    job: str
    most: float
    peer: str | None = None


AIMS = (
    Aim("import gzip", 0.6, "tar -xzf"),
    Aim("import plain tar", 1.0, "tar -xf"),
    Aim("export plain tar", 1.3, "tar -cf, sha256sum"),
    Aim("export gzip", 1.0, "tar -cf, pigz -6"),
    Aim("VHDX of tar.gz", 1.0, "wimlib-imagex apply"),
    Aim("ls", 0.2),
    Aim("ls -R", 0.5),
    Aim("--help", 0.1),
)


def aims(jobs: Iterable[Job], results: Results) -> str:
    """The aims, and what was measured, in Markdown."""
    lines = ["| aim | before: disk, memory fs | now: disk, memory fs | reached |", "|---|---|---|---|"]
    by_name = {job.name: job for job in jobs}
    mounts = [_mount_aim(name) for name in by_name if name.startswith("mount: ")]
    for aim in (*AIMS, *mounts):
        job = by_name[aim.job]
        values = {}
        for who in (BEFORE, OURS):
            for where in ("disk", "memory"):
                if aim.peer is None:
                    found = [run.seconds for run in results.runs(job, where, who)]
                else:
                    found = results.ratios(job, where, who, aim.peer)
                values[who, where] = statistics.median(found) if found else None
        now = [values[OURS, where] for where in ("disk", "memory")]
        known = [value for value in now if value is not None]
        if not known:
            continue
        unit = "" if aim.peer else " s"
        text = f"{aim.job}: ≤ {aim.most:g}{unit}" + (f" of `{aim.peer}`" if aim.peer else "")
        cells = [
            ", ".join(
                "" if values[who, where] is None else f"{values[who, where]:.2f}{unit}" for where in ("disk", "memory")
            )
            for who in (BEFORE, OURS)
        ]
        reached = sum(value <= aim.most for value in known)
        verdict = "yes" if reached == len(known) else "no" if not reached else "in part"
        lines.append(f"| {text} | {cells[0].strip(', ')} | {cells[1].strip(', ')} | {verdict} |")
    return "\n".join(lines)


def _mount_aim(job: str) -> Aim:
    is_small = "small files" in job or "remove" in job
    return Aim(job, 1.2 if is_small else 1.0, OVERLAY)
