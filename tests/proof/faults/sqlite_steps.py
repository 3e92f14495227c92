"""Makes one step of SQLite fail: a connection, a statement, or the fetching of rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

CODES = {
    "SQLITE_FULL": sqlite3.SQLITE_FULL,
    "SQLITE_IOERR": sqlite3.SQLITE_IOERR,
    "SQLITE_NOMEM": sqlite3.SQLITE_NOMEM,
    "SQLITE_BUSY": sqlite3.SQLITE_BUSY,
    "SQLITE_CORRUPT": sqlite3.SQLITE_CORRUPT,
    "SQLITE_READONLY": sqlite3.SQLITE_READONLY,
}


class Steps:
    """Counts the steps of all connections that are made while `watched`, and has the `at`th one fail with a code."""

    def __init__(self, at: int = -1, code: str = "") -> None:
        self.said: list[str] = []
        self._at = at
        self._code = code

    def step(self, what: str) -> None:
        """One step; raises what Python's module raises when it fails."""
        self.said.append(what)
        if len(self.said) != self._at + 1:
            return
        if self._code == "SQLITE_NOMEM":
            raise MemoryError
        kind = sqlite3.DatabaseError if self._code == "SQLITE_CORRUPT" else sqlite3.OperationalError
        error = kind(f"{self._code} by the test")
        error.sqlite_errorcode, error.sqlite_errorname = CODES[self._code], self._code
        raise error

    @contextmanager
    def watched(self) -> Iterator[None]:
        """In its context, new connections count."""
        usual = sqlite3.connect
        sqlite3.connect = self._connecting(usual)  # type: ignore[assignment]
        try:
            yield
        finally:
            sqlite3.connect = usual

    def _connecting(self, usual: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
        def connect(database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
            if database == ":memory:":
                return usual(database, *arguments, **options)
            self.step("connect")
            options["factory"] = self._watched_kind(options.get("factory", sqlite3.Connection))
            return usual(database, *arguments, **options)

        return connect

    def _watched_kind(self, kind: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
        step = self.step

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, *parameters: Any) -> Cursor:
                step(sql)
                return super().execute(sql, *parameters)

            def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor:
                step(sql)
                return super().executemany(sql, parameters)

            def executescript(self, sql: str, /) -> sqlite3.Cursor:
                step(sql)
                return super().executescript(sql)

            def fetchone(self) -> Any:
                step("fetchone")
                return super().fetchone()

            def fetchall(self) -> list[Any]:
                step("fetchall")
                return super().fetchall()

            def __next__(self) -> Any:
                step("next")
                return super().__next__()

        class Connection(kind):  # type: ignore[misc,valid-type]
            def cursor(self, factory: Any = Cursor) -> Any:
                return super().cursor(factory)

            # Python's own do not ask `cursor`.
            def execute(self, sql: str, *parameters: Any) -> Any:
                return self.cursor().execute(sql, *parameters)

            def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
                return self.cursor().executemany(sql, parameters)

            def executescript(self, sql: str, /) -> Any:
                return self.cursor().executescript(sql)

        return Connection
