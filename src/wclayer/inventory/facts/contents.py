"""`contents.db`: what facts keep of the contents of files: small documents, readings of large ones, their paths.

A *reading* is what a reader found in a file, as a JSON object. Contents and readings are kept once for each SHA-256.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from wclayer.errors import CorruptLayerError, FormatError, FormatLimitError, errors_at, limit_hint
from wclayer.images.json_view import parse_json
from wclayer.inventory.subject.readings import MAX_RECORD, JsonObject
from wclayer.layers.directory.database import from_column, to_column
from wclayer.layers.directory.queries import Answer, query_error
from wclayer.layers.guarded_database import DatabaseError, GuardedDatabase, database_uri, size_of_database
from wclayer.model import limits_in_use
from wclayer.win32.names import illegal_reason

CONTENTS_FILE = "contents.db"
_MAGIC = b"SQLite format 3\0"
_APPLICATION_ID = 0x57434643
"""`WCFC` in the SQLite header: it identifies the format."""
_TABLES = """
CREATE TABLE contents (
    sha256 BLOB CHECK (sha256 >= x''),
    sequence INTEGER CHECK (sequence BETWEEN 0 AND 9223372036854775807),
    data BLOB NOT NULL CHECK (data >= x''),
    PRIMARY KEY (sha256, sequence)
) WITHOUT ROWID;

CREATE TABLE readings (
    reader TEXT CHECK (reader >= ''),
    sha256 BLOB CHECK (sha256 >= x''),
    reading TEXT NOT NULL CHECK (reading >= ''),
    PRIMARY KEY (reader, sha256)
) WITHOUT ROWID;

