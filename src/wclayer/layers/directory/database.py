"""`layer.db`: the SQLite file beside a layer's contents. This module declares its tables and rows.

docs/formats/layer-directory.md explains every column. Names that hold an unpaired surrogate have no UTF-8 form, so
they are stored as BLOBs of WTF-8; all others are TEXT.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import stat
import struct
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing, suppress
from enum import IntEnum, StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from wclayer.errors import (
    CorruptLayerError,
    FormatError,
    FormatLimitError,
    LayerError,
    OutOfMemoryError,
    from_sqlite_error,
    limit_hint,
)
from wclayer.host.root import HostRoot
from wclayer.layers.atomic import DATABASE, StagedDatabase
from wclayer.layers.cache import Cache
from wclayer.model import limits_in_use
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.names import decode_name, encode_name

FILE_NAME = DATABASE
APPLICATION_ID = 0x57434C59
"""`WCLY` in the SQLite header, by which `file` and we know the format."""
VERSION = 1
"""Of the database of a finished layer, which never changes."""
SCRATCH_VERSION = 2
"""Of the database of a scratch, which is changed in its place."""
CHANGED = "another process has changed it while it was read; try again"
"""The detail of the error of a reader that finds that."""
ROOT = 0
"""The parent of the entries at the layer's root."""

SCHEMA = """
CREATE TABLE layer (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE security (id INTEGER PRIMARY KEY, descriptor BLOB NOT NULL UNIQUE);

CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,
    name NOT NULL,
    key NOT NULL,
    attributes INTEGER NOT NULL,
    creation_time INTEGER NOT NULL,
    last_access_time INTEGER NOT NULL,
    last_write_time INTEGER NOT NULL,
    change_time INTEGER NOT NULL,
    security INTEGER,
    size INTEGER NOT NULL,
    sha256 BLOB,
    origin INTEGER NOT NULL DEFAULT 0,
    streams INTEGER NOT NULL DEFAULT 0,
    eas BLOB,
    reparse BLOB,
    link INTEGER,
    link_target,
    spelling,
    host_name TEXT,
    form BLOB
);
CREATE UNIQUE INDEX entries_by_name ON entries (parent, key);

CREATE TABLE tombstones (id INTEGER PRIMARY KEY, path NOT NULL, key NOT NULL, form BLOB);

CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    entry INTEGER NOT NULL,
    stream_id INTEGER NOT NULL,
    attributes INTEGER NOT NULL,
    name NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    form BLOB
);
CREATE INDEX streams_by_entry ON streams (entry);
CREATE TABLE stream_data (stream INTEGER, sequence INTEGER, data BLOB, PRIMARY KEY (stream, sequence)) WITHOUT ROWID;
"""

SCRATCH_SCHEMA = """
CREATE UNIQUE INDEX tombstones_by_key ON tombstones (key);
CREATE INDEX entries_by_link ON entries (link) WHERE link IS NOT NULL;
CREATE INDEX entries_being_written ON entries (id) WHERE size < 0;
CREATE TABLE taken (layer INTEGER, source INTEGER, entry INTEGER NOT NULL, PRIMARY KEY (layer, source)) WITHOUT ROWID;
CREATE INDEX taken_by_entry ON taken (entry);
"""
"""What a scratch's database has besides; `taken` tells which files it took over: of which layer, counted from the base,
and of which id there."""
TRAILER_FORM = "trailer_form"
"""The record of what the end of the tar had that was imported, if not the canonical end."""
BEING_WRITTEN = -1
"""The size of a scratch's file while it is written to: the size and time of the host's file are the right ones."""
NOT_HASHED = b""
"""The digest of a scratch's file whose contents were changed since they were last hashed."""
POOL = b"/Data"
"""What the `host_name` of a scratch's file starts with: it is a path from the layer's root."""
_HEADER = struct.Struct(">60xI4xI")
"""User version and application id in the header of an SQLite file (its file format, section 1.3)."""
_BUSY_SECONDS = 60
_CACHE_KIB = 8 << 10
_FILES = ("", "-wal", "-shm")
"""What the names of a database's files end in."""
_JOURNAL = "-journal"
# A query may take 20 million steps of SQLite's machine, and a million more for each 256 KiB of the database: a scan of
# every column takes one million for each MiB.
_STEPS = 1_000_000
_PATIENCE = 20
_BYTES = 256 << 10


