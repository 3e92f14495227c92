"""A scratch's layer directory, which any number of processes can change in place at the same time.

The contents of its files lie in `Data`, under random names that do not change when an entry is renamed. So every change
of names and metadata is one transaction of `layer.db`, and the only thing to repair after a crash is to remove files
that no entry refers to. docs/formats/layer-directory.md describes the format.
"""

from __future__ import annotations

import functools
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from wclayer._types import StrPath
from wclayer.errors import (
    CorruptLayerError,
    InvalidParameterError,
    LayerBusyError,
    LayerError,
    NotReadyError,
    during,
    errors_at,
)
from wclayer.host import durability, system
from wclayer.host.root import UNUSABLE_NAME, HostRoot
from wclayer.host.waiting import retry
from wclayer.layers.atomic import lock_place, remove_leftovers
from wclayer.layers.directory import database
from wclayer.layers.directory.content_pool import ContentPool
from wclayer.layers.directory.database import (
    BEING_WRITTEN,
    NOT_HASHED,
    SELECT_ENTRIES,
    EntryRow,
    Origin,
    info_columns,
    to_column,
)
from wclayer.layers.directory.descriptors import Descriptors
from wclayer.layers.directory.folder import open_place
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.migration import make_scratch, migrate
from wclayer.layers.directory.opening import open_layer
from wclayer.layers.directory.queries import Answer
from wclayer.layers.directory.rows import taken_row
from wclayer.layers.directory.schema import VERSION, LayerKind
from wclayer.layers.directory.scratch_layer import ScratchLayer
from wclayer.layers.directory.streams import StreamRecorder, copy_streams
from wclayer.model import limits_in_use
from wclayer.win32.attributes import DIRECTORY, FileAttributes, FileBasicInfo
from wclayer.win32.backup import StreamId
from wclayer.win32.names import name_key

DISK = "sandbox.vhdx"
"""The disk file whose presence makes a folder a scratch."""
MOUNT = "mount"
"""The record of the mount point, and the name of the folder in the scratch that is used as mount point."""
UNSAVED = "unsaved"
"""The record that the scratch has changed since its disk was last written."""
UNREAD = "disk_unread"
"""The record that the disk holds changes that were not read yet, because the parents were not known."""
LAST_ID = "last_id"
"""The record of an id up to which removed entries may have had ids. Ids are not used again: a process may still have
the removed file open, and would mistake a new file with the same id for it."""
_ARCHIVE = int(FileAttributes.ARCHIVE)
_WAL = f"{database.FILE_NAME}-wal"
_PATIENCE = 2.0
IN_USE = "scratch.open"
"""The prefix of the name of the mark: a file that each process makes while it changes the scratch, and that stays after
a crash."""
_WITH_HOST_NAME = f"{SELECT_ENTRIES} WHERE host_name IS NOT NULL AND link IS NULL ORDER BY id"
_BEING_WRITTEN = f"{SELECT_ENTRIES} WHERE size < 0 AND link IS NULL ORDER BY id"
_LAST_ID = "SELECT MAX(IFNULL((SELECT MAX(id) FROM entries), 0), IFNULL((SELECT value FROM layer WHERE key = ?), 0))"


def is_scratch(path: StrPath) -> bool:
    """Returns whether a folder is a scratch, which has a disk of its own.

    Raises:
        AccessDeniedError: the user may not search the folder.
    """
    with during("open layer", path):
        try:
            return (Path(path) / DISK).is_file()
        except OSError as error:
            # The host says that no file can have this path.
            if error.errno in UNUSABLE_NAME:
                return False
            raise


@during("look at scratch")
def has_unsaved_changes(path: StrPath) -> bool:
    """Returns whether a scratch has changes that its `sandbox.vhdx` lacks. `deactivate_layer` writes them.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
    """
    with open_layer(path) as layer:
        return isinstance(layer, ScratchLayer) and bool(layer.record(UNSAVED))


