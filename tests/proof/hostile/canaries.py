"""A folder that nothing may read, write, link or remove, and what tells that somebody did."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_EVENT = struct.Struct("=iIII")
_OPENED, _READ, _WRITTEN = 0x20, 0x1, 0x2
_IS_DIRECTORY = 0x40000000
_CHANGED = 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
"""Metadata, moved away, moved here, created, removed, itself removed, itself moved."""
_SECRET = b"outside of every target\n"
_libc = ctypes.CDLL(None, use_errno=True)


class Canaries:
    """The canaries, in a folder outside of every target, the current folder and the home folder.

    Whatever is opened in one of these folders is told by the kernel (inotify); who opens the FIFO waits until the time
    is up; what is changed shows in the status of the files.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = []
        for folder in folders:
            self._folders += self._make(folder)
        self._known = self._status()
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        for folder in self._folders:
            mask = _OPENED | _READ | _WRITTEN | _CHANGED
            if _libc.inotify_add_watch(self._fd, os.fsencode(folder), mask) < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch", str(folder))

    @staticmethod
    def _make(folder: Path) -> list[Path]:
        """Makes the canaries of a folder, which every user may change; gives it and the folders in it."""
        below = folder / "dir"
        for place in (folder, below):
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o777)
        for file in (folder / "secret.txt", below / "file", folder / "tombstones.txt"):
            file.write_bytes(_SECRET)
            file.chmod(0o666)
        # What Python would run if it took modules from the current folder.
        for module in ("json", "queue", "click", "wclayer"):
            (folder / f"{module}.py").write_text("raise SystemExit(99)\n")
        os.mkfifo(folder / "fifo", 0o666)
        (folder / "fifo").chmod(0o666)
        (folder / "link").symlink_to("secret.txt")
        return [folder, below]

    def _status(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for folder in self._folders:
            for place in (folder, *folder.iterdir()):
                status = place.lstat()
                found[str(place)] = (
                    status.st_ino, status.st_mode, status.st_uid, status.st_nlink, status.st_size, status.st_mtime_ns,
                    status.st_ctime_ns,
                )  # fmt: skip
        return found

    def accept(self) -> None:
        """Takes the canaries as they are now, after a form was made that has hard links to them."""
        self._known = self._status()
        self._events()

    def touched(self) -> list[str]:
        """What somebody has done to them since this was last asked."""
        found = [f"canary {name} was opened or changed" for name in self._events()]
        status = self._status()
        found += [
            f"canary {name} was {self._known.get(name)}, is {status.get(name)}"
            for name in status.keys() | self._known.keys()
            if status.get(name) != self._known.get(name)
        ]
        self._events()
        self._known = status
        return sorted(found)

    def _events(self) -> set[str]:
        names: set[str] = set()
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return names
            at = 0
            while at < len(data):
                _, mask, _, length = _EVENT.unpack_from(data, at)
                name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
                # Our own look at a folder opens it, as may that of anybody who walks the host, and nothing in it.
                if mask & _CHANGED or not mask & _IS_DIRECTORY:
                    names.add(os.fsdecode(name) or "folder")
                at += _EVENT.size + length

    def assert_whole(self) -> None:
        """Their contents are what they were."""
        for folder in self._folders:
            for place in folder.iterdir():
                if place.name in ("secret.txt", "file", "tombstones.txt"):
                    assert place.read_bytes() == _SECRET, place
        self._events()

    def close(self) -> None:
        os.close(self._fd)
