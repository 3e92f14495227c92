"""`layer.db`, the SQLite file beside a layer's contents: its rows, and how it is made and opened."""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
import threading
import weakref
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from wclayer.host.root import HostRoot
from wclayer.layers.atomic import DATABASE
from wclayer.layers.directory.schema import (
    KIND,
    VERSION,
    LayerKind,
    declared,
    finished_tables,
    has_index_of_links,
    kind_of,
    records_kind,
)
from wclayer.layers.guarded_database import (
    BUSY_SECONDS,
    DatabaseError,
    GuardedDatabase,
    check_shared_files,
    database_uri,
    size_of_database,
)
from wclayer.model import limits_in_use
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.names import decode_name, encode_name

FILE_NAME = DATABASE
APPLICATION_ID = 0x57434C59
"""`WCLY` in the SQLite header: it identifies the format to `file` and to this package."""
CHANGED = "another process has changed it while it was read; try again"
"""The detail of the error that a reader raises in that case."""
ROOT = 0
"""The parent of the entries at the layer's root."""

TRAILER_FORM = "trailer_form"
"""The record of the end of the imported tar, if it was not the canonical end."""
BEING_WRITTEN = -1
"""The recorded size of a scratch's file that is being written to: the host file has its real size and time."""
NOT_HASHED = b""
"""The recorded digest of a scratch's file whose contents have changed since they were last hashed."""
POOL = b"/Data"
"""The prefix of the `host_name` of a scratch's file, which is a path from the layer's root."""
_HEADER = struct.Struct(">18xB41xI4xI")
"""Fields of the header of an SQLite file (its file format, section 1.3): write mode, user version, application id."""
_WRITE_AHEAD = 2
"""The write-ahead mode, in which changes go to a log file of their own."""


class Origin(IntEnum):
    """Why an entry is in the layer directory."""

    OWN = 0
    """An entry of this layer; it is exported."""
    IMPLIED = 1
    """A root directory for which the layer has no entry."""
    CLONED = 2
    """Part of the utility VM, copied from the parent."""
    MADE = 3
    """A file made from the layer's entries, such as its effective hives."""


class EntryRow(NamedTuple):
    """A row of `entries`."""

    id: int
    parent: int
    name: str | bytes
    key: str | bytes
    attributes: int
    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int
    security: int | None
    size: int
    sha256: bytes | None
    origin: int = 0
    streams: int = 0
    eas: bytes | None = None
    reparse: bytes | None = None
    link: int | None = None
    link_target: str | bytes | None = None
    spelling: str | bytes | None = None
    host_name: str | None = None
    form: bytes | None = None

    @property
    def info(self) -> FileBasicInfo:
        """The entry's attributes and times."""
        return FileBasicInfo(
            self.attributes, self.creation_time, self.last_access_time, self.last_write_time, self.change_time
        )

    def written(self, *, size: int, attributes: int, last_write_time: int, change_time: int) -> EntryRow:
        """Returns the row after a write, in a tenth of the time that `_replace` takes."""
        return _make_row(
            EntryRow,
            (
                *self[:_ATTRIBUTES], attributes, self.creation_time, self.last_access_time, last_write_time,
                change_time, self.security, size, *self[_SIZE + 1 :],
            ),
        )  # fmt: skip


_ENTRY_COLUMNS = ", ".join(EntryRow._fields)
_ATTRIBUTES, _SIZE = EntryRow._fields.index("attributes"), EntryRow._fields.index("size")
_make_row = tuple.__new__
SELECT_ENTRIES = f"SELECT {_ENTRY_COLUMNS} FROM entries"
"""The beginning of a query for `EntryRow`s."""
INSERT_ENTRY = f"INSERT INTO entries ({_ENTRY_COLUMNS}) VALUES ({','.join('?' * len(EntryRow._fields))})"
SET_RECORD = "INSERT OR REPLACE INTO layer (key, value) VALUES (?, ?)"


def info_columns(info: FileBasicInfo) -> dict[str, int]:
    """Returns the columns for an entry's attributes and times, with their values."""
    return {
        "attributes": info.attributes,
        "creation_time": info.creation_time,
        "last_access_time": info.last_access_time,
        "last_write_time": info.last_write_time,
        "change_time": info.change_time,
    }


