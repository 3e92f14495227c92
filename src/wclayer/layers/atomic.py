"""All-or-nothing directories and files: built beside their place and renamed into it; removed by renaming away first.

`OutputFile` is what every verb writes a single file into that its user named.

What is under construction or removal has a name of the form `.wclayer-NAME-RANDOM.partial` (or `.gone`) beside NAME,
and its builder holds a lock on it for as long as it lives. The next call that builds or removes anything in the same
folder removes those whose builder has died.

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
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from wclayer._types import StrPath
from wclayer.errors import (
    TEMPORARY_NAME_LENGTH,
    AlreadyExistsError,
    DiskFullError,
    EntryIsDirectoryError,
    InvalidParameterError,
    LayerBusyError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
    errors_at,
    from_os_error,
)
from wclayer.host import durability, system
from wclayer.host.root import mounts_below, remove_tree, sync_directory, sync_file, sync_tree
from wclayer.host.waiting import retry
from wclayer.layers.inputs import kind_of

DATABASE = "layer.db"
PATIENCE = 10.0
"""How many seconds to wait for other processes that have a layer for a moment, as an update has it."""
_LEFTOVER = re.compile(r"\.wclayer-.*-[0-9a-f]{16}\.(partial|gone)\Z", re.DOTALL)
_OPEN_FILE = re.compile(r"(?:/proc/(?P<process>[^/]+)(?:/task/[^/]+)?|/dev)/fd/(?P<number>\d+)\Z")
"""The path by which a process's open file can be named."""
_MAX_LINKS = 40


class Stage(Protocol):
    """Where a layer is built: the root of its files, its database, and the step that makes it visible."""

    path: Path
    database: Path
    lock: system.Lock | None
    """The builder's lock on the directory, which worker processes keep, too; None if the caller has it."""

    def commit(self) -> None: ...
    def discard(self) -> None: ...


def lock_place(place: Path, *, shared: bool = False, follow: bool = True) -> system.Lock:
    """Takes the lock of the file or directory at a path, also if other processes put another one there meanwhile.

    What renames or replaces a layer takes this lock first: so what is at the path stays there while the lock is held.

    Args:
        shared: others may have it, too, if they share it.
        follow: whether `place` may be a link.

    Raises:
        BlockingIOError: another process has it.
        FileNotFoundError, OSError: there is nothing, or it may not be opened.
    """
    while True:
        lock = system.Lock(place, follow=follow)
        try:
            lock.take(shared=shared)
            if _is_at(lock.status(), place, follow=follow):
                return lock
        except BaseException:
            lock.close()
            raise
        lock.close()


def wait_for_place(
    place: Path, *, patience: float | None = None, shared: bool = False,
    busy: str = "another process is changing it",
) -> system.Lock:  # fmt: skip
    """Takes the lock of a place (see `lock_place`) when others have given it back.

    Args:
        patience: how many seconds that may take (default: `PATIENCE`).
        busy: the message if it takes longer.

    Raises:
        LayerBusyError: they did not.
        PathNotFoundError, AccessDeniedError, …: there is nothing, or it may not be opened.
    """
    with errors_at(place):
        try:
            return retry(lambda: lock_place(place, shared=shared), patience=PATIENCE if patience is None else patience)
        except BlockingIOError:
            raise LayerBusyError(place, busy) from None


def claim_place(place: Path) -> system.Lock:
    """Takes the lock of what is at a place for this process alone, without waiting.

    Raises:
        LayerBusyError: another process has it.
        PathNotFoundError, AccessDeniedError, …: there is nothing, or it may not be opened.
    """
    return wait_for_place(place, patience=0, busy="another process is using it")


def _is_at(status: os.stat_result, path: Path, *, follow: bool = True) -> bool:
    """Returns whether what an open file or a lock has this status of is what is at `path` now."""
    return status.st_ino == os.stat(path, follow_symlinks=follow).st_ino


