"""A layer directory, opened: its records, its entries by path, its contents."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from wclayer._types import StrPath
from wclayer.errors import (
    IN_THE_WAY,
    CorruptLayerError,
    FormatError,
    FormatLimitError,
    LayerBusyError,
    LayerError,
    NotALayerError,
    PathNotFoundError,
    errors_at,
    from_os_error,
    limit_hint,
    translated,
)
from wclayer.host import system
from wclayer.layers.budget import Budget, stored_size
from wclayer.layers.cache import Cache
from wclayer.layers.directory import database, rows
from wclayer.layers.directory.chain_file import chain_of, open_folder
from wclayer.layers.directory.database import Answer, EntryRow, from_column, query_error, to_column
from wclayer.layers.directory.rows import StreamRow, TombstoneRow
from wclayer.layers.names import Kind
from wclayer.model import DataStream, Entry, ExtraStream, limits_in_use
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.backup import StreamId
from wclayer.win32.ea import decode_eas
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.names import name_key, path_key, split_path
from wclayer.win32.reparse import decode_reparse

HIVE_PROBLEMS = "hive_problems"
"""The record of the hives that could not be made, one a line."""
_READ_PIECE = 1 << 20
_TRIES = 100
_NOT_THE_FILE = (*IN_THE_WAY, errno.ENOENT, errno.ENAMETOOLONG, errno.EINVAL)
"""Errors that say that a file is not what `layer.db` says; any other says something of the host."""
# The index finds rows, and the rows themselves say where they are: a damaged index cannot put a directory below itself.
_CHILD = "SELECT e.* FROM entries i CROSS JOIN entries e ON e.id = i.id WHERE i.parent = ? AND i.key = ?"
CHILDREN = "SELECT e.* FROM entries i CROSS JOIN entries e ON e.id = i.id WHERE i.parent = ? ORDER BY i.key"
_LOST_DIRECTORIES = 16_384


def is_layer(path: StrPath) -> bool:
    """Whether a folder is a layer directory, ours or one that Windows made."""
    folder = Path(path)
    return (folder / database.FILE_NAME).is_file() or (folder / "Files").is_dir() or (folder / "sandbox.vhdx").is_file()


class Totals(NamedTuple):
    """How much a layer holds, by its records."""

    entries: int
    """All rows, those that a layer has besides its own entries included."""
    own_entries: int
    tombstones: int
    descriptors: int
    forms: int
    """Entries whose tar header was not the canonical one."""
    file_bytes: int
    """Of all contents, each file once."""
    stream_bytes: int


class LayerDirectory:
    """A finished layer directory, for reading.

    Raises:
        PathNotFoundError: the folder does not exist.
        NotALayerError: it is not a layer directory with a `layer.db`.
        CorruptLayerError: its `layer.db` is damaged or of an unknown version.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(os.path.abspath(path))
        self._file = self.path / database.FILE_NAME
        for _ in range(_TRIES):
            if self._open():
                break
        else:
            raise LayerBusyError(self.path, "other processes replace it again and again")
        self.budget: Budget | None = None
        """Counts what comes out of large files; without one, each file is held against the limits alone."""
        self._link_counts: dict[int, int] | None = None
        # id of a directory: its path in the layer, and on the host below the layer's root.
        self._directories: Cache[int, tuple[str, bytes]] = Cache(16 << 20)
        self._lost: set[int] = set()

    def _open(self) -> bool:
        """Opens the folder and its database; False if another process put another layer into the place meanwhile."""
        self.host = open_folder(self.path)
        try:
            with errors_at(self.path, damage=CorruptLayerError):
                self.is_scratch = self._open_database()
        except LayerError:
            try:
                is_the_same = self._is_in_place() and self._is_the_same_database()
            finally:
                self.host.close()
            if is_the_same:
                raise
            return False
        except BaseException:
            self.host.close()
            raise
        is_the_same = False
        try:
            # SQLite opens its files by their path.
            is_the_same = self._is_in_place() and self._is_the_same_database()
        finally:
            if not is_the_same:
                LayerDirectory.close(self)
        return is_the_same

    def changed(self, row: EntryRow | None = None) -> LayerError | None:
        """The error that explains that the layer is not as it was when it was opened, as another process has removed or
        changed it since; None if none has.

        Args:
            row: the entry that it is about.
        """
        if not self._is_in_place():
            return PathNotFoundError(self.path, "the layer was removed while it was read")
        problem = "another process has changed it while it was read; try again"
        if self.is_scratch:
            if row is None or not self._is_other_now(row):
                return None
            return LayerBusyError(self.path, f"{self.path_of(row)}: {problem}")
        return None if self._is_the_same_database() else LayerBusyError(self.path, problem)

    def _is_in_place(self) -> bool:
        """Whether the layer is still at its path."""
        with errors_at(self.path):
            return self.host.is_in_place

    def _is_the_same_database(self) -> bool:
        """Whether the database was not replaced, as an update does, and whoever makes a scratch's of it."""
        return self._identity == self._database_identity()

    def _database_identity(self) -> tuple[int, int] | None:
        try:
            status = self.host.stat(database.FILE_NAME.encode())
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _is_other_now(self, row: EntryRow) -> bool:
        """Whether the contents of a scratch's file are others than they were when it was opened."""
        sql, key = "SELECT host_name, size, sha256 FROM entries WHERE id = ?", (row.link or row.id,)
        known = self.query(sql, key).fetchone()
        with LayerDirectory(self.path) as layer:
            return bool(
                known != layer.query(sql, key).fetchone() or known is None or known[1] == database.BEING_WRITTEN
            )

    def _open_database(self) -> bool:
        """Opens the database; whether it is that of a scratch."""
        self._identity = self._database_identity()
        try:
            version = database.read_version(self.host)
        except FileNotFoundError:
            problem = f"not a layer: it has no {database.FILE_NAME}"
            if is_layer(self.path):
                problem += "; `wclayer makebaselayer` makes one for a folder with Files in it"
            raise NotALayerError(self.path, problem) from None
        self._database = self._connect(self._file, version)
        return version == database.SCRATCH_VERSION

    def _connect(self, path: Path, version: int) -> database.LayerDatabase:
        connection = database.open_read_only(path, version)
        try:
            if version == database.SCRATCH_VERSION:
                # Whoever reads a scratch sees it as it is now, whatever others change meanwhile.
                connection.execute("BEGIN")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        try:
            self._database.close()
        finally:
            self.host.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def query(self, sql: str, arguments: Sequence[object] = ()) -> Answer:
        """A query of `layer.db`.

        Raises:
            CorruptLayerError: the database is damaged; this and other errors of SQLite come from the answer, too.
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
        """What the layer's own records say ("diff_id", "digest", "size", …), or None.

        Raises:
            CorruptLayerError: the record is of another kind than such a record is.
        """
        row = self.query("SELECT value FROM layer WHERE key = ?", (to_column(key),)).fetchone()
        value = row[0] if row else None
        if value is not None and not isinstance(value, (str, int, bytes)):
            raise self._damaged(f"record {key!r}: {value!r}")
        return value

    def text(self, key: str) -> str | None:
        """`record` of a fact that is text."""
        value = self.record(key)
        if value is not None and not isinstance(value, str):
            raise self._damaged(f"record {key!r}: {rows.shown(value)} instead of text")
        return value

    def number(self, key: str) -> int | None:
        """`record` of a fact that is a number."""
        value = self.record(key)
        if value is not None and not isinstance(value, int):
            raise self._damaged(f"record {key!r}: {rows.shown(value)} instead of a number")
        return value

    def blob(self, key: str) -> bytes | None:
        """`record` of a fact that is bytes."""
        value = self.record(key)
        if value is not None and not isinstance(value, bytes):
            raise self._damaged(f"record {key!r}: {rows.shown(value)} instead of bytes")
        return value

    def totals(self) -> Totals:
        """How much the layer holds, by its records."""
        entries, own, forms, file_bytes = self.query(
            "SELECT COUNT(1), TOTAL(origin = 0), COUNT(form),"
            " IFNULL(SUM(size) FILTER (WHERE typeof(size) = 'integer' AND size > 0 AND link IS NULL), 0) FROM entries"
        ).fetchone()
        (tombstones,) = self.query("SELECT COUNT(1) FROM tombstones").fetchone()
        (descriptors,) = self.query("SELECT COUNT(1) FROM security").fetchone()
        (stream_bytes,) = self.query(
            "SELECT IFNULL(SUM(size) FILTER (WHERE typeof(size) = 'integer' AND size > 0), 0) FROM streams"
        ).fetchone()
        return Totals(entries, int(own), tombstones, descriptors, forms, file_bytes, stream_bytes)

    def hive_problems(self) -> list[str]:
        """Why hives of the layer have no `_Base`: "PATH: what is wrong", each."""
        return (self.text(HIVE_PROBLEMS) or "").splitlines()

    def parents(self) -> list[Path]:
        """The parent chain, nearest first.

        Raises:
            CorruptLayerError, LimitExceededError: see `read_chain`.
        """
        return chain_of(self.host)

    def root(self) -> EntryRow:
        """The row that stands for the layer's root directory; it is not an entry of the layer."""
        return EntryRow(database.ROOT, -1, "", "", DIRECTORY, 0, 0, 0, 0, None, 0, None, database.Origin.IMPLIED)

    def lookup(self, path: str) -> EntryRow | None:
        """The entry at a path in Windows or POSIX spelling, found as Windows finds it, or None."""
        row: EntryRow | None = self.root()
        for part in split_path(path):
            if row is None or not row.attributes & DIRECTORY:
                return None
            row = self.child(row.id, part)
        return row

    def child(self, parent: int, name: str) -> EntryRow | None:
        """The entry of a directory with that name, in any case."""
        key = to_column(name_key(name))
        columns = self.query(_CHILD, (parent, key)).fetchone()
        if columns is None:
            return None
        row = self.row(columns)
        if row.parent != parent or row.key != key:
            raise self._damaged(f"entry {row.id}: the index has it in another place")
        return row

    def children(self, parent: int) -> Iterator[EntryRow]:
        """The entries of a directory, in the order in which Windows lists them (by upper-case name)."""
        make = self.row
        last: str | bytes = ""
        for columns in self.query(CHILDREN, (parent,)):
            row = make(columns)
            key = row.key
            try:
                is_next = key > last  # type: ignore[operator]
            except TypeError:
                # SQLite has BLOBs after TEXT.
                is_next = isinstance(key, bytes)
            if row.parent != parent or not is_next:
                raise self._damaged(f"entry {row.id}: the index has it in another place, or twice")
            last = key
            yield row

    def entries(self) -> Iterator[EntryRow]:
        """All rows of `entries`, in the original order."""
        return self._rows("SELECT * FROM entries ORDER BY id")

    def own_entries(self) -> Iterator[EntryRow]:
        """The rows of the entries that came with this layer, in the original order."""
        # Not `origin = 0`: a row of an origin that no layer has is an error, and not left out.
        others = ",".join(str(int(origin)) for origin in database.Origin if origin is not database.Origin.OWN)
        return self._rows(f"SELECT * FROM entries WHERE origin NOT IN ({others}) ORDER BY id")

    def _rows(self, sql: str, arguments: Sequence[object] = ()) -> Iterator[EntryRow]:
        last, left = 0, limits_in_use().entries
        for columns in self.query(sql, arguments):
            row = self.row(columns)
            if row.id <= last:
                raise self._damaged(f"entry {row.id} is there twice")
            last = row.id
            if not left:
                raise self._beyond(f"more than {limits_in_use().entries} entries", "entries")
            left -= 1
            yield row

    def row(self, columns: Sequence[Any]) -> EntryRow:
        """An entry's row from its columns.

        In a scratch, a link has what its first name has, and a file that is being written to its host file's size and
        time.

        Raises:
            CorruptLayerError: a column holds what no layer has.
        """
        try:
            row = rows.entry_row(columns)
        except FormatError as error:
            raise self._damaged(error) from None
        if not self.is_scratch:
            if row.size < 0:
                raise self._damaged(f"entry {row.id}: size: {row.size}")
            return row
        if row.link is not None:
            head = self._head(row)
            return head._replace(id=row.id, parent=row.parent, name=row.name, key=row.key, link=head.id)
        return self._as_written(row) if row.size < 0 else row

    def _head(self, row: EntryRow) -> EntryRow:
        """Of a further name of a file, the row of its first name."""
        columns = self.query("SELECT * FROM entries WHERE id = ? AND link IS NULL", (row.link,)).fetchone()
        if columns is None:
            raise self._damaged(f"entry {row.id}: link: entry {row.link}, which is not the first name of a file")
        head = self.row(columns)
        if head.id != row.link or head.link is not None or head.attributes & DIRECTORY:
            raise self._damaged(f"entry {row.id}: link: entry {row.link}, which is not the first name of a file")
        return head

    def _as_written(self, row: EntryRow) -> EntryRow:
        try:
            info = self.host.stat(self.host_path(row))
        except FileNotFoundError:
            return row._replace(size=0)
        except OSError as error:
            raise self._file_error(row, self.host_path(row), error) from error
        written = max(from_unix_ns(info.st_mtime_ns), row.last_write_time)
        return row._replace(size=info.st_size, last_write_time=written, change_time=max(written, row.change_time))

    def by_id(self, entry_id: int) -> EntryRow:
        """The entry with that id.

        Raises:
            CorruptLayerError: there is none.
        """
        columns = self.query("SELECT * FROM entries WHERE id = ?", (entry_id,)).fetchone()
        if columns is None:
            raise self._damaged(f"refers to entry {entry_id}, which is not there")
        row = self.row(columns)
        if row.id != entry_id:
            raise self._damaged(f"has entry {row.id} in the place of entry {entry_id}")
        return row

    def first_name(self, row: EntryRow) -> EntryRow:
        """Of a hard link, the row of the file's first name in this layer, which has its streams; else the row."""
        return row if row.link is None else self._head(row)

    def walk(self, row: EntryRow) -> Iterator[EntryRow]:
        """Everything below an entry, parents before children, each directory in `children` order."""
        limits = limits_in_use()
        left = limits.entries
        pending = [self.children(row.id)]
        while pending:
            for child in pending[-1]:
                left -= 1
                yield child
                if child.attributes & DIRECTORY:
                    pending.append(self.children(child.id))
                    break
            else:
                pending.pop()
            if len(pending) > limits.path_depth:
                raise self._beyond(f"a path of more than {limits.path_depth} names", "path_depth")
            if left < 0:
                raise self._beyond(f"more than {limits.entries} entries", "entries")

    def kind(self, key: str) -> Kind:
        """What the layer has at a path, for `NameChecker`."""
        row = self.lookup(key)
        if row is None:
            return Kind.ABSENT
        return Kind.DIRECTORY if row.attributes & DIRECTORY else Kind.FILE

    def name_of(self, row: EntryRow) -> str:
        """The entry's path as the source spelled it."""
        path = self.path_of(row)
        if row.spelling is None:
            return path
        spelling = from_column(row.spelling)
        if path_key(spelling) != path_key(path):
            raise self._damaged(f"entry {row.id}: spelling: {spelling[:300]!r} is another path than {path[:300]!r}")
        return spelling

    def path_of(self, row: EntryRow) -> str:
        """The entry's path in the layer, each directory as it is spelled itself."""
        if row.id == database.ROOT:
            return ""
        parent = self._directory(row.parent)[0]
        name = from_column(row.name)
        return f"{parent}/{name}" if parent else name

    def host_path(self, row: EntryRow) -> bytes:
        """Where the entry's host file lies, relative to the layer's root."""
        name = database.host_name(row)
        if name.startswith(b"/"):
            return name[1:]
        parent = self._directory(row.parent)[1]
        return parent + b"/" + name if parent else name

    def _directory(self, entry_id: int) -> tuple[str, bytes]:
        known = self._directories.get(entry_id)
        if known is not None:
            return known
        above: dict[int, EntryRow] = {}
        while entry_id != database.ROOT and (known := self._directories.get(entry_id)) is None:
            if entry_id in above or entry_id in self._lost:
                self._lose(above)
                raise self._damaged(f"entry {entry_id} lies below itself, or below what is no directory")
            row = self.by_id(entry_id)
            above[entry_id] = row
            if not row.attributes & DIRECTORY:
                self._lose(above)
                raise self._damaged(f"entry {entry_id}: entries lie below it, and it is no directory")
            if len(above) > (most := limits_in_use().path_depth):
                self._lose(above)
                raise self._beyond(f"entry {entry_id}: in more than {most} directories", "path_depth")
            entry_id = row.parent
        if known is None:
            known = "", b""
        longest = limits_in_use().path_length
        for row in reversed(above.values()):
            path, host = known
            name, own_host = from_column(row.name), database.host_name(row)
            known = (f"{path}/{name}" if path else name, host + b"/" + own_host if host else own_host)
            if len(known[0]) > longest:
                raise self._beyond(f"entry {row.id}: a path of more than {longest} units", "path_length")
            self._directories.keep(row.id, known, len(known[0]) + len(known[1]))
        return known

    def _lose(self, directories: Iterable[int]) -> None:
        """Remembers directories that have no path, so that what lies in them does not look for it again."""
        if len(self._lost) > _LOST_DIRECTORIES:
            self._lost.clear()
        self._lost.update(directories)

    def security(self, row: EntryRow) -> bytes | None:
        """The entry's self-relative security descriptor."""
        if row.security is None:
            return None
        found = self.query("SELECT descriptor FROM security WHERE id = ?", (row.security,)).fetchone()
        if found is None:
            raise self._damaged(f"entry {row.id}: security {row.security} is not there")
        try:
            return rows.descriptor(row.security, found[0])
        except FormatError as error:
            raise self._damaged(error) from None

    def link_count(self, row: EntryRow) -> int:
        """How many names the entry's file has in this layer."""
        head = row.link or row.id
        if self.is_scratch:
            (count,) = self.query("SELECT COUNT(1) FROM entries WHERE link = ?", (head,)).fetchone()
            return int(count) + 1
        if self._link_counts is None:
            links = self.query("SELECT link, COUNT(1) FROM entries WHERE typeof(link) = 'integer' GROUP BY link")
            self._link_counts = dict(links.fetchall())
        return self._link_counts.get(head, 0) + 1

    def names(self, row: EntryRow) -> list[EntryRow]:
        """All names of the entry's file in this layer, the first one first."""
        head = row.link or row.id
        return list(self._rows("SELECT * FROM entries WHERE id = ? OR link = ? ORDER BY id", (head, head)))

    def pool(self) -> Iterator[bytes]:
        """The host paths of all contents in a scratch's pool."""
        pool = database.POOL[1:]
        place = self.path / os.fsdecode(pool)
        with suppress(FileNotFoundError), errors_at(place, damage=CorruptLayerError):
            for shelf in sorted(self.host.names(pool)):
                at = pool + b"/" + os.fsencode(shelf)
                for name in sorted(self.host.names(at)):
                    yield at + b"/" + os.fsencode(name)

    def digest(self, row: EntryRow) -> bytes | None:
        """The SHA-256 of the entry's main data stream, None where there is none."""
        if row.sha256 != database.NOT_HASHED:
            return row.sha256
        digest = hashlib.sha256()
        for chunk in self.data_chunks(row, verify=False):
            digest.update(chunk)
        return digest.digest()

    def entry(self, row: EntryRow, *, security: bytes | None = None) -> Entry:
        """The entry in the form that travels; `security` spares its lookup.

        Raises:
            CorruptLayerError: its EAs or reparse data have not their form.
        """
        try:
            if row.eas:
                decode_eas(row.eas)
            if row.reparse is not None:
                decode_reparse(row.reparse)
        except ValueError as error:
            raise self._damaged(f"entry {row.id}: {error}") from None
        return Entry(
            self.name_of(row),
            row.info,
            row.size,
            security if security is not None else self.security(row),
            row.eas or b"",
            row.reparse,
            None if row.link_target is None else from_column(row.link_target),
            self._extras(row) if row.streams else (),
            row.form,
        )

    def stream_rows(self, row: EntryRow) -> list[StreamRow]:
        """All streams of the entry but the main one, in their order.

        Raises:
            CorruptLayerError: they are not as many as the entry's record says, or a row holds what no layer has.
        """
        if not row.streams:
            return []
        most = limits_in_use().streams
        entry = row.link or row.id
        found: list[StreamRow] = []
        for columns in self.query(
            f"SELECT {','.join(StreamRow._fields)} FROM streams WHERE entry = ? ORDER BY id LIMIT ?", (entry, most + 1)
        ):
            try:
                stream = rows.stream_row(columns)
            except FormatError as error:
                raise self._damaged(error) from None
            if stream.entry != entry or (found and stream.id <= found[-1].id):
                raise self._damaged(f"stream {stream.id}: the index has it elsewhere, or twice")
            found.append(stream)
        if len(found) > most:
            raise self._beyond(f"entry {row.id}: more than {most} streams", "streams")
        if len(found) != row.streams:
            raise self._damaged(f"entry {row.id}: streams: {row.streams}, and there are {len(found)}")
        return found

    def tombstones(self) -> Iterator[TombstoneRow]:
        """The names that the layer deletes from its parents, in the original order."""
        last = 0
        for columns in self.query(f"SELECT {','.join(TombstoneRow._fields)} FROM tombstones ORDER BY id"):
            try:
                row = rows.tombstone_row(columns)
            except FormatError as error:
                raise self._damaged(error) from None
            if row.id <= last:
                raise self._damaged(f"tombstone {row.id} is there twice")
            last = row.id
            yield row

    def _extras(self, row: EntryRow) -> tuple[ExtraStream, ...]:
        return tuple(
            ExtraStream(stream.stream_id, stream.attributes, stream.name, b"".join(self.stream_chunks(stream)))
            for stream in self.stream_rows(row)
            if stream.stream_id != StreamId.ALTERNATE_DATA
        )

    def streams(self, row: EntryRow, *, has_data: bool) -> Iterator[DataStream]:
        """The entry's data streams: the main one if it has one, then the alternate ones."""
        if has_data:
            small = row.size <= _READ_PIECE
            yield DataStream("", row.size, (self._whole_file(row),) if small else self.data_chunks(row))
        for stream in self.stream_rows(row):
            if stream.stream_id == StreamId.ALTERNATE_DATA:
                yield DataStream(stream.name, stream.size, self.stream_chunks(stream), stream.attributes, stream.form)

    def stream_chunks(self, stream: StreamRow) -> Iterator[bytes]:
        """The bytes of a stream.

        Raises:
            CorruptLayerError: they are not those that its record says, by number or SHA-256.
        """
        size, digest = 0, hashlib.sha256()
        pieces = self.query("SELECT sequence, data FROM stream_data WHERE stream = ? ORDER BY sequence", (stream.id,))
        for expected, (sequence, data) in enumerate(pieces):
            try:
                chunk = rows.piece(stream.id, expected, sequence, data)
            except FormatError as error:
                raise self._damaged(error) from None
            size += len(chunk)
            if size > stream.size:
                break
            digest.update(chunk)
            yield chunk
        if size != stream.size:
            raise self._damaged(f"stream {stream.id}: other than the {stream.size} bytes that its record says")
        if digest.digest() != stream.sha256:
            entry = self.path_of(self.by_id(stream.entry))
            raise self._damaged(f"stream {stream.name!r} of {entry}: its contents do not have the recorded SHA-256")

    def data_chunks(self, row: EntryRow, *, verify: bool = True) -> Iterator[bytes]:
        """The bytes of the entry's main data stream.

        Args:
            verify: whether their SHA-256, where it is recorded, is compared at their end.

        Raises:
            CorruptLayerError: the host's file is missing, not as long as `layer.db` says, or holds other bytes.
        """
        if row.size <= _READ_PIECE:
            yield self._whole_file(row, verify=verify)
            return
        digest = hashlib.sha256() if verify and row.sha256 else None
        fd = self.open_file(row)
        try:
            status = os.fstat(fd)
            is_longer = status.st_size > row.size and self.is_being_written(row)
            if status.st_size != row.size and not is_longer:
                raise self._wrong_size(row, fd)
            # Before any of it comes out: a file may be one hole. A smaller one takes, with its record, enough itself.
            budget = self.budget or Budget(str(self.path), limits_in_use())
            budget.store(stored_size(status))
            budget.spend(row.size, f"entry {self.path_of(row)[:300]!r}")
            left = row.size
            while left > 0 and (data := self._read(row, fd, _READ_PIECE)):
                left -= len(data)
                if digest is not None:
                    digest.update(data)
                yield data
            if left:
                raise self._wrong_size(row, fd)
        finally:
            system.close_read(fd)
        if digest is not None and digest.digest() != row.sha256:
            raise self.wrong_contents(row)

    def _read(self, row: EntryRow, fd: int, size: int) -> bytes:
        try:
            return os.read(fd, size)
        except OSError as error:
            raise from_os_error(self.path / os.fsdecode(self.host_path(row)), error) from error

    def _whole_file(self, row: EntryRow, *, verify: bool = True) -> bytes:
        """`data_chunks` of a file that is one piece."""
        fd = self.open_file(row)
        try:
            # One byte more than there should be: a file that has grown shows itself without a stat.
            data = self._read(row, fd, row.size + 1)
            if len(data) > row.size and self.is_being_written(row):
                # It has grown since its size was looked at.
                data = data[: row.size]
            if len(data) != row.size:
                raise self._wrong_size(row, fd)
        finally:
            system.close_read(fd)
        if verify and row.sha256 and hashlib.sha256(data).digest() != row.sha256:
            raise self.wrong_contents(row)
        return data

    def open_file(self, row: EntryRow, *, writable: bool = False) -> int:
        """A descriptor of the host's file with the entry's contents; the caller closes it.

        Raises:
            CorruptLayerError: there is none, or something else lies in its place or on the way.
            AccessDeniedError, LayerError: the host does not let it be opened.
        """
        path = self.host_path(row)
        try:
            return self.host.open(path, writable=writable)
        except (OSError, FormatError) as error:
            raise self._file_error(row, path, error) from error

    def stat_file(self, row: EntryRow) -> os.stat_result:
        """What the host knows of the file with the entry's contents.

        Raises:
            see `open_file`.
        """
        path = self.host_path(row)
        try:
            status = self.host.stat(path)
        except (OSError, FormatError) as error:
            raise self._file_error(row, path, error) from error
        if not stat.S_ISREG(status.st_mode):
            raise self._file_error(row, path, FileNotFoundError(errno.ENOENT, "not a regular file"))
        return status

    def _file_error(self, row: EntryRow, path: bytes, error: OSError | FormatError) -> LayerError:
        place = self.path / os.fsdecode(path)
        if isinstance(error, OSError) and error.errno not in _NOT_THE_FILE:
            error.filename = os.fspath(place)
            return from_os_error(place, error)
        reason = getattr(error, "strerror", None) or error
        return self.changed(row) or CorruptLayerError(place, f"cannot be opened: {reason}")

    def is_being_written(self, row: EntryRow) -> bool:
        """Whether the size and time of an entry's host file are the right ones, as somebody writes to it."""
        if not self.is_scratch:
            return False
        found = self.query("SELECT size < 0 FROM entries WHERE id = ?", (row.link or row.id,)).fetchone()
        return found is not None and bool(found[0])

    def wrong_contents(self, row: EntryRow) -> LayerError:
        """The error for contents that do not have the SHA-256 of the entry's record."""
        return self.changed(row) or CorruptLayerError(
            self.path / os.fsdecode(self.host_path(row)),
            f"its contents do not have the SHA-256 that {database.FILE_NAME} says",
        )

    def _wrong_size(self, row: EntryRow, fd: int) -> LayerError:
        return self.changed(row) or CorruptLayerError(
            self.path / os.fsdecode(self.host_path(row)),
            f"is {os.fstat(fd).st_size} bytes long; {database.FILE_NAME} says {row.size}",
        )
