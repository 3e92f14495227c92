"""The bridge to libfuse 3, through `mfusepy`: its calls of a file system, without copies where many come.

`mfusepy` is path-based and knows neither readdirplus nor the flags of rename; what it lacks, and what is called most,
is done here on its own structures.
"""

from __future__ import annotations

import ctypes
import errno
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from wclayer.errors import NotSupportedError
from wclayer.view.fuse import Operations

_LIBRARIES = ("libfuse3.so.3", "libfuse3.so.4")
_REMEMBERED = 1_000_000
"""Seconds for which the kernel remembers names and attributes: for as long as the mount lives."""
_READDIR_PLUS, _FILL_DIR_PLUS = 1, 2
_DOTS = (b".", b"..")
_ENCODING = ("utf-8", "surrogatepass")
"""Names with an unpaired surrogate pass as WTF-8."""


def load_fuse() -> Any:
    """The module `mfusepy`, on libfuse 3.

    Raises:
        NotSupportedError: it, or FUSE, is not there; the message says what to install.
    """
    if sys.platform == "win32":
        raise NotSupportedError("mount", "libfuse", "a view is mounted through FUSE, which Windows does not have")
    if sys.platform.startswith("linux"):
        if not os.path.exists("/dev/fuse"):
            raise NotSupportedError("mount", "/dev/fuse", "the system has no FUSE device; a container must be given it")
        if "FUSE_LIBRARY_PATH" not in os.environ:
            # By itself, mfusepy would take libfuse 2 where both are there.
            name = next(filter(_is_there, _LIBRARIES), None)
            if name is None:
                raise NotSupportedError("mount", _LIBRARIES[0], "libfuse 3 is not there; install the package fuse3")
            os.environ["FUSE_LIBRARY_PATH"] = name
    try:
        import mfusepy
    except (ImportError, OSError) as error:
        package = "macFUSE or FUSE-T" if sys.platform == "darwin" else "the package fuse3"
        raise NotSupportedError("mount", "libfuse", f"cannot be loaded ({error}); install {package}") from None
    return mfusepy