CREATE TABLE wanted (
    id INTEGER PRIMARY KEY,
    path NOT NULL CHECK (path >= '')
);
"""
_SELECT_READING = "SELECT reading FROM readings WHERE reader = ? AND sha256 = ?"
_PAGE, _CACHE = 4096, 4 << 20
_CONTENTS_PIECE = 1 << 20
_LONGEST_VALUE = 2 * MAX_RECORD


@functools.cache
def _declared() -> frozenset[tuple[str, str, str, str | None]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_TABLES)
        return frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


class ContentsWriter:
    """A new `contents.db` in a folder. Nothing is safe on disk; whoever makes the folder visible sees to that.

    Args:
        folder: the folder.
        max_size: the most bytes that are kept, here and in other files of the folder (`count`).
    """

    def __init__(self, folder: Path, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        self._database = sqlite3.connect(folder / CONTENTS_FILE, isolation_level=None)
        try:
            for pragma in (
                f"page_size = {_PAGE}", "journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE",
                f"cache_size = -{_CACHE >> 10}", f"application_id = {_APPLICATION_ID}",
            ):  # fmt: skip
                self._database.execute(f"PRAGMA {pragma}")
            self._database.executescript(_TABLES)
            self._database.execute("PRAGMA temp_store = FILE")
            self._database.execute("CREATE TEMP TABLE missed (size INTEGER, sha256 BLOB, want TEXT, place BLOB)")
            self._database.execute("CREATE INDEX temp.missed_by_file ON missed (size, sha256)")
            self._database.execute("BEGIN")
        except BaseException:
            self._database.close()
            raise

    def has(self, sha256: bytes) -> bool:
        """Returns whether the contents with that SHA-256 are kept."""
        return self._database.execute("SELECT 1 FROM contents WHERE sha256 = ?", (sha256,)).fetchone() is not None

    def keep(self, sha256: bytes, file: BinaryIO) -> None:
        """Keeps the contents of a file, which were not kept before.

        Args:
            sha256: their SHA-256.
            file: the file, which is read from its position to its end.

        Raises:
            FormatLimitError: more would be kept than is accepted.
        """
        for number in count():
            piece = file.read(_CONTENTS_PIECE)
            if number and not piece:
                return
            self.count(len(piece))
            self._database.execute(
                "INSERT INTO contents (sha256, sequence, data) VALUES (?, ?, ?)", (sha256, number, piece)
            )

    def reading(self, reader: str, sha256: bytes) -> JsonObject | None:
        """Returns what a reader found in the contents with that SHA-256; None if it did not read them yet."""
        row = self._database.execute(_SELECT_READING, (reader, sha256)).fetchone()
        return None if row is None else json.loads(row[0])

    def note(self, reader: str, sha256: bytes, reading: JsonObject) -> None:
        """Keeps what a reader found in a file, which it did not read before, of at most `MAX_RECORD` bytes.

        Raises:
            FormatLimitError: more would be kept than is accepted.
        """
        text = json.dumps(reading)
        self.count(len(text))
        self._database.execute(
            "INSERT INTO readings (reader, sha256, reading) VALUES (?, ?, ?)", (reader, sha256, text)
        )

    def want(self, path: str) -> None:
        """Records that items of an inventory may come from the file at a path of the layer."""
        self._database.execute("INSERT INTO wanted (path) VALUES (?)", (to_column(path),))

    def count(self, size: int) -> None:
        """Counts bytes that are kept, here or in other files of the folder.

        Raises:
            FormatLimitError: they are more than is accepted.
        """
        self._size += size
        if self._size > self._max_size:
            raise FormatLimitError(
                f"its facts would have more than {self._max_size} bytes of contents {limit_hint('facts_size')}"
            )

    # What is wanted of files that were read before.

    def miss(self, sha256: bytes, size: int, want: str, place: bytes = b"") -> None:
        """Records that something is wanted of the contents with that SHA-256, which are not at hand now.

        Args:
            sha256: their SHA-256.
            size: their length in bytes.
            want: what is wanted.
            place: where it is wanted, if that matters.
        """
        self._database.execute("INSERT INTO temp.missed VALUES (?, ?, ?, ?)", (size, sha256, want, place))

    @property
    def misses_any(self) -> bool:
        """True if `miss` was called."""
        return self._database.execute("SELECT 1 FROM temp.missed").fetchone() is not None

    def misses_size(self, size: int) -> bool:
        """Returns whether something is wanted of contents with that length."""
        return self._database.execute("SELECT 1 FROM temp.missed WHERE size = ?", (size,)).fetchone() is not None

    def found(self, sha256: bytes, size: int) -> list[tuple[str, bytes]]:
        """Returns what is wanted, and where, of contents that are at hand now. It is missed no more."""
        of_file = "WHERE size = ? AND sha256 = ?"
        rows = self._database.execute(f"SELECT DISTINCT want, place FROM temp.missed {of_file}", (size, sha256))
        found = rows.fetchall()
        self._database.execute(f"DELETE FROM temp.missed {of_file}", (size, sha256))
        return found

    # The end.

    def commit(self) -> None:
        """Completes the database and closes it."""
        self._database.execute("COMMIT")
        self._database.close()

    def close(self) -> None:
        """Closes the database. Without an earlier `commit` it must be discarded."""
        with suppress(sqlite3.Error):
            self._database.close()


class Contents:
    """The `contents.db` of an unpacked facts file, open for reading: a context manager. The file may be hostile.

    Args:
        folder: the folder of the unpacked facts file.

    Raises:
        CorruptLayerError: the database is damaged, or missing.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CONTENTS_FILE
        with errors_at(self._path, damage=CorruptLayerError):
            self._database = _open(self._path)

    def data(self, sha256: bytes) -> bytes | None:
        """Returns the contents with that SHA-256; None if they are not kept.

        Raises:
            CorruptLayerError: the database is damaged.
        """
        pieces: list[bytes] = []
        left = limits_in_use().hive_size
        rows = self._query("SELECT sequence, data FROM contents WHERE sha256 = ? ORDER BY sequence", (sha256,))
        for sequence, data in rows:
            if sequence != len(pieces) or not isinstance(data, bytes):
                raise self._damaged(f"the contents {sha256.hex()}: piece {len(pieces)} is not there")
            left -= len(data)
            if left < 0:
                raise self._damaged(
                    f"the contents {sha256.hex()} are larger than they can be {limit_hint('hive_size')}"
                )
            pieces.append(data)
        if not pieces:
            return None
        found = b"".join(pieces)
        if hashlib.sha256(found).digest() != sha256:
            raise self._damaged(f"the contents {sha256.hex()} have another SHA-256")
        return found

    def reading(self, reader: str, sha256: bytes) -> JsonObject | None:
        """Returns what a reader found in the contents with that SHA-256; None if it did not read them.

        Raises:
            CorruptLayerError: the database is damaged. The types of the values in the object are not checked.
        """
        row = self._query(_SELECT_READING, (reader, sha256)).fetchone()
        if row is None:
            return None
        (text,) = row
        if not isinstance(text, str) or len(text) > MAX_RECORD:
            raise self._damaged(f"the reading of {sha256.hex()} is not a text")
        try:
            return parse_json(text.encode(), f"the reading of {sha256.hex()}").record
        except (FormatError, UnicodeError) as error:
            raise self._damaged(str(error)) from None

    def wanted(self) -> Iterator[str]:
        """Yields the paths in the layer, such as `Files/a/b.json`, of the files from which items may come.

        Raises:
            CorruptLayerError: the database is damaged.
        """
        left = limits_in_use().entries
        for (value,) in self._query("SELECT path FROM wanted ORDER BY id"):
            left -= 1
            if left < 0:
                raise self._damaged(f"more than {limits_in_use().entries} paths {limit_hint('entries')}")
            yield self._checked_path(value)

    def _checked_path(self, value: object) -> str:
        try:
            path = from_column(value) if isinstance(value, (str, bytes)) else ""
        except UnicodeDecodeError:
            path = ""
        if not path or len(path) > limits_in_use().path_length or any(map(illegal_reason, path.split("/"))):
            raise self._damaged(f"{value!r:.300} is not a path of a layer")
        return path

    def _query(self, sql: str, arguments: tuple[object, ...] = ()) -> Answer:
        self._database.work = 0
        try:
            return Answer(self._path, self._database.execute(sql, arguments))
        except (sqlite3.Error, UnicodeError, MemoryError) as error:
            raise query_error(self._path, self._database, error) from error

    def _damaged(self, problem: str) -> CorruptLayerError:
        return CorruptLayerError(self._path, problem)

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _open(path: Path) -> GuardedDatabase:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise DatabaseError(f"{path.name} is not a regular file")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DatabaseError(f"{path.name} is not a database")
    connection = sqlite3.connect(
        f"{database_uri(path)}?immutable=1", uri=True, isolation_level=None, check_same_thread=False,
        factory=GuardedDatabase,
    )  # fmt: skip
    try:
        connection.guard(path, min(_LONGEST_VALUE, size_of_database(path)))
        if connection.execute("PRAGMA application_id").fetchone() != (_APPLICATION_ID,):
            raise DatabaseError(f"{path.name} is not a database of contents")
        found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 100").fetchall()
        for what in set(found) ^ _declared():
            raise DatabaseError(f"{path.name}: {what[0]} {what[1]!r} is not what a database of contents has")
    except UnicodeError as error:
        connection.close()
        raise DatabaseError(f"{path.name}: its schema is damaged: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection
