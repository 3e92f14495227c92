"""Makes a host that lacks what Linux has, for one whole process: the environment variable `TAKEN_AWAY` names the kind.

It is imported before the package, by `core` or as a plugin: `TAKEN_AWAY=macos python -m pytest -p
tests.proof.hosts.taken_away …`. Calls are missing as other systems' Pythons miss them, or answer as file systems and
sandboxes do that do not have them. Names are looked at where Python's calls take them.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import os
import select
import shutil
import stat
import sys
import tempfile
import urllib.request  # noqa: F401 (loads another module if it is first imported on what it takes for macOS)
from collections.abc import Callable
from typing import Any

VARIABLE = "TAKEN_AWAY"
PLACE = "TAKEN_AWAY_IN"
"""The folder in which names are looked at; everywhere, if it is not said."""
_ONLY_LINUX = {
    os: (
        "O_PATH", "O_TMPFILE", "O_DIRECT", "O_NOATIME", "getxattr", "setxattr", "listxattr", "removexattr",
        "copy_file_range", "posix_fallocate", "posix_fadvise", "memfd_create", "pidfd_open", "splice", "pipe2",
        "eventfd", "sched_getaffinity", "sched_setaffinity", "fdatasync", "unshare", "setns", "getrandom",
    ),
    fcntl: ("F_SETPIPE_SZ", "F_GETPIPE_SZ", "F_OFD_GETLK", "F_OFD_SETLK", "F_OFD_SETLKW", "F_ADD_SEALS"),
    select: ("epoll",),
}  # fmt: skip
"""Of Python's modules; some are on other systems, too, but not on all of them."""
_LIBRARY = {"renameat2", "syncfs", "fstatfs", "getxattr", "setxattr", "copy_file_range"}
"""Of the C library."""
_NAMED = ("open", "mkdir", "link", "rename", "replace", "symlink", "stat", "lstat", "unlink", "utime")
_ECRYPTFS_NAME = 143
"""Bytes: the shortest limit on names that is in use."""


def _macos() -> None:
    """What Python's `os` and C's library do not have there; no /proc; fsync that the drive is told of."""
    sys.platform = "darwin"
    setattr(fcntl, "F_FULLFSYNC", 51)  # noqa: B010 (not on Linux, where the program runs)
    _without_calls()


def _bsd() -> None:
    """The same without what is Apple's."""
    sys.platform = "freebsd14"
    _without_calls()


def _without_calls() -> None:
    # Loaded already, and what it once found it keeps.
    setattr(tempfile, "_O_TMPFILE_WORKS", False)  # noqa: B010
    setattr(shutil, "_copyxattr", lambda *arguments, **named: None)  # noqa: B010
    for module, names in _ONLY_LINUX.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    _hide_proc()

    def missing(library: ctypes.CDLL, name: str) -> Any:
        raise AttributeError(f"{name}: symbol not found")

    _replace_in_library(missing)


def _refusing() -> None:
    """A Linux whose sandbox and file system answer that they do not have it: attributes, links, exchange, holes, syncs
    of directories and of file systems."""
    for name in ("setxattr", "listxattr", "removexattr"):
        setattr(os, name, _failing(errno.ENOTSUP))
    ask = os.getxattr

    def getxattr(path: Any, attribute: Any, **named: Any) -> bytes:
        # A mount's own server answers, whatever the host's file systems do.
        if attribute == "system.wclayer_layer":
            return ask(path, attribute, **named)
        raise _error(errno.ENOTSUP)

    setattr(os, "getxattr", getxattr)  # noqa: B010 (its type has more kinds of paths)
    for name in ("copy_file_range", "memfd_create", "posix_fallocate"):
        setattr(os, name, _failing(errno.ENOSYS))
    os.link = _failing(errno.EPERM)
    fcntl.ioctl = _failing(errno.ENOTTY)

    def refused(library: ctypes.CDLL, name: str) -> Any:
        def call(*arguments: object) -> int:
            ctypes.set_errno(errno.ENOSYS)
            return -1

        return call

    _replace_in_library(refused)
    seek, sync, control = os.lseek, os.fsync, fcntl.fcntl

    def lseek(fd: int, position: int, whence: int, /) -> int:
        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            raise _error(errno.EINVAL)
        return seek(fd, position, whence)

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise _error(errno.EINVAL)
        sync(fd)

    def set_size(fd: int, command: int, argument: Any = 0, /) -> Any:
        if command == fcntl.F_SETPIPE_SZ:
            raise _error(errno.EPERM)
        return control(fd, command, argument)

    for module, name, call in ((os, "lseek", lseek), (os, "fsync", fsync), (fcntl, "fcntl", set_size)):
        setattr(module, name, call)


