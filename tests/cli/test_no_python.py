"""A program that is no Python itself, such as a bundle, runs wclayer: what needs another process says so at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import directory, put_file, run, witness
from wclayer.layers.directory.writer import DirectoryLayerWriter


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    with DirectoryLayerWriter(tmp_path / "layer") as writer:
        writer.put(directory("Files"))
        put_file(writer, "Files/a", b"a")
    return tmp_path / "layer"


@pytest.fixture(params=["a bundle", "a program that says nothing"])
def _without_python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a process was started")

    if request.param == "a bundle":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", "")
    monkeypatch.setattr(subprocess, "Popen", refuse)


def _told(*arguments: str | Path) -> str:
    done = run(*arguments, status=10)
    assert not done.stdout
    (line,) = done.stderr.decode().splitlines()
    assert "is another process of Python, which the program that runs wclayer cannot start; " in line
    return line


@pytest.mark.usefixtures("_without_python")
def test_a_mount_is_served_in_the_foreground(layer: Path, tmp_path: Path) -> None:
    witness("fusermount3")
    (tmp_path / "mount").mkdir()
    assert "--foreground" in _told("mount", layer, tmp_path / "mount")


@pytest.mark.usefixtures("_without_python")
def test_a_scan_is_done_by_a_cluster(tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert "--dask" in _told("fleet", "scan", "--from", "store", "--store", store, "-o", tmp_path / "fleet")


@pytest.mark.usefixtures("_without_python")
def test_the_explorer_is_on_the_terminal_only(layer: Path) -> None:
    assert "on the terminal" in _told("explore", "--web", layer)
