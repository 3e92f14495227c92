"""The records of a layer that is being written: `layer.db`, filled in batches."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from wclayer.layers.cache import Cache
from wclayer.layers.directory import database
from wclayer.layers.directory.database import (
    SELECT_ENTRIES,
    EntryRow,
    from_column,
    host_name,
    to_column,
)
from wclayer.layers.directory.descriptors import Descriptors
from wclayer.layers.directory.host_files import ContentHash
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.streams import StreamRecorder, copy_streams
from wclayer.model import Entry, Limits, limits_in_use
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.backup import StreamId

_BATCH = 1000
_BATCH_BYTES = 4 << 20
_BATCHES = 3
"""The number of batches that wait: the contents of the files in the last ones may still be on their way."""
_KNOWN_PATH_BYTES = 16 << 20
_SHA256 = EntryRow._fields.index("sha256")
_LINK = EntryRow._fields.index("link")
_ORDINARY_REST = tuple(EntryRow._field_defaults.values())
OrdinaryRow = tuple[int, int, str | bytes, str | bytes, int, int, int, int, int, int | None, int]
"""The first columns of an `EntryRow`, up to the digest. The row of a plain file has no others."""


class DirectoryPlace(NamedTuple):
    """The location of a directory: its id, its path in the layer, its path on the host."""

    id: int
    path: str
    host: bytes

    def host_child(self, name: bytes) -> bytes:
        """Returns the host path of a name in the directory."""
        return self.host + b"/" + name if self.host else name


class _Batch:
    """Rows that wait to be written."""

    __slots__ = ("contents", "places", "rows")

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        """The columns of `EntryRow`s."""
        self.contents: list[ContentHash | None] = []
        """The hash of the contents of each row's file, which takes the place of its digest."""
        self.places: dict[tuple[int, str | bytes], int] = {}
        """The index of each row, by its parent and key."""


_TOP = DirectoryPlace(database.ROOT, "", b"")


