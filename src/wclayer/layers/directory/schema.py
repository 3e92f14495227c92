"""The schema of `layer.db`: its tables in every supported version.

docs/formats/layer-directory.md explains every column. Names with an unpaired surrogate cannot be encoded as UTF-8, so
they are stored as BLOBs of WTF-8; all others are TEXT.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from contextlib import closing
from enum import StrEnum

VERSION = 4
"""The version of the schema of new databases (`user_version`)."""
KIND = "kind"
"""The record with the kind of the layer, since version 3."""
_OLD_KINDS = {1: "finished", 2: "scratch"}
"""The versions before 3, one for each kind."""
_KIND_SINCE, _INDEX_OF_LINKS_SINCE = 3, 4
"""Since these versions, databases have the record `KIND`, and those of finished layers have the index of links."""


class LayerKind(StrEnum):
    """The kind of a layer directory."""

    FINISHED = "finished"
    """Its database never changes."""
    SCRATCH = "scratch"
    """Its database is changed in its place."""


# The tables are not STRICT: SQLite supports that since 3.37, and an older SQLite cannot even open such a file; Python
# 3.11 may come with an older one (RHEL 9 has 3.34). The CHECKs enforce the same types, and ranges. They use the order
# of SQLite's storage classes, at no measurable cost: numbers come before TEXT, TEXT before BLOBs. So a value that is at
# most a number is a number, one that is `>= ''` is TEXT or a BLOB, and one that is `>= x''` is a BLOB. NULL passes
# every CHECK.
_TABLES = """
CREATE TABLE layer (
    key TEXT PRIMARY KEY,
    value CHECK (typeof(value) <> 'real')
) WITHOUT ROWID;

CREATE TABLE security (
    id INTEGER PRIMARY KEY,
    descriptor BLOB NOT NULL UNIQUE CHECK (descriptor >= x'')
);

CREATE TABLE entries (
    id INTEGER PRIMARY KEY CHECK (id >= 1),
    parent INTEGER NOT NULL CHECK (parent BETWEEN 0 AND 9223372036854775807),
    name NOT NULL CHECK (name >= ''),
    key NOT NULL CHECK (key >= ''),
    attributes INTEGER NOT NULL CHECK (attributes BETWEEN 0 AND 4294967295),
    creation_time INTEGER NOT NULL CHECK (creation_time BETWEEN 0 AND 9223372036854775807),
    last_access_time INTEGER NOT NULL CHECK (last_access_time BETWEEN 0 AND 9223372036854775807),
    last_write_time INTEGER NOT NULL CHECK (last_write_time BETWEEN 0 AND 9223372036854775807),
    change_time INTEGER NOT NULL CHECK (change_time BETWEEN 0 AND 9223372036854775807),
    security INTEGER CHECK (security BETWEEN 1 AND 9223372036854775807),
    size INTEGER NOT NULL CHECK (size BETWEEN -1 AND 9223372036854775807),
    sha256 BLOB CHECK (sha256 >= x''),
    origin INTEGER NOT NULL DEFAULT 0 CHECK (origin BETWEEN 0 AND 3),
    streams INTEGER NOT NULL DEFAULT 0 CHECK (streams BETWEEN 0 AND 9223372036854775807),
    eas BLOB CHECK (eas >= x''),
    reparse BLOB CHECK (reparse >= x''),
    link INTEGER CHECK (link BETWEEN 1 AND 9223372036854775807),
    link_target CHECK (link_target >= ''),
    spelling CHECK (spelling >= ''),
    host_name TEXT CHECK (host_name < x''),
    form BLOB CHECK (form >= x'')
);
CREATE UNIQUE INDEX entries_by_name ON entries (parent, key);
CREATE INDEX entries_by_link ON entries (link) WHERE link IS NOT NULL;

CREATE TABLE tombstones (
    id INTEGER PRIMARY KEY CHECK (id >= 1),
    path NOT NULL CHECK (path >= ''),
    key NOT NULL CHECK (key >= ''),
    form BLOB CHECK (form >= x'')
);

