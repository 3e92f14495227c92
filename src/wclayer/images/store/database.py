"""`opened`: a connection to `store.db`, the database of a store (docs/formats/store.md)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wclayer.errors import CorruptLayerError, NotSupportedError, PathNotFoundError, errors_at
from wclayer.host import durability
from wclayer.images.store.folder import DATABASE, StoreFolder
from wclayer.images.store.schema import APPLICATION_ID, OLDEST_VERSION, REPOSITORIES, VERSION, declared
from wclayer.layers.directory.queries import Answer, query_error
from wclayer.layers.guarded_database import (
    BUSY_SECONDS,
    DatabaseError,
    GuardedDatabase,
    check_shared_files,
    database_uri,
)

_LONGEST_VALUE = 64 << 10


@contextmanager
def opened(folder: StoreFolder, *, writes: bool = False) -> Iterator[Database]:
    """Opens the database of a store inside a context, and checks its schema.

    Args:
        folder: the folder of the store.
        writes: whether it will be changed.

    Raises:
        PathNotFoundError: there is no store.
        CorruptLayerError: it is not the database of a store, or damaged. Errors in the context become one, too.
        NotSupportedError: a newer wclayer made the store.
        AccessDeniedError: the user may not change the store.
    """
    path = folder.database
    with errors_at(path, damage=CorruptLayerError):
        if not folder.exists:
            raise PathNotFoundError(folder.path, "there is no store here; `wclayer pull` makes one")
        check_shared_files(path)
        if writes:
            folder.check_writable()
        # Also a reader must be able to lock a database that others change; where it cannot, nobody changes it.
        is_shared = writes or os.access(path.parent, os.W_OK)
        parameters = "mode=rw" if is_shared else "immutable=1"
        connection = sqlite3.connect(
            f"{database_uri(path)}?{parameters}", uri=True, isolation_level=None, check_same_thread=False,
            timeout=BUSY_SECONDS, factory=GuardedDatabase,
        )  # fmt: skip
        database = Database(folder, connection)
        try:
            connection.guard(path, _LONGEST_VALUE)
            database.check()
            if is_shared and database("PRAGMA journal_mode").fetchone() != ("wal",):
                raise DatabaseError("has no write-ahead log, as the database of a store has")
            # Without a wait for the disk, a power cut may undo the last changes, and damages nothing.
            database(f"PRAGMA synchronous = {'FULL' if durability.is_wanted() else 'NORMAL'}")
            yield database
        finally:
            connection.close()


class Database:
    """Carries out statements on the database of a store.

    Attributes:
        version: that of the schema.
    """

    def __init__(self, folder: StoreFolder, connection: GuardedDatabase) -> None:
        self._folder = folder
        self._path = folder.database
        self._connection = connection
        self.version = 0

    def __call__(self, sql: str, arguments: Sequence[object] = ()) -> Answer:
        self._connection.work = 0
        try:
            return Answer(self._path, self._connection.execute(sql, arguments))
        except (sqlite3.Error, UnicodeError, MemoryError) as error:
            raise query_error(self._path, self._connection, error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Makes the changes in its context together, or, after an error, none of them."""
        self("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            # SQLite has rolled back some errors already.
            if self._connection.in_transaction:
                self("ROLLBACK")
            raise
        self("COMMIT")

    def check(self) -> None:
        """Checks that the database has the schema of a store."""
        (application,) = self("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise DatabaseError(f"has application id {application:#x}; expected {APPLICATION_ID:#x}")
        (self.version,) = self("PRAGMA user_version").fetchone()
        if self.version > VERSION:
            raise NotSupportedError(
                self._folder.path,
                f"{DATABASE} has version {self.version} of the schema, and this wclayer reads those up to {VERSION}:"
                " use the wclayer that made the store, or a newer one",
            )
        if self.version < OLDEST_VERSION:
            raise DatabaseError(f"has version {self.version} of the schema, which no store has")
        found = self("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 100").fetchall()
        for what in set(found) ^ declared(self.version):
            raise DatabaseError(f"{what[0]} {what[1]!r} is not what the database of a store has")

    def upgrade(self) -> None:
        """Gives an older database the tables that it lacks, inside a transaction."""
        # Another process may have done it since `check`.
        (self.version,) = self("PRAGMA user_version").fetchone()
        if self.version == OLDEST_VERSION:
            self(REPOSITORIES)
            self(f"PRAGMA user_version = {VERSION}")
            self.version = VERSION
