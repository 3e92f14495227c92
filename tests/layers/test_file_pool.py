"""Worker processes make files: contents of any size, in the right files, with their digests; and what fails is told."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wclayer.errors import from_os_error
from wclayer.host.root import HostRoot
from wclayer.layers.directory import file_pool, file_worker
from wclayer.layers.directory.file_pool import FilePool

_TIME = 133_000_000_000_000_000
_MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Iterator[HostRoot]:
    with HostRoot(tmp_path) as found:
        yield found


def test_contents_and_digests_of_any_size(root: HostRoot) -> None:
    chance = random.Random(1)
    expected: dict[str, bytes] = {}
    pool = FilePool(root.fd, -1)
    found = {}
    for number in range(900):
        directory = f"d{number // 7}/below" if number % 2 else f"d{number // 7}"
        (root.path / directory).mkdir(parents=True, exist_ok=True)
        # More than what fits into all arenas together; now and then a file that does not fit into one.
        size = 11 * _MIB if number % 300 == 7 else chance.choice([0, 1, 700, 100_000, 140_000])
        data = chance.randbytes(size)
        name = f"{directory}/f{number}"
        expected[name] = data
        if size <= 100_000:
            found[name] = pool.make(directory.encode(), f"f{number}".encode(), data, _TIME, _TIME)
        else:
            pool.begin(directory.encode(), f"f{number}".encode(), sparse=False)
            for at in range(0, size, 3 * _MIB):
                pool.append(data[at : at + 3 * _MIB])
            found[name] = pool.end(_TIME, _TIME)
        if number % 100 == 50:
            # A digest that is asked for at once is waited for.
            assert found[name].digest() == hashlib.sha256(data).digest()
    pool.finish()
    for name, data in expected.items():
        assert (root.path / name).read_bytes() == data, name
        assert found[name].digest() == hashlib.sha256(data).digest(), name
        assert (root.path / name).stat().st_mtime_ns == (_TIME - 116_444_736_000_000_000) * 100


def test_zeros_of_a_sparse_file_take_no_space(root: HostRoot) -> None:
    pool = FilePool(root.fd, -1)
    pool.begin(b"", b"sparse", sparse=True)
    pool.append(b"begin" + bytes(_MIB - 5))
    for _ in range(16):
        pool.append(bytes(_MIB))
    file = pool.end(_TIME, _TIME)
    pool.finish()
    data = (root.path / "sparse").read_bytes()
    assert data == b"begin" + bytes(17 * _MIB - 5)
    assert file.digest() == hashlib.sha256(data).digest()
    assert (root.path / "sparse").stat().st_blocks * 512 < 4 * _MIB


def test_the_file_that_fails_is_named(root: HostRoot) -> None:
    (root.path / "taken").write_bytes(b"")
    pool = FilePool(root.fd, -1)
    try:
        for number in range(10):
            pool.make(b"", b"f%d" % number, b"x", _TIME, _TIME)
        file = pool.make(b"", b"taken", b"x", _TIME, _TIME)
        with pytest.raises(FileExistsError) as failed:
            file.digest()
        # Of a name in bytes, the message also tells below which layer it is.
        assert str(from_os_error("layer", failed.value)) == "layer: taken: File exists"
    finally:
        pool.abort()
    assert (root.path / "taken").read_bytes() == b""


def test_nothing_is_written_through_a_link(root: HostRoot, tmp_path: Path) -> None:
    (root.path / "link").symlink_to(tmp_path.parent)
    pool = FilePool(root.fd, -1)
    try:
        pool.make(b"link", b"f", b"x", _TIME, _TIME)
        with pytest.raises(OSError, match=r"link|Too many|Not a directory") as failed:
            pool.finish()
        assert failed.value.errno in (errno.ELOOP, errno.ENOTDIR)
    finally:
        pool.abort()
    assert not (tmp_path.parent / "f").exists()


def test_links_are_made_in_any_directory(root: HostRoot) -> None:
    # More directories than a worker keeps open.
    pool = FilePool(root.fd, -1)
    files = []
    for number in range(100):
        directory = b"d%d/below" % number
        (root.path / os.fsdecode(directory)).mkdir(parents=True)
        files.append(pool.make(directory, b"file", b"%d" % number, _TIME, _TIME))
    for number, file in enumerate(files):
        assert file.digest() == hashlib.sha256(b"%d" % number).digest()
        other = b"d%d" % (number * 7 % 100)
        pool.link(other, b"link%d" % number, b"d%d/below" % number, b"file")
        files[number] = pool.make(other, b"after%d" % number, b"after", _TIME, _TIME)
    pool.finish()
    for number, file in enumerate(files):
        place = root.path / f"d{number * 7 % 100}"
        assert (place / f"link{number}").samefile(root.path / f"d{number}/below/file")
        assert (place / f"after{number}").read_bytes() == b"after"
        assert file.digest() == hashlib.sha256(b"after").digest()


def test_directories_of_any_depth(root: HostRoot) -> None:
    deep = b"/".join([b"d"] * 1500)
    root.make_directories(deep)
    try:
        pool = FilePool(root.fd, -1)
        assert pool.make(deep, b"file", b"deep", _TIME, _TIME).digest() == hashlib.sha256(b"deep").digest()
        pool.link(b"", b"link", deep, b"file")
        pool.link(deep, b"link", b"", b"link")
        pool.finish()
        assert root.read_bytes(b"link") == b"deep"
        assert root.stat(deep + b"/link").st_nlink == 3
    finally:
        root.remove(b"d")


def test_the_link_that_fails_is_named(root: HostRoot) -> None:
    pool = FilePool(root.fd, -1)
    try:
        pool.make(b"", b"file", b"x", _TIME, _TIME).digest()
        pool.link(b"", b"link", b"", b"file")
        pool.link(b"", b"second", b"", b"missing")
        pool.link(b"", b"third", b"", b"file")
        with pytest.raises(FileNotFoundError) as failed:
            pool.finish()
        assert str(from_os_error("layer", failed.value)) == "layer: second: No such file or directory"
    finally:
        pool.abort()


@pytest.mark.parametrize("number", [errno.EMLINK, errno.EXDEV, errno.EPERM])
def test_a_host_that_cannot_link_gets_a_copy(root: HostRoot, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(*arguments: object, **named: object) -> None:
        raise OSError(number, os.strerror(number))

    (root.path / "d").mkdir()
    data = random.Random(1).randbytes(3 * _MIB + 1)
    (root.path / "d/file").write_bytes(data)
    maker = file_worker.Maker(root.fd, memoryview(b""))
    monkeypatch.setattr(os, "link", refused)
    link = file_worker.LINK.pack(b"L", 4, 1, 4) + b"link" + b"d" + b"file"
    maker.carry_out(file_worker.DIRECTORY.pack(b"D", 0) + link)
    assert (root.path / "link").read_bytes() == data
    assert maker.digests == [bytes(file_worker.DIGEST_SIZE)]
    with pytest.raises(FileExistsError):
        maker.carry_out(link)


def test_a_worker_that_dies_is_noticed(root: HostRoot) -> None:
    pool = FilePool(root.fd, -1)
    try:
        for worker in pool._workers:
            os.kill(worker._process.pid, 9)
        with pytest.raises(OSError, match=r"died|Broken pipe"):
            for number in range(10_000):
                pool.make(b"", b"f%d" % number, bytes(1000), _TIME, _TIME)
            pool.finish()
    finally:
        pool.abort()


def test_a_host_without_shared_memory_has_no_pool(root: HostRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **named: object) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refused)
    pool = FilePool(root.fd, -1)
    assert pool.make(b"", b"f", b"data", _TIME, _TIME).digest() == hashlib.sha256(b"data").digest()
    pool.finish()
    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(file_pool.NoPoolError):
        FilePool(root.fd, -1)


def test_a_worker_that_cannot_be_used_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = subprocess.Popen.__init__

    def watch(self: subprocess.Popen[bytes], *arguments: Any, **options: Any) -> None:
        start(self, *arguments, **options)
        started.append(self)

    def refuse(fd: int, blocking: bool) -> None:
        raise OSError(errno.EIO, "refused")

    monkeypatch.setattr(subprocess.Popen, "__init__", watch)
    monkeypatch.setattr(os, "set_blocking", refuse)
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="refused"):
            FilePool(root, -1)
    finally:
        os.close(root)
    assert [process.returncode is None for process in started] == [False]
    assert all(pipe is not None and pipe.closed for process in started for pipe in (process.stdin, process.stdout))
