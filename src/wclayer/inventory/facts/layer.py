"""`FactsLayer`: the facts of a layer over those of its parents, as a layer directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from wclayer._types import StrPath
from wclayer.inventory.facts.contents import Contents
from wclayer.layers.cache import Cache
from wclayer.layers.directory.database import EntryRow, from_column, is_elsewhere
from wclayer.layers.directory.finished import FinishedLayer
from wclayer.layers.directory.opening import open_layer_folder
from wclayer.layers.directory.rows import StreamRow

_ROW = 1000
"""About how many bytes a row takes."""


class FactsLayer(FinishedLayer):
    """The unpacked facts of a layer, open for reading: its entries without their contents.

    Facts do not depend on what is below a layer. A further name of a file that another layer has is therefore looked up
    in the parents when it is read, by the rule of an import: the nearest layer that has an entry of that name.

    Args:
        folder: the folder of the facts.
        parents: the layers below it, nearest first, which stay open as long as this one.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: the facts cannot be opened.
    """

    def __init__(self, folder: StrPath, parents: Sequence[FactsLayer]) -> None:
        opened = open_layer_folder(folder)
        super().__init__(opened)
        self._parents = parents
        self._stored = FinishedLayer(opened)
        """The layer with its rows as they are stored."""
        self._targets: Cache[int, tuple[FactsLayer, EntryRow]] = Cache()
        try:
            self._contents = Contents(self.path)
        except BaseException:
            super().close()
            raise

    def close(self) -> None:
        self._contents.close()
        super().close()

    def row(self, columns: Sequence[Any]) -> EntryRow:
        row = super().row(columns)
        if not is_elsewhere(row):
            return row
        _, there = self._home(row)
        return row._replace(
            size=there.size, sha256=there.sha256, streams=there.streams, eas=there.eas, reparse=there.reparse
        )

    def security(self, row: EntryRow) -> bytes | None:
        layer, row = self._home(row)
        return layer._stored.security(row)

    def stream_rows(self, row: EntryRow) -> list[StreamRow]:
        layer, row = self._home(row)
        return layer._stored.stream_rows(row)

    def contents_of(self, row: EntryRow) -> bytes | None:
        """Returns the contents of a file; None if facts do not keep them."""
        layer, row = self._home(row)
        return None if row.sha256 is None else layer._contents.data(row.sha256)

    def reading_of(self, reader: str, row: EntryRow) -> Mapping[str, Any] | None:
        """Returns the record of a reading of a file; None if facts do not keep it."""
        layer, row = self._home(row)
        return None if row.sha256 is None else layer._contents.reading(reader, row.sha256)

    def looked_at(self) -> Iterator[str]:
        """Yields the paths of the files that an inventory looks at even without PE files."""
        return self._contents.wanted()

    def check_links(self) -> None:
        """Checks that each file of another layer that has a further name in this one exists.

        Raises:
            CorruptLayerError: one does not: the layer belongs on others.
        """
        for _ in self.links_to_parents():
            pass

    def _home(self, row: EntryRow) -> tuple[FactsLayer, EntryRow]:
        """Returns the layer that has the file of an entry, and the row there."""
        if not is_elsewhere(row):
            return self, row
        found = self._targets.get(row.id)
        if found is None:
            found = self._target(row)
            while is_elsewhere(found[1]):
                found = found[0]._target(found[1])
            self._targets.keep(row.id, found, _ROW)
        return found

    def _target(self, row: EntryRow) -> tuple[FactsLayer, EntryRow]:
        assert row.link_target is not None
        target = from_column(row.link_target)
        for parent in self._parents:
            found = parent._stored.lookup(target)
            if found is not None:
                return parent, parent._stored.first_name(found)
        raise self._damaged(f"entry {row.id}: a hard link to {target[:300]!r}, which no layer has")


@contextmanager
def open_facts(folders: Sequence[StrPath]) -> Iterator[list[FactsLayer]]:
    """A context manager that opens the unpacked facts of a chain of layers, nearest first.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: the facts of a layer cannot be opened.
    """
    with ExitStack() as stack:
        layers: list[FactsLayer] = []
        for folder in reversed(folders):
            layer = FactsLayer(folder, list(layers))
            stack.callback(layer.close)
            layers.insert(0, layer)
        yield layers
