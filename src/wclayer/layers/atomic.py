"""All-or-nothing directories and files: built beside their target and renamed to it; renamed away before their removal.

Every verb writes a single file that its user named into an `OutputFile`.

A file or directory under construction or removal has a name of the form `.wclayer-NAME-RANDOM.partial` (or `.gone`)
beside NAME, and the process that builds it holds a lock on it. The next call that builds or removes anything in the
same folder removes those whose process has died.

A file or directory under its final name is complete, even after a power cut: its contents, its records and the names in
it are made safe on the disk first, then it is renamed, then its own name is made safe (see `durability`).
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
STANDARD_OUTPUT = "-"
"""The name of the standard output where a user names a file to write."""
PATIENCE = 10.0
"""How many seconds to wait for other processes that lock a layer for a moment, for example for an update."""
_MOMENT = 0.5
"""How many seconds to wait where another process should hold no lock: one that looks for leftovers locks for a moment
what it has opened under its hidden name, even if that has its own name since."""
_LEFTOVER = re.compile(r"\.wclayer-.*-[0-9a-f]{16}\.(partial|gone)\Z", re.DOTALL)
_OPEN_FILE = re.compile(r"(?:/proc/(?P<process>[^/]+)(?:/task/[^/]+)?|/dev)/fd/(?P<number>\d+)\Z")
"""The path that names an open file of a process."""
_MAX_LINKS = 40


class Stage(Protocol):
    """A layer under construction: the root of its files, its database, and the step that makes it visible."""

    path: Path
    database: Path
    lock: system.Lock | None
    """The builder's lock on the directory, which worker processes inherit; None if the caller has it."""

    def commit(self) -> None: ...
    def discard(self) -> None: ...


