"""The entries of a layer, found by path or by id in its `layer.db`."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from wclayer._walk import Walk
from wclayer.errors import FormatError, LayerError
from wclayer.layers.cache import Cache
from wclayer.layers.directory import database, rows
from wclayer.layers.directory.database import SELECT_ENTRIES, EntryRow, from_column, to_column
from wclayer.layers.directory.folder import LayerFolder, OpenedFolder
from wclayer.layers.directory.rows import TombstoneRow
from wclayer.layers.names import Kind
from wclayer.model import limits_in_use
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.names import encode_name, name_key, path_key, split_path

# The index finds rows, but the parent is read from the row itself: a damaged index cannot put a directory below itself.
_JOINED = ", ".join(f"e.{column}" for column in EntryRow._fields)
_CHILD = f"SELECT {_JOINED} FROM entries i CROSS JOIN entries e ON e.id = i.id WHERE i.parent = ? AND i.key = ?"
CHILDREN = f"SELECT {_JOINED} FROM entries i CROSS JOIN entries e ON e.id = i.id WHERE i.parent = ? ORDER BY i.key"
_CHILDREN_BETWEEN = (
    f"SELECT {_JOINED} FROM entries i CROSS JOIN entries e ON e.id = i.id"
    " WHERE i.parent = ? AND i.key >= ? AND i.key < ? ORDER BY i.key"
)
_LOST_DIRECTORIES = 16_384


def _after(text: str) -> str | bytes:
    """Returns what comes after all texts that begin with this one, and before all others that come after it, in the
    order of SQLite: that of code points, and BLOBs after them."""
    last = ord(text[-1])
    if last == sys.maxunicode:
        return _after(text[:-1]) if len(text) > 1 else b""
    return text[:-1] + ("\ue000" if last == 0xD7FF else chr(last + 1))


class Totals(NamedTuple):
    """The counts and sizes of a layer, by its records."""

    entries: int
    """All rows, including those that are not the layer's own entries."""
    own_entries: int
    tombstones: int
    descriptors: int
    forms: int
    """Entries whose tar header was not the canonical one."""
    file_bytes: int
    """The bytes of all contents; a file with several names counts once."""
    stream_bytes: int


