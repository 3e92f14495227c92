"""Scans as users run them: by the command, on processes of this machine or on a cluster of processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wclayer.fleet.tables.dataset import Dataset
from wclayer.fleet.tables.schema import BUCKETED

PATIENCE = 300.0


def command(source: str, out: Path, *options: str) -> list[str]:
    """Returns the command that scans a source into a folder, and prints its result as JSON."""
    return [sys.executable, "-m", "wclayer", "fleet", "scan", "--from", source, "-o", str(out), "--json", *options]


@dataclass(frozen=True)
class Ended:
    """How a scan ended.

    Attributes:
        status: its exit status.
        result: what it printed as JSON; empty if it printed nothing.
        told: what it wrote to the error stream.
    """

    status: int
    result: dict[str, Any]
    told: str


class Scan:
    """A running scan, in a group of processes of its own. It and all its processes are gone when the context ends."""

    def __init__(self, words: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env=os.environ | (environment or {}),
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """The process of the client."""
        return self._process.pid

    def workers(self) -> list[int]:
        """The processes of the workers that the client has started."""
        return [pid for pid in _group(self.pid) if "--multiprocessing-fork" in _words(pid)]

    def others(self) -> list[int]:
        """All processes that are left besides the client."""
        return [pid for pid in _group(self.pid) if pid != self.pid]

    def when(self, is_reached: Callable[[], bool]) -> None:
        """Waits for a moment of the scan."""
        until(lambda: is_reached() or self._process.poll() is not None)
        assert self._process.poll() is None, self._process.communicate()

    def interrupt(self) -> None:
        """Does what Ctrl-C in a terminal does: all processes get the signal."""
        os.killpg(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """Kills the client."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> Ended:
        """Waits for the end."""
        out, told = self._process.communicate(timeout=PATIENCE)
        return Ended(self._process.returncode, json.loads(out) if out else {}, told)

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.communicate()


def scan(source: str, out: Path, *options: str) -> Ended:
    """Runs a scan to its end."""
    with Scan(command(source, out, *options)) as running:
        return running.end()


def until(is_reached: Callable[[], bool]) -> None:
    """Waits until something is true."""
    end = time.monotonic() + PATIENCE
    while not is_reached():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)


def _group(leader: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _words(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


class Cluster:
    """A scheduler and workers of Dask, each a process of its own, until the context ends.

    Args:
        folder: for logs and temporary files; it is made.
        workers: the number of workers.
        options: further words for each worker.
        restarts: whether a worker that ends is started again.
    """

    def __init__(self, folder: Path, workers: int = 4, options: Sequence[str] = (), *, restarts: bool = False) -> None:
        self._folder = folder
        self._count = workers
        self._options = ("--nanny" if restarts else "--no-nanny", *options)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.address = ""
        self.dashboard = ""

    def __enter__(self) -> Cluster:
        self._folder.mkdir()
        file = self._folder / "scheduler.json"
        self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0",
            "--scheduler-file", str(file),
        )  # fmt: skip
        until(lambda: file.exists() and file.read_text().endswith("}"))
        known = json.loads(file.read_text())
        self.address = known["address"]
        self.dashboard = f"http://127.0.0.1:{known['services']['dashboard']}"
        for _ in range(self._count):
            self.join()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def join(self) -> int:
        """Starts a further worker, and returns its process."""
        return self._start(
            "worker", self.address, "--nthreads", "1", "--host", "127.0.0.1",
            "--dashboard-address", "127.0.0.1:0", "--local-directory", str(self._folder), "--death-timeout", "60",
            *self._options,
        )  # fmt: skip

    @property
    def workers(self) -> list[int]:
        """The processes of the workers that live."""
        return [process.pid for process in self._processes[1:] if process.poll() is None]

    @property
    def log(self) -> str:
        """What the scheduler and the workers have logged."""
        return "".join(file.read_text() for file in sorted(self._folder.glob("*.log")))

    def _start(self, kind: str, *words: str) -> int:
        environment = os.environ | {"DASK_LOGGING__DISTRIBUTED": "debug"}
        with (self._folder / f"{kind}-{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + kind, *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
            )  # fmt: skip
        self._processes.append(process)
        return process.pid


def facts_of(out: Path) -> list[Path]:
    """Returns the facts that are there."""
    return list((out / "facts").glob("sha256/*/*.tar.zst"))


def tables_of(out: Path) -> dict[str, list[Any]]:
    """Returns all rows of all tables, without the times at which they were made."""
    dataset = Dataset(out)
    rows: dict[str, list[Any]] = {table.name: [] for table in BUCKETED}
    for bucket in dataset.hashes():
        found = dataset.read_bucket(bucket)
        for table in BUCKETED:
            rows[table.name] += found.of(table)
    rows["images"] = [row._replace(scanned=None) for row in rows["images"]]
    rows["layers"] = dataset.read_layers()
    rows["files"] = [row for layer in sorted(dataset.file_layers()) for row in dataset.read_files(layer)]
    return rows


def objects_of(out: Path) -> dict[str, tuple[int, int]]:
    """Returns all files of a fleet, with what tells whether one was written again."""
    files = (path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


@contextlib.contextmanager
def no_leftovers(folder: Path) -> Iterator[None]:
    """Checks that what was temporary in a folder is gone."""
    before = set(folder.iterdir())
    yield
    assert set(folder.iterdir()) == before
