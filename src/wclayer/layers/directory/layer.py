"""A layer directory, opened: its records, its entries by path, its contents."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wclayer.errors import CorruptLayerError, NotALayerError, PathNotFoundError
from wclayer.host.root import HostRoot
from wclayer.layers.cache import Cache
from wclayer.layers.directory import database
from wclayer.layers.directory.database import EntryRow, from_column, to_column
from wclayer.layers.tree import Kind
from wclayer.model import DataStream, Entry, ExtraStream
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.backup import StreamId
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.names import name_key, split_path

CHAIN_FILE = "layerchain.json"
HIVE_PROBLEMS = "hive_problems"
"""The record of the hives that could not be made, one a line."""
_READ_PIECE = 1 << 20


def is_layer(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is a layer directory, ours or one that Windows made."""
    folder = Path(path)
    return (folder / database.FILE_NAME).is_file() or (folder / "Files").is_dir() or (folder / "sandbox.vhdx").is_file()


def read_chain(path: Path) -> list[Path]:
    """The parents that `layerchain.json` names, nearest first; none if it is not there.

    Raises:
        CorruptLayerError: it is not a JSON list of paths.
    """
    try:
        chain = json.loads((path / CHAIN_FILE).read_bytes())
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise CorruptLayerError("read layer chain", path / CHAIN_FILE, f"not JSON: {error}") from None
    if chain is None:
        return []
    if not isinstance(chain, list) or not all(isinstance(parent, str) for parent in chain):
        raise CorruptLayerError("read layer chain", path / CHAIN_FILE, "not a list of paths")
    return [Path(parent) for parent in chain]