class LayerEntries(LayerFolder, ABC):
    """The entries of a layer. Methods that depend on the kind of the layer directory are abstract."""

    may_change: ClassVar[bool]
    """True if other processes may change the entries while the layer is open."""
    records_link_targets: ClassVar[bool]
    """True if the row of a further name of a file records the link target it was imported with."""
    tombstone_order: ClassVar[str] = "id"
    """The column by which the tombstones are ordered."""

    def __init__(self, opened: OpenedFolder) -> None:
        super().__init__(opened)
        # Maps the id of a directory to its path in the layer, and to its path on the host below the layer's root.
        self._directories: Cache[int, tuple[str, bytes]] = Cache(16 << 20)
        self._lost: set[int] = set()

    # What depends on the kind of the layer directory.

    @abstractmethod
    def changed(self, row: EntryRow | None = None) -> LayerError | None:
        """Checks whether another process has removed or changed the layer since it was opened.

        Args:
            row: the entry in question; None for the layer as a whole.

        Returns:
            The error that says so; None if the layer is unchanged.
        """

    @abstractmethod
    def row(self, columns: Sequence[Any]) -> EntryRow:
        """Returns an entry's row from its columns, which are in the order of `EntryRow`.

        Raises:
            CorruptLayerError: a column holds an invalid value.
        """

    @abstractmethod
    def own_entries(self) -> Generator[EntryRow, None, None]:
        """Yields the rows of the layer's own entries, in the order of a reader."""

    @abstractmethod
    def comes_before(self, tombstone: TombstoneRow, row: EntryRow) -> bool:
        """Returns whether a reader yields the tombstone before the own entry `row`."""

    @abstractmethod
    def host_status(self, row: EntryRow) -> os.stat_result | None:
        """Returns the host's status of the entry's file or directory; None if the entry is only a record.

        Raises:
            OSError: the file or directory does not exist on the host.
        """

    @abstractmethod
    def is_being_written(self, row: EntryRow) -> bool:
        """Returns whether another process is writing to the entry's file, so that the row does not have its size."""

    # Entries.

    def totals(self) -> Totals:
        """Returns the counts and sizes of the layer, by its records."""
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

    def root(self) -> EntryRow:
        """Returns the row that stands for the layer's root directory, which is not an entry of the layer."""
        return EntryRow(database.ROOT, -1, "", "", DIRECTORY, 0, 0, 0, 0, None, 0, None, database.Origin.IMPLIED)

    def lookup(self, path: str) -> EntryRow | None:
        """Returns the entry at a path in Windows or POSIX spelling, or None. Names match as on Windows."""
        row: EntryRow | None = self.root()
        for part in split_path(path):
            if row is None or not row.attributes & DIRECTORY:
                return None
            row = self.child(row.id, part)
        return row

    def child(self, parent: int, name: str) -> EntryRow | None:
        """Returns the entry of a directory with that name, or None. Upper and lower case are the same."""
        key = to_column(name_key(name))
        columns = self.query(_CHILD, (parent, key)).fetchone()
        if columns is None:
            return None
        row = self.row(columns)
        if row.parent != parent or row.key != key:
            raise self._damaged(f"entry {row.id}: the index has it in another place")
        return row

    def children(self, parent: int, beginning: str = "") -> Iterator[EntryRow]:
        """Yields the entries of a directory, in the order in which Windows lists them (by upper-case name).

        Args:
            parent: the id of the directory.
            beginning: only those whose names begin so, without regard to case. The others are not read.
        """
        make = self.row
        last: str | bytes = ""
        # Whoever lists whole directories does not wait for one more generator.
        answer = self._columns_between(parent, name_key(beginning)) if beginning else self.query(CHILDREN, (parent,))
        for columns in answer:
            row = make(columns)
            key = row.key
            try:
                is_next = key > last  # type: ignore[operator]
            except TypeError:
                # SQLite sorts BLOBs after TEXT.
                is_next = isinstance(key, bytes)
            if row.parent != parent or not is_next:
                raise self._damaged(f"entry {row.id}: the index has it in another place, or twice")
            last = key
            yield row

    def _columns_between(self, parent: int, beginning: str) -> Iterator[tuple[Any, ...]]:
        text = to_column(beginning)
        if isinstance(text, str):
            yield from self.query(_CHILDREN_BETWEEN, (parent, text, _after(text)))
        # The names that only a BLOB can hold may begin so, too.
        data = encode_name(beginning)
        yield from self.query(_CHILDREN_BETWEEN, (parent, data, data[:-1] + bytes([data[-1] + 1])))

    def entries(self) -> Iterator[EntryRow]:
        """Yields all rows of `entries`, in the original order."""
        return self._rows(f"{SELECT_ENTRIES} ORDER BY id")

    def _rows(self, sql: str, arguments: Sequence[object] = ()) -> Generator[EntryRow, None, None]:
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

    def _head(self, row: EntryRow) -> EntryRow:
        """Returns the row of the first name of the file that `row` is a further name of."""
        columns = self.query(f"{SELECT_ENTRIES} WHERE id = ? AND link IS NULL", (row.link,)).fetchone()
        if columns is None:
            raise self._damaged(f"entry {row.id}: link: entry {row.link}, which is not the first name of a file")
        head = self.row(columns)
        if head.id != row.link or head.link is not None or head.attributes & DIRECTORY:
            raise self._damaged(f"entry {row.id}: link: entry {row.link}, which is not the first name of a file")
        return head

    def by_id(self, entry_id: int) -> EntryRow:
        """Returns the entry with that id.

        Raises:
            CorruptLayerError: there is no such entry.
        """
        columns = self.query(f"{SELECT_ENTRIES} WHERE id = ?", (entry_id,)).fetchone()
        if columns is None:
            raise self._damaged(f"refers to entry {entry_id}, which is not there")
        row = self.row(columns)
        if row.id != entry_id:
            raise self._damaged(f"has entry {row.id} in the place of entry {entry_id}")
        return row

    def first_name(self, row: EntryRow) -> EntryRow:
        """Returns the row of the first name of the entry's file in this layer. That row has the streams."""
        return row if row.link is None else self._head(row)

    def walk(self, row: EntryRow) -> Iterator[EntryRow]:
        """Yields everything below an entry, parents before children, each directory in `children` order."""
        limits = limits_in_use()
        left = limits.entries
        walk = Walk(self.children(row.id), None)
        for _, child in walk:
            left -= 1
            if left < 0:
                raise self._beyond(f"more than {limits.entries} entries", "entries")
            yield child
            if child.attributes & DIRECTORY:
                if walk.depth >= limits.path_depth:
                    raise self._beyond(f"a path of more than {limits.path_depth} names", "path_depth")
                walk.enter(self.children(child.id), None)

    def kind(self, key: str) -> Kind:
        """Returns the kind of entry that the layer has at a path key, for `NameChecker`."""
        row = self.lookup(key)
        if row is None:
            return Kind.ABSENT
        return Kind.DIRECTORY if row.attributes & DIRECTORY else Kind.FILE

    def name_of(self, row: EntryRow) -> str:
        """Returns the entry's path in the spelling of the source."""
        path = self.path_of(row)
        if row.spelling is None:
            return path
        spelling = from_column(row.spelling)
        if path_key(spelling) != path_key(path):
            raise self._damaged(f"entry {row.id}: spelling: {spelling[:300]!r} is another path than {path[:300]!r}")
        return spelling

    def path_of(self, row: EntryRow) -> str:
        """Returns the entry's path in the layer, with each directory in the spelling of its own entry."""
        if row.id == database.ROOT:
            return ""
        parent = self._directory(row.parent)[0]
        name = from_column(row.name)
        return f"{parent}/{name}" if parent else name

    def host_path(self, row: EntryRow) -> bytes:
        """Returns the path of the entry's host file, relative to the layer's root."""
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
                raise self._damaged(f"entry {entry_id} lies below itself, or below what is not a directory")
            row = self.by_id(entry_id)
            above[entry_id] = row
            if not row.attributes & DIRECTORY:
                self._lose(above)
                raise self._damaged(f"entry {entry_id}: entries lie below it, and it is not a directory")
            if len(above) > (most := limits_in_use().path_depth):
                self._lose(above)
                raise self._beyond(f"entry {entry_id}: in more than {most} directories", "path_depth")
            entry_id = row.parent
        if known is None:
            known = "", b""
        for row in reversed(above.values()):
            known = self._keep_directory(row, *known)
        return known

    def keep_directory(self, row: EntryRow) -> None:
        """Remembers the paths of a directory whose row is at hand: the entries below it need no query for them."""
        if row.id not in self._directories:
            self._keep_directory(row, *self._directory(row.parent))

    def _keep_directory(self, row: EntryRow, path: str, host: bytes) -> tuple[str, bytes]:
        """Remembers and returns the paths of a directory, in the directory that has the paths `path` and `host`."""
        name, own_host = from_column(row.name), database.host_name(row)
        known = (f"{path}/{name}" if path else name, host + b"/" + own_host if host else own_host)
        if len(known[0]) > (longest := limits_in_use().path_length):
            raise self._beyond(f"entry {row.id}: a path of more than {longest} units", "path_length")
        self._directories.keep(row.id, known, len(known[0]) + len(known[1]))
        return known

    def _lose(self, directories: Iterable[int]) -> None:
        """Remembers directories that have no path, so that their entries do not search for it again."""
        if len(self._lost) > _LOST_DIRECTORIES:
            self._lost.clear()
        self._lost.update(directories)

    def security(self, row: EntryRow) -> bytes | None:
        """Returns the entry's self-relative security descriptor, or None."""
        if row.security is None:
            return None
        found = self.query("SELECT descriptor FROM security WHERE id = ?", (row.security,)).fetchone()
        if found is None:
            raise self._damaged(f"entry {row.id}: security {row.security} is not there")
        try:
            return rows.descriptor(row.security, found[0])
        except FormatError as error:
            raise self._damaged(error) from None

    def names(self, row: EntryRow) -> list[EntryRow]:
        """Returns all names of the entry's file in this layer, the first one first."""
        head = row.link or row.id
        found = [self.by_id(number) for number in (head, *self._further_names(head))]
        for name in found[1:]:
            if name.link != head:
                raise self._damaged(f"entry {name.id}: the index has it as a name of entry {head}")
        return found

    def link_count(self, row: EntryRow) -> int:
        """Returns how many names the entry's file has in this layer."""
        return len(self._further_names(row.link or row.id)) + 1

    def _further_names(self, head: int) -> Sequence[int]:
        """Returns the ids of the entries that are further names of a file, by the id of its first name."""
        return [
            number
            for (number,) in self.query("SELECT id FROM entries WHERE link = ? AND id <> link ORDER BY id", (head,))
        ]

    def links_to_parents(self) -> Generator[EntryRow, None, None]:
        """Yields the rows of the names that were imported as further names of a parent's file."""
        return self._rows(f"{SELECT_ENTRIES} WHERE link_target IS NOT NULL AND link IS NULL ORDER BY id")

    def tombstones(self) -> Generator[TombstoneRow, None, None]:
        """Yields the names that the layer deletes from its parents: in the original order, those of a scratch in the
        order of their names."""
        order = self.tombstone_order
        last: object = None
        for columns in self.query(f"SELECT {','.join(TombstoneRow._fields)} FROM tombstones ORDER BY {order}"):
            try:
                row = rows.tombstone_row(columns)
            except FormatError as error:
                raise self._damaged(error) from None
            if (at := getattr(row, order)) == last:
                raise self._damaged(f"tombstone {row.id} is there twice")
            last = at
            yield row