class LayerKind(StrEnum):
    """What kind of layer a layer directory is."""

    FINISHED = "finished"
    """Its database never changes."""
    SCRATCH = "scratch"
    """Its database is changed in its place."""


class Origin(IntEnum):
    """Why an entry is in the layer directory."""

    OWN = 0
    """It came as an entry of this layer, and is exported."""
    IMPLIED = 1
    """A root directory that had no entry of its own."""
    CLONED = 2
    """Part of the utility VM, taken over from the parent."""
    MADE = 3
    """Made from the layer's entries, as its effective hives are."""


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
        """Its attributes and times."""
        return FileBasicInfo(
            self.attributes, self.creation_time, self.last_access_time, self.last_write_time, self.change_time
        )


_ENTRY_COLUMNS = ", ".join(EntryRow._fields)
SELECT_ENTRIES = f"SELECT {_ENTRY_COLUMNS} FROM entries"
"""How a query for `EntryRow`s begins."""
INSERT_ENTRY = f"INSERT INTO entries ({_ENTRY_COLUMNS}) VALUES ({','.join('?' * len(EntryRow._fields))})"
SET_RECORD = "INSERT OR REPLACE INTO layer (key, value) VALUES (?, ?)"

_ORDINARY = EntryRow._fields[: EntryRow._fields.index("origin")]
INSERT_ORDINARY_ENTRY = f"INSERT INTO entries ({','.join(_ORDINARY)}) VALUES ({','.join('?' * len(_ORDINARY))})"
"""For the rows of plain files: the columns before `origin`, the others having their defaults."""
OrdinaryRow = tuple[
    int, int, str | bytes, str | bytes, int, int, int, int, int, int | None, int, bytes | None
]  # fmt: skip


def to_column(name: str) -> str | bytes:
    """A name as it is stored."""
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        return encode_name(name)
    return name


def from_column(value: str | bytes) -> str:
    """A stored name."""
    return value if isinstance(value, str) else decode_name(value)


def host_name(row: EntryRow) -> bytes:
    """The name of the entry's file on the host."""
    return row.host_name.encode() if row.host_name else encode_name(from_column(row.name))


def create(path: Path) -> sqlite3.Connection:
    """A new, empty database for bulk writing: it becomes visible only when its layer is renamed into place, so it
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
        connection.executescript(SCHEMA)
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("CREATE TEMP TABLE links (source BLOB, target BLOB)")
        connection.execute("BEGIN")
    except BaseException:
        connection.close()
        raise
    return connection


class DatabaseError(FormatError):
    """`layer.db` is not a database of this project, or not the file that one is."""


# The databases of scratches that this process has open. When a process closes any descriptor of a file, POSIX drops all
# locks that the process has on it. So nothing but SQLite may open these files: without the locks, another process would
# remove the log (`layer.db-wal`) that this one goes on writing to, and what it wrote would be lost.
# Source: https://www.sqlite.org/howtocorrupt.html, 2.2.
_open_scratches: weakref.WeakSet[LayerDatabase] = weakref.WeakSet()
_opening = threading.Lock()


def read_kind(root: HostRoot) -> LayerKind:
    """Returns the kind of the layer at `root`, by its database.

    Raises:
        FileNotFoundError: it is not there.
        DatabaseError: it is no regular file, no layer database, or one of a version this code does not know.
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
    version, application = _HEADER.unpack(header)
    if application != APPLICATION_ID or version not in (VERSION, SCRATCH_VERSION):
        raise DatabaseError(
            f"{FILE_NAME} has application id {application:#x}, version {version};"
            f" expected {APPLICATION_ID:#x}, {VERSION} or {SCRATCH_VERSION}"
        )
    return LayerKind.FINISHED if version == VERSION else LayerKind.SCRATCH


