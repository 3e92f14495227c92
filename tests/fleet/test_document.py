"""docs/fleet.md is true: its commands are run one after the other over a registry, and print what it tells."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fleet.registry_fleet import FleetRegistry
from tests.readme import examples, run
from tests.source import ROOT

DOCUMENT = ROOT / "docs" / "fleet.md"
_REGISTRY, _SCHEDULER = "localhost:5000", "127.0.0.1:8786"
_DASK = "    dask "
_PATIENCE = 600


def test_the_examples_are_true(tmp_path: Path, fleet_registry: FleetRegistry) -> None:
    scheduler = f"127.0.0.1:{_free_port()}"
    environment = {
        "HOME": str(tmp_path), "WCLAYER_STORE": str(tmp_path / "store"), "COLUMNS": "160", "WCLAYER_NO_SYNC": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    found = [example for example in examples(DOCUMENT) if example.output is not None]
    assert len(found) > 8
    wrong = []
    with _cluster(tmp_path, environment, scheduler):
        for example in found:
            command = example.command.replace(_REGISTRY, fleet_registry.host).replace(_SCHEDULER, scheduler)
            status, printed = run(command, tmp_path, environment, _PATIENCE)
            told = printed.replace(fleet_registry.host, _REGISTRY)
            if status or example.differs(told):
                place = f"docs/fleet.md:{example.line}"
                wrong.append(f"{place}: {example.command}: {status}, {example.differs(told)}\n{told}")
    assert not wrong, "\n".join(wrong)


@contextmanager
def _cluster(folder: Path, environment: dict[str, str], scheduler: str) -> Iterator[None]:
    """Runs the cluster that the document starts."""
    lines = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith(_DASK)]
    assert len(lines) == 2
    host, port = scheduler.split(":")
    processes = []
    try:
        for line in lines:
            command = line.replace(_SCHEDULER, scheduler).replace(
                "--port 8786", f"--port {port} --dashboard-address {host}:0"
            )
            with (folder / "dask.log").open("ab") as log:
                processes.append(
                    subprocess.Popen(
                        shlex.split(command), cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                        stdout=log, stderr=log,
                    )
                )  # fmt: skip
        yield
        assert [process.poll() for process in processes] == [None, None], (folder / "dask.log").read_text()
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
