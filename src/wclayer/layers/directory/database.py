"""`layer.db`, the SQLite file beside a layer's contents: its rows, and how it is made and opened."""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
import threading
import weakref
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from wclayer.errors import (
    FormatError,
)
from wclayer.host.root import HostRoot
from wclayer.layers.atomic import DATABASE
from wclayer.layers.directory.schema import KIND, VERSION, LayerKind, declared, finished_tables, kind_of
from wclayer.model import limits_in_use
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.names import decode_name, encode_name

FILE_NAME = DATABASE
APPLICATION_ID = 0x57434C59
"""`WCLY` in the SQLite header, by which `file` and we know the format."""
CHANGED = "another process has changed it while it was read; try again"
"""The detail of the error of a reader that finds that."""
ROOT = 0
"""The parent of the entries at the layer's root."""

TRAILER_FORM = "trailer_form"
"""The record of what the end of the tar had that was imported, if not the canonical end."""
BEING_WRITTEN = -1
"""The size of a scratch's file while it is written to: the size and time of the host's file are the right ones."""
NOT_HASHED = b""
"""The digest of a scratch's file whose contents were changed since they were last hashed."""
POOL = b"/Data"
"""What the `host_name` of a scratch's file starts with: it is a path from the layer's root."""
_HEADER = struct.Struct(">18xB41xI4xI")
"""Fields of the header of an SQLite file (its file format, section 1.3): write mode, user version, application id."""
_WRITE_AHEAD = 2
"""The mode in which there is a log of its own for what is written."""
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


class Origin(IntEnum):
    """Why an entry is in the layer directory."""

    OWN = 0
    """It came as an entry of this layer, and is exported."""
    IMPLIED = 1
    """A root directory that had no entry of its own."""
    CLONED = 2
    """Part of the utility VM, copied from the parent."""
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


def info_columns(info: FileBasicInfo) -> dict[str, int]:
    """Returns the columns of an entry that have its attributes and times, with their values."""
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


class DatabaseError(FormatError):
    """`layer.db` is not a database of this project, or not the file that one is."""


class NewerSchemaError(DatabaseError):
    """`layer.db` is of a wclayer that is newer than this one."""


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


class LayerDatabase(sqlite3.Connection):
    """A connection to an existing `layer.db`, which may come from elsewhere.

    Its schema is ours, no value in it is larger than the file or than the limit, and no query works longer than a
    database of that size can need: pages can refer to each other so that a small file has endless rows.
    """

    kind: LayerKind
    """The kind of the layer."""
    version: int
    """The version of the schema."""
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
        """Checks that the database is that of a layer, and sets its bounds.

        Args:
            path: its file.
            kind: the kind of the layer.

        Raises:
            DatabaseError: the schema, or the record of the kind, is not that of such a layer.
            NewerSchemaError: this code does not know the version of the schema.
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
        (self.version,) = self.execute("PRAGMA user_version").fetchone()
        if _kind_of(self.version, has_log=kind is LayerKind.SCRATCH) is not kind:
            raise DatabaseError(f"{FILE_NAME} is not the database of a {kind} layer")
        found = self.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 100").fetchall()
        for what in set(found) ^ declared(self.version, kind):
            raise DatabaseError(f"{FILE_NAME}: {what[0]} {what[1]!r} is not what the database of a {kind} layer has")
        if self.version == VERSION:
            row = self.execute("SELECT value FROM layer WHERE key = ?", (KIND,)).fetchone()
            if row != (kind,):
                raise DatabaseError(f"{FILE_NAME}: record {KIND!r} is not {kind.value!r}, as the mode of its log is")

    def size(self) -> int:
        """Returns the size of the database in bytes, its log included."""
        size = 0
        for suffix in _FILES:
            with suppress(FileNotFoundError):
                size += os.stat(f"{self._path}{suffix}").st_size
        return size

    def _count(self) -> bool:
        self.work += 1
        return self.is_exhausted()

    def is_exhausted(self) -> bool:
        """Returns whether the last query was stopped because it worked too long."""
        return self.work > _PATIENCE and self.work > _PATIENCE + self.size() // _BYTES


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
        # A reader of a scratch sees it as it is now, also when others change it meanwhile.
        connection.execute("BEGIN")
    except BaseException:
        connection.close()
        raise
    return connection


def open_scratch(path: Path) -> LayerDatabase:
    """Opens the database of a scratch for changes, which several processes may make at the same time.

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


def open_copy(path: Path) -> LayerDatabase:
    """Opens a copy of the database of a finished layer, which nothing else has open, for changes. It has no journal:
    after an error, the copy is of no use.

    Raises:
        DatabaseError, sqlite3.Error: it is damaged, or the database of something else.
    """
    connection = _open(path, "mode=rw", LayerKind.FINISHED)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
    except BaseException:
        connection.close()
        raise
    return connection
