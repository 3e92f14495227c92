"""`GuardedDatabase`: a connection to an SQLite file that may come from an untrusted source."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from wclayer.errors import FormatError

BUSY_SECONDS = 60
"""How long a connection waits for others that hold the lock of the database."""
_FILES = ("", "-wal", "-shm")
"""The suffixes of the names of a database's files."""
_JOURNAL = "-journal"
# A query may take 20 million steps of SQLite's virtual machine, and a million more for each 256 KiB of the database. A
# scan of every column takes one million steps for each MiB.
_STEPS = 1_000_000
_PATIENCE = 20
_BYTES = 256 << 10
_CACHE_KIB = 8 << 10


def database_uri(path: Path) -> str:
    r"""Returns the URI by which SQLite opens a file; without an authority, which `Path.as_uri` would make of
    `\\?\C:\x`."""
    return f"file:{quote(os.fsencode(os.path.abspath(path)))}"


class DatabaseError(FormatError):
    """A file is not a database of this project, or not a regular file."""


def check_shared_files(path: Path) -> None:
    """Checks the files of a database with a write-ahead log, before SQLite opens them by their names.

    Raises:
        DatabaseError: one of them is not a regular file, or there is a journal, which such a database never has.
    """
    for suffix in _FILES:
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(_status(f"{path}{suffix}").st_mode):
                raise DatabaseError(f"{path.name}{suffix} is not a regular file")
    if os.path.lexists(f"{path}{_JOURNAL}"):
        # SQLite would replay the journal, and delete the file that it names as its super-journal, wherever that is.
        raise DatabaseError(f"{path.name}{_JOURNAL} is there, which a database with a write-ahead log never has")


class GuardedDatabase(sqlite3.Connection):
    """A connection to an existing database, which may come from an untrusted source.

    It stops a query that runs longer than a database of that size can need: in a hostile file, pages can refer to each
    other so that a small file has endless rows.
    """

    work = 0
    """The steps that the running query has taken, in units of `_STEPS`."""

    def guard(self, path: Path, longest_value: int) -> None:
        """Sets the bounds of the queries.

        Args:
            path: the file of the database.
            longest_value: the maximum number of bytes of a value.
        """
        self._path = path
        self.set_progress_handler(self._count, _STEPS)
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest_value)
        self.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        try:
            for pragma in ("trusted_schema = OFF", "cell_size_check = ON", f"cache_size = -{_CACHE_KIB}"):
                self.execute(f"PRAGMA {pragma}")
        except UnicodeDecodeError:
            # SQLite reads the schema now; what it says of a damaged one quotes bytes of it.
            raise sqlite3.DatabaseError("malformed database schema") from None

    def size(self) -> int:
        """Returns the size of the database in bytes, its log included."""
        return size_of_database(self._path)

    def _count(self) -> bool:
        self.work += 1
        return self.is_exhausted()

    def is_exhausted(self) -> bool:
        """Returns whether the last query was stopped because it ran too long."""
        return self.work > _PATIENCE and self.work > _PATIENCE + self.size() // _BYTES


def size_of_database(path: Path) -> int:
    """Returns the size of a database in bytes, its log included."""
    size = 0
    for suffix in _FILES:
        with suppress(FileNotFoundError):
            size += _status(f"{path}{suffix}").st_size
    return size


def _status(path: str) -> os.stat_result:
    """Returns the status of a file of a database. On Windows, it tries again for a second while another connection
    removes the file."""
    for _ in range(100 if sys.platform == "win32" else 0):
        try:
            return os.lstat(path)
        except PermissionError:
            time.sleep(0.01)
    return os.lstat(path)
