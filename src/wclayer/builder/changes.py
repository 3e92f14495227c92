"""`ChangesReader`: the changes of a scratch as the entries of the layer that is made of them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from wclayer._types import StrPath
from wclayer.errors import boundary, errors_at
from wclayer.formats.regf.model import copy_key, limit_times
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.database import EntryRow, Origin
from wclayer.layers.directory.hives import open_hive
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.directory.update import own_directory
from wclayer.layers.hives import HIVES_ROOT, LAYER_HIVES, LayerHive
from wclayer.model import DataStream, Entry, limits_in_use
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.inherit import volume_root
from wclayer.win32.names import path_key

_ROOTS = frozenset(map(path_key, ("Files", HIVES_ROOT)))
"""The path keys of the directories that are always in a layer."""
_DELTAS = {path_key(hive.delta): hive for hive in LAYER_HIVES}


@boundary
class ChangesReader(DirectoryLayerReader):
    """A `LayerReader` over the changes of a scratch, as a layer is exported of Windows: first the tombstones, then the
    entries, parents before children, both in the order of their names. The directories `Files` and `Hives` are always
    among them, as in a layer that Windows exports; those that the scratch has not changed are those of the parents.

    Args:
        path: the layer directory of the scratch.
        parents: its parents, nearest first.
        latest: the FILETIME that replaces every later time, of entries and of the keys in delta hives; None keeps the
            times.
        now: the FILETIME of a root directory that no layer has.
    """

    operation = "read changes"

    def __init__(self, path: StrPath, parents: Sequence[StrPath], *, latest: int | None, now: int) -> None:
        super().__init__(path)
        self._latest, self._now = latest, now
        self._roots: dict[int, bytes | None] = {}
        self._hive: bytes | None = None
        self.is_empty = self._next_row is None and self._next_tombstone is None
        try:
            with errors_at(self.source):
                found = self._parents_roots(parents)
            self._rows.close()
            self._rows = self._rows_with_roots(found)
            self._next_row = next(self._rows, None)
        except BaseException:
            self.layer.close()
            raise

    def _parents_roots(self, parents: Sequence[StrPath]) -> dict[str, tuple[FileBasicInfo, bytes | None]]:
        """Returns the basic info and the descriptor of each root directory in the nearest parent that has it."""
        found: dict[str, tuple[FileBasicInfo, bytes | None]] = {}
        for parent in parents:
            with open_layer(parent) as layer:
                for name in _ROOTS.difference(found):
                    row = layer.lookup(name)
                    if row is not None and row.origin == Origin.OWN:
                        found[name] = row.info, layer.security(row)
            if len(found) == len(_ROOTS):
                break
        new = own_directory(self._now), volume_root().encode()
        return {name: found.get(name, new) for name in _ROOTS}

    def _rows_with_roots(self, roots: dict[str, tuple[FileBasicInfo, bytes | None]]) -> Generator[EntryRow, None, None]:
        """Yields the entries of the scratch, with the root directories that it has not changed."""
        layer = self.layer
        for row in layer.walk(layer.root()):
            if row.origin == Origin.OWN:
                if not row.creation_time and row.key in roots and row.parent == layer.root().id:
                    # It was made by the first entry in it, in a scratch without parents: only its changes have times.
                    info, self._roots[row.id] = roots[row.key]
                    row = row._replace(
                        attributes=info.attributes, creation_time=info.creation_time,
                        last_access_time=info.last_access_time,
                    )  # fmt: skip
                yield row
            elif row.key in roots and row.parent == layer.root().id:
                info, self._roots[row.id] = roots[row.key]
                yield row._replace(
                    attributes=info.attributes, creation_time=info.creation_time,
                    last_access_time=info.last_access_time, last_write_time=info.last_write_time,
                    change_time=info.change_time,
                )  # fmt: skip

    def _descriptor(self, row: EntryRow) -> bytes | None:
        return self._roots[row.id] if row.id in self._roots else super()._descriptor(row)

    def _advance(self) -> Entry | None:
        self._hive = None
        entry = super()._advance()
        if entry is not None and entry.info is not None and self._latest is not None:
            entry.info = at_most(entry.info, self._latest)
            hive = _DELTAS.get(path_key(entry.name))
            if hive is not None and (data := self._limited_hive(hive, self._latest)) is not None:
                self._hive, entry.size = data, len(data)
        return entry

    def _limited_hive(self, hive: LayerHive, latest: int) -> bytes | None:
        """Returns a delta hive in which no key was written later than a time; None if it is such a one already."""
        delta = open_hive(self.layer, hive.delta)
        if delta is None:
            return None
        root = copy_key(delta.root())
        if not limit_times(root, latest):
            return None
        most = limits_in_use().hive_size
        return write_hive(root, has_layered_keys=True, file_name=hive.delta, max_size=most)

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        if self._hive is None:
            return super()._open_streams(entry)
        others = (stream for stream in super()._open_streams(entry) if stream.name)
        return chain((DataStream("", len(self._hive), (self._hive,)),), others)


def at_most(info: FileBasicInfo, latest: int) -> FileBasicInfo:
    """Returns basic info in which no time is later than a FILETIME."""
    return replace(
        info,
        creation_time=min(info.creation_time, latest),
        last_access_time=min(info.last_access_time, latest),
        last_write_time=min(info.last_write_time, latest),
        change_time=min(info.change_time, latest),
    )
