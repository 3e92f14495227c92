"""Writes the records of a layer whose files are already in place."""

from __future__ import annotations

from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import PathNotFoundError, boundary
from wclayer.layers.atomic import Stage, StagedDatabase, claim_place
from wclayer.layers.directory import database
from wclayer.layers.directory.database import EntryRow, Origin
from wclayer.layers.directory.host_files import FilesInPlace, HostFiles
from wclayer.layers.directory.records import LayerRecords
from wclayer.layers.directory.scratch import DISK, UNREAD
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.win32.attributes import DIRECTORY


@boundary
class InPlaceLayerWriter(DirectoryLayerWriter):
    """A `LayerWriter` that turns an existing folder into a base layer: it records the entries and changes no file.

    The entries must come from that folder (see `FolderLayerReader`). Until `close` returns, the folder is not a layer.
    """

    operation = "make layer in place"

    def __init__(self, path: StrPath) -> None:
        super().__init__(path)

    def _stage(self, place: Path) -> Stage:
        return StagedDatabase(place, with_contents=True, lock=claim_place(place))

    def _host_files(self) -> HostFiles:
        return FilesInPlace(self._staged.path, self._staged.lock)


def make_empty_records(path: Path) -> None:
    """Makes the records of a scratch that Windows made, which consists of its disk only. Existing records are kept.

    The new records say that the disk was not read yet. The caller must hold the lock of the scratch.

    Raises:
        PathNotFoundError: the folder is not a scratch.
    """
    if (path / database.FILE_NAME).is_file():
        return
    if not (path / DISK).is_file():
        raise PathNotFoundError(path, f"not a scratch layer: it has no {DISK}")
    staged = StagedDatabase(path)
    try:
        records = LayerRecords(staged.database)
        for number, name in enumerate(("Files", "Hives"), start=1):
            row = EntryRow(number, 0, name, name.upper(), DIRECTORY, 0, 0, 0, 0, None, 0, None, Origin.IMPLIED)
            records.add(row)
        records.record(UNREAD, 1)
        records.commit()
        records.close()
        staged.commit()
    except BaseException:
        staged.discard()
        raise
