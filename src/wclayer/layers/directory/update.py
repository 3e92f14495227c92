"""Replaces files of a finished layer, all of them or none.

A layer's `layer.db` never changes; an update makes a new one and renames it over the old. The new contents stand under
substitute names until then, so that each database finds what it describes:

1. the contents are written to `wclayer~update-…` beside their place;
2. a database that refers to those takes the place of `layer.db`: from here on the layer is the new one;
3. hard links of the contents take the place of the old files;
4. a database that refers to the files by their own names takes the place of `layer.db`;
5. the substitute names are removed.

After an interruption the layer is the old or the new one, whole; the next update ends what was left of steps 3 to 5.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from wclayer._types import StrPath
from wclayer.errors import (
    CorruptLayerError,
    FormatError,
    InvalidStateError,
    NotSupportedError,
    errors_at,
    translated,
)
from wclayer.host import durability, system
from wclayer.host.root import HostRoot
from wclayer.layers.atomic import StagedDatabase, wait_for_place
from wclayer.layers.directory import database
from wclayer.layers.directory.database import INSERT_ENTRY, SELECT_ENTRIES, Origin, info_columns
from wclayer.layers.directory.hives import made_row
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.migration import migrate_copy
from wclayer.layers.directory.opening import open_layer
from wclayer.win32.attributes import DIRECTORY, FileBasicInfo

SUBSTITUTE = "wclayer~update-"
"""The prefix of the names of new contents until they replace the old ones."""
_OF_THE_TAR = ("diff_id", "digest", "size", "stored_size")
"""Records of the tar that the layer was imported from; they are wrong once the layer has changed."""


@dataclass(slots=True)
class FileChange:
    """New contents of a file of a layer."""

    path: str
    data: bytes
    origin: Origin
    security: bytes | None = None
    """The descriptor of the file, if it is new."""
    directory_security: bytes | None = None
    """The descriptor of its directory, if that was not an entry of the layer yet."""


def own_directory(time: int) -> FileBasicInfo:
    """Returns attributes and times of a root directory that becomes an entry of the layer at `time` (FILETIME)."""
    return FileBasicInfo(DIRECTORY, time, time, time, time)


class Update(ABC):
    """Changes of files and records of a layer, all of them or none: call `put` for each change, then `commit`. Leaving
    the context without `commit` changes nothing."""

    def __init__(self) -> None:
        self._changes: list[FileChange] = []
        self._descriptors: dict[str, bytes] = {}
        self._records: dict[str, str | int | bytes] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Ends the update and closes the layer."""

    def put(
        self,
        path: str,
        data: bytes,
        *,
        origin: Origin,
        security: bytes | None = None,
        directory_security: bytes | None = None,
    ) -> None:
        """Gives the file at `path` of the layer new contents. A missing file is made; its directory must exist.

        Args:
            security: the descriptor of the file, if it is made.
            directory_security: the descriptor of its directory, if that was not an entry of the layer yet.

        Raises:
            NotSupportedError: the file cannot be changed.
        """
        self._check(path)
        self._changes.append(FileChange(path, data, origin, security, directory_security))

    @abstractmethod
    def _check(self, path: str) -> None:
        """Raises a `NotSupportedError` if the file at `path` cannot be changed."""

    def set_security(self, path: str, descriptor: bytes) -> None:
        """Gives the entry at `path` another security descriptor."""
        self._descriptors[path] = descriptor

    def set_record(self, key: str, value: str | int | bytes) -> None:
        """Stores a record about the layer as a whole."""
        self._records[key] = value

    @abstractmethod
    def commit(self, time: int) -> None:
        """Applies all changes to the layer; `time` (FILETIME) becomes the write time of the changed files.

        Raises:
            LayerError: the host failed; the layer is entirely the old one or entirely the new one.
        """


