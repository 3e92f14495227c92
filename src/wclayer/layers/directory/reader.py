"""Reads a layer directory as the sequence of entries it was made from. For a scratch, these are its changes."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer._types import StrPath
from wclayer.errors import boundary
from wclayer.formats.threads import Workers
from wclayer.layers.base import FirstNames, LayerReaderBase
from wclayer.layers.budget import Budget
from wclayer.layers.cache import Cache
from wclayer.layers.directory.database import TRAILER_FORM, EntryRow
from wclayer.layers.directory.opening import open_layer
from wclayer.model import DataStream, Entry, LinkInfo, limits_in_use


@boundary
class DirectoryLayerReader(LayerReaderBase):
    """A `LayerReader` over a layer directory: its own entries and tombstones, in their original order. For a scratch,
    the tombstones come first, then the entries in the order of the tree.

    A hard link whose target lies in a parent has the data too, for writers that cannot refer to a parent.
    """

    operation = "read layer"

    def __init__(self, path: StrPath) -> None:
        self.layer = open_layer(path)
        super().__init__(str(self.layer.path))
        self.layer.budget = Budget(self.source, limits_in_use())
        self.layer.hasher = Workers(1, "wclayer-verify")
        self._rows = self.layer.own_entries()
        self._tombstones = self.layer.tombstones()
        try:
            self._next_row = next(self._rows, None)
            self._next_tombstone = next(self._tombstones, None)
        except BaseException:
            self.layer.close()
            raise
        self._row: EntryRow | None = None
        self._descriptors: Cache[int, bytes] = Cache()
        self._first_names = FirstNames()

    @property
    def trailer_delta(self) -> bytes | None:
        """The end of the imported tar, if it was not the canonical end; otherwise None."""
        return self.layer.blob(TRAILER_FORM)

    def lend_files(self) -> None:
        """Has the reader lend the files of contents, so that a writer can have them copied (`StoredStream`)."""
        self.layer.lend_files()

    def _advance(self) -> Entry | None:
        tombstone, row = self._next_tombstone, self._next_row
        if tombstone is not None and (row is None or self.layer.comes_before(tombstone, row)):
            self._next_tombstone = next(self._tombstones, None)
            self._row = None
            return Entry(tombstone.path, None, header_delta=tombstone.form)
        if row is None:
            return None
        self._next_row = next(self._rows, None)
        self._row = row
        entry = self.layer.entry(row, security=self._descriptor(row))
        if entry.is_directory:
            self.layer.keep_directory(row)
        elif not self.layer.records_link_targets:
            file_id = row.link or row.id
            if file_id in self._first_names or row.link is not None or self.layer.link_count(row) > 1:
                self._first_names.link(entry, file_id)
        return entry

    def _descriptor(self, row: EntryRow) -> bytes | None:
        if row.security is None:
            return None
        descriptor = self._descriptors.get(row.security)
        if descriptor is None:
            descriptor = self.layer.security(row)
            assert descriptor is not None
            self._descriptors.keep(row.security, descriptor, len(descriptor))
        return descriptor

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        assert self._row is not None
        if entry.link_target is not None:
            if self._row.link is not None or not self.layer.records_link_targets:
                return iter(())
            return self.layer.streams(self._row, has_data=self._row.sha256 is not None)
        return self.layer.streams(self._row, has_data=entry.has_data)

    def _link_info(self) -> LinkInfo | None:
        row = self._row
        if row is None:
            return None
        return LinkInfo(self.layer.link_count(row), (row.link or row.id).to_bytes(16, "little"))

    def _release(self) -> None:
        # While a query is unfinished, SQLite keeps the file open, even after the database is closed.
        self._rows.close()
        self._tombstones.close()
        if self.layer.hasher is not None:
            self.layer.hasher.close()
        self.layer.close()