def lock_place(place: Path, *, shared: bool = False, follow: bool = True) -> system.Lock:
    """Takes the lock of the file or directory at a path. It also works if other processes replace it at the same time.

    Every function that renames or replaces a layer takes this lock first. So while the lock is held, the layer stays at
    its path.

    Args:
        shared: take a shared lock, which several processes may hold.
        follow: True if `place` may be a link.

    Raises:
        BlockingIOError: another process holds the lock.
        FileNotFoundError, OSError: nothing exists at the path, or it may not be opened.
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
    """Waits until other processes release the lock of a path, and takes it (see `lock_place`).

    Args:
        patience: how many seconds to wait at most (default: `PATIENCE`).
        busy: the message if the wait takes longer.

    Raises:
        LayerBusyError: the lock was not released in time.
        PathNotFoundError, AccessDeniedError, …: nothing exists at the path, or it may not be opened.
    """
    with errors_at(place):
        try:
            return retry(lambda: lock_place(place, shared=shared), patience=PATIENCE if patience is None else patience)
        except BlockingIOError:
            raise LayerBusyError(place, busy) from None


def claim_place(place: Path) -> system.Lock:
    """Takes the exclusive lock of a path, and waits for no other process that uses it.

    Raises:
        LayerBusyError: another process holds the lock.
        PathNotFoundError, AccessDeniedError, …: nothing exists at the path, or it may not be opened.
    """
    return wait_for_place(place, patience=_MOMENT, busy="another process is using it")


def _is_at(status: os.stat_result, path: Path, *, follow: bool = True) -> bool:
    """Returns whether `path` leads to the file or directory that has this status."""
    return status.st_ino == os.stat(path, follow_symlinks=follow).st_ino


class StagedDirectory:
    """A directory that `commit` makes appear at `target` as a whole; otherwise it never appears.

    An empty directory at `target` is replaced; anything else there is an error.

    Args:
        target: the path of the directory.
        may_replace: returns whether the directory at `target` may be replaced, in one step. It stays complete until
            then.
        is_private: no other user may look into it.
    """

    def __init__(
        self, target: Path, *, may_replace: Callable[[], bool] = lambda: False, is_private: bool = False
    ) -> None:
        self._may_replace = may_replace
        self.target = target
        parent = target.parent
        self.lock: system.Lock | None
        with errors_at(target):
            _check_folder(target)
            remove_leftovers(parent)
            if not may_replace():
                self._check_free()
            self.path, self.lock = _make_locked_directory(parent, target.name, is_private=is_private)
            try:
                self.database = self.path / DATABASE
            except BaseException:
                self.discard()
                raise

    def commit(self) -> None:
        """Makes the directory safe on the disk, and renames it into its place.

        Raises:
            AlreadyExistsError: something has appeared at the target.
        """
        if durability.is_wanted():
            sync_tree(self.path)
        # Other processes may make or remove a scratch there until the last moment.
        while not self._put():
            pass
        if self.lock is None:
            # `_exchange` makes its result safe itself.
            return
        try:
            sync_name(self.target)
        except BaseException:
            # No caller has seen the directory yet, so the rename is undone.
            system.rename_directory(self.target, self.path)
            raise
        self._release()

    def _put(self) -> bool:
        """Renames the directory to its target. Returns False if a directory that may be replaced is there now."""
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
        """Replaces the directory at the target and removes it. Returns False if the target has changed meanwhile.

        Raises:
            LayerBusyError: another process has the old directory open.
            NotSupportedError: the host cannot exchange two directories.
        """
        try:
            old = retry(lambda: lock_place(self.target, follow=False), patience=_MOMENT)
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
            # From here on the layer is the new one. The next build removes the remains of the old one.
            for _ in range(2):
                with contextlib.suppress(OSError):
                    remove_tree(self.path)
                    break
            self._release()
            return True
        finally:
            old.close()

    def discard(self) -> None:
        """Removes the directory. The next build in the same folder removes files that cannot be removed now."""
        if self.lock is not None:
            with contextlib.suppress(OSError):
                _remove_at_last(self.path)
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
    """A database that `commit` makes appear in an existing folder, which becomes a layer by that.

    The next build removes the remains of an interrupted one. The builder holds the lock of the folder.

    SQLite opens the file, so the file has no lock of its own. Its name is therefore not one that `remove_leftovers`
    removes: any process may call that function for the folder, and would mistake the file of a living builder for a
    leftover.

    Args:
        with_contents: True if the rest of the folder is new, too, and must be safe on the disk before the database
            appears.
        lock: the lock, which is released at the end; None if the caller has it.
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
        """Makes the database safe on the disk, and renames it to its final name."""
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
    """A file that `commit` makes appear at `target` as a whole; otherwise it never appears.

    An existing file is replaced; the new file gets its mode, and its owner if the user may change owners. The file is
    written, and if it is `readable`, read again, through `stream`. Leaving the context commits the file; an exception
    discards it.

    Args:
        target: the path of the file.
        readable: True if the stream is read, too.
        replaces: True if an existing file is replaced. Otherwise it is an error, which `commit` detects.
        sweep: remove the remains of interrupted calls in the folder of `target`. A caller that makes many files in one
            folder does this once, with `remove_leftovers`.

    Raises:
        AlreadyExistsError: something exists at `target`, and must not be replaced.
        PathNotFoundError: the folder of `target` does not exist.
        AccessDeniedError, DiskFullError, …: the host refuses to make the file.
    """

    def __init__(
        self, target: Path, *, readable: bool = False, replaces: bool = True, sweep: bool = True,
        is_private: bool = False,
    ) -> None:  # fmt: skip
        self._replaces = replaces
        self.target = target
        with errors_at(target):
            _check_folder(target)
            if sweep:
                remove_leftovers(target.parent)
            self._path, fd = _make_locked_file(target.parent, target.name, is_private=is_private)
        try:
            self.stream: BinaryIO = os.fdopen(fd, "r+b" if readable else "wb")
        except BaseException:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(fd)
            raise
        try:
            # While the file is still empty: users who could not read the old file must never be able to read this one.
            with contextlib.suppress(FileNotFoundError):
                system.take_mode(fd, os.lstat(target), is_private=is_private)
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
        """Makes the file safe on the disk, and renames it to its target. If that fails, the file is discarded."""
        try:
            with errors_at(self.target):
                self.stream.flush()
                if durability.is_wanted():
                    system.sync_file(self.stream.fileno())
                else:
                    # Some file systems, such as NFS, write when a file is closed, and report errors only then.
                    os.close(os.dup(self.stream.fileno()))
                is_new = not os.path.lexists(self.target)
                if self._replaces:
                    system.replace_file(self._path, self.target)
                else:
                    self._link()
                try:
                    sync_name(self.target)
                except BaseException:
                    # A file that replaced another one stays: it is complete, and the other one is gone.
                    if is_new:
                        self.target.unlink(missing_ok=True)
                    raise
        except BaseException:
            self.discard()
            raise
        # Everything is written, so a failure to close the file would mean nothing.
        with contextlib.suppress(OSError):
            self.stream.close()

    def _link(self) -> None:
        """Gives the file its name if nothing has that name."""
        try:
            os.link(self._path, self.target)
        except OSError as error:
            if not system.cannot_link(error):
                raise
            # Without hard links, the existence is checked first. A file that appears between the check and the rename
            # is replaced.
            if not os.path.lexists(self.target):
                system.replace_file(self._path, self.target)
                return
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(self.target)) from None
        # The file exists. If its temporary name cannot be removed, the next call in the folder does that.
        with contextlib.suppress(OSError):
            self._path.unlink()

    def discard(self) -> None:
        """Removes the file."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        # Closing writes the rest of the buffer, which may fail if the disk is full.
        with contextlib.suppress(OSError):
            self.stream.close()


def sync_name(place: Path) -> None:
    """Makes the creation or the removal of a name safe on the disk."""
    if durability.is_wanted():
        sync_directory(place.parent)


def make_folder(path: Path, *, parents: bool = False) -> None:
    """Makes a folder if it does not exist, and with `parents` the missing folders above it, and makes their names safe
    on the disk."""
    missing = list(takewhile(lambda folder: not folder.is_dir(), (path, *path.parents)))
    path.mkdir(parents=parents, exist_ok=True)
    for folder in missing:
        sync_name(folder)


class OutputFile:
    """The output file that a user named (`-o` and similar options), open for writing.

    - If the target is a regular file or does not exist, the result is a `StagedFile`: it appears as a whole or not at
      all.
    - A symbolic link means the file that it leads to, whether this exists or not.
    - A device, a FIFO, a terminal or an open file of this process (`/dev/stdout`, `/dev/fd/N`) is written to directly,
      from its beginning or from its current position. After a failure it holds a part of the result.
    - The text `-` is the standard output. A file of that name is `./-`, or a `Path`.

    Leaving the context completes the result; an exception discards it if possible. A bare `OSError` of the body counts
    as a write error, and becomes a `LayerError` with the target's path.

    Args:
        target: the path that the user named.
        any_place: True if the result is written at any offset and read again, as a disk is. A target that can only be
            written in order is refused before anything is written.
        sources: the files and folders that the result is made from. A target that is one of them, under any name, or
            lies in one of them, is refused.
        sweep: see `StagedFile`.

    Raises:
        InvalidParameterError: the target is one of the sources, or cannot be written at any offset.
        EntryIsDirectoryError: the target is a directory.
        PathNotFoundError: its folder does not exist.
        UnresolvedLinkError: its links form a circle.
        AccessDeniedError, DiskFullError, …: the host refuses to make the file.
    """

    def __init__(
        self,
        target: StrPath,
        *,
        any_place: bool = False,
        sources: Iterable[StrPath] = (),
        sweep: bool = True,
    ) -> None:
        is_standard = is_standard_output(target)
        self.target = Path("/dev/stdout" if is_standard else os.path.abspath(target))
        self._staged: StagedFile | None = None
        self.room: int | None = None
        """The size of a block device, in bytes; None for anything else."""
        with errors_at(self.target):
            open_file = 1 if is_standard else _open_file_of(self.target)
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
    def appears_whole(self) -> bool:
        """True for a regular file, which appears as a whole and can be written at any offset until then."""
        return self._staged is not None

    @property
    def is_device(self) -> bool:
        """True for a block device, whose size is fixed and which does not read as zeros."""
        return self.room is not None

    def set_times(self, access_ns: int, modify_ns: int) -> None:
        """Sets the times of a file, in nanoseconds since 1970, after the last write. A device or FIFO has no times."""
        if self._staged is not None:
            self.stream.flush()
            system.set_file_times(self.stream.fileno(), access_ns, modify_ns)

    def make_empty_disk(self, size: int) -> None:
        """Sets the size of the file to `size` bytes that read as zeros; they are holes if the host supports holes.

        Raises:
            DiskFullError: the target is a block device with fewer bytes.
        """
        if self.room is None:
            system.make_sparse(self.stream.fileno())
            os.ftruncate(self.stream.fileno(), size)
        elif size > self.room:
            raise DiskFullError(self.target, f"the device has {self.room} bytes, and {size} are needed")
        else:
            system.write_zeros(self.stream.fileno(), 0, size)

    def refuse_device(self, form: str) -> None:
        """Refuses a block device for a format whose file grows.

        Raises:
            NotSupportedError: the target is a block device.
        """
        if self.is_device:
            raise NotSupportedError(self.target, f"{form} grows as it is written, and a block device does not")

    def commit(self) -> None:
        """Completes the result."""
        if self._staged is not None:
            self._staged.commit()
            return
        with errors_at(self.target), self.stream:
            self.stream.flush()
            if self.is_device and durability.is_wanted():
                system.sync_file(self.stream.fileno())

    def discard(self) -> None:
        """Removes a file. A device or FIFO keeps what was written."""
        if self._staged is not None:
            self._staged.discard()
            return
        with contextlib.suppress(OSError):
            self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()
        if isinstance(error, OSError) and not isinstance(error, LayerError):
            raise from_os_error(self.target, error) from error


def is_standard_output(target: StrPath) -> bool:
    """Returns whether a user means the standard output by a target: the text `-`."""
    return isinstance(target, str) and target == STANDARD_OUTPUT


def refuse_sources(target: StrPath, sources: Iterable[StrPath]) -> None:
    """Refuses a target that is one of the sources, under any name, or lies in one.

    Raises:
        InvalidParameterError: the target is refused.
    """
    place = Path(os.path.realpath(target))
    above: dict[tuple[int, int], Path] = {}
    device = None
    for path in (place, *place.parents):
        with contextlib.suppress(OSError):
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                if device not in (None, status.st_dev):
                    # A file system that is mounted in a folder (a scratch is mounted in its own) is not part of it.
                    break
                device = status.st_dev
            above[status.st_dev, status.st_ino] = path
    for source in sources:
        try:
            status = os.stat(source)
        except OSError:
            # The code that opens the source reports the problem.
            continue
        if (found := above.get((status.st_dev, status.st_ino))) is not None:
            text = "is also what is read" if found == place else "lies in what is read"
            raise InvalidParameterError(target, f"{text} ({os.fspath(source)}); choose another place")


def _status_of(target: Path) -> os.stat_result | None:
    """Returns the status of the file that a path leads to; None if it does not exist yet."""
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _open_file_of(target: Path) -> int | None:
    """Returns the descriptor of this process that a path such as `/dev/stdout` leads to; otherwise None."""
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
    """Explains the error that a new file or directory cannot have its temporary name, as all new ones here have."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EILSEQ):
            raise
        raise OSError(
            errno.ENOTSUP,
            f"its file system does not take names like {path.name!r} ({error.strerror}); use a place on another one",
        ) from None


