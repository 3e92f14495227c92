"""`Names`: the names of the images in a store, and the manifest or index that each one means."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wclayer.errors import (
    CorruptLayerError,
    FormatError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
    detail_of,
    errors_at,
)
from wclayer.host import durability
from wclayer.images.descriptor import INDEX_TYPES, MANIFEST_TYPES, Descriptor, check_digest
from wclayer.images.reference import parse_reference
from wclayer.images.store.folder import DATABASE, StoreFolder
from wclayer.images.store.schema import APPLICATION_ID, VERSION, declared
from wclayer.layers.directory.queries import Answer, query_error
from wclayer.layers.guarded_database import (
    BUSY_SECONDS,
    DatabaseError,
    GuardedDatabase,
    check_shared_files,
    database_uri,
)

_LONGEST_VALUE = 64 << 10
_MAX_SIZE = (1 << 63) - 1
_SELECT = "SELECT name, media_type, digest, size, tagged FROM names ORDER BY name"
_PUT = "INSERT OR REPLACE INTO names (name, media_type, digest, size, tagged) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Name:
    """A name in a store.

    Attributes:
        text: the name in familiar form ("localhost:5000/app:1"); the digest itself for an image that is kept without a
            name.
        descriptor: the manifest or the index that it means.
        tagged: when it got this meaning, in seconds since 1970.
    """

    text: str
    descriptor: Descriptor
    tagged: int


class Names:
    """The names in the database of a store. Each call is one transaction.

    Args:
        folder: the folder of the store.
    """

    def __init__(self, folder: StoreFolder) -> None:
        self._folder = folder

    def all(self) -> list[Name]:
        """Returns all names, sorted by their text; an empty list if there is no store.

        Raises:
            CorruptLayerError: the database, or a row in it, is damaged.
            NotSupportedError: a newer wclayer made the store.
        """
        if not self._folder.exists:
            return []
        with self._connection() as ask:
            return [self._checked(row) for row in ask(_SELECT)]

    def put(self, text: str, descriptor: Descriptor) -> None:
        """Gives a name a meaning, which is safe on the disk afterwards.

        Args:
            text: the name in familiar form, or the digest of the descriptor.
            descriptor: the manifest or the index, which is in the store.
        """
        self._folder.make()
        row = (text, descriptor.media_type, descriptor.digest, descriptor.size, int(time.time()))
        self._checked(row)
        with self._connection(writes=True) as ask:
            ask(_PUT, row)

    def remove(self, text: str) -> None:
        """Removes a name. What it means stays in the store until it is pruned.

        Raises:
            PathNotFoundError: the name is not in the store.
        """
        with self._connection(writes=True) as ask:
            if not ask("DELETE FROM names WHERE name = ? RETURNING name", (text,)).fetchall():
                raise PathNotFoundError(text, f"is not in the store {self._folder.path}")

    @contextmanager
    def _connection(self, *, writes: bool = False) -> Iterator[_Ask]:
        path = self._folder.database
        with errors_at(path, damage=CorruptLayerError):
            if not self._folder.exists:
                raise PathNotFoundError(self._folder.path, "there is no store here; `wclayer pull` makes one")
            check_shared_files(path)
            if writes:
                self._folder.check_writable()
            # Also a reader must be able to lock a database that others change; where it cannot, nobody changes it.
            is_shared = writes or os.access(path.parent, os.W_OK)
            parameters = "mode=rw" if is_shared else "immutable=1"
            connection = sqlite3.connect(
                f"{database_uri(path)}?{parameters}", uri=True, isolation_level=None, check_same_thread=False,
                timeout=BUSY_SECONDS, factory=GuardedDatabase,
            )  # fmt: skip
            ask = _Ask(self._folder, connection)
            try:
                connection.guard(path, _LONGEST_VALUE)
                self._check_schema(ask)
                if is_shared and ask("PRAGMA journal_mode").fetchone() != ("wal",):
                    raise DatabaseError("has no write-ahead log, as the database of a store has")
                # Without a wait for the disk, a power cut may undo the last changes, and damages nothing.
                ask(f"PRAGMA synchronous = {'FULL' if durability.is_wanted() else 'NORMAL'}")
                yield ask
            finally:
                connection.close()

    def _check_schema(self, ask: _Ask) -> None:
        (application,) = ask("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise DatabaseError(f"has application id {application:#x}; expected {APPLICATION_ID:#x}")
        (version,) = ask("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise NotSupportedError(
                self._folder.path,
                f"{DATABASE} has version {version} of the schema, and this wclayer reads those up to {VERSION}:"
                " use the wclayer that made the store, or a newer one",
            )
        found = ask("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 100").fetchall()
        for what in set(found) ^ declared():
            raise DatabaseError(f"{what[0]} {what[1]!r} is not what the database of a store has")

    def _checked(self, row: Sequence[Any]) -> Name:
        """Returns the name of a row whose values are possible."""
        text, media_type, digest, size, tagged = row
        try:
            if not isinstance(text, str) or not isinstance(media_type, str) or not isinstance(digest, str):
                raise FormatError("a value is not text")
            check_digest(digest, "digest")
            if media_type not in INDEX_TYPES | MANIFEST_TYPES:
                raise FormatError(f"media_type: {media_type[:80]!r} is neither a manifest nor an index")
            if not isinstance(size, int) or not 0 <= size <= _MAX_SIZE:
                raise FormatError(f"size: {str(size)[:30]}")
            if not isinstance(tagged, int):
                raise FormatError(f"tagged: {str(tagged)[:30]}")
            if text != digest and str(parse_reference(text)) != text:
                raise FormatError("it is not the name of an image in familiar form")
        except (FormatError, LayerError) as error:
            raise CorruptLayerError(self._folder.database, f"name {str(text)[:80]!r}: {detail_of(error)}") from None
        return Name(text, Descriptor(media_type, digest, size), tagged)


class _Ask:
    """Carries out statements on the database of a store."""

    def __init__(self, folder: StoreFolder, connection: GuardedDatabase) -> None:
        self._path = folder.database
        self._connection = connection

    def __call__(self, sql: str, arguments: Sequence[object] = ()) -> Answer:
        self._connection.work = 0
        try:
            return Answer(self._path, self._connection.execute(sql, arguments))
        except (sqlite3.Error, UnicodeError, MemoryError) as error:
            raise query_error(self._path, self._connection, error) from error