class LayerUpdate(Update):
    """An `Update` of a finished layer directory.

    Raises:
        LayerBusyError: another process is updating the layer.
        PathNotFoundError, NotALayerError, CorruptLayerError: see `open_layer`.
    """

    def __init__(self, path: StrPath) -> None:
        super().__init__()
        self.path = Path(os.path.abspath(path))
        with open_layer(self.path):
            pass
        self._lock = wait_for_place(self.path)
        try:
            with errors_at(self.path):
                self._host = HostRoot(self.path)
        except BaseException:
            self._lock.close()
            raise
        self._is_open = True

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._host.close()
            self._lock.close()

    def _check(self, path: str) -> None:
        with open_layer(self.path) as layer:
            row = layer.lookup(path)
            if row is not None and layer.link_count(row) > 1:
                raise NotSupportedError(self.path / path, "it is a hard link, one of several names")
            directory = layer.lookup(path.rpartition("/")[0])
            if directory is None or not directory.attributes & DIRECTORY:
                raise NotSupportedError(self.path / path, "the layer has no such directory")

    def commit(self, time: int) -> None:
        if not self._is_open:
            raise InvalidStateError(self.path, "the update is over")
        try:
            self._settle()
            if self._changes or self._descriptors or self._records:
                self._replace_database(lambda connection, layer: self._apply(connection, layer, time))
                self._settle()
        except (OSError, FormatError, sqlite3.Error, MemoryError) as error:
            # The files of an update that was not committed are removed.
            with suppress(OSError, FormatError, sqlite3.Error, MemoryError):
                self._settle()
            raise translated(self.path, error, damage=CorruptLayerError) or error from error
        finally:
            self.close()

    def _apply(self, connection: sqlite3.Connection, layer: LayerDirectory, time: int) -> None:
        (last,) = connection.execute(
            "SELECT MAX((SELECT IFNULL(MAX(id), 0) FROM entries), (SELECT IFNULL(MAX(id), 0) FROM tombstones))"
        ).fetchone()
        directories = []
        for number, change in enumerate(self._changes):
            parent_path, _, name = change.path.rpartition("/")
            directory = layer.lookup(parent_path)
            assert directory is not None
            directories.append(directory)
            substitute = f"{SUBSTITUTE}{os.getpid()}-{number}"
            host = layer.host_path(directory) + b"/" + substitute.encode()
            self._host.write_bytes(host, change.data, flush=durability.is_wanted())
            row = layer.lookup(change.path)
            if row is not None:
                connection.execute(
                    "UPDATE entries SET size = ?, sha256 = ?, last_write_time = ?, change_time = ?, host_name = ?,"
                    " form = NULL WHERE id = ?",
                    (len(change.data), hashlib.sha256(change.data).digest(), time, time, substitute, row.id),
                )
                continue
            last += 1
            new = made_row(last, directory.id, name, time, change.data)._replace(
                origin=change.origin, host_name=substitute
            )
            connection.execute(INSERT_ENTRY, new)
            if change.origin is Origin.OWN:
                _secure(connection, new.id, change.security)
            if change.origin is Origin.OWN and directory.origin == Origin.IMPLIED:
                _secure(connection, directory.id, change.directory_security)
                # The directory of an exported entry must be exported, too.
                columns = {"origin": int(Origin.OWN), **info_columns(own_directory(time))}
                text = ", ".join(f"{column} = ?" for column in columns)
                connection.execute(f"UPDATE entries SET {text} WHERE id = ?", (*columns.values(), directory.id))
        self._sync({layer.host_path(directory) for directory in directories})
        for path, descriptor in self._descriptors.items():
            row = layer.lookup(path)
            assert row is not None
            connection.execute("INSERT OR IGNORE INTO security (descriptor) VALUES (?)", (descriptor,))
            connection.execute(
                "UPDATE entries SET security = (SELECT id FROM security WHERE descriptor = ?), change_time = ?,"
                " form = NULL WHERE id = ? OR link = ?",
                (descriptor, time, row.link or row.id, row.link or row.id),
            )
        connection.executemany(database.SET_RECORD, self._records.items())
        if self._changes or self._descriptors:
            connection.executemany("DELETE FROM layer WHERE key = ?", ((key,) for key in _OF_THE_TAR))

    def _settle(self) -> None:
        """Does steps 3 to 5, for this update or for an interrupted one."""
        with open_layer(self.path) as layer:
            waiting = [
                layer.row(columns)
                for columns in layer.query(
                    f"{SELECT_ENTRIES} WHERE host_name >= ? AND host_name < ?",
                    (SUBSTITUTE, SUBSTITUTE + "~"),
                )
            ]
            places = [(layer.host_path(row), layer.host_path(row._replace(host_name=None)), row.id) for row in waiting]
            directories = {target.rpartition(b"/")[0] for _, target, _ in places}
            for change in self._changes:
                row = layer.lookup(change.path.rpartition("/")[0])
                if row is not None:
                    directories.add(layer.host_path(row))
        # No file of the layer may be open any more: Windows would not replace it.
        for source, target, _ in places:
            self._host.replace_with_link(source, target)
        self._sync(directories)
        if places:
            self._replace_database(
                lambda connection, _: connection.executemany(
                    "UPDATE entries SET host_name = NULL WHERE id = ?", ((entry_id,) for *_, entry_id in places)
                )
            )
        for directory in directories:
            for name in self._host.names(directory):
                if name.startswith(SUBSTITUTE):
                    self._host.remove(directory + b"/" + os.fsencode(name))
        self._sync(directories)

    def _sync(self, directories: Iterable[bytes]) -> None:
        """Makes the names in directories safe on the disk, before a database refers to them."""
        if durability.is_wanted():
            for directory in directories:
                system.sync_directory(self._host.directory(directory))

    def _replace_database(self, change: Callable[[sqlite3.Connection, LayerDirectory], object]) -> None:
        """Puts a changed copy in the place of `layer.db`."""
        staged = StagedDatabase(self.path)
        try:
            with open_layer(self.path) as layer:
                layer.host.copy(database.FILE_NAME.encode(), os.fsencode(staged.database.name))
                migrate_copy(staged.database)
                connection = sqlite3.connect(staged.database, isolation_level=None)
                try:
                    connection.execute("PRAGMA journal_mode = OFF")
                    connection.execute("BEGIN")
                    change(connection, layer)
                    connection.execute("COMMIT")
                finally:
                    connection.close()
            staged.commit()
        except BaseException:
            staged.discard()
            raise


def _secure(connection: sqlite3.Connection, entry: int, descriptor: bytes | None) -> None:
    """Sets the security descriptor of a new entry."""
    if descriptor is None:
        return
    connection.execute("INSERT OR IGNORE INTO security (descriptor) VALUES (?)", (descriptor,))
    connection.execute(
        "UPDATE entries SET security = (SELECT id FROM security WHERE descriptor = ?) WHERE id = ?", (descriptor, entry)
    )