class StagedDirectory:
    """A directory that appears at `target` whole, by `commit`, or not at all.

    An empty directory that is already at `target` is replaced; anything else there is an error.

    Args:
        target: where it will be.
        may_replace: says whether what is at `target` is replaced by it, in one step; it stays whole until then.
    """

    def __init__(self, target: Path, *, may_replace: Callable[[], bool] = lambda: False) -> None:
        self._may_replace = may_replace
        self.target = target
        parent = target.parent
        self.lock: system.Lock | None
        with errors_at(target):
            _check_folder(target)
            remove_leftovers(parent)
            if not may_replace():
                self._check_free()
            self.path, self.lock = _make_locked_directory(parent, target.name)
            try:
                self.database = self.path / DATABASE
            except BaseException:
                self.discard()
                raise

    def commit(self) -> None:
        """Makes the directory safe on the disk, and renames it into its place.

        Raises:
            AlreadyExistsError: something appeared there meanwhile.
        """
        if durability.is_wanted():
            sync_tree(self.path)
        # Others may put a scratch there, or take it away, until the last moment.
        while not self._put():
            pass
        if self.lock is None:
            # An exchange ends by itself.
            return
        try:
            sync_name(self.target)
        except BaseException:
            # No caller knows of it yet, so it is taken back.
            system.rename_directory(self.target, self.path)
            raise
        self._release()

    def _put(self) -> bool:
        """Renames the directory into its place. Returns False if a directory is there now that may be replaced."""
        if self._may_replace():
            return self._exchange()
        try:
            system.rename_directory(self.path, self.target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            if self._may_replace():
                return False
            raise AlreadyExistsError(self.target, "already exists") from None
        return True

    def _exchange(self) -> bool:
        """Takes the place of what is at the target, which is removed. Returns False if that has become something else.

        Raises:
            LayerBusyError: another process has it open.
            NotSupportedError: the host cannot exchange two directories.
        """
        try:
            old = lock_place(self.target, follow=False)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            raise LayerBusyError(self.target, "another process has it open") from None
        try:
            if not self._may_replace():
                return False
            if mounts := mounts_below(self.target):
                raise LayerBusyError(mounts[0], "a file system is mounted there; unmount it first")
            if not system.exchange_directories(self.path, self.target):
                raise NotSupportedError(
                    self.target,
                    "this host cannot replace a scratch in one step; import to another place, and remove the scratch",
                )  # fmt: skip
            sync_name(self.target)
            # From here on the layer is the new one; what is left of the old one, the next build removes.
            for _ in range(2):
                with contextlib.suppress(OSError):
                    remove_tree(self.path)
                    break
            self._release()
            return True
        finally:
            old.close()

    def discard(self) -> None:
        """Removes the directory; what the host does not let go, the next build in the same folder removes."""
        if self.lock is not None:
            with contextlib.suppress(OSError):
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
            raise AlreadyExistsError(self.target, "already exists")

    def _release(self) -> None:
        if self.lock is not None:
            self.lock.close()
        self.lock = None


class StagedDatabase:
    """A database that appears in an existing folder, by `commit`, and makes it a layer; what an interrupted build
    left there is removed by the next one. Its builder holds the lock of the folder.

    SQLite opens the file, so it has no lock of its own. Its name is therefore not one that `remove_leftovers` removes,
    which any process may call for the folder: it would take the file of a living builder for a leftover.

    Args:
        with_contents: the rest of the folder is new, too: it must be safe on the disk before the database appears.
        lock: the lock, which is given back at the end; None if the caller has it.
    """

    def __init__(self, folder: Path, *, with_contents: bool = False, lock: system.Lock | None = None) -> None:
        self.path = folder
        self.lock = lock
        self._with_contents = with_contents
        try:
            for leftover in folder.glob(f".{DATABASE}-*.partial"):
                leftover.unlink(missing_ok=True)
        except BaseException:
            self._release()
            raise
        self.database = folder / f".{DATABASE}-{secrets.token_hex(8)}.partial"

    def commit(self) -> None:
        """Makes the database safe on the disk, and renames it into its place."""
        if durability.is_wanted():
            if self._with_contents:
                sync_tree(self.path)
            else:
                sync_file(self.database)
        system.replace_file(self.database, self.path / DATABASE)
        sync_name(self.path / DATABASE)
        self._release()

    def discard(self) -> None:
        """Removes the database; the folder stays as it is."""
        with contextlib.suppress(OSError):
            self.database.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        if self.lock is not None:
            self.lock.close()
        self.lock = None


class StagedFile:
    """A file that appears at `target` whole, by `commit`, or not at all; one that is there already is replaced, and
    the new one has its mode, and its owner where the user may give files away.

    `stream` is where it is written, and if it is `readable`, read again. Leaving its context commits it; by an
    exception, it discards it.

    Args:
        target: the file.
        readable: whether the stream is read, too.
        replaces: whether a file that is there already is replaced; else it is an error, found when it is committed.
        sweep: remove what interrupted calls left in the folder of `target`; a caller that makes many files in one
            folder does that once, with `remove_leftovers`.

    Raises:
        AlreadyExistsError: something is at `target`, and is not to be replaced.
        PathNotFoundError: the folder of `target` does not exist.
        AccessDeniedError, DiskFullError, …: the host does not let it be made.
    """

    def __init__(self, target: Path, *, readable: bool = False, replaces: bool = True, sweep: bool = True) -> None:
        self._replaces = replaces
        self.target = target
        with errors_at(target):
            _check_folder(target)
            if sweep:
                remove_leftovers(target.parent)
            self._path, fd = _make_locked_file(target.parent, target.name)
        try:
            self.stream: BinaryIO = os.fdopen(fd, "r+b" if readable else "wb")
        except BaseException:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(fd)
            raise
        try:
            # Before anything is in it: a user who could not read the old one must not read it meanwhile.
            with contextlib.suppress(FileNotFoundError):
                system.take_mode(fd, os.lstat(target))
        except BaseException:
            self.discard()
            raise

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
            with errors_at(self.target):
                self.stream.flush()
                if durability.is_wanted():
                    system.sync_file(self.stream.fileno())
                else:
                    # Some file systems, as NFS, write when a file is closed, and only then say what failed.
                    os.close(os.dup(self.stream.fileno()))
                is_new = not os.path.lexists(self.target)
                if self._replaces:
                    system.replace_file(self._path, self.target)
                else:
                    self._link()
                try:
                    sync_name(self.target)
                except BaseException:
                    # One that replaced another stays: it is whole, and the other is gone.
                    if is_new:
                        self.target.unlink(missing_ok=True)
                    raise
        except BaseException:
            self.discard()
            raise
        # Everything is written: that closing it fails would mean nothing.
        with contextlib.suppress(OSError):
            self.stream.close()

    def _link(self) -> None:
        """Gives the file its name if nothing has it."""
        try:
            os.link(self._path, self.target)
        except OSError as error:
            if not system.cannot_link(error):
                raise
            # Where there are no links, the host is asked first: what appears in this very moment is replaced.
            if not os.path.lexists(self.target):
                system.replace_file(self._path, self.target)
                return
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(self.target)) from None
        # It is there: a second name that stays is what the next call in the folder removes.
        with contextlib.suppress(OSError):
            self._path.unlink()

    def discard(self) -> None:
        """Removes the file."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        # Closing writes what is still in the buffer, for which there may be no room.
        with contextlib.suppress(OSError):
            self.stream.close()


def sync_name(place: Path) -> None:
    """Makes the name that something has just got, or lost, safe on the disk."""
    if durability.is_wanted():
        sync_directory(place.parent)


def make_folder(path: Path, *, parents: bool = False) -> None:
    """Makes a folder if it is not there, and with `parents` those above it that are missing; their names are safe on
    the disk."""
    missing = list(takewhile(lambda folder: not folder.is_dir(), (path, *path.parents)))
    path.mkdir(parents=parents, exist_ok=True)
    for folder in missing:
        sync_name(folder)


class OutputFile:
    """The file that a user named for a result, open for writing: `-o` and its kin.

    - Where nothing or a regular file is, a `StagedFile`: the result appears whole, or not at all.
    - A symbolic link stands for the file that it leads to, there already or not.
    - A device, a FIFO, a terminal, an open file of this process (`/dev/stdout`, `/dev/fd/N`) is written to as it is,
      from its beginning or from where it is; after a failure it holds a part.

    Leaving its context ends the result; by an exception, it discards what can be discarded. A bare `OSError` of its
    body is one of writing, and becomes a `LayerError` with the target's path.

    Args:
        target: what the user named.
        any_place: the result is written at any place and read again, as a disk is: what can only be written on is
            refused, before anything is written.
        sources: the files and folders that are read for it. A target that is one of them, by any name, or lies in
            one, is refused.
        sweep: see `StagedFile`.

    Raises:
        InvalidParameterError: the target is one of the sources, or cannot be written at any place.
        EntryIsDirectoryError: the target is a directory.
        PathNotFoundError: its folder does not exist.
        UnresolvedLinkError: its links lead in a circle.
        AccessDeniedError, DiskFullError, …: the host does not let it be made.
    """

    def __init__(
        self,
        target: StrPath,
        *,
        any_place: bool = False,
        sources: Iterable[StrPath] = (),
        sweep: bool = True,
    ) -> None:
        self.target = Path(os.path.abspath(target))
        self._staged: StagedFile | None = None
        self.room: int | None = None
        """The size of a block device, in bytes; None for anything else."""
        with errors_at(self.target):
            open_file = _open_file_of(self.target)
            status = None if open_file is not None else _status_of(self.target)
            refuse_sources(self.target, sources)
            if open_file is None and (status is None or stat.S_ISREG(status.st_mode)):
                self._staged = StagedFile(Path(os.path.realpath(self.target)), readable=any_place, sweep=sweep)
                self.stream = self._staged.stream
                return
            if status is not None and stat.S_ISDIR(status.st_mode):
                raise EntryIsDirectoryError(self.target, "is a directory; a file is needed")
            is_device = status is not None and stat.S_ISBLK(status.st_mode)
            if any_place and not is_device:
                what = "an open file" if status is None else kind_of(status.st_mode)
                raise InvalidParameterError(
                    self.target, f"is {what}, which can only be written on; a disk needs a file"
                )
            fd = os.dup(open_file) if open_file is not None else system.open_for_writing(self.target)
            self.stream = os.fdopen(fd, "r+b" if is_device else "wb")
            if is_device:
                self.room = self.stream.seek(0, os.SEEK_END)
                self.stream.seek(0)

    @property
    def is_device(self) -> bool:
        """Whether it is a block device, whose size is fixed and which does not read as zeros."""
        return self.room is not None

    def set_times(self, access_ns: int, modify_ns: int) -> None:
        """Sets the times of a file, in nanoseconds since 1970, when all of it is written. A device or FIFO has none."""
        if self._staged is not None:
            self.stream.flush()
            system.set_file_times(self.stream.fileno(), access_ns, modify_ns)

    def make_empty_disk(self, size: int) -> None:
        """Gives it `size` bytes that read as zeros, and as holes where the host has holes.

        Raises:
            DiskFullError: it is a block device that has fewer.
        """
        if self.room is None:
            system.make_sparse(self.stream.fileno())
            os.ftruncate(self.stream.fileno(), size)
        elif size > self.room:
            raise DiskFullError(self.target, f"the device has {self.room} bytes, and {size} are needed")
        else:
            system.write_zeros(self.stream.fileno(), 0, size)

    def refuse_device(self, form: str) -> None:
        """Refuses a block device for a form that makes its file grow.

        Raises:
            NotSupportedError: it is one.
        """
        if self.is_device:
            raise NotSupportedError(self.target, f"{form} grows as it is written, and a block device does not")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._staged is not None:
            self._staged.__exit__(kind, error, tb)
        elif kind is None:
            with errors_at(self.target), self.stream:
                self.stream.flush()
                if self.is_device and durability.is_wanted():
                    system.sync_file(self.stream.fileno())
        else:
            with contextlib.suppress(OSError):
                self.stream.close()
        if isinstance(error, OSError) and not isinstance(error, LayerError):
            raise from_os_error(self.target, error) from error


def refuse_sources(target: StrPath, sources: Iterable[StrPath]) -> None:
    """Refuses a target that is one of the sources, by any name, or lies in one.

    Raises:
        InvalidParameterError: it does.
    """
    place = Path(os.path.realpath(target))
    above: dict[tuple[int, int], Path] = {}
    device = None
    for path in (place, *place.parents):
        with contextlib.suppress(OSError):
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                if device not in (None, status.st_dev):
                    # What is mounted in a folder, as a scratch is in its own, is not part of it.
                    break
                device = status.st_dev
            above[status.st_dev, status.st_ino] = path
    for source in sources:
        try:
            status = os.stat(source)
        except OSError:
            # The code that opens it reports what is wrong with it.
            continue
        if (found := above.get((status.st_dev, status.st_ino))) is not None:
            text = "is also what is read" if found == place else "lies in what is read"
            raise InvalidParameterError(target, f"{text} ({os.fspath(source)}); choose another place")


def _status_of(target: Path) -> os.stat_result | None:
    """Returns the status of what a path leads to; None if nothing is there yet."""
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _open_file_of(target: Path) -> int | None:
    """Returns the descriptor of this process that a path leads to, as `/dev/stdout` does; else None."""
    place = os.fspath(target)
    for _ in range(_MAX_LINKS):
        folder, name = os.path.split(place)
        place = os.path.join(os.path.realpath(folder), name)
        found = _OPEN_FILE.match(place)
        if found is not None and found["process"] in (None, str(os.getpid())):
            return int(found["number"])
        try:
            place = os.path.join(os.path.dirname(place), os.readlink(place))
        except OSError:
            return None
    return None


def _check_folder(target: Path) -> None:
    if not target.parent.is_dir():
        raise PathNotFoundError(target, f"the folder {target.parent} does not exist")


def _beside(place: Path, kind: str) -> Path:
    return place.parent / f".wclayer-{place.name[:TEMPORARY_NAME_LENGTH]}-{secrets.token_hex(8)}.{kind}"


@contextlib.contextmanager
def _possible_name(path: Path) -> Iterator[None]:
    """Explains the error that a new file or directory cannot have its name: all that is made has such names."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EILSEQ):
            raise
        raise OSError(
            errno.ENOTSUP,
            f"its file system does not take names like {path.name!r} ({error.strerror}); use a place on another one",
        ) from None


