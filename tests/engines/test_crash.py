"""Killed at any moment, a layer is whole or absent, and the next call cleans up."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wclayer
from tests.support import layer_tar, put_directories, put_file
from wclayer.model import LayerWriter

_IMPORT = "import sys, wclayer; wclayer.import_layer_from_tar(open(sys.argv[1], 'rb'), sys.argv[2])"
_DESTROY = "import sys, wclayer; wclayer.destroy_layer(sys.argv[1])"
_EXPORT = "import sys, wclayer; wclayer.export_layer(sys.argv[1], sys.argv[2])"
_EXPORT_FILE = "import sys, wclayer; wclayer.export_layer_to_file(sys.argv[1], sys.argv[2])"
_FILES = 400
# On Linux, tests/proof/test_kills.py kills all operations, more often and without an interpreter's start.
_KILLS = 4
_CHILD = "import sys, wclayer; wclayer.create_layer(sys.argv[1], sys.argv[2])"


def _build(writer: LayerWriter) -> None:
    put_directories(writer, "Files", *(f"Files/{n}" for n in range(20)))
    for number in range(_FILES):
        put_file(writer, f"Files/{number % 20}/f{number}", b"content %d " % number * 50)


@pytest.fixture(scope="module")
def tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tar") / "layer.tar"
    path.write_bytes(layer_tar(_build))
    return path


def _run(script: str, *arguments: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stderr=subprocess.DEVNULL)


def _duration(script: str, *arguments: Path) -> float:
    start = time.monotonic()
    assert _run(script, *arguments).wait() == 0
    return time.monotonic() - start


def _kill_at(seconds: float, script: str, *arguments: Path) -> None:
    process = _run(script, *arguments)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _moments(duration: float, count: int) -> list[float]:
    """From the start of the work (after the interpreter's own start) to a little after its end."""
    return [(0.05 + 1.05 * number / (count - 1)) * duration for number in range(count)]


def _is_whole(layer: Path) -> bool:
    if not layer.exists():
        return False
    assert list(wclayer.check_layer(layer)) == []
    return True


def _leftovers(folder: Path) -> list[str]:
    # Worker processes of a killed import hold its lock until they have seen its end.
    return [name for name in os.listdir(folder) if name.startswith(".wclayer-")]


def _clean(folder: Path) -> None:
    """The next call in the same folder removes what is left."""
    deadline = time.monotonic() + 20
    while True:
        empty = io.BytesIO(layer_tar(lambda writer: put_directories(writer, "Files")))
        wclayer.import_layer_from_tar(empty, folder / "next")
        wclayer.destroy_layer(folder / "next")
        if not _leftovers(folder) or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert _leftovers(folder) == []


def test_import(tar: Path, tmp_path: Path) -> None:
    duration = _duration(_IMPORT, tar, tmp_path / "first")
    whole = interrupted = 0
    for number, moment in enumerate(_moments(duration, _KILLS)):
        layer = tmp_path / f"layer{number}"
        _kill_at(moment, _IMPORT, tar, layer)
        if _is_whole(layer):
            whole += 1
        else:
            interrupted += 1
    _clean(tmp_path)
    assert interrupted
    assert whole + interrupted == _KILLS


def test_destroy(tar: Path, tmp_path: Path) -> None:
    def imported(name: str) -> Path:
        with tar.open("rb") as stream:
            wclayer.import_layer_from_tar(stream, tmp_path / name)
        return tmp_path / name

    duration = _duration(_DESTROY, imported("first"))
    gone = 0
    for number, moment in enumerate([*_moments(duration, _KILLS - 1), 10 * duration]):
        layer = imported(f"layer{number}")
        _kill_at(moment, _DESTROY, layer)
        if _is_whole(layer):
            wclayer.destroy_layer(layer)
        else:
            gone += 1
        assert not layer.exists()
    assert gone > 0
    _clean(tmp_path)


@pytest.mark.parametrize(("script", "name"), [(_EXPORT, "transport"), (_EXPORT_FILE, "layer.tar")])
def test_export(script: str, name: str, tar: Path, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    with tar.open("rb") as stream:
        wclayer.import_layer_from_tar(stream, layer)
    duration = _duration(script, layer, tmp_path / f"first{name}")
    for number, moment in enumerate(_moments(duration, _KILLS)):
        target = tmp_path / f"{number}{name}"
        _kill_at(moment, script, layer, target)
        if not target.exists():
            continue
        if target.is_file():
            assert target.read_bytes() == tar.read_bytes()
        else:
            wclayer.import_layer(tmp_path / "again", target)
            wclayer.destroy_layer(tmp_path / "again")
    _clean(tmp_path)


def test_a_build_that_is_going_on_is_left_alone(tmp_path: Path) -> None:
    with wclayer.new_layer_writer(tmp_path / "first") as writer:
        put_directories(writer, "Files")
        wclayer.create_layer(tmp_path / "second")
        wclayer.destroy_layer(tmp_path / "second")
        put_file(writer, "Files/a", b"x")
    assert _is_whole(tmp_path / "first")


def test_two_builders_of_one_place(tmp_path: Path) -> None:
    first = wclayer.new_layer_writer(tmp_path / "layer")
    second = wclayer.new_layer_writer(tmp_path / "layer")
    put_directories(first, "Files")
    put_directories(second, "Files")
    first.close()
    with pytest.raises(wclayer.AlreadyExistsError):
        second.close()
    assert _is_whole(tmp_path / "layer")
    assert _leftovers(tmp_path) == []


def test_an_unfinished_base_layer_is_no_layer(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "Files").mkdir(parents=True)
    for number in range(3000):
        (folder / "Files" / str(number)).touch()
    _kill_at(0.25, "import sys, wclayer; wclayer.make_base_layer(sys.argv[1])", folder)
    if not (folder / "layer.db").exists():
        wclayer.make_base_layer(folder)
    assert _is_whole(folder)
    assert not list(folder.glob(".layer.db-*"))
