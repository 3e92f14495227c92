"""The answers to queries of `layer.db` and other guarded databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from wclayer.errors import CorruptLayerError, LayerError, OutOfMemoryError, from_sqlite_error
from wclayer.layers.guarded_database import GuardedDatabase


class Answer:
    """The rows of a query. An error of SQLite while they are read is raised as a `LayerError`.

    Args:
        path: the path of the database, for errors.
        cursor: a cursor of a `GuardedDatabase`.
    """

    __slots__ = ("_cursor", "_operation", "_path")

    def __init__(self, path: Path, cursor: sqlite3.Cursor) -> None:
        self._path = path
        self._cursor = cursor

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        try:
            # Not `yield from` the cursor: it would close the cursor with the iteration, perhaps after the database.
            yield from islice(self._cursor, None)
        except (sqlite3.Error, UnicodeError, MemoryError) as error:
            raise query_error(self._path, self._cursor.connection, error) from error

    def fetchone(self) -> Any:
        """Returns the next row, or None."""
        try:
            return self._cursor.fetchone()
        except (sqlite3.Error, UnicodeError, MemoryError) as error:
            raise query_error(self._path, self._cursor.connection, error) from error

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Returns all remaining rows."""
        return list(self)

    @property
    def lastrowid(self) -> int | None:
        """The id of the inserted row."""
        return self._cursor.lastrowid


def query_error(
    path: Path, connection: sqlite3.Connection, error: sqlite3.Error | UnicodeError | MemoryError
) -> LayerError:
    """Returns the `LayerError` for an error of a query. An error that shows misuse of SQLite is raised unchanged."""
    if isinstance(error, (sqlite3.ProgrammingError, sqlite3.InterfaceError)):
        raise error
    if isinstance(error, MemoryError):
        return OutOfMemoryError(path, "there is not enough memory")
    if isinstance(error, UnicodeError):
        return CorruptLayerError(path, f"a text that is not UTF-8: {error}")
    if isinstance(connection, GuardedDatabase) and connection.is_exhausted():
        size = connection.size()
        return CorruptLayerError(path, f"a query takes more work than a database of {size} bytes can need")
    return from_sqlite_error(path, error)