def _network() -> None:
    """NFS, as flock(2) tells of it: an exclusive lock needs a file that is open for writing, which no directory is."""
    lock = fcntl.flock

    def flock(fd: int, operation: int, /) -> None:
        if operation & fcntl.LOCK_EX and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise _error(errno.EBADF)
        lock(fd, operation)

    setattr(fcntl, "flock", flock)  # noqa: B010 (its type has more kinds of descriptors)


def _no_locks() -> None:
    """A network file system whose server locks nothing."""
    fcntl.flock = _failing(errno.ENOLCK)


def _short_names() -> None:
    """Names of at most 143 bytes (eCryptfs), and only those that are UTF-8 (ZFS with `utf8only`)."""

    def refuse(name: bytes) -> int:
        if len(name) > _ECRYPTFS_NAME:
            return errno.ENAMETOOLONG
        try:
            name.decode()
        except UnicodeDecodeError:
            return errno.EILSEQ
        return 0

    _with_names(refuse)


def _dos_names() -> None:
    """Short names only: eight characters and three, as on FAT without long names."""

    def refuse(name: bytes) -> int:
        stem, _, ending = name.partition(b".")
        return errno.EINVAL if not 0 < len(stem) <= 8 or len(ending) > 3 or b"." in ending else 0

    _with_names(refuse)


def _with_names(refuse: Callable[[bytes], int]) -> None:
    """Has calls fail for names that `refuse` gives an error's number for."""
    where = os.environ.get(PLACE, "")
    for call in _NAMED:
        setattr(os, call, _checking_names(getattr(os, call), refuse, os.fsencode(where)))


def _checking_names(call: Callable[..., Any], refuse: Callable[[bytes], int], where: bytes) -> Callable[..., Any]:
    def checked(*arguments: Any, **named: Any) -> Any:
        for path in arguments[:2]:
            if isinstance(path, (str, bytes, os.PathLike)):
                directory = named.get("dir_fd", named.get("src_dir_fd"))
                start = os.getcwd() if directory is None else os.readlink(f"/proc/self/fd/{directory}")
                folder, name = os.path.split(os.path.join(os.fsencode(start), os.fsencode(path).rstrip(b"/")))
                if folder.startswith(where) and name not in (b"", b".") and (number := refuse(name)):
                    raise _error(number, path)
        return call(*arguments, **named)

    return checked


def _hide_proc() -> None:
    for module, name in ((os, "open"), (os, "stat"), (os, "readlink"), (io, "open")):
        setattr(module, name, _without_proc(getattr(module, name)))


def _without_proc(call: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*arguments: Any, **named: Any) -> Any:
        if arguments and isinstance(arguments[0], (str, bytes, os.PathLike)):
            path = os.fsencode(arguments[0])
            if path == b"/proc" or path.startswith(b"/proc/"):
                raise _error(errno.ENOENT, path)
        return call(*arguments, **named)

    return checked


def _replace_in_library(instead: Callable[[ctypes.CDLL, str], Any]) -> None:
    found = ctypes.CDLL.__getattr__

    def look_up(library: ctypes.CDLL, name: str) -> Any:
        return instead(library, name) if name in _LIBRARY else found(library, name)

    setattr(ctypes.CDLL, "__getattr__", look_up)  # noqa: B010 (mypy takes no assignment to a method)


def _failing(number: int) -> Callable[..., Any]:
    def fail(*arguments: object, **named: object) -> Any:
        raise _error(number)

    return fail


def _error(number: int, path: object = None) -> OSError:
    return OSError(number, os.strerror(number), path)


KINDS: dict[str, Callable[[], None]] = {
    "macos": _macos,
    "bsd": _bsd,
    "refusing": _refusing,
    "network": _network,
    "no locks": _no_locks,
    "short names": _short_names,
    "8.3 names": _dos_names,
}

if os.environ.get(VARIABLE):
    assert "wclayer" not in sys.modules, "calls are taken away before the package is imported"
    KINDS[os.environ[VARIABLE]]()
