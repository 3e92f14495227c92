"""A file of an object folder appears whole or not at all: in a folder, in a store of objects, and anywhere else."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from tests.s3_server import BUCKET, S3Server
from wclayer.errors import AccessDeniedError, LayerError, NotSupportedError, PathNotFoundError
from wclayer.layers.object_folder import ObjectFolder

_LARGE = (33 << 20) + 5


class Elsewhere(DirFileSystem):  # type: ignore[misc]
    """A file system that shows what it has of a file while it is written, as SFTP and SMB do."""

    protocol = "elsewhere"

    def __init__(self, **options: Any) -> None:
        super().__init__(path="/", fs=LocalFileSystem(), **options)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return path.removeprefix("elsewhere://") if isinstance(path, str) else path


@pytest.fixture(scope="module", autouse=True)
def _elsewhere() -> None:
    fsspec.register_implementation("elsewhere", Elsewhere, clobber=True)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        yield running


@pytest.fixture(params=["path", "file", "memory", "elsewhere", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectFolder:
    if request.param == "s3":
        request.getfixturevalue("server")
    return ObjectFolder({
        "path": str(tmp_path / "out"), "file": f"file://{tmp_path}/out", "memory": f"memory://{tmp_path}/out",
        "elsewhere": f"elsewhere://{tmp_path}/out", "s3": f"s3://{BUCKET}/{tmp_path.name}",
    }[request.param])  # fmt: skip


def _put(folder: ObjectFolder, name: str, data: bytes) -> None:
    with folder.new_file(name) as stream:
        stream.write(data)


def _read(folder: ObjectFolder, name: str) -> bytes:
    with folder.open(name) as stream:
        return stream.read()


def test_files_are_put_listed_replaced_and_removed(folder: ObjectFolder) -> None:
    folder = pickle.loads(pickle.dumps(folder))
    assert folder.names("") == folder.names("a") == {}
    for name, data in (("b.json", b"1"), ("a/x=1/f", b"22"), ("a/x=1/e", b""), ("ab/f", b"3")):
        _put(folder, name, data)
    assert folder.names("") == {"a/x=1/e": 0, "a/x=1/f": 2, "ab/f": 1, "b.json": 1}
    assert folder.names("a") == {"a/x=1/e": 0, "a/x=1/f": 2}
    _put(folder, "a/x=1/f", b"other")
    assert _read(folder, "a/x=1/f") == b"other"
    assert folder.exists("a/x=1/f")
    folder.remove("a/x=1/f")
    folder.remove("a/x=1/f")
    assert not folder.exists("a/x=1/f")
    assert folder.names("a") == {"a/x=1/e": 0}


def test_a_place_is_a_path_or_a_url(folder: ObjectFolder) -> None:
    _put(folder, "a/f", b"1")
    place = folder.place("a/f")
    with fsspec.open(place, "rb") as stream:
        assert stream.read() == b"1"


def test_a_file_is_read_at_any_offset(folder: ObjectFolder) -> None:
    _put(folder, "f", bytes(range(256)) * 1000)
    with folder.open("f") as stream:
        stream.seek(100_001)
        assert stream.read(3) == bytes([161, 162, 163])


def test_a_large_file_arrives(folder: ObjectFolder) -> None:
    data = os.urandom(1 << 20) * 33 + b"12345"
    _put(folder, "large", data)
    assert folder.names("") == {"large": _LARGE}
    assert _read(folder, "large") == data


class _FailingError(Exception):
    pass


def test_a_file_whose_writer_fails_does_not_appear(folder: ObjectFolder) -> None:
    _put(folder, "a/f", b"old")
    for name in ("a/f", "a/new"):
        with pytest.raises(_FailingError), folder.new_file(name) as stream:
            stream.write(b"x" * 100_000)
            raise _FailingError
    assert folder.names("") == {"a/f": 3}
    folder.remove_leftovers("")
    assert _read(folder, "a/f") == b"old"


@pytest.mark.parametrize("folder", ["memory", "elsewhere", "s3"], indirect=True)
def test_a_large_file_that_breaks_off_does_not_appear(folder: ObjectFolder) -> None:
    class Breaking(io.RawIOBase):
        left = 20

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise OSError(5, "cannot be read")
            return bytes(1 << 20)

    with pytest.raises(LayerError, match="cannot be read"), folder._remote_errors("large"):
        folder._send("large", Breaking(), _LARGE)  # type: ignore[arg-type]
    assert folder.names("") == {}
    folder.remove_leftovers("")
    assert folder._remote_sizes("") == {}


def test_what_is_not_there_is_told(folder: ObjectFolder) -> None:
    with pytest.raises(PathNotFoundError) as caught:
        folder.open("missing")
    assert caught.value.path == folder.place("missing")


@pytest.mark.parametrize("folder", ["path", "file", "memory", "elsewhere"], indirect=True)
def test_what_killed_writers_left_is_removed_and_never_listed(folder: ObjectFolder) -> None:
    _put(folder, "a/f", b"1")
    left = ".wclayer-f-0123456789abcdef.partial"
    with fsspec.open(folder.place(f"a/{left}"), "wb") as stream:
        stream.write(b"half")
    assert folder.names("") == {"a/f": 1}
    folder.remove_leftovers("")
    fs, root = fsspec.url_to_fs(folder.url)
    assert [path.rpartition("/")[2] for path in fs.find(root)] == ["f"]


def test_a_living_writer_of_this_machine_is_left_alone(tmp_path: Path) -> None:
    folder = ObjectFolder(tmp_path)
    with folder.new_file("a/f") as stream:
        stream.write(b"1")
        ObjectFolder(tmp_path).remove_leftovers("")
    assert _read(folder, "a/f") == b"1"


@pytest.mark.parametrize("url", ["nosuch://bucket/x", "simplecache::nosuch://x"])
def test_a_url_that_fsspec_does_not_know_is_refused(url: str) -> None:
    with pytest.raises(NotSupportedError, match="fsspec cannot use it") as caught:
        ObjectFolder(url)
    assert caught.value.path == url


def test_errors_of_a_store_are_told_with_the_url(server: S3Server) -> None:
    folder = ObjectFolder("s3://missing-bucket/out")
    with pytest.raises(LayerError, match="bucket does not exist") as caught:
        _put(folder, "f", b"1")
    assert caught.value.path == "s3://missing-bucket/out/f"


def test_other_errors_of_a_backend_are_told() -> None:
    class Odd(Elsewhere):
        protocol = "odd"

        def find(self, *arguments: Any, **options: Any) -> Any:
            raise RuntimeError("no credentials")

        def exists(self, *arguments: Any, **options: Any) -> Any:
            raise PermissionError(13, "not yours")

    fsspec.register_implementation("odd", Odd, clobber=True)
    folder = ObjectFolder("odd://place")
    with pytest.raises(LayerError, match="odd://place/a: RuntimeError: no credentials"):
        folder.names("a")
    with pytest.raises(AccessDeniedError, match="not yours"):
        folder.exists("a")
