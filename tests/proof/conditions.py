"""What is wrong with the host, made on purpose: disks that are full or read-only, a user who may not."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proof.world import World
from tests.support import load_the_package, witness
from wclayer.errors import LayerError

NOBODY = 65534
"""The id of a user who owns nothing."""


def caught(function: Callable[[World], object], world: World) -> LayerError | None:
    """What a function raises; anything that is no `LayerError` is a failure of the test."""
    try:
        function(world)
    except LayerError as error:
        for text in (str(error), error.path):
            assert ".partial" not in text, text
            assert ".gone" not in text, text
        return error
    return None


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    folder.mkdir(exist_ok=True)
    command = [witness("mount"), "-t", "tmpfs", "-o", f"size={size},mode=755", "wclayer-test", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run([witness("umount"), str(folder)], check=True)


def leave(place: Path, room: int) -> None:
    """Fills a disk, but for `room` bytes."""
    status = os.statvfs(place)
    fill = status.f_bavail * status.f_frsize - room
    with (place / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(fill, 1))


def as_nobody(function: Callable[[World], object], world: World) -> LayerError | None:
    """What a function raises when an ordinary user calls it."""
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    load_the_package()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with os.fdopen(writer, "wb") as answer:
                try:
                    pickle.dump(caught(function, world), answer)
                except BaseException as error:  # noqa: BLE001 (told by the parent)
                    pickle.dump(repr(error), answer)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        data = answer.read()
    os.waitpid(child, 0)
    found = pickle.loads(data)
    assert found is None or isinstance(found, LayerError), found
    return found


def make_read_only(folder: Path) -> None:
    """Mounts what `mounted` has mounted again, read-only."""
    subprocess.run([witness("mount"), "-o", "remount,ro", str(folder)], check=True)
