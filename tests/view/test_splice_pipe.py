"""Bytes of files that go to a device without passing through the process."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wclayer.view.fuse.splice_pipe import SplicePipe
from wclayer.view.open_files import FileRange

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs splice")

_HEADER = b"header"
_DATA = bytes(range(256)) * 16


@pytest.fixture
def range_(tmp_path: Path) -> Iterator[FileRange]:
    (tmp_path / "file").write_bytes(_DATA)
    with (tmp_path / "file").open("rb") as file:
        yield FileRange(file.fileno(), 0, len(_DATA))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_message_that_is_cut_off_leaves_nothing_for_the_next_one(
    range_: FileRange, ends: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = ends
    before = _descriptors()
    pipe = SplicePipe(theirs.fileno())
    assert not pipe.send(_HEADER, range_._replace(size=len(_DATA) + 1))
    assert pipe.send(_HEADER, range_._replace(offset=5, size=10))
    assert ours.recv(1 << 16) == _HEADER + _DATA[5:15]
    pipe.close()
    assert _descriptors() == before


def test_without_a_pipe_nothing_is_sent_until_the_host_has_one(
    range_: FileRange, ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*flags: int) -> tuple[int, int]:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    ours, theirs = ends
    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe2", fail)
        pipe = SplicePipe(theirs.fileno())
        assert not pipe.send(_HEADER, range_)
    assert pipe.send(_HEADER, range_)
    assert ours.recv(1 << 16) == _HEADER + _DATA
    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe2", fail)
        assert not pipe.send(_HEADER, range_._replace(size=len(_DATA) + 1))
        assert not pipe.send(_HEADER, range_)
    assert pipe.send(_HEADER, range_)
    assert ours.recv(1 << 16) == _HEADER + _DATA
    pipe.close()


def test_more_than_the_pipe_has_room_for_is_not_sent(
    range_: FileRange, ends: tuple[socket.socket, socket.socket]
) -> None:
    pipe = SplicePipe(ends[1].fileno())
    assert not pipe.send(_HEADER, range_._replace(size=1 << 30))
    pipe.close()
