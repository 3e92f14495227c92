"""Records the calls by which an operation changes the disk, of all its threads and processes, SQLite's included.

They are what strace(1) sees of a child process. A call that could change a file of the folder and that is not
understood here is an error, and a replay of all that was recorded must give the folder that the operation left: so
nothing is missed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from tests.proof.power_cuts.disk import (
    Facts,
    Names,
    Node,
    Recording,
    Step,
    Sync,
    Truncate,
    Write,
    differences,
    read_tree,
)
from tests.support import witness

_CALLS = (
    "open,openat,openat2,creat,read,readv,lseek,write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,fallocate,"
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,mknod,mknodat,"
    "chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utime,utimes,futimesat,utimensat,"
    "setxattr,fsetxattr,lsetxattr,removexattr,fremovexattr,lremovexattr,mmap,copy_file_range,sendfile,splice,ioctl,"
    "fsync,fdatasync,sync,syncfs,sync_file_range,io_uring_setup"
)
"""Every call of Linux that changes files or names, or syncs; `mmap`, because one writes to a shared mapping; those that
move the place in a file where the next `write` goes."""
_HARMLESS = ("fchown", "ioctl", "sync_file_range")
"""Calls that change nothing of a file that is looked at, or promise nothing."""
_LONGEST = 64 << 20
_HEAD = 16 << 10
"""So much of a call holds its paths."""
_UMASK = 0o022
_TOP = Path(__file__).parents[3]
_UNFINISHED = b" <unfinished ...>\n"
_HEX = rb"(?:\\x[0-9a-f]{2})*"
_FD = re.compile(rb"(-?\d+|AT_FDCWD)(?:<(%b)>(\(deleted\))?)?" % _HEX)
_TEXT = re.compile(rb'"(%b)"' % _HEX)
_TIME = re.compile(rb"\{tv_sec=(-?\d+), tv_nsec=(\d+)\}")


class _Call:
    """One call that succeeded, as strace prints it: strings and paths in hexadecimal, so that no other commas and
    brackets are in it than its own.

    Args:
        begun: how many steps were done when it began.
    """

    def __init__(self, name: str, text: bytes, result: int, begun: int) -> None:
        self.name = name
        self.text = text
        self.result = result
        self.begun = begun

    @cached_property
    def arguments(self) -> list[bytes]:
        """The arguments, as text."""
        if b"[" in self.text[-_HEAD:] or b"{" in self.text[-_HEAD:]:
            return [found.strip() for found in re.findall(rb"(?:\[.*?\]|[^,\[]+)+", self.text)]
        return self.text.split(b", ")

    def fd(self, at: int = 0) -> tuple[int, str, bool]:
        """A descriptor: its number, its path, and whether that path is gone."""
        found = _FD.match(self.arguments[at])
        assert found, self
        number = -1 if found[1].startswith(b"A") else int(found[1])
        return number, os.fsdecode(_bytes(found[2] or b"")), found[3] is not None

    def path(self, at: int, directory: int | None = None) -> str:
        """A path, below the directory that is another argument."""
        found = _TEXT.match(self.arguments[at])
        assert found, self
        path = os.fsdecode(_bytes(found[1]))
        return os.path.normpath(os.path.join(self.fd(directory)[1] if directory is not None else "/", path))

    def data(self, at: int) -> bytes:
        """Bytes, or a list of pieces of them, joined."""
        argument = self.arguments[at]
        assert b"..." not in argument[-4:], self
        if argument.startswith(b"["):
            return b"".join(_bytes(piece) for piece in re.findall(rb'iov_base="(%b)"' % _HEX, argument))
        return _bytes(argument[1:-1])

    def number(self, at: int) -> int:
        """A number; those that begin with a zero are octal."""
        text = self.arguments[at]
        return int(text, 8) if text.startswith(b"0") and text.isdigit() else int(text, 0)

    def flags(self, at: int) -> set[bytes]:
        """Names of bits."""
        return set(self.arguments[at].split(b"|"))

    def __repr__(self) -> str:
        return f"{self.name}({self.text[:300]!r}) = {self.result}"


def _bytes(text: bytes) -> bytes:
    return bytes.fromhex(text.replace(b"\\x", b"").decode())


class Recorder:
    """A child process that does the operations of the list, and what it calls.

    Args:
        sources: the folder that `make_sources` filled.
        place: where operations work; it is there while one is recorded, and until `forget`.
    """

    def __init__(self, sources: Path, place: Path) -> None:
        self.place = place
        log = place.with_name(f"{place.name}.calls")
        os.mkfifo(log)
        command = [
            witness("strace"), "--follow-forks", "--quiet=all", "--seccomp-bpf", "-y", "-xx", "-v", "-s", str(_LONGEST),
            "-e", f"trace={_CALLS}", "-e", "signal=none", "-o", os.fspath(log),
            sys.executable, "-m", "tests.proof.power_cuts.recorded", os.fspath(sources), os.fspath(place),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, umask=_UMASK, cwd=_TOP
        )
        self._log: BinaryIO = log.open("rb", buffering=1 << 20)
        log.unlink()
        self._unfinished: dict[bytes, tuple[bytes, bytes, int]] = {}

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        for _ in self._log:
            pass
        self._log.close()
        self._process.wait()

    def record(self, name: str, *, is_synced: bool = True) -> Recording:
        """Does an operation; what it leaves is in `place`.

        Raises:
            AssertionError: the operation failed, or did something to the folder that is not understood.
        """
        self.forget()
        self._say(json.dumps([name, is_synced]))
        self._wait_for("begin")
        root = read_tree(self.place)
        self._say("go")
        folder = _Folder(self.place, root)
        self._wait_for("end", folder)
        recording = Recording(root, folder.steps)
        assert list(differences(recording, self.place)) == []
        return recording

    def forget(self) -> None:
        """Removes `place` with what is in it, if it is there."""
        if self.place.exists():
            shutil.rmtree(self.place)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def _wait_for(self, marker: str, folder: _Folder | None = None) -> None:
        if folder is None:
            folder = _Folder(None, None)
        for call in self._calls(folder):
            if call.name == "write" and call.text.startswith(b"1<") and call.data(1).startswith(marker.encode()):
                return
            folder.take(call)
        raise AssertionError("the process that is recorded has failed")

    def _calls(self, folder: _Folder) -> Iterator[_Call]:
        """The calls that succeed, each when it returns."""
        for line in self._log:
            process, _, text = line.partition(b" ")
            text = text.lstrip()
            if text.startswith((b"+++", b"---")):
                continue
            if text.startswith(b"<... "):
                name, text, begun = self._unfinished.pop(process)
                text += line.partition(b" resumed>")[2]
            else:
                name, _, text = text.partition(b"(")
                begun = len(folder.steps)
                if text.endswith(_UNFINISHED):
                    self._unfinished[process] = (name, text.removesuffix(_UNFINISHED), begun)
                    continue
            text, _, result = text.rpartition(b") ")
            number = re.match(rb" *= (\d+|0x[0-9a-f]+)", result)
            if number:
                yield _Call(name.decode(), text, int(number[1], 0), begun)


class _Folder:
    """The steps that calls are in a folder, whose names it follows."""

    def __init__(self, place: Path | None, root: Node | None) -> None:
        self._place = None if place is None else os.fspath(place)
        self._mark = b"" if place is None else b"".join(b"\\x%02x" % byte for byte in os.fsencode(place))
        self._root = root
        self.steps: list[Step] = []
        self._names: dict[int, dict[str, Node]] = {}
        self._last = 1 << 20
        self._gone: dict[str, Node] = {}
        self._positions: dict[tuple[int, int], int] = {}
        """Of each descriptor and file: where the next write without an offset goes."""

    def take(self, call: _Call) -> None:
        """Adds the steps of a call."""
        if self._place is None or self._mark not in call.text[:_HEAD]:
            assert call.name not in ("sync", "io_uring_setup"), call
            return
        getattr(self, f"_take_{call.name}", self._refuse)(call)

    def _refuse(self, call: _Call) -> None:
        assert call.name in _HARMLESS, call

    # Where things are.

    def _has(self, path: str) -> bool:
        assert self._place is not None
        return os.path.normpath(path).startswith(self._place + "/") or os.path.normpath(path) == self._place

    def _names_in(self, directory: Node) -> dict[str, Node]:
        return self._names.setdefault(directory.number, directory.names.copy())

    def _at(self, path: str) -> Node | None:
        assert self._place is not None
        assert self._root is not None
        node: Node | None = self._root
        for name in os.path.normpath(path)[len(self._place) :].split("/"):
            if name and node is not None:
                assert node.is_directory, path
                node = self._names_in(node).get(name)
        return node

    def _known(self, path: str) -> Node:
        node = self._at(path)
        assert node is not None, path
        return node

    def _of(self, call: _Call, at: int = 0) -> Node | None:
        """What a descriptor is of; None if that is not in the folder."""
        _, path, is_gone = call.fd(at)
        if not self._has(path):
            return None
        return self._gone[path] if is_gone else self._known(path)

    def _new(self, mode: int) -> Node:
        self._last += 1
        return Node(self._last, mode)

    def _rename(self, *changes: tuple[str, Node | None]) -> None:
        """Names change in one step."""
        found = []
        for path, node in changes:
            directory = self._known(os.path.dirname(os.path.normpath(path)))
            name = os.path.basename(os.path.normpath(path))
            before = self._names_in(directory).pop(name, None)
            if before is not None:
                self._gone[os.path.normpath(path)] = before
            if node is not None:
                self._names_in(directory)[name] = node
            found.append((directory, name, node))
        self.steps.append(Names(tuple(found)))

    # New names.

    def _open(self, call: _Call, path: str, flags: set[bytes], mode: int | None) -> None:
        if not self._has(path):
            return
        assert b"O_TMPFILE" not in flags, call
        assert b"O_APPEND" not in flags, call
        node = self._at(path)
        if node is None:
            assert b"O_CREAT" in flags, call
            assert mode is not None, call
            node = self._new(stat.S_IFREG | (mode & ~_UMASK))
            self._rename((path, node))
        elif b"O_TRUNC" in flags:
            self.steps.append(Truncate(node, 0))
        self._positions[call.result, node.number] = 0

    def _take_openat(self, call: _Call) -> None:
        mode = call.number(3) if len(call.arguments) > 3 else None
        self._open(call, call.path(1, 0), call.flags(2), mode)

    def _take_open(self, call: _Call) -> None:
        mode = call.number(2) if len(call.arguments) > 2 else None
        self._open(call, call.path(0), call.flags(1), mode)

    def _make(self, path: str, mode: int) -> None:
        if self._has(path):
            self._rename((path, self._new(stat.S_IFDIR | (mode & ~_UMASK))))

    def _take_mkdir(self, call: _Call) -> None:
        self._make(call.path(0), call.number(1))

    def _take_mkdirat(self, call: _Call) -> None:
        self._make(call.path(1, 0), call.number(2))

    def _link(self, source: str, target: str) -> None:
        if not self._has(target):
            assert not self._has(source), (source, target)
            return
        if self._has(source):
            node = self._known(source)
        else:
            node = self._new(stat.S_IFREG)
            node.outside = Path(source)
        self._rename((target, node))

    def _take_link(self, call: _Call) -> None:
        self._link(call.path(0), call.path(1))

    def _take_linkat(self, call: _Call) -> None:
        self._link(call.path(1, 0), call.path(3, 2))

    # Names that go, or change.

    def _remove(self, path: str) -> None:
        if self._has(path):
            self._rename((path, None))

    def _take_unlink(self, call: _Call) -> None:
        self._remove(call.path(0))

    def _take_unlinkat(self, call: _Call) -> None:
        self._remove(call.path(1, 0))

    def _take_rmdir(self, call: _Call) -> None:
        self._remove(call.path(0))

    def _move(self, source: str, target: str, *, is_exchange: bool = False) -> None:
        if self._has(source) or self._has(target):
            assert self._has(source), (source, target)
            assert self._has(target), (source, target)
            self._rename((source, self._known(target) if is_exchange else None), (target, self._known(source)))

    def _take_rename(self, call: _Call) -> None:
        self._move(call.path(0), call.path(1))

    def _take_renameat(self, call: _Call) -> None:
        self._move(call.path(1, 0), call.path(3, 2))

    def _take_renameat2(self, call: _Call) -> None:
        self._move(call.path(1, 0), call.path(3, 2), is_exchange=b"RENAME_EXCHANGE" in call.flags(4))

    # Contents.

    def _moves(self, call: _Call) -> None:
        node = self._of(call)
        if node is not None:
            key = call.fd()[0], node.number
            self._positions[key] = self._positions.get(key, 0) + call.result

    _take_read = _take_readv = _moves

    def _take_lseek(self, call: _Call) -> None:
        node = self._of(call)
        if node is not None:
            self._positions[call.fd()[0], node.number] = call.result

    def _write(self, call: _Call, offset: int | None = None) -> None:
        node = self._of(call)
        if node is None:
            return
        assert node.outside is None, call
        if offset is None:
            offset = self._positions[call.fd()[0], node.number]
            self._moves(call)
        self.steps.append(Write(node, offset, call.data(1)[: call.result]))

    _take_write = _take_writev = _write

    def _take_pwrite64(self, call: _Call) -> None:
        self._write(call, call.number(3))

    _take_pwritev = _take_pwrite64

    def _take_ftruncate(self, call: _Call) -> None:
        node = self._of(call)
        if node is not None:
            assert node.outside is None, call
            self.steps.append(Truncate(node, call.number(1)))

    def _take_truncate(self, call: _Call) -> None:
        if self._has(call.path(0)):
            self.steps.append(Truncate(self._known(call.path(0)), call.number(1)))

    def _take_mmap(self, call: _Call) -> None:
        # A private mapping, or one for reading, changes nothing; the memory of SQLite's processes is made anew.
        if b"MAP_SHARED" in call.flags(3) and b"PROT_WRITE" in call.flags(2):
            assert call.fd(4)[1].endswith("-shm"), call

    # Facts.

    def _take_fchmod(self, call: _Call) -> None:
        node = self._of(call)
        if node is not None:
            self.steps.append(Facts(node, mode=call.number(1)))

    def _take_utimensat(self, call: _Call) -> None:
        named = call.arguments[1] != b"NULL"
        node = (
            self._known(call.path(1, 0)) if named and self._has(call.path(1, 0)) else None if named else self._of(call)
        )
        if node is not None:
            times = [int(seconds) * 10**9 + int(rest) for seconds, rest in _TIME.findall(call.arguments[2])]
            assert len(times) == 2, call
            self.steps.append(Facts(node, times=(times[0], times[1])))

    def _take_fsetxattr(self, call: _Call) -> None:
        node = self._of(call)
        if node is not None:
            self.steps.append(Facts(node, xattr=(_bytes(call.arguments[1][1:-1]).decode(), call.data(2))))

    # Syncs.

    def _take_fsync(self, call: _Call) -> None:
        node = self._of(call)
        if node is not None:
            self.steps.append(Sync(node, call.begun, with_facts=call.name == "fsync"))

    _take_fdatasync = _take_fsync

    def _take_syncfs(self, call: _Call) -> None:
        self.steps.append(Sync(None, call.begun))
