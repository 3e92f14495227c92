"""What a survey notes of single files, in a temporary database of the host: they may be too many for the memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from wclayer.layers.directory.database import from_column, to_column
from wclayer.survey.model import DuplicateContents

_PATHS = 20
"""How many of the files with the same contents are named."""
_BATCH = 1_000

_TABLES = """
CREATE TABLE contents (digest BLOB, size INTEGER, path);
CREATE TABLE linked (layer INTEGER, entry INTEGER, PRIMARY KEY (layer, entry)) WITHOUT ROWID;
"""


class Notes:
    """The contents of the visible files, and the files that other layers have names of. A context manager."""

    def __init__(self) -> None:
        # A database without a name is a temporary file, which SQLite removes; it is in memory while it is small.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        try:
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute("PRAGMA cache_size = -8192")
            self._database.executescript(_TABLES)
        except BaseException:
            self._database.close()
            raise
        self._batch: list[tuple[bytes, int, str | bytes]] = []
        self._has_linked = False

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def note_contents(self, digest: bytes, size: int, path: str) -> None:
        """Notes the contents of a visible file.

        Args:
            digest: their SHA-256.
            size: their bytes.
            path: the path of the file.
        """
        self._batch.append((digest, size, to_column(path)))
        if len(self._batch) >= _BATCH:
            self._write()

    def _write(self) -> None:
        self._database.executemany("INSERT INTO contents VALUES (?, ?, ?)", self._batch)
        self._batch.clear()

    def note_linked(self, layer: int, entry: int) -> None:
        """Notes that a visible name in a nearer layer is one of the file with that id in a layer."""
        self._database.execute("INSERT OR IGNORE INTO linked VALUES (?, ?)", (layer, entry))
        self._has_linked = True

    def is_linked(self, layer: int, entry: int) -> bool:
        """Returns whether that was noted of a file."""
        if not self._has_linked:
            return False
        found = self._database.execute("SELECT 1 FROM linked WHERE layer = ? AND entry = ?", (layer, entry))
        return found.fetchone() is not None

    def count_duplicates(self) -> tuple[int, int]:
        """Returns the number of the files whose contents another file has, without one of each contents, and their
        bytes."""
        self._write()
        self._database.execute("CREATE INDEX IF NOT EXISTS by_digest ON contents (digest, size)")
        files, size = self._database.execute(
            "SELECT IFNULL(SUM(n - 1), 0), IFNULL(SUM((n - 1) * size), 0) FROM"
            " (SELECT COUNT(1) AS n, size FROM contents GROUP BY digest, size HAVING n > 1)"
        ).fetchone()
        return files, size

    def duplicates(self, count: int) -> Iterator[DuplicateContents]:
        """Yields the contents that several files have, those that waste most first.

        Args:
            count: how many at most.
        """
        found = self._database.execute(
            "SELECT digest, size, COUNT(1) AS n, MIN(rowid) AS first FROM contents GROUP BY digest, size HAVING n > 1"
            " ORDER BY (n - 1) * size DESC, first LIMIT ?",
            (count,),
        )
        for digest, size, number, _ in found:
            paths = self._database.execute(
                "SELECT path FROM contents WHERE digest = ? AND size = ? ORDER BY rowid LIMIT ?", (digest, size, _PATHS)
            )
            yield DuplicateContents(digest.hex(), size, number, tuple(from_column(path) for (path,) in paths))
