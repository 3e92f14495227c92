"""`layer.db`: the SQLite file beside a layer's contents. This module declares its tables and rows.

docs/formats/layer-directory.md explains every column. Names that hold an unpaired surrogate have no UTF-8 form, so
they are stored as BLOBs of WTF-8; all others are TEXT.
"""

from __future__ import annotations

import sqlite3
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from wclayer.layers.staging import DATABASE
from wclayer.win32.names import decode_name, encode_name

FILE_NAME = DATABASE
APPLICATION_ID = 0x57434C59
"""`WCLY` in the SQLite header, by which `file` and we know the format."""
VERSION = 1
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


def open_read_only(path: Path) -> sqlite3.Connection:
    """An existing database, for reading.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is not a layer database, or one of a version this code does not know.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "no layer database", str(path))
    # immutable: a finished layer's database never changes, and its folder may be read-only.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        connection.close()
        raise ValueError(f"{FILE_NAME} is not a database: {error}") from None
    if application != APPLICATION_ID or version != VERSION:
        connection.close()
        raise ValueError(
            f"{FILE_NAME} has application id {application:#x}, version {version};"
            f" expected {APPLICATION_ID:#x}, {VERSION}"
        )
    return connection
