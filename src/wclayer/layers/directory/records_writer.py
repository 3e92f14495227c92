"""`RecordsWriter`: writes the records of a layer whose parents are unknown, without the contents of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from wclayer.errors import InvalidDataError
from wclayer.host import system
from wclayer.layers.atomic import DATABASE, Stage
from wclayer.layers.directory.host_files import ContentHash, HashedFiles, HostFiles
from wclayer.layers.directory.records import DirectoryPlace, LayerRecords
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.names import NameChecker
from wclayer.model import Entry, Limits


class _Folder:
    """A `Stage` in a folder of the caller, who sees to everything."""

    lock: system.Lock | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / DATABASE

    def commit(self) -> None:
        pass

    def discard(self) -> None:
        pass


class NoFiles(HashedFiles):
    """The files and directories of a layer of which none is made. The contents of files are hashed."""

    @property
    def makes_small_files(self) -> bool:
        return True

    def make_small_file(
        self, directory: bytes, name: bytes, data: bytes, access_time: int, write_time: int
    ) -> ContentHash:
        return hashlib.sha256(data)

    def make_directory(self, directory: bytes, name: bytes, entry_id: int) -> bytes:
        return name


class RecordsWriter(DirectoryLayerWriter):
    """A `LayerWriter` that makes a layer directory with `layer.db` alone. `open_layer` opens it: its entries are there,
    with the sizes and digests of their contents.

    A further name of a file that only a parent has is recorded without contents.

    Args:
        folder: the folder that gets the records, which the caller makes visible or discards.
        source: what the layer is called in messages.
    """

    def __init__(self, folder: Path, source: str) -> None:
        self._source = source
        super().__init__(folder, source=source)

    def _name_checker(self, source: str, limits: Limits | None) -> NameChecker:
        return NameChecker(source, is_base=False, limits=limits)

    def _stage(self, place: Path) -> Stage:
        return _Folder(place)

    def _host_files(self) -> HostFiles:
        return NoFiles(self._staged.path, None)

    def _new_records(self) -> LayerRecords:
        return LayerRecords(self._staged.database, self.limits, keeps_streams=False)

    def _bad(self, entry: Entry, problem: str) -> InvalidDataError:
        return InvalidDataError(self._source, f"entry {entry.name!r}: {problem}")

    # What the parents have.

    def _link_elsewhere(self, entry: Entry, directory: DirectoryPlace, name: bytes) -> bytes:
        assert entry.info is not None
        self._current.row = self._row(entry, entry.info, None, 0, None, 0, None, None)
        return name

    def _elsewhere(self, key: str) -> str:
        # From now on, an entry may come for a directory that is there already, as in a clone of the parent's.
        self._has_clone = True
        return "/".join(self._entry.name.split("/")[: key.count("/") + 1])

    def _delete_from_clone(self, entry: Entry, parent_key: str, last_key: str) -> None:
        pass

    # The end.

    def _finish(self) -> None:
        for root in ("FILES", "HIVES"):
            self._directory(root)
        self._records.commit()
        self._records.close()
        self._files.close()