def to_column(name: str) -> str | bytes:
    """Returns a name as it is stored."""
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        return encode_name(name)
    return name


def from_column(value: str | bytes) -> str:
    """Returns the name that is stored as `value`."""
    return value if isinstance(value, str) else decode_name(value)


def host_name(row: EntryRow) -> bytes:
    """Returns the name of the entry's file on the host."""
    return row.host_name.encode() if row.host_name else encode_name(from_column(row.name))


def is_elsewhere(row: EntryRow) -> bool:
    """Returns whether an entry is a further name of a file that another layer has."""
    return row.link_target is not None and row.link is None


def create(path: Path) -> sqlite3.Connection:
    """Makes an empty database for bulk writing. It becomes visible only when its layer is renamed into place, so it
    needs neither journal nor flush."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.executescript(finished_tables())
        connection.execute(SET_RECORD, (KIND, LayerKind.FINISHED))
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("CREATE TEMP TABLE links (source BLOB, target BLOB)")
        connection.execute("BEGIN")
    except BaseException:
        connection.close()
        raise
    return connection


class NewerSchemaError(DatabaseError):
    """`layer.db` was written by a newer wclayer than this one."""


# The databases of scratches that this process has open. When a process closes any descriptor of a file, POSIX drops all
# locks that the process has on it. So nothing but SQLite may open these files: without the locks, another process would
# remove the log (`layer.db-wal`) that this one goes on writing to, and what it wrote would be lost.
# Source: https://www.sqlite.org/howtocorrupt.html, 2.2.
_open_scratches: weakref.WeakSet[LayerDatabase] = weakref.WeakSet()
_opening = threading.Lock()


def read_kind(root: HostRoot) -> LayerKind:
    """Returns the kind of the layer at `root`, by its database.

    Raises:
        FileNotFoundError: the database does not exist.
        DatabaseError: it is not a regular file, or not a layer database.
        NewerSchemaError: this code does not know the version of its schema.
    """
    name = FILE_NAME.encode()
    with _opening:
        status = root.stat(name)
        if not stat.S_ISREG(status.st_mode):
            raise DatabaseError(f"{FILE_NAME} is not a regular file")
        if any(database.scratch == (status.st_dev, status.st_ino) for database in _open_scratches):
            return LayerKind.SCRATCH
        with os.fdopen(root.open(name), "rb") as file:
            header = file.read(_HEADER.size)
    if not header.startswith(b"SQLite format 3\0") or len(header) < _HEADER.size:
        raise DatabaseError(f"{FILE_NAME} is not a database")
    mode, version, application = _HEADER.unpack(header)
    if application != APPLICATION_ID:
        raise DatabaseError(f"{FILE_NAME} has application id {application:#x}; expected {APPLICATION_ID:#x}")
    return _kind_of(version, has_log=mode == _WRITE_AHEAD)


def _kind_of(version: int, *, has_log: bool) -> LayerKind:
    kind = kind_of(version, has_log=has_log)
    if kind is None and version > VERSION:
        raise NewerSchemaError(
            f"{FILE_NAME} has version {version} of the schema, and this wclayer reads those up to {VERSION}:"
            " use the wclayer that made the layer, or a newer one"
        )
    if kind is None:
        raise DatabaseError(f"{FILE_NAME} has version {version} of the schema, which no wclayer has made")
    return kind


class LayerDatabase(GuardedDatabase):
    """A connection to an existing `layer.db`, which may come from an untrusted source.

    It accepts only the schema of this project, and no value that is larger than the file or the limit.
    """

    kind: LayerKind
    """The kind of the layer."""
    version: int
    """The version of the schema."""

    @property
    def has_index_of_links(self) -> bool:
        """Whether there is an index of the further names of files."""
        return has_index_of_links(self.version, self.kind)

    scratch: tuple[int, int] | None = None
    """Device and inode of the file, while the database of a scratch is open; otherwise None."""

    def close(self) -> None:
        """Closes the connection; a second call does nothing."""
        super().close()
        self.scratch = None

    def register(self, path: Path) -> None:
        """Notes that this process has the file `path`, the database of a scratch, open (see `read_kind`)."""
        with _opening:
            status = os.stat(path)
            self.scratch = (status.st_dev, status.st_ino)
            _open_scratches.add(self)

    def restrict(self, path: Path, kind: LayerKind) -> None:
        """Checks that the database belongs to a layer, and sets the bounds of its queries.

        Args:
            path: the file of the database.
            kind: the kind of the layer.

        Raises:
            DatabaseError: the schema, or the record of the kind, does not belong to a layer of that kind.
            NewerSchemaError: this code does not know the version of the schema.
            sqlite3.Error: the database is damaged.
        """
        self.kind = kind
        most = limits_in_use().record_size
        # Values written to a scratch later may be larger than the file is now.
        self.guard(path, most if kind is LayerKind.SCRATCH else min(most, size_of_database(path)))
        (self.version,) = self.execute("PRAGMA user_version").fetchone()
        if _kind_of(self.version, has_log=kind is LayerKind.SCRATCH) is not kind:
            raise DatabaseError(f"{FILE_NAME} is not the database of a {kind} layer")
        found = self.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 100").fetchall()
        for what in set(found) ^ declared(self.version, kind):
            raise DatabaseError(f"{FILE_NAME}: {what[0]} {what[1]!r} is not what the database of a {kind} layer has")
        if records_kind(self.version):
            row = self.execute("SELECT value FROM layer WHERE key = ?", (KIND,)).fetchone()
            if row != (kind,):
                raise DatabaseError(f"{FILE_NAME}: record {KIND!r} is not {kind.value!r}, as the mode of its log is")


def _open(path: Path, parameters: str, kind: LayerKind) -> LayerDatabase:
    connection = sqlite3.connect(
        f"{database_uri(path)}?{parameters}", uri=True, isolation_level=None, check_same_thread=False,
        timeout=BUSY_SECONDS, factory=LayerDatabase,
    )  # fmt: skip
    try:
        if kind is LayerKind.SCRATCH:
            connection.register(path)
        connection.restrict(path, kind)
    except UnicodeError as error:
        # SQLite's own message quotes text that is not UTF-8.
        connection.close()
        raise DatabaseError(f"{FILE_NAME}: its schema is damaged: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def open_read_only(path: Path, kind: LayerKind) -> LayerDatabase:
    """Opens an existing database of a layer of that kind for reading.

    Raises:
        DatabaseError, sqlite3.Error: it is damaged, or the database of something else.
    """
    if kind is LayerKind.FINISHED:
        # immutable: the file never changes, and its folder may be read-only.
        return _open(path, "immutable=1", kind)
    # A reader must be able to lock a database that others change.
    connection = open_scratch(path) if os.access(path.parent, os.W_OK) else _open(path, "immutable=1", kind)
    try:
        connection.execute("PRAGMA query_only = ON")
        # A reader of a scratch sees its state of this moment, even if others change it.
        connection.execute("BEGIN")
    except BaseException:
        connection.close()
        raise
    return connection


def open_scratch(path: Path) -> LayerDatabase:
    """Opens the database of a scratch for changes, which several processes may make at the same time.

    A commit survives the end of the process at once, and a power cut after the write-ahead log is flushed.

    Raises:
        DatabaseError, sqlite3.Error: the database is damaged, or one of its files is not a regular file.
    """
    check_shared_files(path)
    connection = _open(path, "mode=rw", LayerKind.SCRATCH)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def open_copy(path: Path) -> LayerDatabase:
    """Opens a copy of the database of a finished layer for changes; nothing else may have the copy open.

    The copy has no journal: after an error it must be discarded. Nothing of it waits for the disk: whoever gives it its
    name makes it safe before.

    Raises:
        DatabaseError, sqlite3.Error: it is damaged, or the database of something else.
    """
    connection = _open(path, "mode=rw", LayerKind.FINISHED)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
    except BaseException:
        connection.close()
        raise
    return connection
