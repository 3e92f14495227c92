"""`FleetSession`: DuckDB over the tables of fleets, from which SQL cannot get out.

What SQL may do is bounded twice. Only queries are run. And DuckDB reads no files but those that `TableFiles` shows,
writes none, loads no extensions, does not see the variables of the Python program, and does not let SQL change that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from wclayer._types import StrPath
from wclayer.errors import (
    AccessDeniedError,
    InvalidDataError,
    InvalidParameterError,
    NotSupportedError,
    OutOfMemoryError,
    boundary,
)
from wclayer.fleet.model import ImageStatus
from wclayer.fleet.query.answer import FleetAnswer
from wclayer.fleet.query.interrupts import interruptible
from wclayer.fleet.query.views import function_statements, view_statements

MEMORY = 1 << 30
"""Bytes of memory that DuckDB may use, unless the caller says otherwise."""
_LEAST_MEMORY = 64 << 20
_MOST_SQL = 1 << 20
_MOST_THREADS = 1024
_MORE = re.compile(r"\n\n|\nDid you mean|\nDatabase is launched")
"""Where a message of DuckDB stops to say what is wrong."""
_URL = re.compile(r"fleet://([a-z]+/[a-z]+/[0-9a-z=/]+\.parquet)")


@boundary
class FleetSession:
    """A session of DuckDB with the tables of fleets. The end of its context closes it.

    Args:
        fleets: the fleets, by the names of the schemas that have their tables: paths, or URLs that fsspec knows.
            The schema `main` needs not be named in SQL.
        memory: bytes of memory that DuckDB may use.
        threads: how many threads DuckDB uses; by default one for each processor.

    Raises:
        NotSupportedError: DuckDB is not installed, or a newer wclayer has made the tables.
        PathNotFoundError: there is no fleet.
        InvalidParameterError: `memory` or `threads` is out of range.
    """

    operation = "query fleet"

    def __init__(self, fleets: Mapping[str, StrPath], *, memory: int = MEMORY, threads: int | None = None) -> None:
        self.path = ", ".join(str(place) for place in fleets.values())
        if memory < _LEAST_MEMORY:
            raise InvalidParameterError(self.path, f"{memory} bytes of memory are too few: at least {_LEAST_MEMORY}")
        if threads is not None and not 0 < threads <= _MOST_THREADS:
            raise InvalidParameterError(self.path, f"{threads} threads: there are 1 to {_MOST_THREADS}")
        try:
            import duckdb

            from wclayer.fleet.query.table_files import TableFiles
            from wclayer.fleet.tables.dataset import Dataset
        except ModuleNotFoundError as error:
            detail = f"this needs the package {error.name}: pip install 'wclayer[fleet]'"
            raise NotSupportedError(self.path, detail) from None
        self._datasets = {schema: Dataset(place) for schema, place in fleets.items()}
        self._duckdb = duckdb
        self._files = TableFiles(self._datasets)
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{memory}B",
                "threads": threads or os.cpu_count() or 1,
                # What does not fit into memory is an error, not a file.
                "temp_directory": "",
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
            },
        )
        try:
            self._make_views()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Ends the session. Answers that were not read to the end end with it."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def ask(self, sql: str, parameters: Mapping[str, object] | None = None, *, then_close: bool = False) -> FleetAnswer:
        """Returns the answer to a query.

        Args:
            sql: one query (`SELECT …`, `FROM …`, `WITH …`, `DESCRIBE …`), with `$NAME` for parameters.
            parameters: the values of the parameters, by names.
            then_close: `close` of the answer closes the session, too.

        Raises:
            InvalidParameterError: it is not one query, or DuckDB does not understand it.
            AccessDeniedError: it reads other files than those of the fleet.
            OutOfMemoryError: it needs more memory than the session may use.
            InvalidDataError, PathNotFoundError: a table is damaged, or a file of it is not there.
        """
        if len(sql) > _MOST_SQL:
            raise InvalidParameterError(self.path, f"the query has {len(sql)} characters; {_MOST_SQL} are allowed")
        with self._told():
            found = self._connection.extract_statements(sql)
            if len(found) != 1 or found[0].type != self._duckdb.StatementType.SELECT:
                raise InvalidParameterError(
                    self.path, "not one query: only SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW and SUMMARIZE are run"
                )
            cursor = self._connection.cursor()
            interruptible(cursor, cursor.execute, found[0], dict(parameters or {}))
        return FleetAnswer(cursor, self._told, self.close if then_close else lambda: None)

    def unread(self) -> int:
        """Returns how many references were not read, or not whole, so that an answer may lack them. The view `errors`
        says why."""
        sql = f"SELECT count(*) FROM images WHERE status IN ('{ImageStatus.ERROR}', '{ImageStatus.INCOMPLETE}')"
        return int(next(self.ask(sql))[0])

    def _make_views(self) -> None:
        connection = self._connection
        connection.register_filesystem(self._files)
        connection.execute(f"SET allowed_directories = ['{self._files.protocol}://']")
        connection.execute("SET enable_external_access = false")
        for schema in self._datasets:
            urls = self._files.urls(schema)
            with self._told():
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
                connection.execute(f"USE {schema}")
                for statement in view_statements(urls):
                    connection.execute(statement)
        if "main" in self._datasets:
            for statement in function_statements():
                connection.execute(statement)
        connection.execute("SET lock_configuration = true")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns errors of DuckDB into those of this package."""
        duckdb = self._duckdb
        self._files.failure = None
        try:
            yield
        except duckdb.Error as error:
            text = _MORE.split(str(error), maxsplit=1)[0].strip()
            if self._files.failure is not None:
                raise self._files.failure from error
            if isinstance(error, duckdb.InterruptException):
                raise KeyboardInterrupt from error
            if named := _URL.search(text):
                place = self._files.place(named[1])
                raise InvalidDataError(place, f"is no intact Parquet file of a fleet ({text}); scan again") from error
            if isinstance(error, duckdb.OutOfMemoryException):
                detail = f"the query needs more memory than it may use ({text}); allow more, or ask for less"
                raise OutOfMemoryError(self.path, detail) from error
            if isinstance(error, duckdb.PermissionException):
                raise AccessDeniedError(
                    self.path, f"SQL sees the tables of the fleet and nothing else ({text})"
                ) from error
            if isinstance(error, (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError)):
                hint = "; SHOW TABLES lists them" if text.startswith("Catalog Error: Table") else ""
                raise InvalidParameterError(self.path, text + hint) from error
            self._files.find_damage()
            raise InvalidDataError(self.path, f"a table cannot be read ({text}); scan again") from error
        except RuntimeError as error:
            # An interrupt while DuckDB works has no class of its own.
            if str(error) == "Query interrupted":
                raise KeyboardInterrupt from error
            raise
