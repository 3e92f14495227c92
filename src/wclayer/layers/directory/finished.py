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
from wclayer.layers.directory.link_table import LinkTable
from wclayer.layers.directory.rows import TombstoneRow

# Not `origin = 0`: a row with an invalid origin must be an error, not be skipped.
_OTHER_ORIGINS = ",".join(str(int(origin)) for origin in Origin if origin is not Origin.OWN)
_FEW = 100
"""How many questions for the names of a file go to the database, before its links are read into memory."""
_OWN = f"{SELECT_ENTRIES} WHERE origin NOT IN ({_OTHER_ORIGINS}) ORDER BY id"


class FinishedLayer(LayerDirectory):
    """A finished layer directory, open for reading."""

    may_change = False
    records_link_targets = True

    def __init__(self, opened: OpenedFolder) -> None:
        super().__init__(opened)
        self._links: LinkTable | None = None
        self._questions = 0

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

    def lend_files(self) -> None:
        self._lends_files = True

    def own_entries(self) -> Generator[EntryRow, None, None]:
        # In the original order.
        return self._rows(_OWN)

    def comes_before(self, tombstone: TombstoneRow, row: EntryRow) -> bool:
        return tombstone.id < row.id

    def _further_names(self, head: int) -> Sequence[int]:
        if self._links is None:
            self._questions += 1
            if self._questions <= _FEW and self._database.has_index_of_links:
                return super()._further_names(head)
            # Whoever asks often asks about most files.
            self._links = LinkTable(
                self.query(
                    "SELECT link, id FROM entries WHERE link IS NOT NULL AND typeof(link) = 'integer' ORDER BY link, id"
                )
            )
        return self._links.further_names(head)

    def link_count(self, row: EntryRow) -> int:
        if self._links is None:
            return super().link_count(row)
        return self._links.count(row.link or row.id) + 1

    def has_links_elsewhere(self) -> bool:
        """Returns whether a file of another layer has a further name in this one, as where only records were made."""
        found = self.query("SELECT 1 FROM entries WHERE link_target IS NOT NULL AND link IS NULL LIMIT 1")
        return found.fetchone() is not None

    def host_status(self, row: EntryRow) -> os.stat_result:
        return self.host.stat(self.host_path(row))

    def is_being_written(self, row: EntryRow) -> bool:
        return False
