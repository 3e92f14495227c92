"""The kind of a tar, and its names; the tars are made by Python's tarfile."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import vector_bytes
from wclayer.builder.appending.tar_files import read_contents
from wclayer.errors import InvalidDataError, LimitExceededError
from wclayer.model import Limits, use_limits


@pytest.fixture
def tar(tmp_path: Path) -> Callable[..., Path]:
    def make(*names: str, mode: str = "w") -> Path:
        with tarfile.open(tmp_path / "x.tar", mode) as archive:  # type: ignore[call-overload]
            for name in names:
                member = tarfile.TarInfo(name)
                member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                archive.addfile(member, io.BytesIO())
        return tmp_path / "x.tar"

    return make


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_plain_tar_has_names_below_the_drive(tar: Callable[..., Path], mode: str) -> None:
    found = read_contents(tar("./", "App/x", "app/y", "Files/z", mode=mode))
    assert not found.is_layer
    assert found.top_names == {"APP": "App", "FILES": "Files"}


@pytest.mark.parametrize("vector", ["base.tar.gz", "child.tar"])
def test_a_layer_tar_is_one_of_windows_folders(tmp_path: Path, vector: str) -> None:
    (tmp_path / vector).write_bytes(vector_bytes(vector))
    found = read_contents(tmp_path / vector)
    with tarfile.open(tmp_path / vector) as archive:
        below = {name.split("/")[1] for name in archive.getnames() if name.startswith("Files/")}
    assert found.is_layer
    assert {*found.top_names.values()} == below


def test_a_tar_without_files_is_refused(tar: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="the tar is empty"):
        read_contents(tar("./"))
    for data in (b"", b"no tar" * 200):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(InvalidDataError, match="is no tar"):
            read_contents(tmp_path / "x")


def test_a_cut_tar_is_told_with_its_path(tar: Callable[..., Path]) -> None:
    path = tar("a", "b")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InvalidDataError, match=r"x\.tar"):
        read_contents(path)


def test_the_names_are_bounded(tar: Callable[..., Path]) -> None:
    path = tar("a", "b/c", "d")
    use_limits(Limits(archive_members=3))
    try:
        with pytest.raises(LimitExceededError, match="--max-archive-members"):
            read_contents(path)
    finally:
        use_limits(Limits())
