"""Power cuts of real file systems: a loop device is copied in and after the command, and mounted again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.proof.operations import EVERY, Operation
from tests.proof.power_cuts.device import Device, kinds
from tests.proof.power_cuts.verdict import IN_STEPS, Refused, look
from tests.proof.world import MEMORY, World, make_sources

pytestmark = [
    pytest.mark.power_cuts,
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root of Linux makes loop devices"),
]
_COMMANDS = [name for name, operation in EVERY.items() if operation.command is not None]
_FEW = ["import tar", "create scratch", "remove", "copy tree in", "tag image"]
_TOGETHER = ["import many", "export tar", "rm tree"]
"""Operations that can be done one after the other in one folder."""
_CUT = ["import many", "reg set of a layer"]
_ONE_STEP = [name for name in _COMMANDS if EVERY[name].is_one_step and name not in IN_STEPS]
_CUTS, _LONG_CUTS = 1, 40
_SECONDS = 6.0
"""Longer than a journal waits before it is written (ext4: 5 s)."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as made:
        (Path(made) / "sources").mkdir()
        make_sources(Path(made) / "sources")
        yield Path(made)


@contextmanager
def _device(kind: str, folder: Path, *names: str) -> Iterator[tuple[Device, World]]:
    """A new file system, on it what operations need, all of it safe."""
    device = Device(kind, folder, folder / "place")
    try:
        world = World(folder / "sources", folder / "place")
        for name in names:
            EVERY[name].prepare(world)
        yield device, world
    finally:
        device.close()


def _start(operation: Operation, world: World) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "wclayer", *operation.arguments(world)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def _do(operation: Operation, world: World) -> None:
    with _start(operation, world) as process:
        assert process.stderr is not None
        error = process.stderr.read()
    assert process.returncode == 0, error.decode()


@pytest.mark.parametrize("kind", kinds())
def test_what_a_command_has_done_is_there_after_a_power_cut(kind: str, folder: Path, is_long: bool) -> None:
    for name in _COMMANDS if is_long else _FEW:
        operation = EVERY[name]
        with _device(kind, folder, name) as (device, world):
            old = look(operation, world)
            device.sync()
            _do(operation, world)
            snapshot = device.snapshot()
            new = look(operation, world)
            assert not isinstance(new, Refused), name
            assert new != old, name
            device.start_from(snapshot)
            assert look(operation, world) == new, name


@pytest.mark.parametrize("kind", kinds())
def test_it_is_there_when_the_power_goes_some_seconds_later(kind: str, folder: Path) -> None:
    with _device(kind, folder, *_TOGETHER) as (device, world):
        device.sync()
        for name in _TOGETHER:
            _do(EVERY[name], world)
        time.sleep(_SECONDS)
        snapshot = device.snapshot()
        new = [look(EVERY[name], world) for name in _TOGETHER]
        device.start_from(snapshot)
        assert [look(EVERY[name], world) for name in _TOGETHER] == new


@pytest.mark.parametrize("kind", kinds())
def test_a_power_cut_at_any_moment_leaves_the_old_state_or_the_new_one(kind: str, folder: Path, is_long: bool) -> None:
    source = random.Random(kind)
    for name in _ONE_STEP if is_long else _CUT:
        operation = EVERY[name]
        with _device(kind, folder, name) as (device, world):
            begun = time.monotonic()
            _do(operation, world)
            seconds = time.monotonic() - begun
            new = look(operation, world)
        for _ in range(_LONG_CUTS if is_long else _CUTS):
            with _device(kind, folder, name) as (device, world):
                old = look(operation, world)
                device.sync()
                with _start(operation, world) as process:
                    # The first part of the time, Python starts.
                    time.sleep(source.uniform(0.3, 1) * seconds)
                    os.killpg(process.pid, signal.SIGSTOP)
                    snapshot = device.snapshot()
                    os.killpg(process.pid, signal.SIGKILL)
                device.start_from(snapshot)
                found = look(operation, world)
                if isinstance(found, Refused):
                    operation(world)
                    assert look(operation, world) == new, (name, found)
                else:
                    assert found in (old, new), name
