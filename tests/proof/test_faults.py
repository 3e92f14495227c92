"""What the functions do when the host fails: the right error of the family, and nothing left."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wclayer
from tests.proof.operations import EVERY, MAKING
from tests.proof.world import MEMORY, MIB, World, copy_scratch, make_sources
from tests.support import load_the_package, witness
from wclayer.errors import (
    AccessDeniedError,
    CorruptLayerError,
    DiskFullError,
    InvalidDataError,
    LayerError,
    NotALayerError,
    PathNotFoundError,
)

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="faults of the host are made with what Linux has"),
]
NOBODY = 65534
_NAMES = [
    name for name in EVERY if name not in ("remove", "unregister image", "copy between", "mv", "reg set of a layer")
]


@pytest.fixture(scope="module")
def sources() -> Iterator[Path]:
    # Not below pytest's folder, which no other user may enter.
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        place = Path(folder)
        place.chmod(0o755)
        make_sources(place)
        yield place


def _caught(function: Callable[[World], object], world: World) -> LayerError | None:
    """What a function raises; anything that is no `LayerError` is a failure of the test."""
    try:
        function(world)
    except LayerError as error:
        for text in (str(error), error.path):
            assert ".partial" not in text, text
            assert ".gone" not in text, text
        return error
    return None


def _hidden(place: Path) -> list[str]:
    return [path.name for path in place.rglob("*") if path.name.endswith((".partial", ".gone"))]


# A disk that is full, and one that is read-only.


@contextlib.contextmanager
def _mounted(folder: Path, size: str) -> Iterator[Path]:
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


def _leave(place: Path, room: int) -> None:
    """Fills a disk, but for `room` bytes."""
    status = os.statvfs(place)
    fill = status.f_bavail * status.f_frsize - room
    with (place / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(fill, 1))


@pytest.mark.parametrize("name", _NAMES)
def test_a_full_disk_is_a_full_disk(name: str, sources: Path, tmp_path: Path) -> None:
    full = 0
    for room in (0, 8 << 10, 120 << 10, 500 << 10, 9 * MIB):
        with _mounted(tmp_path / "m", "64m") as folder:
            world = World(sources, folder / "place")
            world.place.mkdir()
            EVERY[name].prepare(world)
            _leave(folder, room)
            before = sorted(os.listdir(world.place))
            error = _caught(EVERY[name], world)
            if error is None:
                continue
            full += 1
            assert (type(error), error.errno, error.code) == (DiskFullError, errno.ENOSPC, 112), (room, error)
            if name in MAKING:
                assert sorted(os.listdir(world.place)) == before, room
            assert _hidden(world.place) == [], room
            (folder / "filler").unlink()
            EVERY[name].result(world)
    assert full


@pytest.mark.parametrize("name", _NAMES)
def test_a_read_only_disk_denies_access(name: str, sources: Path, tmp_path: Path) -> None:
    with _mounted(tmp_path / "m", "64m") as folder:
        world = World(sources, folder)
        EVERY[name].prepare(world)
        subprocess.run([witness("mount"), "-o", "remount,ro", str(folder)], check=True)
        error = _caught(EVERY[name], world)
        assert (type(error), error and error.errno) == (AccessDeniedError, errno.EACCES), error
        assert error is not None
        assert error.path.startswith(str(folder))


def test_what_only_reads_works_on_a_read_only_disk(sources: Path, tmp_path: Path) -> None:
    with _mounted(tmp_path / "m", "64m") as folder:
        world = World(sources, folder)
        copy_scratch(world)
        subprocess.run([witness("mount"), "-o", "remount,ro", str(folder)], check=True)
        assert list(wclayer.check_layer(world.scratch)) == []
        wclayer.export_layer_to_tar(io.BytesIO(), world.scratch)


# A user who may not.


def _as_nobody(function: Callable[[World], object], world: World) -> LayerError | None:
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
                    pickle.dump(_caught(function, world), answer)
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
    error = _as_nobody(EVERY[name], world)
    assert type(error) is AccessDeniedError, error
    assert error.path.startswith(str(open_folder))
    assert sorted(os.listdir(open_folder)) == before


READING: dict[str, tuple[str, Callable[[World], object]]] = {
    "import folder": ("transport/Files", lambda w: wclayer.import_layer(w.place / "layer", w.place / "transport")),
    "import disk": ("base.img", lambda w: wclayer.import_layer_from_disk(w.place / "layer", w.place / "base.img")),
    "export": ("base/Files/docs/read me.txt", lambda w: wclayer.export_layer_to_tar(io.BytesIO(), w.place / "base")),
    "convert": ("base/layer.db", lambda w: wclayer.convert_layer(w.place / "base", w.place / "o", size=64 * MIB)),
    "disk info": ("base.vhdx", lambda w: wclayer.disk_info(w.place / "base.vhdx")),
    "disk check": ("base.vhdx", lambda w: list(wclayer.check_disk(w.place / "base.vhdx"))),
    "disk convert": ("base.vhdx", lambda w: wclayer.convert_disk(w.place / "base.vhdx", w.place / "o")),
}
"""Functions that read, and a file that they need."""


@pytest.fixture
def readable(sources: Path, open_folder: Path) -> World:
    for name in ("base", "transport"):
        shutil.copytree(sources / name, open_folder / name, symlinks=True)
    for name in ("base.img", "base.vhdx"):
        shutil.copy(sources / name, open_folder / name)
    open_folder.chmod(0o777)
    return World(sources, open_folder)


@pytest.mark.parametrize("name", READING)
def test_what_may_not_be_read_is_denied_by_its_name(name: str, readable: World) -> None:
    needed, function = READING[name]
    (readable.place / needed).chmod(0)
    before = sorted(os.listdir(readable.place))
    error = _as_nobody(function, readable)
    assert type(error) is AccessDeniedError, error
    assert error.path.startswith(str(readable.place / needed.partition("/")[0]))
    assert sorted(os.listdir(readable.place)) == before


@pytest.mark.parametrize("name", READING)
def test_what_is_missing_is_missing(name: str, readable: World) -> None:
    needed, function = READING[name]
    path = readable.place / needed.partition("/")[0]
    path.rename(readable.place / "elsewhere")
    error = _caught(function, readable)
    assert type(error) in (PathNotFoundError, NotALayerError), error
    assert error is not None
    assert error.path == str(path)


@pytest.mark.parametrize(
    ("damaged", "kind", "name"),
    [
        ("base.img", InvalidDataError, "import disk"),
        ("base.vhdx", InvalidDataError, "disk info"),
        ("base.vhdx", InvalidDataError, "disk convert"),
        ("base/layer.db", CorruptLayerError, "export"),
        ("base/layer.db", CorruptLayerError, "convert"),
        ("transport/tombstones.txt", NotALayerError, "import folder"),
    ],
)
def test_what_is_damaged_is_told_by_its_name(damaged: str, kind: type[LayerError], name: str, readable: World) -> None:
    path = readable.place / damaged
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = b"\xee" * (len(data) // 2 - 4)
    path.write_bytes(data)
    before = sorted(os.listdir(readable.place))
    error = _caught(READING[name][1], readable)
    assert type(error) is kind, error
    assert error is not None
    assert error.path.startswith(str(readable.place / damaged.partition("/")[0]))
    assert sorted(os.listdir(readable.place)) == before