class LayerDirectory:
    """A finished layer directory, for reading.

    Raises:
        PathNotFoundError: the folder does not exist.
        NotALayerError: it is not a layer directory with a `layer.db`.
        CorruptLayerError: its `layer.db` is damaged or of an unknown version.
    """

    def __init__(self, path: str | os.PathLike[str], *, operation: str = "open layer") -> None:
        self.operation = operation
        self.path = Path(os.path.abspath(path))
        if not self.path.exists():
            raise PathNotFoundError(operation, self.path, "the layer does not exist")
        try:
            self.is_scratch = database.read_version(self.path / database.FILE_NAME) == database.SCRATCH_VERSION
            self._database = self._connect(self.path / database.FILE_NAME)
        except (FileNotFoundError, NotADirectoryError):
            problem = f"not a layer: it has no {database.FILE_NAME}"
            if is_layer(self.path):
                problem += "; `wclayer makebaselayer` makes one for a folder with Files in it"
            raise NotALayerError(operation, self.path, problem) from None
        except (ValueError, sqlite3.Error) as error:
            raise CorruptLayerError(operation, self.path, str(error)) from None
        self.host = HostRoot(self.path)
        self._link_counts: dict[int, int] | None = None
        # id of a directory: its path in the layer, and on the host below the layer's root.
        self._directories: Cache[int, tuple[str, bytes]] = Cache(16 << 20)

    def _connect(self, path: Path) -> sqlite3.Connection:
        connection = database.open_read_only(path)
        if self.is_scratch:
            # Whoever reads a scratch sees it as it is now, whatever others change meanwhile.
            connection.execute("BEGIN")
        return connection

    def close(self) -> None:
        self._database.close()
        self.host.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def query(self, sql: str, arguments: Sequence[object] = ()) -> sqlite3.Cursor:
        """A query of `layer.db`.

        Raises:
            CorruptLayerError: the database is damaged.
        """
        try:
            return self._database.execute(sql, arguments)
        except sqlite3.DatabaseError as error:
            raise CorruptLayerError(self.operation, self.path / database.FILE_NAME, str(error)) from None

    def record(self, key: str) -> str | int | bytes | None:
        """What the layer's own records say ("diff_id", "digest", "size", …), or None."""
        row = self.query("SELECT value FROM layer WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def hive_problems(self) -> list[str]:
        """Why hives of the layer have no `_Base`: "PATH: what is wrong", each."""
        return str(self.record(HIVE_PROBLEMS) or "").splitlines()

    def parents(self) -> list[Path]:
        """The parent chain, nearest first."""
        return read_chain(self.path)

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
        cursor = self.query("SELECT * FROM entries WHERE parent = ? AND key = ?", (parent, to_column(name_key(name))))
        row = cursor.fetchone()
        return self.row(row) if row else None

    def children(self, parent: int) -> Iterator[EntryRow]:
        """The entries of a directory, in the order in which Windows lists them (by upper-case name)."""
        yield from map(self.row, self.query("SELECT * FROM entries WHERE parent = ? ORDER BY key", (parent,)))

    def row(self, columns: Sequence[Any]) -> EntryRow:
        """An entry's row from its columns.

        In a scratch, a link has what its first name has, and a file that is being written to its host file's size and
        time.
        """
        row = EntryRow._make(columns)
        if not self.is_scratch:
            return row
        if row.link is not None:
            head = self.by_id(row.link)
            return head._replace(id=row.id, parent=row.parent, name=row.name, key=row.key, link=head.id)
        return self._as_written(row) if row.size < 0 else row

    def _as_written(self, row: EntryRow) -> EntryRow:
        try:
            info = self.host.stat(self.host_path(row))
        except FileNotFoundError:
            return row._replace(size=0)
        written = max(from_unix_ns(info.st_mtime_ns), row.last_write_time)
        return row._replace(size=info.st_size, last_write_time=written, change_time=max(written, row.change_time))

    def by_id(self, entry_id: int) -> EntryRow:
        """The entry with that id.

        Raises:
            CorruptLayerError: there is none.
        """
        row = self.query("SELECT * FROM entries WHERE id = ?", (entry_id,)).fetchone()
        if row is None:
            raise CorruptLayerError(
                self.operation, self.path, f"{database.FILE_NAME} refers to entry {entry_id}, which is not there"
            )
        return self.row(row)

    def first_name(self, row: EntryRow) -> EntryRow:
        """Of a hard link, the row of the file's first name in this layer, which has its streams; else the row."""
        return row if row.link is None else self.by_id(row.link)._replace(link=None)

    def walk(self, row: EntryRow) -> Iterator[EntryRow]:
        """Everything below an entry, parents before children, each directory in `children` order."""
        pending = [self.children(row.id)]
        while pending:
            child = next(pending[-1], None)
            if child is None:
                pending.pop()
                continue
            yield child
            if child.attributes & DIRECTORY:
                pending.append(self.children(child.id))

    def kind(self, key: str) -> Kind:
        """What the layer has at a path, for `LayerTree`."""
        row = self.lookup(key)
        if row is None:
            return Kind.ABSENT
        return Kind.DIRECTORY if row.attributes & DIRECTORY else Kind.FILE

    def name_of(self, row: EntryRow) -> str:
        """The entry's path as the source spelled it."""
        return from_column(row.spelling) if row.spelling is not None else self.path_of(row)

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
        above: list[EntryRow] = []
        seen: set[int] = set()
        while entry_id != database.ROOT and (known := self._directories.get(entry_id)) is None:
            if entry_id in seen:
                raise CorruptLayerError(self.operation, self.path, f"entry {entry_id} lies below itself")
            seen.add(entry_id)
            row = self.by_id(entry_id)
            above.append(row)
            entry_id = row.parent
        if known is None:
            known = "", b""
        for row in reversed(above):
            path, host = known
            name, own_host = from_column(row.name), database.host_name(row)
            known = (f"{path}/{name}" if path else name, host + b"/" + own_host if host else own_host)
            self._directories.keep(row.id, known, len(known[0]) + len(known[1]))
        return known

    def security(self, row: EntryRow) -> bytes | None:
        """The entry's self-relative security descriptor."""
        if row.security is None:
            return None
        found = self.query("SELECT descriptor FROM security WHERE id = ?", (row.security,)).fetchone()
        if found is None:
            raise CorruptLayerError(
                self.operation, self.path, f"entry {self.name_of(row)!r}: security {row.security} is not there"
            )
        descriptor: bytes = found[0]
        return descriptor

    def link_count(self, row: EntryRow) -> int:
        """How many names the entry's file has in this layer."""
        head = row.link or row.id
        if self.is_scratch:
            (count,) = self.query("SELECT COUNT(*) FROM entries WHERE link = ?", (head,)).fetchone()
            return int(count) + 1
        if self._link_counts is None:
            self._link_counts = dict(
                self.query("SELECT link, COUNT(*) FROM entries WHERE link IS NOT NULL GROUP BY link").fetchall()
            )
        return self._link_counts.get(head, 0) + 1

    def names(self, row: EntryRow) -> list[EntryRow]:
        """All names of the entry's file in this layer, the first one first."""
        head = row.link or row.id
        found = self.query("SELECT * FROM entries WHERE id = ? OR link = ? ORDER BY id", (head, head)).fetchall()
        return [self.row(columns) for columns in found]

    def pool(self) -> Iterator[bytes]:
        """The host paths of all contents in a scratch's pool."""
        pool = database.POOL[1:]
        with suppress(FileNotFoundError):
            for shelf in sorted(self.host.names(pool)):
                at = pool + b"/" + os.fsencode(shelf)
                for name in sorted(self.host.names(at)):
                    yield at + b"/" + os.fsencode(name)

    def digest(self, row: EntryRow) -> bytes | None:
        """The SHA-256 of the entry's main data stream, None where there is none."""
        if row.sha256 != database.NOT_HASHED:
            return row.sha256
        digest = hashlib.sha256()
        for chunk in self.data_chunks(row):
            digest.update(chunk)
        return digest.digest()

    def entry(self, row: EntryRow, *, security: bytes | None = None) -> Entry:
        """The entry in the form that travels; `security` spares its lookup."""
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

    def _extras(self, row: EntryRow) -> tuple[ExtraStream, ...]:
        return tuple(
            ExtraStream(stream_id, attributes, from_column(name), b"".join(self._stream_chunks(number)))
            for number, stream_id, attributes, name in self.query(
                "SELECT id, stream_id, attributes, name FROM streams WHERE entry = ? AND stream_id <> ? ORDER BY id",
                (row.link or row.id, int(StreamId.ALTERNATE_DATA)),
            ).fetchall()
        )

    def streams(self, row: EntryRow, *, has_data: bool) -> Iterator[DataStream]:
        """The entry's data streams: the main one if it has one, then the alternate ones."""
        if has_data:
            small = row.size <= _READ_PIECE
            yield DataStream("", row.size, (self._whole_file(row),) if small else self.data_chunks(row))
        if row.streams:
            for number, attributes, name, size, form in self.query(
                "SELECT id, attributes, name, size, form FROM streams WHERE entry = ? AND stream_id = ? ORDER BY id",
                (row.link or row.id, int(StreamId.ALTERNATE_DATA)),
            ).fetchall():
                yield DataStream(from_column(name), size, self._stream_chunks(number), attributes, form)

    def _stream_chunks(self, number: int) -> Iterator[bytes]:
        for (data,) in self.query("SELECT data FROM stream_data WHERE stream = ? ORDER BY sequence", (number,)):
            yield data

    def data_chunks(self, row: EntryRow) -> Iterator[bytes]:
        """The bytes of the entry's main data stream.

        Raises:
            CorruptLayerError: the host's file is missing, or not as long as `layer.db` says.
        """
        if row.size <= _READ_PIECE:
            yield self._whole_file(row)
            return
        fd = self._open_file(row)
        try:
            left = row.size if os.fstat(fd).st_size == row.size else -1
            while left > 0 and (data := os.read(fd, _READ_PIECE)):
                left -= len(data)
                yield data
            if left:
                raise self._wrong_size(row, fd)
        finally:
            os.close(fd)

    def _whole_file(self, row: EntryRow) -> bytes:
        """`data_chunks` of a file that is one piece."""
        fd = self._open_file(row)
        try:
            # One byte more than there should be: a file that has grown shows itself without a stat.
            data = os.read(fd, row.size + 1)
            if len(data) != row.size:
                raise self._wrong_size(row, fd)
            return data
        finally:
            os.close(fd)

    def _open_file(self, row: EntryRow) -> int:
        path = self.host_path(row)
        try:
            return self.host.open(path)
        except OSError as error:
            raise CorruptLayerError(
                self.operation, self.path / os.fsdecode(path), f"cannot be opened: {error.strerror}"
            ) from error

    def _wrong_size(self, row: EntryRow, fd: int) -> CorruptLayerError:
        return CorruptLayerError(
            self.operation,
            self.path / os.fsdecode(self.host_path(row)),
            f"is {os.fstat(fd).st_size} bytes long; {database.FILE_NAME} says {row.size}",
        )