def _need_disk(place: Path) -> None:
    """Refuses a layer that is not a scratch."""
    if not (place / DISK).is_file():
        raise InvalidParameterError(
            place,
            f"a finished layer, not a scratch: it has no {DISK}; `wclayer create -l {place} PATH` makes one over it",
        )


def _lock(place: Path, exclusive: bool, patience: float, is_mounted: bool) -> tuple[system.Lock, bool]:
    """Takes the lock of a scratch.

    Args:
        patience: how many seconds to wait for other processes: a process that opens or closes the scratch holds the
            lock exclusively for a moment.

    Returns:
        The lock, and whether this process is the only one that holds it.

    Raises:
        LayerBusyError: other processes did not release the lock in time.
    """

    def take() -> tuple[system.Lock, bool]:
        try:
            return lock_place(place), True
        except BlockingIOError:
            if exclusive:
                raise
            return lock_place(place, shared=True), False

    with errors_at(place):
        try:
            return retry(take, patience=patience)
        except BlockingIOError:
            why = (
                f"it is mounted, and changed in its mount; `wclayer unmount {place}` ends that"
                if is_mounted
                else "another process has it open; try again when it has ended"
            )
            raise LayerBusyError(place, why) from None


@contextmanager
def _opening(place: Path) -> Iterator[None]:
    with errors_at(place, damage=CorruptLayerError):
        try:
            yield
        except BlockingIOError:
            raise LayerBusyError(place, "another process has just taken it") from None


@functools.cache
def _update(columns: tuple[str, ...]) -> str:
    """Returns the statement that changes these columns of an entry. There are few sets of them."""
    return f"UPDATE entries SET {', '.join(f'{column} = ?' for column in columns)} WHERE id = ?"


class Stream(NamedTuple):
    """An alternate data stream of an entry: its row in `streams`."""

    number: int
    name: str
    size: int


class _Transaction:
    """A transaction of a scratch, or a part of one (`ScratchDirectory.transaction`)."""

    __slots__ = ("_is_change", "_is_part", "_scratch")

    def __init__(self, scratch: ScratchDirectory, is_change: bool) -> None:
        self._scratch = scratch
        self._is_change = is_change

    def __enter__(self) -> None:
        scratch = self._scratch
        scratch.lock.acquire()
        try:
            self._is_part = scratch.is_changing
            if not self._is_part:
                scratch.begin(is_change=self._is_change)
        except BaseException:
            scratch.lock.release()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        scratch = self._scratch
        try:
            if error is not None:
                scratch.errors.__exit__(kind, error, tb)
            elif not self._is_part:
                scratch.commit()
        finally:
            try:
                if not self._is_part and scratch.is_changing:
                    scratch.rollback()
            finally:
                scratch.lock.release()


