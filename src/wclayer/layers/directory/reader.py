"""Reads a layer directory as the sequence of entries it was made from."""

from __future__ import annotations

import os
from collections.abc import Iterator

from wclayer.layers.base import LayerReaderBase
from wclayer.layers.directory.database import EntryRow, Origin, from_column
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.model import DataStream, Entry, LinkInfo

_KNOWN_DESCRIPTORS = 4096


class DirectoryLayerReader(LayerReaderBase):
    """A `LayerReader` over a layer directory: its own entries and tombstones, in their original order.

    A hard link whose target lies in a parent offers the data too, for writers that cannot refer to a parent.
    """

    operation = "read layer"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.layer = LayerDirectory(path, operation=self.operation)
        super().__init__(str(self.layer.path))
        self._rows = iter(self.layer.query("SELECT * FROM entries WHERE origin = ? ORDER BY id", (int(Origin.OWN),)))
        self._tombstones = iter(self.layer.query("SELECT id, path, form FROM tombstones ORDER BY id"))
        self._next_row = next(self._rows, None)
        self._next_tombstone = next(self._tombstones, None)
        self._row: EntryRow | None = None
        self._descriptors: dict[int, bytes] = {}

    @property
    def trailer_form(self) -> bytes | None:
        """What the end of the tar had that was imported, if not the canonical end."""
        form = self.layer.record("trailer_form")
        return form if isinstance(form, bytes) else None

    def _advance(self) -> Entry | None:
        tombstone, row = self._next_tombstone, self._next_row
        if tombstone is not None and (row is None or tombstone[0] < row[0]):
            self._next_tombstone = next(self._tombstones, None)
            self._row = None
            return Entry(from_column(tombstone[1]), None, form=tombstone[2])
        if row is None:
            return None
        self._next_row = next(self._rows, None)
        self._row = current = EntryRow._make(row)
        return self.layer.entry(current, security=self._descriptor(current))

    def _descriptor(self, row: EntryRow) -> bytes | None:
        if row.security is None:
            return None
        descriptor = self._descriptors.get(row.security)
        if descriptor is None:
            descriptor = self.layer.security(row)
            assert descriptor is not None
            if len(self._descriptors) >= _KNOWN_DESCRIPTORS:
                self._descriptors.clear()
            self._descriptors[row.security] = descriptor
        return descriptor

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        assert self._row is not None
        if entry.link_target is not None:
            if self._row.link is not None:
                return iter(())
            return self.layer.streams(self._row, has_data=self._row.sha256 is not None)
        return self.layer.streams(self._row, has_data=entry.has_data)

    def link_info(self) -> LinkInfo:
        row = self._row
        if row is None:
            return super().link_info()
        return LinkInfo(self.layer.link_count(row), (row.link or row.id).to_bytes(16, "little"))

    def _release(self) -> None:
        self.layer.close()