CREATE TABLE streams (
    id INTEGER PRIMARY KEY CHECK (id >= 1),
    entry INTEGER NOT NULL CHECK (entry BETWEEN 1 AND 9223372036854775807),
    stream_id INTEGER NOT NULL CHECK (stream_id BETWEEN 0 AND 4294967295),
    attributes INTEGER NOT NULL CHECK (attributes BETWEEN 0 AND 4294967295),
    name NOT NULL CHECK (name >= ''),
    size INTEGER NOT NULL CHECK (size BETWEEN 0 AND 9223372036854775807),
    sha256 BLOB NOT NULL CHECK (sha256 >= x''),
    form BLOB CHECK (form >= x'')
);
CREATE INDEX streams_by_entry ON streams (entry);

CREATE TABLE stream_data (
    stream INTEGER CHECK (stream BETWEEN 1 AND 9223372036854775807),
    sequence INTEGER CHECK (sequence BETWEEN 0 AND 9223372036854775807),
    data BLOB CHECK (data >= x''),
    PRIMARY KEY (stream, sequence)
) WITHOUT ROWID;
"""

_SCRATCH_TABLES = """
CREATE UNIQUE INDEX tombstones_by_key ON tombstones (key);
CREATE INDEX entries_being_written ON entries (id) WHERE size < 0;

CREATE TABLE taken (
    layer INTEGER CHECK (layer BETWEEN 1 AND 9223372036854775807),
    source INTEGER CHECK (source BETWEEN 1 AND 9223372036854775807),
    entry INTEGER NOT NULL CHECK (entry BETWEEN 1 AND 9223372036854775807),
    PRIMARY KEY (layer, source)
) WITHOUT ROWID;
CREATE INDEX taken_by_entry ON taken (entry);
"""

_INDEX_OF_LINKS = re.compile("CREATE INDEX entries_by_link .*\n")
_OLD_TABLES = """
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

_OLD_SCRATCH_TABLES = """
CREATE UNIQUE INDEX tombstones_by_key ON tombstones (key);
CREATE INDEX entries_by_link ON entries (link) WHERE link IS NOT NULL;
CREATE INDEX entries_being_written ON entries (id) WHERE size < 0;
CREATE TABLE taken (layer INTEGER, source INTEGER, entry INTEGER NOT NULL, PRIMARY KEY (layer, source)) WITHOUT ROWID;
CREATE INDEX taken_by_entry ON taken (entry);
"""


def kind_of(version: int, *, has_log: bool) -> LayerKind | None:
    """Returns the kind of layer that a database must belong to; None if the version is unknown.

    Args:
        version: the version of its schema.
        has_log: True if it is in SQLite's write-ahead mode, as the database of a scratch is.
    """
    if version in _OLD_KINDS:
        return LayerKind(_OLD_KINDS[version])
    if not records_kind(version):
        return None
    return LayerKind.SCRATCH if has_log else LayerKind.FINISHED


def records_kind(version: int) -> bool:
    """Returns whether a database with that version has the record `KIND`; False also for an unknown version."""
    return _KIND_SINCE <= version <= VERSION


def has_index_of_links(version: int, kind: LayerKind) -> bool:
    """Returns whether the database of a layer of that kind has an index of the further names of files."""
    return kind is LayerKind.SCRATCH or version >= _INDEX_OF_LINKS_SINCE


def finished_tables() -> str:
    """Returns the SQL that makes the tables of a finished layer."""
    return _TABLES


def scratch_tables() -> str:
    """Returns the SQL that makes the additional tables and indexes of a scratch.

    The table `taken` records which files were copied up: the layer, counted from the base, and the id in that layer.
    """
    return _SCRATCH_TABLES


def tables_of(kind: LayerKind) -> dict[str, list[str]]:
    """Returns the names of the tables that a layer of that kind has, each with the names of its columns."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_script(VERSION, kind))
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}


def indexes_of(kind: LayerKind) -> list[str]:
    """Returns the names of the indexes that a layer of that kind has."""
    return re.findall(r"INDEX (\w+)", _script(VERSION, kind))


@functools.cache
def declared(version: int, kind: LayerKind) -> frozenset[tuple[str, str, str, str | None]]:
    """Returns the rows of `sqlite_master` in the database of a layer of that kind."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_script(version, kind))
        return frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


def _script(version: int, kind: LayerKind) -> str:
    tables, more = (_OLD_TABLES, _OLD_SCRATCH_TABLES) if version in _OLD_KINDS else (_TABLES, _SCRATCH_TABLES)
    if not has_index_of_links(version, kind):
        tables = _INDEX_OF_LINKS.sub("", tables)
    return tables if kind is LayerKind.FINISHED else tables + more
