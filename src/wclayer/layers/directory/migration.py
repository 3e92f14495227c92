"""Converts an existing database: to the current schema, or into the database of a scratch.

A layer that an older wclayer made is read as it is. It gets the current schema when it is first changed.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from wclayer.host.root import HostRoot
from wclayer.layers.atomic import StagedDatabase
from wclayer.layers.directory.database import FILE_NAME, SET_RECORD, LayerDatabase, open_copy, read_kind
from wclayer.layers.directory.schema import (
    KIND,
    VERSION,
    LayerKind,
    finished_tables,
    indexes_of,
    scratch_tables,
    tables_of,
)


def migrate(connection: LayerDatabase) -> None:
    """Converts an open database to the current schema, in one transaction.

    Raises:
        sqlite3.Error: the host failed, or a row has an invalid value. The database is unchanged.
    """
    kind = connection.kind
    tables = tables_of(kind)
    script = ["BEGIN IMMEDIATE"]
    script += [f"DROP INDEX IF EXISTS {index}" for index in indexes_of(kind)]
    script += [f"ALTER TABLE {table} RENAME TO old_{table}" for table in tables]
    script.append(finished_tables() + (scratch_tables() if kind is LayerKind.SCRATCH else ""))
    for table, names in tables.items():
        columns = ", ".join(names)
        script += [f"INSERT INTO {table} ({columns}) SELECT {columns} FROM old_{table}", f"DROP TABLE old_{table}"]
    connection.work = 0
    try:
        connection.executescript(";\n".join(script))
        connection.execute(SET_RECORD, (KIND, kind))
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.version = VERSION


def migrate_copy(path: Path) -> None:
    """Converts a copy of the database of a finished layer to the current schema; nothing else may have the copy open.

    Raises:
        DatabaseError, sqlite3.Error: see `migrate`; the copy must be discarded.
    """
    connection = open_copy(path)
    try:
        if connection.version != VERSION:
            migrate(connection)
            # Without VACUUM, the pages of the old tables would stay in the file. SQLite attaches a new file for it.
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 1)
            connection.execute("VACUUM")
    finally:
        connection.close()


def make_scratch(path: Path) -> None:
    """Replaces the database of a finished layer by a copy that is the database of a scratch."""
    with HostRoot(path.parent) as root:
        if read_kind(root) is LayerKind.SCRATCH:
            return
        staged = StagedDatabase(path.parent)
        try:
            root.copy(FILE_NAME.encode(), os.fsencode(staged.database.name))
            migrate_copy(staged.database)
            connection = open_copy(staged.database)
            try:
                connection.executescript(f"BEGIN; {scratch_tables()}")
                connection.execute(SET_RECORD, (KIND, LayerKind.SCRATCH))
                connection.execute("COMMIT")
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            staged.commit()
        except BaseException:
            staged.discard()
            raise
