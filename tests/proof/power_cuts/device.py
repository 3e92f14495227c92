"""A file system of the kernel on a loop device, and what a power cut would leave of it: a copy of the device."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from pathlib import Path

from tests.support import witness

_MIB = 1 << 20
SIZES = {"ext4": 96 * _MIB, "xfs": 300 * _MIB}
"""File systems that are tried, and the size of each, which for XFS is the smallest that there is."""
Snapshot = dict[int, bytes]
"""What there is of a device, by its place; the rest is zeros."""


def kinds() -> list[str]:
    """Those that the kernel has."""
    try:
        known = Path("/proc/filesystems").read_text().split()
    except OSError:
        return []
    return [kind for kind in SIZES if kind in known]


class Device:
    """A fresh file system, mounted at a folder.

    Args:
        kind: a name of `kinds`.
        folder: where its file is made, in memory.
        place: where it is mounted.
    """

    def __init__(self, kind: str, folder: Path, place: Path) -> None:
        self._kind = kind
        self._image = folder / "device"
        self._place = place
        with self._image.open("xb") as file:
            file.truncate(SIZES[kind])
        _run(f"mkfs.{kind}", "-q", os.fspath(self._image))
        place.mkdir()
        _run("mount", "-o", "loop", os.fspath(self._image), os.fspath(place))

    def sync(self) -> None:
        """Makes all that is there safe."""
        _run("sync", "-f", os.fspath(self._place))

    def snapshot(self) -> Snapshot:
        """What the device holds at one moment, and what a power cut would leave. Nothing is synced for it.

        It is read until twice the same is found: the kernel writes whenever it likes.
        """
        found, again = self._read(), self._read()
        while found != again:
            found, again = again, self._read()
        return found

    def _read(self) -> Snapshot:
        found: Snapshot = {}
        fd = os.open(self._image, os.O_RDONLY)
        try:
            end = 0
            while True:
                try:
                    start = os.lseek(fd, end, os.SEEK_DATA)
                except OSError as error:
                    if error.errno != errno.ENXIO:
                        raise
                    return found
                end = os.lseek(fd, start, os.SEEK_HOLE)
                found[start] = os.pread(fd, end - start, start)
        finally:
            os.close(fd)

    def start_from(self, snapshot: Snapshot) -> None:
        """What a machine finds that is started after the power cut: the file system mends itself by its journal."""
        self._unmount()
        with self._image.open("wb") as file:
            for start, data in snapshot.items():
                file.seek(start)
                file.write(data)
            file.truncate(SIZES[self._kind])
        _run("mount", "-o", "loop", os.fspath(self._image), os.fspath(self._place))

    def close(self) -> None:
        """Unmounts it, and removes its file."""
        self._unmount()
        self._image.unlink()
        self._place.rmdir()

    def _unmount(self) -> None:
        for _ in range(100):
            # A process that was just killed may still be there.
            done = subprocess.run([witness("umount"), os.fspath(self._place)], capture_output=True, check=False)
            if not done.returncode:
                return
            time.sleep(0.05)
        raise AssertionError(done.stderr.decode())


def _run(*command: str) -> None:
    done = subprocess.run([witness(command[0]), *command[1:]], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