def _make_locked_directory(parent: Path, name: str, *, is_private: bool) -> tuple[Path, system.Lock]:
    while True:
        path = _beside(parent / name, "partial")
        with _possible_name(path):
            path.mkdir(0o700 if is_private else 0o777)
        lock = None
        try:
            lock = system.Lock(path)
            lock.take()
            if _is_at(lock.status(), path):
                return path, lock
            lock.close()
        except (FileNotFoundError, BlockingIOError):
            # Between mkdir and lock, another process took the directory for a leftover and removed it.
            if lock is not None:
                lock.close()
        except BaseException:
            if lock is not None:
                lock.close()
            with contextlib.suppress(OSError):
                path.rmdir()
            raise


def _make_locked_file(parent: Path, name: str, *, is_private: bool) -> tuple[Path, int]:
    while True:
        path = _beside(parent / name, "partial")
        with contextlib.suppress(BlockingIOError):
            with _possible_name(path):
                fd = system.create_locked_file(path, is_private=is_private)
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
        check: called when the directory is locked, before anything is changed. It may raise an error.

    Raises:
        LayerBusyError: another process is removing or building it.
    """
    remove_leftovers(path.parent)
    try:
        lock = retry(lambda: lock_place(path, follow=False), patience=_MOMENT)
    except BlockingIOError:
        raise LayerBusyError(path, "another process holds it") from None
    try:
        check()
        gone = _beside(path, "gone")
        system.rename_directory(path, gone)
        try:
            # Otherwise a power cut could leave a part of the directory under its old name.
            sync_name(path)
        except BaseException:
            with contextlib.suppress(OSError):
                remove_tree(gone)
            raise
        _remove_at_last(gone)
    finally:
        lock.close()


def _remove_at_last(path: Path) -> None:
    """Removes a directory that has lost its name, or never had one.

    A second attempt removes the contents after an interrupt or a temporary error of the host, and the error is raised
    then, too. If it is permanent, a later call tries again (`remove_leftovers`).
    """
    try:
        remove_tree(path)
    except BaseException:
        with contextlib.suppress(OSError):
            remove_tree(path)
        raise


def remove_leftovers(parent: Path) -> list[str]:
    """Removes the remains of interrupted builds and removals in `parent`.

    Returns:
        The names that were removed.
    """
    removed = []
    names: list[str] = []
    # A user may be allowed to make files in a folder but not to list it.
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