def _is_there(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def run_session(operations: Operations, mount_point: str, *, read_only: bool, allow_other: bool) -> None:
    """Mounts a file system, and serves it until it is unmounted or the process is told to end (SIGINT, SIGTERM).

    Raises:
        NotSupportedError: FUSE is not there.
        RuntimeError: libfuse could not mount; it has said why on the error stream.
    """
    fuse = load_fuse()

    class Session(fuse.FUSE):  # type: ignore[misc, name-defined]
        """`mfusepy.FUSE` with its most frequent calls done anew."""

        def _wrapper(self, func: Callable[..., Any], *arguments: Any) -> int:
            try:
                return func(*arguments) or 0
            except OSError as error:
                return -(error.errno or errno.EIO)
            except UnicodeError:
                return -errno.EILSEQ
            except Exception:  # noqa: BLE001 (nothing may pass into libfuse)
                # A mistake of ours: the caller gets an error, and whoever looks at the error stream sees the place.
                traceback.print_exc()
                return -errno.EIO

        def fgetattr(self, path: bytes | None, buffer: Any, info: Any) -> int:
            if path is not None:
                ctypes.memmove(buffer, ctypes.byref(operations.stat(path.decode(*_ENCODING))), stat_size)
            else:
                ctypes.memset(buffer, 0, stat_size)
                operations.fill_open(buffer.contents, operations.handles[info.contents.fh])
            return 0

        def readdir_fuse_3(
            self, path: bytes | None, buffer: Any, filler: Any, offset: int, info: Any, flags: int
        ) -> int:
            nodes, is_news = operations.readdir(info.contents.fh, is_start=offset == 0)
            # With the place of the next entry, libfuse passes on each as it comes, until the kernel's buffer is full.
            for place, name in enumerate(_DOTS[offset:], start=offset + 1):
                if filler(buffer, name, None, place, 0):
                    return 0
            # readdirplus: the kernel need not ask for these attributes, now or when it reads the directory again.
            plus = _FILL_DIR_PLUS if is_news and flags & _READDIR_PLUS else 0
            shown = operations.shown
            for place in range(max(offset - len(_DOTS), 0), len(nodes)):
                _, name, st = shown(nodes[place])
                if filler(buffer, name, st, place + len(_DOTS) + 1, plus):
                    break
            return 0

        def read(self, path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
            target = (ctypes.c_char * size).from_address(ctypes.addressof(buffer.contents))
            return operations.handles[info.contents.fh].read_into(target, offset)

        def write(self, path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
            source = (ctypes.c_char * size).from_address(ctypes.addressof(buffer.contents))
            return operations.write(None, source, offset, info.contents.fh)

        def create(self, path: bytes, mode: int, info: Any) -> int:
            info.contents.fh = operations.create(path.decode(*_ENCODING), mode, info.contents.flags)
            return 0

        def opendir(self, path: bytes, info: Any) -> int:
            info.contents.fh = operations.opendir(path.decode(*_ENCODING))
            info.contents.cache_readdir = info.contents.keep_cache = 1
            return 0

        def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
            return operations.rename(old.decode(*_ENCODING), new.decode(*_ENCODING), flags)

        def chmod_fuse_3(self, path: bytes | None, mode: int, info: Any) -> int:
            return operations.chmod(_path(path), mode, _handle(info))

        def truncate_fuse_3(self, path: bytes | None, length: int, info: Any) -> int:
            return operations.truncate(_path(path), length, _handle(info))

        def utimens_fuse_3(self, path: bytes | None, times: Any, info: Any) -> int:
            return operations.utimens(_path(path), _times(times), _handle(info))

    library = fuse._libfuse
    forgetter = _Forgetter(library)
    operations.forget_names = forgetter.forget
    operations.new_stat = fuse.c_stat
    stat_size = ctypes.sizeof(fuse.c_stat)
    try:
        Session(
            operations, mount_point, encoding=_ENCODING[0], errors=_ENCODING[1], foreground=True, nothreads=True,
            fsname="wclayer", subtype="wclayer", ro=read_only, default_permissions=True, use_ino=True,
            allow_other=allow_other, kernel_cache=True,
            entry_timeout=_REMEMBERED, attr_timeout=_REMEMBERED,
        )  # fmt: skip
    finally:
        forgetter.stop()


def _path(path: bytes | None) -> str | None:
    return None if path is None else path.decode(*_ENCODING)


def _handle(info: Any) -> int | None:
    return int(info.contents.fh) if info else None


_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


def _times(times: Any) -> tuple[int | None, int | None]:
    """The access and modification time of utimensat in ns; None for one that is to stay, -1 for now."""

    def one(spec: Any) -> int | None:
        if spec.tv_nsec == _UTIME_OMIT:
            return None
        return -1 if spec.tv_nsec == _UTIME_NOW else int(spec.tv_sec) * 10**9 + int(spec.tv_nsec)

    if not times:
        return -1, -1
    return one(times.contents.actime), one(times.contents.modtime)


class _Forgetter:
    """Tells the kernel, from a thread of its own, which paths it must forget the attributes and contents of.

    Not in the call that changed the file: the kernel may wait for us there with a page of it locked.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._paths: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        library.fuse_invalidate_path.argtypes = (ctypes.c_void_p, ctypes.c_char_p)

    def forget(self, paths: list[str]) -> None:
        """Called while a request is answered."""
        if paths:
            session = self._library.fuse_get_context().contents.fuse
            for path in paths:
                self._paths.put((session, path.encode(*_ENCODING)))

    def _run(self) -> None:
        while (item := self._paths.get()) is not None:
            self._library.fuse_invalidate_path(*item)

    def stop(self) -> None:
        self._paths.put(None)
        self._thread.join()