class ScratchDirectory(ScratchLayer):
    """The layer directory of a scratch, open for changes. Each change is made inside a `transaction`.

    Args:
        exclusive: no other process may change the scratch while it is open; others can still read it.
        wait: with `exclusive`, how many seconds to wait for other processes, if the scratch is not mounted.
        lock: with `exclusive`, the lock of the folder, if the caller has taken it; `close` releases it.

    Raises:
        LayerBusyError: another process has the scratch open exclusively, or, with `exclusive`, for changes.
        PathNotFoundError, NotALayerError, CorruptLayerError: see `open_layer`.
    """

    def __init__(
        self,
        path: StrPath,
        *,
        exclusive: bool = False,
        wait: float = 0.0,
        lock: system.Lock | None = None,
    ) -> None:
        with open_layer(path) as layer:
            place, mounted = layer.path, layer.record(MOUNT)
            if not isinstance(layer, ScratchLayer):
                _need_disk(place)
        self.lock = threading.RLock()
        self.is_shared = not exclusive
        """True if other processes may change the scratch while it is open."""
        self._is_changing = False
        self._is_reading = False
        self._failure: OSError | None = None
        self._is_marked = False
        self._mark: bytes | None = None
        self._descriptors: Descriptors | None = None
        # What no other process can change, None until it is needed: the largest id that an entry has or had, the record
        # of it, and the number of further names of files.
        self._last_id: int | None = None
        self._used_ids: int | None = None
        self._links: int | None = None
        patience = 0.0 if mounted is not None else wait if exclusive else _PATIENCE
        if lock is not None:
            self._place_lock, is_alone = lock, True
        else:
            self._place_lock, is_alone = _lock(place, exclusive, patience, mounted is not None)
        with _opening(place), ExitStack() as stack:
            stack.callback(self._place_lock.close)
            # The lock is held: nothing replaces the layer at this path any more.
            with HostRoot(place) as root:
                is_scratch = database.read_kind(root) is LayerKind.SCRATCH
            if not is_scratch:
                _need_disk(place)
            marks = [name for name in os.listdir(place) if name.startswith(IN_USE)]
            crashed = is_scratch and (bool(marks) or (place / _WAL).exists())
            if not is_scratch:
                if not is_alone:
                    raise LayerBusyError(place, "another process is changing it")
                make_scratch(place / database.FILE_NAME)
            super().__init__(open_place(place, lambda file, _: database.open_scratch(file)))
            stack.callback(super().close)
            self.errors = errors_at(self.path, damage=CorruptLayerError)
            """A context that translates the errors of the host and of SQLite. It has no state: contexts may overlap."""
            self._contents = ContentPool(self.host)
            if self._database.version != VERSION:
                self._migrate(is_alone)
            self._descriptors = Descriptors(self._database, limits_in_use().all_security_size)
            if is_alone:
                if crashed or not is_scratch:
                    self._adopt_own_files()
                if crashed:
                    self._recover()
                    # No other process has the scratch open: these marks belong to processes that died.
                    for name in marks:
                        self.host.remove(os.fsencode(name))
            if is_alone and not exclusive:
                self._place_lock.take(shared=True)
            self._seen = self._version()
            stack.pop_all()

    def _migrate(self, is_alone: bool) -> None:
        if not is_alone:
            raise LayerBusyError(self.path, "an older wclayer is changing it; try again when that has ended")
        migrate(self._database)
        # Other processes read the version from the database file, not from the log.
        self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        try:
            with self.errors:
                self._remove_old()
                if self._mark is not None and durability.is_wanted():
                    # If a power cut undoes the removal of contents, they are removed again only if a mark exists.
                    self._contents.sync_names()
            if self._mark is not None and not self._contents.is_littered:
                # If a mark exists, the next process that opens the scratch alone looks for contents that no entry
                # refers to. The marks of other processes stay, because one of them may have died. The mark of this
                # process is no longer needed; if it cannot be removed, it does no harm.
                with suppress(OSError):
                    self.host.remove_file(self._mark)
        finally:
            super().close()
            self._place_lock.close()

    # Transactions.

    def transaction(self, *, is_change: bool = True) -> AbstractContextManager[None]:
        """Returns a context that makes the changes of its body all together, or none of them if an exception leaves the
        body. A transaction inside another one is part of the outer one.

        Args:
            is_change: True if the transaction changes the contents of the scratch, not just records about it.
        """
        return _Transaction(self, is_change)

    def begin(self, *, is_change: bool = True) -> None:
        """Begins a transaction (see `transaction`). The same thread must end it with `commit` or `rollback`; until
        then, this object belongs to the thread."""
        with self.errors:
            self.lock.acquire()
            try:
                if self._mark is None:
                    self._mark_in_use()
                if self._failure is not None:
                    self._raise_failure()
                if self._contents.has_much_unsynced:
                    self._contents.sync_contents()
                self._start("BEGIN IMMEDIATE")
            except BaseException:
                self.lock.release()
                raise
            self._is_changing = True
            try:
                if is_change and not self._is_marked:
                    if self.record(UNREAD) is not None:
                        raise NotReadyError(self.path, f"what {DISK} changes was not read yet; activate it first")
                    self.set_record(UNSAVED, 1)
                    self._is_marked = True
            except BaseException:
                self.rollback()
                raise

    def _start(self, statement: str) -> None:
        """Starts a transaction of SQLite. If this fails after SQLite has started it, the transaction is rolled back:
        otherwise no other one could begin."""
        try:
            self._execute(statement)
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def commit(self) -> None:
        """Ends the transaction and makes its changes. If that fails, the transaction is rolled back."""
        with self.errors:
            try:
                self._execute("COMMIT")
            except BaseException:
                self.rollback()
                raise
            self._is_changing = False
            try:
                self._contents.commit()
                if self._contents.has_much_old:
                    self._remove_old()
            except OSError as error:
                # The transaction has succeeded, so the next one raises this error.
                self._failure = error
            finally:
                self.lock.release()

    def rollback(self) -> None:
        """Ends the transaction and undoes all of its changes."""
        self._is_changing = False
        self._is_marked = False
        try:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            self._forget()
            self._contents.roll_back()
        finally:
            self.lock.release()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """In its body, the scratch is read in its state of one moment, even if other processes change it.

        No transaction can begin in the body.
        """
        with self.lock:
            if not self.is_shared or self._is_changing or self._is_reading:
                yield
                return
            self._start("BEGIN")
            self._is_reading = True
            try:
                yield
            finally:
                self._is_reading = False
                try:
                    self._execute("COMMIT")
                except LayerError:
                    # Nothing was changed, so it only has to end: otherwise no other transaction could begin.
                    self._execute("ROLLBACK")

    def _mark_in_use(self) -> None:
        if self._mark is None:
            mark = f"{IN_USE}.{secrets.token_hex(8)}".encode()
            self.host.write_bytes(mark, b"")
            self._mark = mark
            if durability.is_wanted():
                # The mark must be on the disk before the changes that it announces.
                system.sync_directory(self.host.fd)

    @property
    def is_changing(self) -> bool:
        """True while a transaction is in progress."""
        return self._is_changing

    def changed_elsewhere(self) -> bool:
        """Returns whether another process has changed the scratch since the last call of this method."""
        if not self.is_shared:
            return False
        version = self._version()
        if version == self._seen:
            return False
        self._seen = version
        self._directories.forget()
        return True

    def _version(self) -> int:
        (version,) = self._execute("PRAGMA data_version").fetchone()
        return int(version)

    def _execute(self, sql: str, arguments: Sequence[object] = ()) -> Answer:
        return self.query(sql, arguments)

    def _forget(self) -> None:
        self._directories.forget()
        if self._descriptors is not None:
            self._descriptors.forget()
        self._last_id = self._used_ids = self._links = None

    # Entries. All of these need a transaction.

    def set_record(self, key: str, value: str | int | bytes | None) -> None:
        """Stores a record about the layer as a whole; None removes it."""
        if value is None:
            self._execute("DELETE FROM layer WHERE key = ?", (key,))
        else:
            self._execute(database.SET_RECORD, (key, value))

    def add(
        self,
        parent: int,
        name: str,
        info: FileBasicInfo,
        *,
        security: bytes | None = None,
        size: int = 0,
        sha256: bytes | None = None,
        eas: bytes | None = None,
        reparse: bytes | None = None,
        host: bytes | None = None,
        origin: Origin = Origin.OWN,
    ) -> EntryRow:
        """Adds an entry to a directory and returns its row. `host` is what `new_file` or `take_file` returned."""
        row = EntryRow(
            self._new_id(), parent, to_column(name), to_column(name_key(name)), info.attributes, info.creation_time,
            info.last_access_time, info.last_write_time, info.change_time, self.security_number(security), size,
            sha256, origin, eas=eas, reparse=reparse, host_name=None if host is None else host.decode(),
        )  # fmt: skip
        self._execute(database.INSERT_ENTRY, row)
        # A file that is being written to from its beginning is empty.
        return row._replace(size=0) if size == BEING_WRITTEN else row

    def add_link(self, parent: int, name: str, target: EntryRow) -> int:
        """Adds a further name of the file `target` and returns the new entry's id."""
        number = self._new_id()
        row = EntryRow(
            number, parent, to_column(name), to_column(name_key(name)), 0, 0, 0, 0, 0, None, 0, None, Origin.OWN,
            link=target.link or target.id,
        )  # fmt: skip
        self._execute(database.INSERT_ENTRY, row)
        if self._links is not None:
            self._links += 1
        return number

    def _new_id(self) -> int:
        last = self._last_id
        if last is None or self.is_shared:
            (last,) = self._execute(_LAST_ID, (LAST_ID,)).fetchone()
        self._last_id = int(last) + 1
        return self._last_id

    def link_count(self, row: EntryRow) -> int:
        if self.is_shared:
            return super().link_count(row)
        if self._links is None:
            (self._links,) = self._execute("SELECT COUNT(1) FROM entries WHERE link IS NOT NULL").fetchone()
        return super().link_count(row) if self._links else 1

    def security_number(self, descriptor: bytes | None) -> int | None:
        """Returns the number of a security descriptor, which is added if it is new."""
        assert self._descriptors is not None
        return self._descriptors.number(descriptor)

    def set(self, row: EntryRow, **columns: int | bytes | str | None) -> None:
        """Changes columns of an entry, for all of its names."""
        self._execute(_update(tuple(columns)), (*columns.values(), row.link or row.id))

    def set_info(self, row: EntryRow, info: FileBasicInfo, *, origin: Origin) -> None:
        """Sets the attributes and times of an entry, and its origin."""
        self.set(row, origin=int(origin), **info_columns(info))

    def set_security(self, row: EntryRow, descriptor: bytes, time: int) -> None:
        """Changes an entry's security descriptor."""
        self.set(row, security=self.security_number(descriptor), change_time=time)

    def move(self, row: EntryRow, parent: int, name: str) -> None:
        """Moves an entry to another directory and name."""
        self._execute(
            "UPDATE entries SET parent = ?, name = ?, key = ? WHERE id = ?",
            (parent, to_column(name), to_column(name_key(name)), row.id),
        )
        self._directories.forget()

    def remove(self, row: EntryRow) -> None:
        """Removes a name. With the last name of a file, its contents are removed. A file keeps its id while it has a
        name."""
        self._directories.pop(row.id, None)
        number = row.id
        if row.link is None:
            heir = None
            if self.link_count(row) > 1:
                heir = next(self._rows(f"{SELECT_ENTRIES} WHERE link = ? ORDER BY id LIMIT 1", (row.id,)), None)
            if heir is None:
                self._remove_contents(row)
            else:
                number, place = heir.id, (heir.parent, heir.name, heir.key)
        self._note_used(number)
        self._execute("DELETE FROM entries WHERE id = ?", (number,))
        if self._links and (row.link is not None or number != row.id):
            self._links -= 1
        if number != row.id:
            # The row with the data that all names share replaces the row of another name.
            self._execute("UPDATE entries SET parent = ?, name = ?, key = ? WHERE id = ?", (*place, row.id))

    def _note_used(self, number: int) -> None:
        """Makes sure that no later entry gets the id of an entry that is removed now."""
        if self.is_shared or self._used_ids is None or number > self._used_ids:
            (last,) = self._execute(_LAST_ID, (LAST_ID,)).fetchone()
            self._used_ids = int(last)
            self.set_record(LAST_ID, self._used_ids)

    def _remove_contents(self, row: EntryRow) -> None:
        if row.streams:
            for (number,) in self._execute("SELECT id FROM streams WHERE entry = ?", (row.id,)).fetchall():
                self._execute("DELETE FROM stream_data WHERE stream = ?", (number,))
            self._execute("DELETE FROM streams WHERE entry = ?", (row.id,))
        self._execute("DELETE FROM taken WHERE entry = ?", (row.id,))
        if row.host_name is not None:
            self._contents.drop(self.host_path(row))

    def clear(self) -> None:
        """Removes everything except the root directories."""
        for row in self._rows(_WITH_HOST_NAME):
            self._contents.drop(self.host_path(row))
        for table in ("stream_data", "streams", "tombstones", "taken"):
            self._execute(f"DELETE FROM {table}")
        self._execute("DELETE FROM entries WHERE parent <> 0")
        self._execute(
            "UPDATE entries SET origin = ?, attributes = ?, creation_time = 0, last_access_time = 0,"
            " last_write_time = 0, change_time = 0, security = NULL, streams = 0, eas = NULL, form = NULL",
            (int(Origin.IMPLIED), DIRECTORY),
        )
        self._forget()

    def find(self, number: int) -> EntryRow | None:
        """Returns the entry with that id, or None if it no longer exists."""
        columns = self._execute(f"{SELECT_ENTRIES} WHERE id = ?", (number,)).fetchone()
        return None if columns is None else self.row(columns)

    # The files that were copied up. Layers are counted from the base, which is 1.

    def note_taken(self, layer: int, source: int, entry: int) -> None:
        """Records that an entry was copied up from the file `source` of a layer."""
        self._execute("INSERT OR REPLACE INTO taken (layer, source, entry) VALUES (?, ?, ?)", (layer, source, entry))

    def taken_as(self, layer: int, source: int) -> int | None:
        """Returns the entry that was copied up from the file `source` of a layer, or None."""
        select = "SELECT layer, source, entry FROM taken WHERE layer = ? AND source = ?"
        found = self._execute(select, (layer, source)).fetchone()
        return None if found is None else taken_row(found)[2]

    def taken(self) -> dict[int, tuple[int, int]]:
        """Returns all entries that were copied up, by id, each with the layer and the id of its source."""
        rows = map(taken_row, self._execute("SELECT layer, source, entry FROM taken"))
        return {entry: (layer, source) for layer, source, entry in rows}

    # Tombstones.

    def add_tombstone(self, path: str, key: str) -> None:
        """Adds a tombstone, which deletes a name of the parents."""
        self._execute("INSERT OR IGNORE INTO tombstones (path, key) VALUES (?, ?)", (to_column(path), to_column(key)))

    def remove_tombstone(self, key: str) -> None:
        """Removes a tombstone, so that the parents' name is visible again."""
        self._execute("DELETE FROM tombstones WHERE key = ?", (to_column(key),))

    def remove_tombstones_below(self, key: str) -> None:
        """Removes the tombstones in a directory and below it."""
        below = [tombstone.id for tombstone in self.tombstones() if tombstone.key.startswith(key + "/")]
        self._database.executemany("DELETE FROM tombstones WHERE id = ?", ((number,) for number in below))

    # Contents.

    def new_file(self) -> tuple[bytes, int]:
        """Makes an empty file for contents.

        Returns:
            Its `host_name`, and a descriptor that is open for reading and writing.
        """
        with self.errors:
            path, fd = self._contents.make()
        return b"/" + path, fd

    def stage_file(self) -> tuple[bytes, int]:
        """Makes an empty file as `new_file` does, but outside of a transaction, for contents that a later one uses.

        A file that no entry gets must be passed to `drop_staged`. After a crash, recovery removes it.
        """
        with self.errors:
            self._mark_in_use()
            path, fd = self._contents.stage()
        return b"/" + path, fd

    def drop_staged(self, host: bytes) -> None:
        """Removes contents that `stage_file` made."""
        with self.errors:
            self._contents.remove([host[1:]])

    def take_file(self, root: HostRoot, path: bytes) -> bytes:
        """Copies up the contents of a parent's file, as a hard link if the host can make one. `own_file` makes them the
        scratch's own before they are written to.

        Returns:
            The `host_name` of the contents.
        """
        return b"/" + self._contents.link(root, path)

    def drop_file(self, host: bytes) -> None:
        """Removes contents that `new_file` or `take_file` made and that no entry has. Open files keep them."""
        self._contents.drop(host[1:])

    def own_file(self, row: EntryRow, *, keep: int | None = None) -> EntryRow:
        """Gives an entry contents of its own and marks them as being written to: the host file has their size and time.
        The entry gets the archive attribute, which is all else that a write changes.

        Args:
            row: the entry.
            keep: if the contents have to be copied, only this many bytes of them are; by default all.

        Returns:
            The entry with its own contents.
        """
        if row.link is not None:
            row = self.by_id(row.link)
        path = self.host_path(row)
        if self.stat_file(row).st_nlink > 1:
            row = row._replace(host_name=f"/{self._contents.replace_with_copy(path, limit=keep).decode()}")
        self._contents.note_written(self.host_path(row))
        row = row._replace(sha256=NOT_HASHED, attributes=row.attributes | _ARCHIVE)
        self.set(row, host_name=row.host_name, size=BEING_WRITTEN, sha256=row.sha256, attributes=row.attributes)
        return row

    def replace_file(self, row: EntryRow, host: bytes, *, size: int, sha256: bytes, time: int) -> None:
        """Replaces the contents of an entry by those that `new_file` made, written at `time`."""
        if row.host_name is not None:
            self._contents.drop(self.host_path(row))
        self.set(
            row, host_name=host.decode(), size=size, sha256=sha256, last_write_time=time, change_time=time
        )  # fmt: skip

    def _raise_failure(self) -> None:
        if self._failure is not None:
            error, self._failure = self._failure, None
            with self.errors:
                raise error

    def _remove_old(self) -> None:
        if self._contents.has_old and durability.is_wanted():
            self._sync_records()
        self._contents.remove_old()

    # Streams.

    def streams_of(self, row: EntryRow) -> list[Stream]:
        """Returns the alternate data streams of an entry."""
        return [
            Stream(stream.id, stream.name, stream.size)
            for stream in self.stream_rows(row)
            if stream.stream_id == StreamId.ALTERNATE_DATA
        ]

    def copy_streams(self, source: LayerDirectory, row: EntryRow, entry_id: int) -> None:
        """Copies the streams of a parent's entry to an entry."""
        copy_streams(source, row, self._database, entry_id, self._last_stream())
        self._execute("UPDATE entries SET streams = ? WHERE id = ?", (row.streams, entry_id))

    def put_stream(self, row: EntryRow, name: str, chunks: Iterable[bytes], *, kind: int = StreamId.ALTERNATE_DATA,
                   attributes: int = 0) -> None:  # fmt: skip
        """Adds an alternate stream to an entry; it replaces one of the same name."""
        self.remove_stream(row, name)
        entry = row.link or row.id
        recorder = StreamRecorder(self._database, self._last_stream() + 1, (entry, kind, attributes, to_column(name)))
        for chunk in chunks:
            recorder.write(chunk)
        recorder.close()
        self._execute("UPDATE entries SET streams = streams + 1 WHERE id = ?", (entry,))

    def remove_stream(self, row: EntryRow, name: str) -> bool:
        """Removes an alternate stream and returns whether there was one of that name."""
        found = [stream for stream in self.streams_of(row) if name_key(stream.name) == name_key(name)]
        for stream in found:
            self._execute("DELETE FROM stream_data WHERE stream = ?", (stream.number,))
            self._execute("DELETE FROM streams WHERE id = ?", (stream.number,))
            self._execute("UPDATE entries SET streams = streams - 1 WHERE id = ?", (row.link or row.id,))
        return bool(found)

    def _last_stream(self) -> int:
        (last,) = self._execute("SELECT IFNULL(MAX(id), 0) FROM streams").fetchone()
        return int(last)

    # Durability, and recovery after a crash.

    def used(self) -> int:
        """Returns the number of bytes of all contents and streams."""
        totals = self.totals()
        return totals.file_bytes + totals.stream_bytes + sum(row.size for row in self._rows(_BEING_WRITTEN))

    def sync(self, fd: int | None = None) -> None:
        """Makes all changes of names and metadata, and the contents of the open file `fd`, safe on the disk."""
        with self.errors:
            if fd is not None:
                system.sync_file(fd)
            self._raise_failure()
            if self._mark is not None:
                self._sync_records()
                self._contents.remove_old()

    def sync_all(self) -> None:
        """Makes all changes and all contents safe on the disk."""
        with self.errors:
            self._contents.sync_contents()
            self.sync()

    def secure(self, row: EntryRow) -> None:
        """Makes the contents of a file safe on the disk before it replaces another one. So after a power cut, the name
        has the contents of one of the two files, even if no program has synced them."""
        if row.host_name is not None and not self._contents.is_safe(path := self.host_path(row)):
            self._contents.sync(path)

    def make_safe(self, host: bytes) -> None:
        """Makes new contents safe on the disk, unless the caller has turned that off (see `durability`)."""
        if durability.is_wanted():
            self._contents.sync(host[1:])

    def _sync_records(self) -> None:
        # First the names of new contents, then the records that refer to them.
        self._contents.sync_names()
        with suppress(FileNotFoundError):
            log = self.host.open(_WAL.encode(), writable=True)
            try:
                system.sync_file(log)
            finally:
                os.close(log)
        system.sync_directory(self.host.fd)

    def mark_saved(self, **records: str) -> None:
        """Records that the scratch has no unsaved changes, and stores the records that are passed."""
        with self.transaction(is_change=False):
            self.set_record(UNSAVED, None)
            for key, value in records.items():
                self.set_record(key, value)
        self._is_marked = False

    def hash_all(self) -> None:
        """Records the sizes and digests of all changed contents."""
        for row in list(self._rows(f"{SELECT_ENTRIES} WHERE size < 0 OR sha256 = ? ORDER BY id", (NOT_HASHED,))):
            digest = self.digest(row)
            with self.transaction(is_change=False):
                self.set(row, size=row.size, sha256=digest, last_write_time=row.last_write_time)

    def checkpoint(self) -> None:
        """Makes everything safe on the disk, most of it in the database file itself. It does not wait for readers."""
        if durability.is_wanted():
            self.sync_all()
        self._execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _adopt_own_files(self) -> None:
        """Moves contents that lie at the paths of a finished layer into the pool."""
        own = f"{SELECT_ENTRIES} WHERE host_name IS NULL AND sha256 IS NOT NULL AND link IS NULL ORDER BY id"
        for row in list(self._rows(own)):
            path = self.host_path(row)
            with self.transaction():
                host = self.take_file(self.host, path)
                self._execute("UPDATE entries SET host_name = ? WHERE id = ?", (host.decode(), row.id))
                self._contents.drop(path)

    def _recover(self) -> None:
        """Recovers after a crash: ends interrupted writes, and removes contents that no entry refers to and the remains
        of a disk that should have replaced the scratch's.

        A machine that stopped may have lost contents that no program has synced: their files are then shorter or empty.
        """
        remove_leftovers(self.path)
        for row in list(self._rows(_BEING_WRITTEN)):
            with self.transaction():
                self.set(row, size=row.size, last_write_time=row.last_write_time, change_time=row.change_time)
        known = {self.host_path(row): row.id for row in self._rows(_WITH_HOST_NAME)}
        found = set(self.pool())
        self._contents.remove(list(found - known.keys()))
        for row in list(self._rows(_WITH_HOST_NAME)):
            if (path := self.host_path(row)) in found and (size := self.host.stat(path).st_size) != row.size:
                with self.transaction():
                    self.set(row, size=size, sha256=NOT_HASHED)
        for path in known.keys() - found:
            with self.transaction():
                host, fd = self.new_file()
                os.close(fd)
                self._execute(
                    "UPDATE entries SET host_name = ?, size = 0, sha256 = ? WHERE id = ?",
                    (host.decode(), NOT_HASHED, known[path]),
                )
        if durability.is_wanted():
            # The caller removes the marks next, and nothing else shows that the scratch needs recovery.
            self._contents.sync_contents()
            self._sync_records()
