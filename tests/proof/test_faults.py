"""What the functions do when the host fails: the right error of the family, and nothing left."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

import wclayer
from tests.proof.conditions import as_nobody, caught, leave, make_read_only, mounted
from tests.proof.operations import EVERY, MAKING
from tests.proof.world import MEMORY, MIB, World, copy_scratch, make_sources
from wclayer.errors import (
    AccessDeniedError,
    DiskFullError,
)

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="faults of the host are made with what Linux has"),
]
_NAMES = [name for name in EVERY if name not in ("remove", "untag image", "copy between", "mv", "reg set of a layer")]
_ROOMS = (8 << 10, 120 << 10, 500 << 10, 9 * MIB)
"""Bytes that are left of a disk that is nearly full."""


@pytest.fixture(scope="module")
def sources() -> Iterator[Path]:
    # Not below pytest's folder, which no other user may enter.
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        place = Path(folder)
        place.chmod(0o755)
        make_sources(place)
        yield place


def _hidden(place: Path) -> list[str]:
    return [path.name for path in place.rglob("*") if path.name.endswith((".partial", ".gone"))]


# A disk that is full, and one that is read-only.


@pytest.mark.parametrize("name", _NAMES)
def test_a_full_disk_is_a_full_disk(name: str, is_long: bool, sources: Path, tmp_path: Path) -> None:
    full = 0
    # In CI each operation has two of the sizes at which it ends on the way; between them, all operations have all.
    at = crc32(name.encode()) % len(_ROOMS)
    for room in (0, *(_ROOMS if is_long else (_ROOMS * 2)[at : at + 2])):
        with mounted(tmp_path / "m", "64m") as folder:
            world = World(sources, folder / "place")
            world.place.mkdir()
            EVERY[name].prepare(world)
            leave(folder, room)
            before = sorted(os.listdir(world.place))
            error = caught(EVERY[name], world)
            if error is None:
                continue
            full += 1
            assert (type(error), error.errno, error.code) == (DiskFullError, errno.ENOSPC, 112), (room, error)
            if name in MAKING:
                assert sorted(os.listdir(world.place)) == before, room
            assert _hidden(world.place) == [], room
            (folder / "filler").unlink()
            EVERY[name].result(world)
            # Its traceback holds what was open and mapped, in circles.
            del error
            gc.collect()
    assert full


@pytest.mark.parametrize("name", _NAMES)
def test_a_read_only_disk_denies_access(name: str, sources: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "m", "64m") as folder:
        world = World(sources, folder)
        EVERY[name].prepare(world)
        make_read_only(folder)
        error = caught(EVERY[name], world)
        assert (type(error), error and error.errno) == (AccessDeniedError, errno.EACCES), error
        assert error is not None
        assert error.path.startswith(str(folder))


def test_what_only_reads_works_on_a_read_only_disk(sources: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "m", "64m") as folder:
        world = World(sources, folder)
        copy_scratch(world)
        make_read_only(folder)
        assert list(wclayer.check_layer(world.scratch)) == []
        wclayer.export_layer_to_tar(io.BytesIO(), world.scratch)


# A user who may not.


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("name", _NAMES)
def test_a_user_who_may_not_is_denied_access(name: str, sources: Path, open_folder: Path) -> None:
    world = World(sources, open_folder)
    EVERY[name].prepare(world)
    before = sorted(os.listdir(open_folder))
    error = as_nobody(EVERY[name], world)
    assert type(error) is AccessDeniedError, error
    assert error.path.startswith(str(open_folder))
    assert sorted(os.listdir(open_folder)) == before
