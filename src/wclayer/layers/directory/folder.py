"""The open folder of a layer and its `layer.db`: queries, and the records about the layer as a whole."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from wclayer._types import StrPath
from wclayer.errors import (
    CorruptLayerError,
    FormatError,
    FormatLimitError,
    LayerBusyError,
    LayerError,
    NotALayerError,
    NotSupportedError,
    errors_at,
    limit_hint,
    translated,
)
from wclayer.host.root import HostRoot
from wclayer.layers.directory import database, rows
from wclayer.layers.directory.chain_file import chain_of, in_place, open_folder
from wclayer.layers.directory.database import LayerDatabase, NewerSchemaError, to_column
from wclayer.layers.directory.queries import Answer, query_error
from wclayer.layers.directory.schema import LayerKind

HIVE_PROBLEMS = "hive_problems"
"""The record of the hives that could not be made, one per line."""
PARENT_DIFF_IDS = "parent_diff_ids"
"""The record of the diffIDs that the parents had when the layer was made, nearest first, with a space between two; "-"
is a parent whose diffID was unknown."""
_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}\Z")
_TRIES = 100


def is_layer(path: StrPath) -> bool:
    """Returns whether a folder is a layer directory made by this project or by Windows."""
    folder = Path(path)
    return (folder / database.FILE_NAME).is_file() or (folder / "Files").is_dir() or (folder / "sandbox.vhdx").is_file()


class OpenedFolder(NamedTuple):
    """The folder of a layer and its database, opened together."""

    path: Path
    host: HostRoot
    database: LayerDatabase
    identity: tuple[int, int] | None
    """Device and inode of the database."""
    is_kept: bool = False
    """Whether it stays open when a layer is closed: whoever has opened it closes it."""

    @property
    def is_unchanged(self) -> bool:
        """Whether the folder is still at its path and still has the same database."""
        with errors_at(self.path):
            return self.host.is_in_place and _identity(self.host) == self.identity

    def close(self) -> None:
        """Closes the database and the folder."""
        try:
            self.database.close()
        finally:
            self.host.close()


def open_place(path: StrPath, connect: Callable[[Path, LayerKind], LayerDatabase]) -> OpenedFolder:
    """Opens the folder of a layer and its database.

    Args:
        path: the layer directory.
        connect: a function that opens the database at a path, for a layer of the given kind.

    Raises:
        PathNotFoundError: the folder does not exist.
        NotALayerError: it is not a layer directory with a `layer.db`.
        CorruptLayerError: its `layer.db` is damaged.
        NotSupportedError: a newer wclayer made it.
    """
    place = Path(os.path.abspath(path))
    for _ in range(_TRIES):
        opened = _open(place, connect)
        if opened is not None:
            return opened
    raise LayerBusyError(place, "other processes replace it again and again")


def _open(place: Path, connect: Callable[[Path, LayerKind], LayerDatabase]) -> OpenedFolder | None:
    """Does one attempt of `open_place`; returns None if another process replaced the layer during it."""
    host = open_folder(place)
    connection: LayerDatabase | None = None
    is_open = False
    try:
        identity = _identity(host)
        try:
            with errors_at(place, damage=CorruptLayerError):
                connection = _connect(place, host, connect)
        except LayerError:
            if _is_unchanged(place, host, identity):
                raise
            return None
        # SQLite opens its files by their path.
        is_open = _is_unchanged(place, host, identity)
        return OpenedFolder(place, host, connection, identity) if is_open else None
    finally:
        if not is_open:
            try:
                if connection is not None:
                    connection.close()
            finally:
                host.close()


def _connect(place: Path, host: HostRoot, connect: Callable[[Path, LayerKind], LayerDatabase]) -> LayerDatabase:
    try:
        return connect(place / database.FILE_NAME, database.read_kind(host))
    except FileNotFoundError:
        problem = f"not a layer: it has no {database.FILE_NAME}"
        if is_layer(place):
            problem += "; `wclayer makebaselayer` makes one for a folder with Files in it"
        raise NotALayerError(place, problem) from None
    except NewerSchemaError as error:
        raise NotSupportedError(place, str(error)) from None


def _identity(host: HostRoot) -> tuple[int, int] | None:
    """Returns device and inode of the database in a folder; None if the folder has no database."""
    try:
        status = host.stat(database.FILE_NAME.encode())
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_unchanged(place: Path, host: HostRoot, identity: tuple[int, int] | None) -> bool:
    """Returns whether the folder is still at its path and still has the same database."""
    with errors_at(place):
        return host.is_in_place and _identity(host) == identity


class LayerFolder:
    """The folder of a layer and its database, for reading; a context manager that closes both."""

    def __init__(self, opened: OpenedFolder) -> None:
        self.path = opened.path
        self.host = opened.host
        self._database = opened.database
        self._opened = opened
        self._file = self.path / database.FILE_NAME

    def close(self) -> None:
        """Closes the database and the folder, unless they are kept open for others."""
        if not self._opened.is_kept:
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def is_in_place(self) -> bool:
        """Returns whether the layer is still at its path."""
        with errors_at(self.path):
            return self.host.is_in_place

    def is_same_database(self) -> bool:
        """Returns whether the database is still in its place.

        An update replaces it, and so does the change of a finished layer into a scratch.
        """
        return self._opened.identity == _identity(self.host)

    def query(self, sql: str, arguments: Sequence[object] = ()) -> Answer:
        """Returns the answer to a query of `layer.db`.

        Raises:
            CorruptLayerError: the database is damaged. The answer raises this and other errors of SQLite, too.
        """
        connection = self._database
        connection.work = 0
        try:
            return Answer(self._file, connection.execute(sql, arguments))
        except (sqlite3.Error, UnicodeError, MemoryError) as error:
            raise query_error(self._file, connection, error) from error

    def _damaged(self, problem: str | FormatError) -> LayerError:
        if isinstance(problem, FormatError):
            told = translated(self._file, problem, damage=CorruptLayerError)
            assert told is not None
            return told
        return CorruptLayerError(self._file, problem)

    def _beyond(self, problem: str, limit: str) -> LayerError:
        return self._damaged(FormatLimitError(f"{problem} {limit_hint(limit)}"))

    def record(self, key: str) -> str | int | bytes | None:
        """Returns a record about the layer as a whole ("diff_id", "digest", "size", …), or None.

        Raises:
            CorruptLayerError: the record is neither text, nor a number, nor bytes.
        """
        row = self.query("SELECT value FROM layer WHERE key = ?", (to_column(key),)).fetchone()
        value = row[0] if row else None
        if value is not None and not isinstance(value, (str, int, bytes)):
            raise self._damaged(f"record {key!r}: {value!r}")
        return value

    def text(self, key: str) -> str | None:
        """Returns a `record` that is text."""
        value = self.record(key)
        if value is not None and not isinstance(value, str):
            raise self._damaged(f"record {key!r}: {rows.shown(value)} instead of text")
        return value

    def number(self, key: str) -> int | None:
        """Returns a `record` that is a number."""
        value = self.record(key)
        if value is not None and not isinstance(value, int):
            raise self._damaged(f"record {key!r}: {rows.shown(value)} instead of a number")
        return value

    def blob(self, key: str) -> bytes | None:
        """Returns a `record` that is bytes."""
        value = self.record(key)
        if value is not None and not isinstance(value, bytes):
            raise self._damaged(f"record {key!r}: {rows.shown(value)} instead of bytes")
        return value

    def hive_problems(self) -> list[str]:
        """Returns the reasons why hives of the layer have no `_Base`, each as "PATH: what is wrong"."""
        return (self.text(HIVE_PROBLEMS) or "").splitlines()

    def diff_id(self) -> str | None:
        """Returns the diffID of the layer, or None if it is unknown: the layer was changed, or not imported from a tar.

        Raises:
            CorruptLayerError: the record is not text.
        """
        text = self.text("diff_id")
        return text if text is not None and _DIFF_ID.match(text) else None

    def parents(self) -> list[Path]:
        """Returns the parent chain, nearest first.

        Raises:
            CorruptLayerError, LimitExceededError: see `read_chain`.
        """
        return chain_of(self.host)

    def parents_in_place(self) -> list[Path]:
        """Returns the parent chain, nearest first, if all parents are there.

        Raises:
            PathNotFoundError: a parent does not exist. The message tells of `wclayer relink`.
            CorruptLayerError, LimitExceededError: see `read_chain`.
        """
        return in_place(self.path, self.parents())
