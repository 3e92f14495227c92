"""A scratch, open for reading: its rows in their current state, which other processes may be changing."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from typing import Any

from wclayer.errors import CorruptLayerError, FormatError, LayerBusyError, LayerError, PathNotFoundError, errors_at
from wclayer.layers.directory import database, rows
from wclayer.layers.directory.database import CHANGED, EntryRow, Origin
from wclayer.layers.directory.folder import open_place
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.rows import TombstoneRow
from wclayer.win32.filetime import from_unix_ns


class ScratchLayer(LayerDirectory):
    """The layer directory of a scratch, open for reading.

    The row of a further name of a file has the same data as its first name. The row of a file that is being written to
    has the size and time of its host file.
    """

    may_change = True
    records_link_targets = False
    tombstone_order = "key"

    def changed(self, row: EntryRow | None = None) -> LayerError | None:
        if not self.is_in_place():
            if os.path.lexists(self.path):
                # By a commit, in one step: at no time was there nothing.
                return LayerBusyError(self.path, CHANGED)
            return PathNotFoundError(self.path, "the layer was removed while it was read")
        if row is None or not self._is_other_now(row):
            return None
        return LayerBusyError(self.path, f"{self.path_of(row)}: {CHANGED}")

    def _is_other_now(self, row: EntryRow) -> bool:
        """Returns whether a file has other contents now than when the scratch was opened."""
        sql, key = "SELECT host_name, size, sha256 FROM entries WHERE id = ?", (row.link or row.id,)
        known = self.query(sql, key).fetchone()
        with ScratchLayer(open_place(self.path, database.open_read_only)) as now:
            return bool(known != now.query(sql, key).fetchone() or known is None or known[1] == database.BEING_WRITTEN)

    def row(self, columns: Sequence[Any]) -> EntryRow:
        try:
            row = rows.entry_row(columns)
        except FormatError as error:
            raise self._damaged(error) from None
        if row.link is not None:
            head = self._head(row)
            return head._replace(id=row.id, parent=row.parent, name=row.name, key=row.key, link=head.id)
        return self._as_written(row) if row.size < 0 else row

    def _as_written(self, row: EntryRow) -> EntryRow:
        try:
            info = self.host.stat(self.host_path(row))
        except FileNotFoundError:
            return row._replace(size=0)
        except OSError as error:
            raise self._file_error(row, self.host_path(row), error) from error
        written = max(from_unix_ns(info.st_mtime_ns), row.last_write_time)
        change = max(written, row.change_time)
        return row.written(
            size=info.st_size, attributes=row.attributes, last_write_time=written, change_time=change
        )  # fmt: skip

    def own_entries(self) -> Generator[EntryRow, None, None]:
        # In the order of the tree.
        for row in self.walk(self.root()):
            if row.origin == Origin.OWN:
                yield row

    def comes_before(self, tombstone: TombstoneRow, row: EntryRow) -> bool:
        return True

    def host_status(self, row: EntryRow) -> os.stat_result | None:
        # Only contents are on the host.
        return None if row.host_name is None else self.host.stat(self.host_path(row))

    def is_being_written(self, row: EntryRow) -> bool:
        found = self.query("SELECT size < 0 FROM entries WHERE id = ?", (row.link or row.id,)).fetchone()
        return found is not None and bool(found[0])

    def pool(self) -> Iterator[bytes]:
        """Yields the host paths of all contents in the pool."""
        pool = database.POOL[1:]
        place = self.path / os.fsdecode(pool)
        with suppress(FileNotFoundError), errors_at(place, damage=CorruptLayerError):
            for shelf in sorted(self.host.names(pool)):
                at = pool + b"/" + os.fsencode(shelf)
                for name in sorted(self.host.names(at)):
                    yield at + b"/" + os.fsencode(name)
