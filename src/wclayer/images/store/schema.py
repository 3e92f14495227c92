"""The schema of `store.db`, the database of the names in a store (docs/formats/store.md)."""

from __future__ import annotations

import functools
import sqlite3
from contextlib import closing

APPLICATION_ID = 0x57434C53
"""`WCLS` in the SQLite header: it identifies the format to `file` and to this package."""
VERSION = 2
"""The version of the schema (`user_version`)."""
OLDEST_VERSION = 1
"""The oldest version that is read. Nothing changes it before there is something that it has no table for."""
_NAMES = """
CREATE TABLE names (
    name TEXT PRIMARY KEY,
    media_type TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    tagged INTEGER NOT NULL
) WITHOUT ROWID
"""
REPOSITORIES = """
CREATE TABLE repositories (
    digest TEXT NOT NULL,
    host TEXT NOT NULL,
    repository TEXT NOT NULL,
    PRIMARY KEY (digest, host)
) WITHOUT ROWID
"""
"""The table that version 2 has, and version 1 has not."""
_WRITE_AHEAD = b"\x02\x02"
_MODES = slice(18, 20)
"""The write and read mode in the header of an SQLite file (its file format, section 1.3): 2 is the write-ahead log."""


def empty_database() -> bytes:
    """Returns the bytes of a database without names."""
    with closing(_in_memory(VERSION)) as connection:
        data = bytearray(connection.serialize())
    # A database in memory cannot be switched to this mode.
    data[_MODES] = _WRITE_AHEAD
    return bytes(data)


@functools.cache
def declared(version: int) -> frozenset[tuple[str, str, str, str | None]]:
    """Returns the rows of `sqlite_master` in the database of a store with a version of the schema."""
    with closing(_in_memory(version)) as connection:
        return frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


def _in_memory(version: int) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA page_size = 4096")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    for table in (_NAMES, REPOSITORIES)[:version]:
        connection.execute(table)
    return connection
