"""A finished layer: its database never changes, and an update replaces it by another one."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import Any

from wclayer.errors import FormatError, LayerBusyError, LayerError, PathNotFoundError
from wclayer.layers.directory import rows
from wclayer.layers.directory.database import CHANGED, SELECT_ENTRIES, EntryRow, Origin
from wclayer.layers.directory.folder import OpenedFolder
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.rows import TombstoneRow

# Not `origin = 0`: a row with an invalid origin must be an error, not be skipped.
_OTHER_ORIGINS = ",".join(str(int(origin)) for origin in Origin if origin is not Origin.OWN)
_OWN = f"{SELECT_ENTRIES} WHERE origin NOT IN ({_OTHER_ORIGINS}) ORDER BY id"


class FinishedLayer(LayerDirectory):
    """A finished layer directory, open for reading."""

    may_change = False
    records_link_targets = True

    def __init__(self, opened: OpenedFolder) -> None:
        super().__init__(opened)
        self._link_counts: dict[int, int] | None = None

    def changed(self, row: EntryRow | None = None) -> LayerError | None:
        if not self.is_in_place():
            return PathNotFoundError(self.path, "the layer was removed while it was read")
        return None if self.is_same_database() else LayerBusyError(self.path, CHANGED)

    def row(self, columns: Sequence[Any]) -> EntryRow:
        try:
            row = rows.entry_row(columns)
        except FormatError as error:
            raise self._damaged(error) from None
        if row.size < 0:
            raise self._damaged(f"entry {row.id}: size: {row.size}")
        return row

    def own_entries(self) -> Generator[EntryRow, None, None]:
        # In the original order.
        return self._rows(_OWN)

    def comes_before(self, tombstone: TombstoneRow, row: EntryRow) -> bool:
        return tombstone.id < row.id

    def link_count(self, row: EntryRow) -> int:
        if self._link_counts is None:
            links = self.query("SELECT link, COUNT(1) FROM entries WHERE typeof(link) = 'integer' GROUP BY link")
            self._link_counts = dict(links.fetchall())
        return self._link_counts.get(row.link or row.id, 0) + 1

    def host_status(self, row: EntryRow) -> os.stat_result:
        return self.host.stat(self.host_path(row))

    def is_being_written(self, row: EntryRow) -> bool:
        return False