class LayerDatabase(sqlite3.Connection):
    """A connection to an existing `layer.db`, which anybody may have made.

    Its schema is ours, no value in it is larger than the file or than the limit, and no query works longer than a
    database of that size can need: pages can refer to each other so that a small file has endless rows.
    """

    kind: LayerKind
    """The kind of the layer."""
    work = 0
    """How many `_STEPS` the query that runs has taken."""

    scratch: tuple[int, int] | None = None
    """Device and inode of the file, while it is open and that of a scratch."""

    def close(self) -> None:
        """Closes the connection; a second call does nothing."""
        super().close()
        self.scratch = None

    def register(self, path: Path) -> None:
        """Notes that this process has the database of a scratch, the file `path`, open (see `read_kind`)."""
        with _opening:
            status = os.stat(path)
            self.scratch = (status.st_dev, status.st_ino)
            _open_scratches.add(self)

    def restrict(self, path: Path, kind: LayerKind) -> None:
        """Checks the database and sets its bounds; `path` is its file.

        Raises:
            DatabaseError: the schema is not that of the kind.
            sqlite3.Error: the database is damaged.
        """
        self._path = path
        self.kind = kind
        self.set_progress_handler(self._count, _STEPS)
        most = limits_in_use().record_size
        # What is written to a scratch may be larger than the file is now.
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, most if kind is LayerKind.SCRATCH else min(most, self.size()))
        self.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", f"cache_size = -{_CACHE_KIB}"):
            self.execute(f"PRAGMA {pragma}")
        found = self.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 100").fetchall()
        for what in set(found) ^ _declared(kind):
            raise DatabaseError(f"{FILE_NAME}: {what[0]} {what[1]!r} is not what the database of a {kind} layer has")

    def size(self) -> int:
        """Bytes of the database, its log included."""
        size = 0
        for suffix in _FILES:
            with suppress(FileNotFoundError):
                size += os.stat(f"{self._path}{suffix}").st_size
        return size

    def _count(self) -> bool:
        self.work += 1
        return self.is_exhausted()

    def is_exhausted(self) -> bool:
        """Whether the last query was stopped because it worked too long."""
        return self.work > _PATIENCE and self.work > _PATIENCE + self.size() // _BYTES


class Answer:
    """The rows of a query. Whatever SQLite meets while it finds them is a `LayerError`.

    Args:
        path: of the database, for errors.
        cursor: of a `LayerDatabase`.
    """

    __slots__ = ("_cursor", "_operation", "_path")

    def __init__(self, path: Path, cursor: sqlite3.Cursor) -> None:
        self._path = path
        self._cursor = cursor

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        try:
            # Not the cursor itself, which `yield from` would close with the iteration, perhaps after its database.
            yield from islice(self._cursor, None)
        except (sqlite3.Error, UnicodeError, MemoryError) as error:
            raise query_error(self._path, self._cursor.connection, error) from error

    def fetchone(self) -> Any:
        """The next row, or None."""
        try:
            return self._cursor.fetchone()
        except (sqlite3.Error, UnicodeError, MemoryError) as error:
            raise query_error(self._path, self._cursor.connection, error) from error

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return list(self)

    @property
    def lastrowid(self) -> int | None:
        """The id of the row that was inserted."""
        return self._cursor.lastrowid


def query_error(
    path: Path, connection: sqlite3.Connection, error: sqlite3.Error | UnicodeError | MemoryError
) -> LayerError:
    """The `LayerError` for what a query has met; a misuse of SQLite is raised as it is."""
    if isinstance(error, (sqlite3.ProgrammingError, sqlite3.InterfaceError)):
        raise error
    if isinstance(error, MemoryError):
        return OutOfMemoryError(path, "there is not enough memory")
    if isinstance(error, UnicodeError):
        return CorruptLayerError(path, f"a text that is not UTF-8: {error}")
    if isinstance(connection, LayerDatabase) and connection.is_exhausted():
        size = connection.size()
        return CorruptLayerError(path, f"a query takes more work than a database of {size} bytes can need")
    return from_sqlite_error(path, error)