def _make_locked_directory(parent: Path, name: str) -> tuple[Path, system.Lock]:
    while True:
        path = _beside(parent / name, "partial")
        with _possible_name(path):
            path.mkdir()
        lock = None
        try:
            lock = system.Lock(path)
            lock.take()
            if _is_at(lock.status(), path):
                return path, lock
            lock.close()
        except (FileNotFoundError, BlockingIOError):
            # Between mkdir and lock, another process has taken the directory for a leftover and removed it.
            if lock is not None:
                lock.close()
        except BaseException:
            if lock is not None:
                lock.close()
            with contextlib.suppress(OSError):
                path.rmdir()
            raise


def _make_locked_file(parent: Path, name: str) -> tuple[Path, int]:
    while True:
        path = _beside(parent / name, "partial")
        with contextlib.suppress(BlockingIOError):
            with _possible_name(path):
                fd = system.create_locked_file(path)
            try:
                if _is_at(os.fstat(fd), path):
                    return path, fd
                os.close(fd)
            except FileNotFoundError:
                os.close(fd)
            except BaseException:
                os.close(fd)
                with contextlib.suppress(OSError):
                    path.unlink()
                raise


def remove_whole(path: Path, check: Callable[[], None] = lambda: None) -> None:
    """Removes a directory so that an interruption never leaves a part of it under its name.

    Args:
        check: called when no other process can hold it any more, before anything is changed; it may raise.

    Raises:
        LayerBusyError: another process is removing or building it.
    """
    remove_leftovers(path.parent)
    try:
        lock = lock_place(path, follow=False)
    except BlockingIOError:
        raise LayerBusyError(path, "another process holds it") from None
    try:
        check()
        gone = _beside(path, "gone")
        system.rename_directory(path, gone)
        try:
            # Else, a power cut could leave a part of it under its old name.
            sync_name(path)
            remove_tree(gone)
        except BaseException:
            # It is gone already; an interrupt, or what the host could not do once, does not leave its contents. What
            # it can never do, a later call tries.
            with contextlib.suppress(OSError):
                remove_tree(gone)
            raise
    finally:
        lock.close()


def remove_leftovers(parent: Path) -> list[str]:
    """Removes what interrupted builds and removals left in `parent`.

    Returns:
        The names that were removed.
    """
    removed = []
    names: list[str] = []
    # One may make something in a folder that one may not list.
    with contextlib.suppress(PermissionError), os.scandir(parent) as entries:
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
