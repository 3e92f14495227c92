"""Access to the host's file system for everything that reads or writes a layer's files.

Every path is relative to a root and opened one component at a time, with links refused. So neither the contents of a
layer nor a program that changes it at the same time can lead a read or a write outside of it.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import shutil
import stat
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from wclayer._types import StrPath
from wclayer.errors import FormatError, FormatLimitError
from wclayer.host import system

_OPEN_DIRECTORIES = 64
"""The number of directories that one root keeps open."""
_OPEN_IN_ALL = 256
"""The number of directories that all roots together keep open, besides a few for each: a chain may have many layers,
and a process only few descriptors."""
_OPEN_AT_LEAST = 2
_NO_NAMES = frozenset((b"", b".", b".."))
# Windows splits a name at these characters.
_NOT_IN_NAMES = frozenset(b"\0/\\:" if sys.platform == "win32" else b"\0/")
_REMOVAL_DEPTH = 100
_FEW_FILES = 32
UNUSABLE_NAME = (errno.EILSEQ, errno.EINVAL, errno.ENAMETOOLONG)
"""The errors of hosts for a name that no file can have."""
_MOVED_UP = ".wclayer-moved-"


class PathError(FormatError):
    """A path that does not stay below its root: it is absolute, or one of its names is empty, `.` or `..`."""


def _checked(name: bytes) -> bytes:
    """Returns the name if it is valid as one component of a path."""
    if name in _NO_NAMES or not _NOT_IN_NAMES.isdisjoint(name):
        raise PathError(f"{name[:300]!r} in a path is not a name")
    return name


class HostRoot:
    """A directory of the host, and everything below it.

    Paths are bytes, `/`-separated, relative to the root. The directories used last stay open. The methods raise
    `PathError` for a path that leads out of the root, and pass on the errors of the host (`FileExistsError`,
    `FileNotFoundError`, `OSError` with ELOOP or ENOTDIR for a link in the path).
    """

    _open_in_all = 0

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._fd = system.open_directory(path)

    @property
    def fd(self) -> int:
        """The root's own descriptor (a handle on Windows)."""
        return self._fd

    @property
    def is_in_place(self) -> bool:
        """True if the path of the root still leads to the open directory, which may have been removed or replaced."""
        return system.is_at(self.path, self._fd)

    @property
    def takes_every_name(self) -> bool:
        """True if the file system accepts every name that is possible on the host, and distinguishes names that differ
        only in case. Some file systems allow only shorter names, or only names in UTF-8."""
        probe = b"wclayer~case\xff".ljust(system.LONGEST_NAME, b"x")
        try:
            self.write_bytes(probe, b"")
        except UnicodeDecodeError:
            # On Windows, names are text.
            return False
        except OSError as error:
            if error.errno not in UNUSABLE_NAME:
                raise
            return False
        try:
            self.stat(probe.upper())
        except FileNotFoundError:
            return True
        finally:
            self.remove(probe)
        return False

    def directory(self, path: bytes, *, besides: bytes | None = None) -> int:
        """Returns a descriptor (a handle on Windows) of the directory `path`, which belongs to this object.

        It is valid until the next call, which may close it to open another one.

        Args:
            path: the directory.
            besides: a directory whose descriptor this call does not close.
        """
        fd = self._open.get(path)
        if fd is not None:
            return fd
        if path.startswith(b"/"):
            raise PathError(f"{path[:300]!r} is an absolute path")
        missing = []
        while path and path not in self._open:
            path, _, name = path.rpartition(b"/")
            missing.append(name)
        fd = self._open[path] if path else self._fd
        for name in reversed(missing):
            path = path + b"/" + name if path else name
            fd = system.open_directory_at(fd, _checked(name))
            # The directory just opened is the newest, so making room never closes it.
            self._open[path] = fd
            HostRoot._open_in_all += 1
            while len(self._open) > _OPEN_DIRECTORIES or (
                HostRoot._open_in_all > _OPEN_IN_ALL and len(self._open) > _OPEN_AT_LEAST
            ):
                self._close(next(known for known in self._open if known != besides))
        return fd

    def _place(self, path: bytes, *, besides: bytes | None = None) -> tuple[int, bytes]:
        """Returns the directory that contains `path`, and its name there. Every path passes here or `directory`."""
        parent, slash, name = path.rpartition(b"/")
        if slash and not parent:
            raise PathError(f"{path[:300]!r} is an absolute path")
        return self.directory(parent, besides=besides), _checked(name)

    def _close(self, path: bytes) -> None:
        system.close_directory(self._open.pop(path))
        HostRoot._open_in_all -= 1

    def make_directory(self, path: bytes) -> None:
        system.make_directory_at(*self._place(path))

    def make_directories(self, path: bytes) -> None:
        """Makes a directory and those above it, where they are missing."""
        parts = path.split(b"/") if path else []
        for count in range(1, len(parts) + 1):
            with contextlib.suppress(FileExistsError):
                self.make_directory(b"/".join(parts[:count]))

    def create(self, path: bytes) -> int:
        """Makes a file and returns its descriptor, open for reading and writing. The caller closes it."""
        return system.create_file_at(*self._place(path))

    def open(self, path: bytes, *, writable: bool = False) -> int:
        """Opens an existing file for reading, or also for writing, and returns its descriptor. The caller closes it."""
        fd = system.open_file_at(*self._place(path), writable=writable)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise FileNotFoundError(2, "not a regular file", os.fsdecode(path))
        except BaseException:
            system.close_read(fd)
            raise
        return fd

    def read_bytes(self, path: bytes, limit: int = 1 << 30) -> bytes:
        """Returns the contents of a file of at most `limit` bytes.

        Raises:
            FormatLimitError: the file is larger than `limit`.
        """
        with os.fdopen(self.open(path), "rb") as file:
            # `read` allocates the requested size, so only the size of the file is requested.
            data = file.read(min(os.fstat(file.fileno()).st_size, limit) + 1)
        if len(data) > limit:
            raise FormatLimitError(f"{os.fsdecode(path)} is larger than {limit} bytes")
        return data

    def names(self, path: bytes) -> list[str]:
        """Returns the names in the directory `path`."""
        return [name for name, _ in system.list_directory(self.directory(path))]

    def map(self, path: bytes) -> mmap.mmap | bytes:
        """Returns the contents of a file, mapped into memory if the host can map it."""
        fd = self.open(path)
        try:
            # An empty file cannot be mapped.
            return system.map_file(fd) if os.fstat(fd).st_size else b""
        finally:
            system.close_read(fd)

    def write_bytes(
        self, path: bytes, data: bytes | bytearray | memoryview | mmap.mmap, *, flush: bool = False
    ) -> None:
        """Makes a file with these contents; with `flush`, they are safe on the disk. A failure leaves no file."""
        with self._new_file(path) as file:
            file.write(data)
            if flush:
                file.flush()
                system.sync_file(file.fileno())

    def write_chunks(self, path: bytes, chunks: Iterable[bytes | memoryview]) -> None:
        """Makes a file with these contents. A failure leaves no file."""
        with self._new_file(path) as file:
            for chunk in chunks:
                file.write(chunk)

    @contextlib.contextmanager
    def _new_file(self, path: bytes) -> Iterator[BinaryIO]:
        """Makes a file and yields it for writing. After a failure the file is removed."""
        fd = self.create(path)
        try:
            with os.fdopen(fd, "wb") as file:
                yield file
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(path)
            raise

    def link(self, source: bytes, target: bytes, *, source_root: HostRoot | None = None) -> None:
        """Makes a hard link `target` to `source`, a regular file, which may lie under another root."""
        root = source_root or self
        directory, name = root._place(source)
        if not stat.S_ISREG(system.stat_at(directory, name).st_mode):
            raise FileNotFoundError(2, "not a regular file", os.fsdecode(source))
        system.link_at(directory, name, *self._place(target, besides=source.rpartition(b"/")[0]))

    def replace_with_link(self, source: bytes, target: bytes) -> None:
        """Replaces `target` in one step by a hard link to `source`, or by a copy if the host has no hard links."""
        beside = f"{os.fsdecode(source)}-link".encode("utf-8", "surrogateescape")
        with contextlib.suppress(FileNotFoundError):
            self.remove(beside)
        try:
            self.link(source, beside)
        except OSError as error:
            if not system.cannot_link(error):
                raise
            self.copy(source, beside)
        fd, name = self._place(target)
        system.replace_at(fd, beside.rpartition(b"/")[2], fd, name)

    def copy(
        self, source: bytes, target: bytes, *, source_root: HostRoot | None = None, limit: int | None = None
    ) -> None:
        """Copies `source`, or its first `limit` bytes, to a new file `target`. A failure leaves no file."""
        with os.fdopen((source_root or self).open(source), "rb") as reader, self._new_file(target) as writer:
            if limit is None:
                size = os.fstat(reader.fileno()).st_size
                shutil.copyfileobj(reader, writer, 1 << 20)
                if writer.tell() < size:
                    raise OSError(errno.EIO, f"ends after {writer.tell()} of {size} bytes", source)
            while limit and (piece := reader.read(min(limit, 1 << 20))):
                limit -= writer.write(piece)

    def set_times(self, path: bytes, access_ns: int, modify_ns: int) -> None:
        """Sets the times of a directory or file, in nanoseconds since 1970, if the host can store them."""
        with contextlib.suppress(OverflowError, OSError):
            system.set_times_at(*self._place(path), access_ns, modify_ns)

    def stat(self, path: bytes) -> os.stat_result:
        """Returns the status of the file or directory `path`, without following a link."""
        return system.stat_at(*self._place(path))

    def is_directory(self, path: bytes) -> bool:
        """Returns whether `path` is a directory, and not a link to one."""
        return stat.S_ISDIR(self.stat(path).st_mode)

    def remove(self, path: bytes) -> None:
        """Removes a file, or a directory with everything in it."""
        fd, name = self._place(path)
        if stat.S_ISDIR(system.stat_at(fd, name).st_mode):
            self._forget(path)
            _remove_directory(fd, name)
        else:
            system.remove_file_at(fd, name)

    def remove_file(self, path: bytes) -> None:
        """Removes a file or a link."""
        system.remove_file_at(*self._place(path))

    def _forget(self, path: bytes) -> None:
        for known in [p for p in self._open if p == path or p.startswith(path + b"/")]:
            self._close(known)

    def close(self) -> None:
        while self._open:
            self._close(next(reversed(self._open)))
        if self._fd >= 0:
            system.close_directory(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Writes all of `data` at the position of a file, or into a pipe."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(fd, view) :]


def sync_tree(path: Path) -> None:
    """Makes everything in a directory safe on the disk: the contents of its files, and the names.

    A few files are synced one by one. For many files, the whole file system is synced (on Linux), with one journal
    commit instead of one per file. This is not done for a few files, because it also waits for the data of all other
    programs.
    """
    with HostRoot(path) as root:
        if _holds_many(root) and system.sync_file_system(root.fd):
            return
        for place, files in _walk(root):
            directory = root.directory(place)
            for name in files:
                system.sync_file_at(directory, name)
            system.sync_directory(directory)


def _holds_many(root: HostRoot) -> bool:
    count = 0
    for _, files in _walk(root):
        count += 1 + len(files)
        if count > _FEW_FILES:
            return True
    return False


def _walk(root: HostRoot) -> Iterator[tuple[bytes, list[str]]]:
    """Yields every directory of a root, with the names of the regular files in it."""
    pending = [b""]
    while pending:
        place = pending.pop()
        directory = root.directory(place)
        files = []
        for name, is_directory in system.list_directory(directory):
            if is_directory:
                pending.append(b"%s/%s" % (place, os.fsencode(name)) if place else os.fsencode(name))
            elif stat.S_ISREG(system.stat_at(directory, name).st_mode):
                files.append(name)
        yield place, files


def sync_file(path: Path) -> None:
    """Makes the contents of a file safe on the disk, including data that another process wrote."""
    parent = system.open_directory(path.parent)
    try:
        system.sync_file_at(parent, path.name)
    finally:
        system.close_directory(parent)


def sync_directory(path: Path) -> None:
    """Makes the names in a directory safe on the disk."""
    directory = system.open_directory(path)
    try:
        system.sync_directory(directory)
    finally:
        system.close_directory(directory)


def mounts_below(path: Path) -> list[Path]:
    """Returns the mount points of file systems in a directory or at the directory itself."""
    mounts = system.mounts()
    if not mounts:
        # The host has no list of mounts: each directory is checked.
        device = os.lstat(path.parent).st_dev
        with HostRoot(path) as root:
            return [
                path / os.fsdecode(place)
                for place, _ in _walk(root)
                if system.stat_at(root.directory(place), b"").st_dev != device
            ]
    top = os.fsencode(os.path.realpath(path))
    return [Path(os.fsdecode(at)) for at, _ in mounts if at == top or at.startswith(top + b"/")]


def remove_tree(path: Path) -> None:
    """Removes a directory and everything in it, without following links. Files that are already gone are not an error.

    Raises:
        OSError: with EBUSY, another file system is mounted in the directory; its contents are not removed.
    """
    with contextlib.suppress(FileNotFoundError):
        parent = system.open_directory(path.parent)
        try:
            _remove_directory(parent, path.name)
        finally:
            system.close_directory(parent)


def _remove_directory(parent: int, name: bytes | str) -> None:
    """Removes a directory of any depth. Deep directories are first moved up, so that few are open at once."""
    top = system.open_directory_at(parent, name)
    try:
        device = system.stat_at(parent, b"").st_dev
        _check_device(top, name, device)
        _empty_directory(top, top, 0, device)
        # Only directories that were moved up are left. Their own deep directories are moved up behind them.
        while moved := system.list_directory(top):
            for deep, _ in moved:
                _remove_below(top, deep, top, 0, device)
    finally:
        system.close_directory(top)
    system.remove_directory_at(parent, name)


def _check_device(directory: int, name: bytes | str, device: int) -> None:
    if system.stat_at(directory, b"").st_dev != device:
        raise OSError(errno.EBUSY, "another file system is mounted there; unmount it first", os.fsdecode(name))


def _empty_directory(directory: int, top: int, depth: int, device: int) -> None:
    for name, is_directory in system.list_directory(directory):
        if not is_directory:
            system.remove_file_at(directory, name)
        elif depth >= _REMOVAL_DEPTH:
            system.replace_at(directory, name, top, f"{_MOVED_UP}{secrets.token_hex(8)}")
        else:
            _remove_below(directory, name, top, depth, device)


def _remove_below(directory: int, name: str, top: int, depth: int, device: int) -> None:
    below = system.open_directory_at(directory, name)
    try:
        _check_device(below, name, device)
        _empty_directory(below, top, depth + 1, device)
    finally:
        system.close_directory(below)
    system.remove_directory_at(directory, name)
