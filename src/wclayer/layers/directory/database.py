"""`layer.db`: the SQLite file beside a layer's contents. This module declares its tables and rows.

docs/formats/layer-directory.md explains every column. Names that hold an unpaired surrogate have no UTF-8 form, so
they are stored as BLOBs of WTF-8; all others are TEXT.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from wclayer.layers.cache import Cache
from wclayer.layers.staging import DATABASE
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.names import decode_name, encode_name

FILE_NAME = DATABASE
APPLICATION_ID = 0x57434C59
"""`WCLY` in the SQLite header, by which `file` and we know the format."""
VERSION = 1
"""Of the database of a finished layer, which never changes."""
SCRATCH_VERSION = 2
"""Of the database of a scratch, which is changed in its place."""
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
BEING_WRITTEN = -1
"""The size of a scratch's file while it is written to: the size and time of the host's file are the right ones."""
NOT_HASHED = b""
"""The digest of a scratch's file whose contents were changed since they were last hashed."""
POOL = b"/Data"
"""What the `host_name` of a scratch's file starts with: it is a path from the layer's root."""
_HEADER = struct.Struct(">60xI4xI")
"""User version and application id in the header of an SQLite file (its file format, section 1.3)."""
_BUSY_SECONDS = 60


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


INSERT_ENTRY = f"INSERT INTO entries VALUES ({','.join('?' * len(EntryRow._fields))})"

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
    return connection


def read_version(path: Path) -> int:
    """The version of an existing database: `VERSION` or `SCRATCH_VERSION`.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is not a layer database, or one of a version this code does not know.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "no layer database", str(path))
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    if not header.startswith(b"SQLite format 3\0") or len(header) < _HEADER.size:
        raise ValueError(f"{FILE_NAME} is not a database")
    version, application = _HEADER.unpack(header)
    if application != APPLICATION_ID or version not in (VERSION, SCRATCH_VERSION):
        raise ValueError(
            f"{FILE_NAME} has application id {application:#x}, version {version};"
            f" expected {APPLICATION_ID:#x}, {VERSION} or {SCRATCH_VERSION}"
        )
    return int(version)


def _uri(path: Path) -> str:
    r"""The URI by which SQLite opens a file; without an authority, which `Path.as_uri` would make of `\\?\C:\x`."""
    return f"file:{quote(os.path.abspath(path))}"


def open_read_only(path: Path) -> sqlite3.Connection:
    """An existing database, for reading.

    Raises:
        FileNotFoundError, ValueError: see `read_version`.
    """
    if read_version(path) == SCRATCH_VERSION and os.access(path.parent, os.W_OK):
        # Readers of a database that others change must be able to lock it.
        return open_scratch(path)
    # immutable: a finished layer's database never changes, and its folder may be read-only.
    return sqlite3.connect(f"{_uri(path)}?immutable=1", uri=True, isolation_level=None, check_same_thread=False)


def open_scratch(path: Path) -> sqlite3.Connection:
    """An existing database, for changes by many at once.

    Commits outlive the process at once, and the machine when the write-ahead log is flushed.
    """
    connection = sqlite3.connect(
        f"{_uri(path)}?mode=rw", uri=True, isolation_level=None, check_same_thread=False,
        timeout=_BUSY_SECONDS,
    )  # fmt: skip
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def make_scratch(path: Path) -> None:
    """Makes the database of a finished layer the database of a scratch."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        if read_version(path) == VERSION:
            connection.executescript(
                f"BEGIN IMMEDIATE; {SCRATCH_SCHEMA} PRAGMA user_version = {SCRATCH_VERSION}; COMMIT"
            )
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


class Descriptors:
    """The numbers of security descriptors, each of which is stored once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._database = connection
        self._known: Cache[bytes, int] = Cache()

    def number(self, descriptor: bytes | None) -> int | None:
        """The number of a descriptor; one that is new is added."""
        if descriptor is None:
            return None
        known = self._known.get(descriptor)
        if known is None:
            row = self._database.execute("SELECT id FROM security WHERE descriptor = ?", (descriptor,)).fetchone()
            if row is None:
                row = (self._database.execute("INSERT INTO security (descriptor) VALUES (?)", (descriptor,)).lastrowid,)
            known = int(row[0])
            self._known.keep(descriptor, known, len(descriptor))
        return known

    def forget(self) -> None:
        """After a rollback: what was added is no longer there."""
        self._known.forget()