@functools.cache
def _declared(kind: LayerKind) -> frozenset[tuple[str, str, str, str | None]]:
    """Returns what `sqlite_master` holds in the database of a layer of that kind."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA if kind is LayerKind.FINISHED else SCHEMA + SCRATCH_SCHEMA)
        return frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


def _uri(path: Path) -> str:
    r"""The URI by which SQLite opens a file; without an authority, which `Path.as_uri` would make of `\\?\C:\x`."""
    return f"file:{quote(os.path.abspath(path))}"


def _open(path: Path, parameters: str, kind: LayerKind) -> LayerDatabase:
    connection = sqlite3.connect(
        f"{_uri(path)}?{parameters}", uri=True, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS,
        factory=LayerDatabase,
    )  # fmt: skip
    try:
        if kind is LayerKind.SCRATCH:
            connection.register(path)
        connection.restrict(path, kind)
    except UnicodeError as error:
        # SQLite's own message quotes what is not UTF-8.
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
        # immutable: it never changes, and its folder may be read-only.
        return _open(path, "immutable=1", kind)
    # Readers of a database that others change must be able to lock it.
    connection = open_scratch(path) if os.access(path.parent, os.W_OK) else _open(path, "immutable=1", kind)
    try:
        connection.execute("PRAGMA query_only = ON")
        # Whoever reads a scratch sees it as it is now, whatever others change meanwhile.
        connection.execute("BEGIN")
    except BaseException:
        connection.close()
        raise
    return connection


def open_scratch(path: Path) -> LayerDatabase:
    """An existing database of a scratch, for changes by many at once.

    Commits outlive the process at once, and the machine when the write-ahead log is flushed.

    Raises:
        DatabaseError, sqlite3.Error: it is damaged, or something else lies in the place of one of its files.
    """
    for suffix in _FILES:
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(f"{path}{suffix}").st_mode):
                raise DatabaseError(f"{FILE_NAME}{suffix} is not a regular file")
    if os.path.lexists(f"{path}{_JOURNAL}"):
        # SQLite would play it back, and remove the file that it names as the journal above it, wherever that is.
        raise DatabaseError(f"{FILE_NAME}{_JOURNAL} is there, which the database of a scratch never has")
    connection = _open(path, "mode=rw", LayerKind.SCRATCH)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def make_scratch(path: Path) -> None:
    """Makes the database of a finished layer the database of a scratch; a copy of it takes its place."""
    with HostRoot(path.parent) as root:
        if read_kind(root) is LayerKind.SCRATCH:
            return
        staged = StagedDatabase(path.parent)
        try:
            root.copy(FILE_NAME.encode(), os.fsencode(staged.database.name))
            connection = _open(staged.database, "mode=rw", LayerKind.FINISHED)
            try:
                connection.execute("PRAGMA journal_mode = OFF")
                connection.executescript(f"BEGIN; {SCRATCH_SCHEMA} PRAGMA user_version = {SCRATCH_VERSION}; COMMIT")
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            staged.commit()
        except BaseException:
            staged.discard()
            raise


class Descriptors:
    """The numbers of security descriptors, each of which is stored once.

    Args:
        connection: of the database.
        max_size: how many bytes of descriptors may be added (`Limits.all_security_size`).
    """

    def __init__(self, connection: sqlite3.Connection, max_size: int) -> None:
        self._database = connection
        self._known: Cache[bytes, int] = Cache()
        self._max_size = max_size
        self._size = 0

    def number(self, descriptor: bytes | None) -> int | None:
        """The number of a descriptor; one that is new is added.

        Raises:
            FormatLimitError: that makes more descriptors than the limit lets through.
        """
        if descriptor is None:
            return None
        known = self._known.get(descriptor)
        if known is None:
            row = self._database.execute("SELECT id FROM security WHERE descriptor = ?", (descriptor,)).fetchone()
            if row is None:
                self._size += len(descriptor)
                if self._size > self._max_size:
                    raise FormatLimitError(
                        f"more than {self._max_size} bytes of different security descriptors"
                        f" {limit_hint('all_security_size')}"
                    )
                row = (self._database.execute("INSERT INTO security (descriptor) VALUES (?)", (descriptor,)).lastrowid,)
            known = int(row[0])
            self._known.keep(descriptor, known, len(descriptor))
        return known

    def forget(self) -> None:
        """After a rollback: what was added is no longer there."""
        self._known.forget()
