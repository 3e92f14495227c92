"""All-or-nothing directories and files: built beside their place and renamed into it; removed by renaming away first.

What is under construction or removal has a name of the form `.wclayer-NAME-RANDOM.partial` (or `.gone`) beside NAME,
and its builder holds a lock on it for as long as it lives. Whoever next builds or removes anything in the same place
finds those without a living holder and removes them.

What has its name is whole, after a power cut, too: contents, records and the names in a directory are made safe on the
disk first, then it is renamed, then its own name is made safe (see `durability`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from wclayer.errors import AlreadyExistsError, LayerBusyError, PathNotFoundError
from wclayer.host import durability, system
from wclayer.host.root import remove_tree, sync_directory, sync_file, sync_tree

DATABASE = "layer.db"
_LEFTOVER = re.compile(r"\.wclayer-.*-[0-9a-f]{16}\.(partial|gone)\Z", re.DOTALL)


class Stage(Protocol):
    """Where a layer is built: the root of its files, its database, and the step that makes it visible."""

    path: Path
    database: Path
    lock: system.Lock | None
    """That by which the builder holds the place, if there is need."""

    def commit(self) -> None: ...
    def discard(self) -> None: ...


class StagedDirectory:
    """A directory that appears at `target` whole, by `commit`, or not at all.

    An empty directory that is already at `target` is replaced; anything else there is an error.
    """

    def __init__(self, operation: str, target: Path) -> None:
        self._operation = operation
        self.target = target
        parent = target.parent
        if not parent.is_dir():
            raise PathNotFoundError(operation, target, f"the folder {parent} does not exist")
        remove_leftovers(parent)
        self._check_free()
        self.lock: system.Lock | None
        self.path, self.lock = _make_locked_directory(parent, target.name)
        self.database = self.path / DATABASE

    def commit(self) -> None:
        """Makes the directory safe on the disk, and renames it into its place.

        Raises:
            AlreadyExistsError: something appeared there meanwhile.
        """
        if durability.is_wanted():
            sync_tree(self.path)
        try:
            system.rename_directory(self.path, self.target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise AlreadyExistsError(self._operation, self.target, "already exists") from None
            raise
        _sync_name(self.target)
        self._release()

    def discard(self) -> None:
        """Removes the directory."""
        if self.lock is not None:
            remove_tree(self.path)
            self._release()

    def _check_free(self) -> None:
        try:
            with os.scandir(self.target) as entries:
                taken = next(entries, None) is not None
        except FileNotFoundError:
            return
        except NotADirectoryError:
            taken = True
        if taken:
            raise AlreadyExistsError(self._operation, self.target, "already exists")

    def _release(self) -> None:
        if self.lock is not None:
            self.lock.close()
        self.lock = None


class StagedDatabase:
    """A database that appears in an existing folder, by `commit`, and makes it a layer; what an interrupted build
    left there is removed by the next one.

    Args:
        with_contents: the rest of the folder is new, too: it must be safe on the disk before the database appears.
    """

    lock: system.Lock | None = None

    def __init__(self, folder: Path, *, with_contents: bool = False) -> None:
        self.path = folder
        self._with_contents = with_contents
        for leftover in folder.glob(f".{DATABASE}-*.partial"):
            leftover.unlink(missing_ok=True)
        self.database = folder / f".{DATABASE}-{secrets.token_hex(8)}.partial"

    def commit(self) -> None:
        """Makes the database safe on the disk, and renames it into its place."""
        if durability.is_wanted():
            if self._with_contents:
                sync_tree(self.path)
            else:
                sync_file(self.database)
        system.replace_file(self.database, self.path / DATABASE)
        _sync_name(self.path / DATABASE)

    def discard(self) -> None:
        """Removes the database; the folder stays as it is."""
        self.database.unlink(missing_ok=True)


class StagedFile:
    """A file that appears at `target` whole, by `commit`, or not at all; one that is there already is replaced.

    `stream` is where it is written, and if it is `readable`, read again. Leaving its context commits it; by an
    exception, it discards it.
    """

    def __init__(self, operation: str, target: Path, *, readable: bool = False) -> None:
        self.target = target
        if not target.parent.is_dir():
            raise PathNotFoundError(operation, target, f"the folder {target.parent} does not exist")
        remove_leftovers(target.parent)
        self._path, fd = _make_locked_file(target.parent, target.name)
        self.stream: BinaryIO = os.fdopen(fd, "r+b" if readable else "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def commit(self) -> None:
        """Makes the file safe on the disk, and renames it into its place; if that fails, it is discarded."""
        try:
            self.stream.flush()
            if durability.is_wanted():
                system.sync_file(self.stream.fileno())
            system.replace_file(self._path, self.target)
            _sync_name(self.target)
        except BaseException:
            self.discard()
            raise
        self.stream.close()

    def discard(self) -> None:
        """Removes the file."""
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.stream.close()


def _sync_name(place: Path) -> None:
    """Makes the name that something has just got, or lost, safe on the disk."""
    if durability.is_wanted():
        sync_directory(place.parent)


def _beside(place: Path, kind: str) -> Path:
    return place.parent / f".wclayer-{place.name[:60]}-{secrets.token_hex(8)}.{kind}"


def _make_locked_directory(parent: Path, name: str) -> tuple[Path, system.Lock]:
    while True:
        path = _beside(parent / name, "partial")
        path.mkdir()
        # Between mkdir and lock, somebody else's clean-up may have taken the directory for a leftover.
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            lock = system.Lock(path)
            try:
                lock.take()
                if lock.status().st_ino == path.stat().st_ino:
                    return path, lock
            except BaseException:
                lock.close()
                raise
            lock.close()


def _make_locked_file(parent: Path, name: str) -> tuple[Path, int]:
    while True:
        path = _beside(parent / name, "partial")
        with contextlib.suppress(BlockingIOError):
            fd = system.create_locked_file(path)
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(fd).st_ino == path.stat().st_ino:
                    return path, fd
            os.close(fd)


def remove_whole(operation: str, path: Path) -> None:
    """Removes a directory so that an interruption never leaves a part of it under its name.

    Raises:
        LayerBusyError: another process is removing or building it.
    """
    remove_leftovers(path.parent)
    lock = system.Lock(path, follow=False)
    try:
        lock.take()
        gone = _beside(path, "gone")
        system.rename_directory(path, gone)
        # Else, a power cut could leave a part of it under its old name.
        _sync_name(path)
        remove_tree(gone)
    except BlockingIOError:
        raise LayerBusyError(operation, path, "another process holds it") from None
    finally:
        lock.close()


def remove_leftovers(parent: Path) -> list[str]:
    """Removes what interrupted builds and removals left in `parent`; gives the names removed."""
    removed = []
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries if _LEFTOVER.match(entry.name)]
    for name in names:
        with contextlib.suppress(OSError):
            lock = system.Lock(parent / name, follow=False)
            try:
                lock.take()
                if stat.S_ISDIR(lock.status().st_mode):
                    remove_tree(parent / name)
                else:
                    os.unlink(parent / name)
                removed.append(name)
            finally:
                lock.close()
    return removed