class LayerRecords:
    """The tables of a new `layer.db` at `path`; nothing is safe on disk before `commit`.

    Args:
        keeps_streams: False if of the alternate streams only sizes and digests are recorded.
    """

    def __init__(self, path: Path, limits: Limits | None = None, *, keeps_streams: bool = True) -> None:
        self._keeps_streams = keeps_streams
        self._database = database.create(path)
        self._waiting: deque[_Batch] = deque([_Batch()])
        self._descriptors = Descriptors(self._database, (limits or limits_in_use()).all_security_size)
        self._last_id = database.ROOT
        self._last_stream = 0
        self._rows_size = 0
        self._directories: Cache[str, DirectoryPlace] = Cache(_KNOWN_PATH_BYTES)
        self._expects_removals = False

    def new_id(self) -> int:
        """Returns the id of the next entry. Ids follow the original order of the entries."""
        self._last_id += 1
        return self._last_id

    @property
    def last_id(self) -> int:
        """The id of the last entry."""
        return self._last_id

    @property
    def last_stream(self) -> int:
        """The id of the last stream; 0 if there is none."""
        return self._last_stream

    def record(self, key: str, value: str | int | bytes | None) -> None:
        """Stores a record about the layer as a whole."""
        self._database.execute(database.SET_RECORD, (key, value))

    def add(self, row: EntryRow, content: ContentHash | None = None) -> None:
        """Adds a row.

        Args:
            row: the row.
            content: the hash of its file's contents, which becomes its digest.
        """
        for value in (row.eas, row.reparse, row.link_target, row.spelling, row.form):
            if value is not None:
                self._rows_size += len(value)
        self._add(row, content)
        if self._rows_size >= _BATCH_BYTES:
            self.flush()

    def add_ordinary(self, row: OrdinaryRow, content: ContentHash) -> None:
        """Adds the row of a plain file; its digest will be that of the contents."""
        self._add((*row, None, *_ORDINARY_REST), content)

    def _add(self, row: tuple[Any, ...], content: ContentHash | None) -> None:
        batch = self._waiting[-1]
        batch.places[row[1], row[3]] = len(batch.rows)
        batch.rows.append(row)
        batch.contents.append(content)
        if len(batch.rows) >= _BATCH:
            self._waiting.append(_Batch())
            if len(self._waiting) > _BATCHES:
                self._write(self._waiting.popleft())

    def add_tombstone(self, entry_id: int, entry: Entry, key: str) -> None:
        self._database.execute(
            "INSERT INTO tombstones (id, path, key, form) VALUES (?, ?, ?, ?)",
            (entry_id, to_column(entry.name), to_column(key), entry.header_delta),
        )

    def flush(self) -> None:
        """Writes the pending rows into the database, when the contents of their files are hashed."""
        while self._waiting:
            self._write(self._waiting.popleft())
        self._waiting.append(_Batch())
        self._rows_size = 0

    def _write(self, batch: _Batch) -> None:
        rows = [
            row if content is None else (*row[:_SHA256], content.digest(), *row[_SHA256 + 1 :])
            for row, content in zip(batch.rows, batch.contents, strict=True)
        ]
        if rows:
            self._database.executemany(database.INSERT_ENTRY, rows)
        if self._expects_removals:
            links = [(row[_LINK], row[0]) for row in rows if row[_LINK] is not None]
            self._database.executemany("INSERT INTO temp.names (link, id) VALUES (?, ?)", links)

    def security_id(self, descriptor: bytes | None) -> int | None:
        """Returns the number of a descriptor, which is added if it is new."""
        return self._descriptors.number(descriptor)

    # Finding written entries.

    def child(self, parent_id: int, key: str) -> EntryRow | None:
        """Returns the entry with that parent and name key, or None. If its file is not hashed yet, it has no digest."""
        return self.child_and_content(parent_id, key)[0]

    def child_and_content(self, parent_id: int, key: str) -> tuple[EntryRow | None, ContentHash | None]:
        """Returns an entry as `child` does, and the hash of its file's contents if that is not known yet."""
        place = parent_id, to_column(key)
        for batch in self._waiting:
            index = batch.places.get(place)
            if index is not None:
                return EntryRow(*batch.rows[index]), batch.contents[index]
        row = self._database.execute(f"{SELECT_ENTRIES} WHERE parent = ? AND key = ?", place).fetchone()
        return (EntryRow(*row) if row else None), None

    def locate(self, path_key: str) -> EntryRow | None:
        """Returns the entry at a path key, or None."""
        row_id = database.ROOT
        row = None
        for part in path_key.split("/"):
            row = self.child(row_id, part)
            if row is None:
                return None
            row_id = row.id
        return row

    def known_directory(self, path_key: str) -> DirectoryPlace | None:
        """Returns the location of a directory if it is known without a query, else None."""
        return self._directories.get(path_key) if path_key else _TOP

    def directory(self, path_key: str) -> DirectoryPlace | None:
        """Returns the location of the directory with that path key, or None if it was not written."""
        missing = []
        while (place := self.known_directory(path_key)) is None:
            path_key, _, last = path_key.rpartition("/")
            missing.append(last)
        for last in reversed(missing):
            row = self.child(place.id, last)
            if row is None:
                return None
            name = from_column(row.name)
            path = f"{place.path}/{name}" if place.path else name
            place = DirectoryPlace(row.id, path, place.host_child(host_name(row)))
            path_key = f"{path_key}/{last}" if path_key else last
            self.remember_directory(path_key, place)
        return place

    def remember_directory(self, path_key: str, place: DirectoryPlace) -> None:
        """Remembers the location of a directory, so that `directory` needs no query."""
        self._directories.keep(path_key, place, len(path_key) + len(place.path) + len(place.host))

    def forget_directories(self) -> None:
        """Forgets the locations of directories, after they have changed."""
        self._directories.forget()

    def directories(self, *, besides: int) -> Iterator[tuple[bytes, EntryRow]]:
        """Yields the host path and row of every directory whose origin is not `besides`."""
        rows = self._database.execute(f"{SELECT_ENTRIES} WHERE attributes & ? AND origin <> ?", (DIRECTORY, besides))
        known: Cache[int, bytes] = Cache(_KNOWN_PATH_BYTES)
        for row in map(EntryRow._make, rows):
            above = [row]
            while above[-1].parent != database.ROOT and above[-1].parent not in known:
                (parent,) = self._database.execute(f"{SELECT_ENTRIES} WHERE id = ?", (above[-1].parent,))
                above.append(EntryRow._make(parent))
            path = known.get(above[-1].parent, b"")
            for at in reversed(above):
                path = b"%s/%s" % (path, host_name(at)) if path else host_name(at)
                known.keep(at.id, path, len(path))
            yield path, row

    # Changing written entries.

    def replace_directory(self, old_id: int, new_id: int) -> None:
        """Removes the row of the directory `old_id` and makes its children those of `new_id`."""
        self.flush()
        self._remove_streams(old_id)
        self._database.execute("DELETE FROM entries WHERE id = ?", (old_id,))
        self._database.execute("UPDATE entries SET parent = ? WHERE parent = ?", (new_id, old_id))
        self.forget_directories()

    def expect_removals(self) -> None:
        """Prepares for the removal of entries that are added from now on, by `remove`."""
        self.flush()
        self._expects_removals = True
        # A table of the names that are links, not an index of `entries`, which a finished layer does not have.
        self._database.execute(
            "CREATE TEMP TABLE names (link INTEGER, id INTEGER, PRIMARY KEY (link, id)) WITHOUT ROWID"
        )

    def remove(self, row: EntryRow) -> None:
        """Removes an entry that was added after `expect_removals`, and everything below it.

        The other names of a removed file stay links of each other, and the first of them gets the streams.

        Raises:
            ValueError: the entry contains entries that are the layer's own.
        """
        self.flush()
        below = [row.id]
        for entry_id in below:
            for child, origin in self._database.execute("SELECT id, origin FROM entries WHERE parent = ?", (entry_id,)):
                if origin == database.Origin.OWN:
                    raise ValueError("the layer itself has entries below it")
                below.append(child)
        for entry_id in below:
            self._remove_one(entry_id)
        if row.attributes & DIRECTORY:
            self.forget_directories()

    def _remove_one(self, entry_id: int) -> None:
        execute = self._database.execute
        streams, link = execute("SELECT streams, link FROM entries WHERE id = ?", (entry_id,)).fetchone()
        execute("DELETE FROM entries WHERE id = ?", (entry_id,))
        if link is not None:
            execute("DELETE FROM temp.names WHERE link = ? AND id = ?", (link, entry_id))
            return
        names = [name for (name,) in execute("SELECT id FROM temp.names WHERE link = ? ORDER BY id", (entry_id,))]
        if not names:
            self._remove_streams(entry_id)
            return
        heir, *others = names
        execute("DELETE FROM temp.names WHERE link = ?", (entry_id,))
        execute("UPDATE streams SET entry = ? WHERE entry = ?", (heir, entry_id))
        execute("UPDATE entries SET link = NULL, streams = ? WHERE id = ?", (streams, heir))
        for other in others:
            execute("UPDATE entries SET link = ? WHERE id = ?", (heir, other))
            execute("INSERT INTO temp.names (link, id) VALUES (?, ?)", (heir, other))

    def _remove_streams(self, entry_id: int) -> None:
        execute = self._database.execute
        execute("DELETE FROM stream_data WHERE stream IN (SELECT id FROM streams WHERE entry = ?)", (entry_id,))
        execute("DELETE FROM streams WHERE entry = ?", (entry_id,))

    # Streams.

    def open_stream(
        self, entry_id: int, stream_id: int, attributes: int, name: str, form: bytes | None = None
    ) -> StreamRecorder:
        """Starts a stream of an entry."""
        self._last_stream += 1
        return StreamRecorder(
            self._database,
            self._last_stream,
            (entry_id, stream_id, attributes, to_column(name)),
            form,
            keeps_data=self._keeps_streams or stream_id != StreamId.ALTERNATE_DATA,
        )

    def copy_streams(self, source: LayerDirectory, row: EntryRow, entry_id: int) -> None:
        """Copies the streams of a parent's entry to an entry of this layer."""
        self._last_stream = copy_streams(source, row, self._database, entry_id, self._last_stream)

    # Links that can be made only at the end. There may be very many, so the database keeps them until then.

    def postpone_link(self, source: bytes, target: bytes) -> None:
        self._database.execute("INSERT INTO temp.links (source, target) VALUES (?, ?)", (source, target))

    def postponed_links(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self._database.execute("SELECT source, target FROM temp.links ORDER BY rowid")

    # The end.

    def query(self, sql: str, arguments: Sequence[object] = ()) -> sqlite3.Cursor:
        """Returns the answer to a query of everything that was added."""
        self.flush()
        return self._database.execute(sql, arguments)

    def commit(self) -> None:
        """Writes all pending rows and commits. The database can still be read."""
        self.flush()
        self._database.execute("COMMIT")

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._database.close()
