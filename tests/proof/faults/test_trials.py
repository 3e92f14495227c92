"""Each call of the host that an operation makes fails once, each step of SQLite does, and memory runs out: the error is
the right one, nothing is left, and the second try succeeds.

A call is what Python, SQLite and the other libraries ask of libc, in worker processes, too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from tests.proof.faults import shim
from tests.proof.operations import EVERY, Operation
from tests.proof.world import MEMORY, make_sources

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="calls of libc are replaced with what Linux has"),
]
_SAMPLES = 14
# Not those of MOUNTING: a server whose call failed may go on, with what the trial waits for.
_OPERATIONS: dict[str, Operation] = dict(EVERY)
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Asks a process that has the shim to try an operation: see `trial.main`."""
    with _process({}) as request:
        yield request


@pytest.fixture(scope="module")
def ask_counting() -> Iterator[Ask]:
    """The same, of which each object of Python is an allocation of its own."""
    with _process({"PYTHONMALLOC": "malloc"}) as request:
        yield request


@contextmanager
def _process(variables: dict[str, str]) -> Iterator[Ask]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        (Path(folder) / "sources").mkdir()
        make_sources(Path(folder) / "sources")
        environment = {**os.environ, **shim.build(Path(folder)), **variables}
        process: subprocess.Popen[str] | None = None

        def request(**wanted: object) -> dict[str, Any]:
            nonlocal process
            if process is None:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.proof.faults.trial", folder], env=environment, text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
                )  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(wanted) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                process.communicate()
                process = None
                shutil.rmtree(Path(folder) / "w", ignore_errors=True)
                pytest.fail(f"the process that tries {wanted} has died")
            said: dict[str, Any] = json.loads(answer)
            return said

        try:
            yield request
        finally:
            if process is not None:
                process.communicate()


@pytest.mark.parametrize("name", _OPERATIONS)
def test_a_call_that_fails_is_told_and_leaves_nothing(name: str, ask: Ask, is_long: bool) -> None:
    done = ask(name=name, what="host", seed=crc32(name.encode()), count=None if is_long else _SAMPLES)
    assert done["found"] == []
    assert done["trials"] >= min(done["calls"], _SAMPLES)


@pytest.mark.parametrize("name", [name for name, operation in _OPERATIONS.items() if operation.command is not None])
def test_the_command_says_in_one_line_what_failed(name: str, ask: Ask, is_long: bool) -> None:
    done = ask(name=name, what="command", seed=crc32(name.encode()), count=200 if is_long else _SAMPLES // 5)
    assert done["found"] == []
    assert done["trials"]


@pytest.mark.parametrize("name", _OPERATIONS)
def test_a_step_of_sqlite_that_fails_is_told_and_leaves_nothing(name: str, ask: Ask, is_long: bool) -> None:
    done = ask(name=name, what="sqlite", seed=crc32(name.encode()), count=None if is_long else _SAMPLES // 2)
    assert done["found"] == []


# Python's pool of threads can lose what it was asked for when there is no memory, and a worker process says no more
# than that it has died. A thread that has no memory to begin with lets `Thread.start` wait for ever: what attaches a
# file is so short that a sample meets that moment.
@pytest.mark.parametrize(
    "name",
    [
        name
        for name in _OPERATIONS
        if name not in ("export gzip", "export zstd", "import many", "convert many", "attach to layout")
    ],
)
def test_memory_that_runs_out_is_told_and_leaves_nothing(name: str, ask_counting: Ask, is_long: bool) -> None:
    done = ask_counting(name=name, what="memory", seed=crc32(name.encode()), count=None if is_long else _SAMPLES // 5)
    assert done["found"] == []
