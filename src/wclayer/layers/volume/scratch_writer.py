"""Writes a scratch's changes as a volume, in the form in which Windows' container filter would have left them.

The marks are those that `layers/volume/scratch.py` reads. A directory that the parents have, too, is a placeholder,
which the filter merges with theirs; a directory without that mark is opaque; a deleted name is a tombstone. Delta hives
go to `WcSandboxState`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from uuid import UUID

from wclayer.errors import boundary
from wclayer.formats.disk import Disk
from wclayer.layers.hives import HIVES_ROOT
from wclayer.layers.volume.scratch import STATE, STATE_HIVES
from wclayer.layers.volume.writer import VolumeLayerWriter
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import REPARSE_POINT, FileAttributes, FileBasicInfo
from wclayer.win32.names import path_key
from wclayer.win32.reparse import ReparsePoint, ReparseTag, WciPlaceholder

_HIVES = path_key(HIVES_ROOT)
_FILES = "Files/"
_HIDDEN = int(FileAttributes.HIDDEN | FileAttributes.SYSTEM)
_WCI_VERSION = 1


@boundary
class ScratchVolumeWriter(VolumeLayerWriter):
    """A `LayerWriter` for the changes of a scratch. Tombstones must come before the entries.

    Args:
        disk, target, serial, time, hidden_sectors: see `VolumeLayerWriter`.
        owner: a function that returns the GUID of the parent layer with a directory at a path, or None.
    """

    operation = "write scratch disk"

    def __init__(
        self,
        disk: Disk,
        target: str,
        *,
        owner: Callable[[str], UUID | None],
        serial: int,
        time: int,
        hidden_sectors: int,
    ) -> None:
        super().__init__(disk, target, serial=serial, time=time, hidden_sectors=hidden_sectors)
        self._owner = owner
        self._own_time = time
        self._deleted: dict[str, Entry] = {}
        self._has_state = False

    def _put(self, entry: Entry, streams: Iterable[DataStream]) -> None:
        key = path_key(entry.name)
        if entry.info is None:
            # Tombstones come first, their directories later.
            self._deleted[key] = entry
        elif key == _HIVES:
            pass
        elif key.startswith(_HIVES + "/"):
            self._make_state()
            super()._put(replace(entry, name=STATE_HIVES + entry.name[len(HIVES_ROOT) :]), streams)
        elif entry.is_directory and entry.reparse is None:
            is_new = self._deleted.pop(key, None) is not None
            layer = None if is_new or entry.name + "/" == _FILES else self._owner(entry.name)
            super()._put(entry if layer is None else self._placeholder(entry, layer), streams)
        else:
            # The entry hides the one of the parents.
            self._deleted.pop(key, None)
            super()._put(entry, streams)

    @staticmethod
    def _placeholder(entry: Entry, layer: UUID) -> Entry:
        assert entry.info is not None
        name = entry.name.removeprefix(_FILES).replace("/", "\\")
        mark = WciPlaceholder(ReparseTag.WCI_1, _WCI_VERSION, 0, layer, name)
        info = replace(entry.info, attributes=entry.info.attributes | REPARSE_POINT)
        return replace(entry, info=info, reparse=mark.encode())

    def _make_state(self) -> None:
        if not self._has_state:
            self._has_state = True
            time = self._own_time
            info = FileBasicInfo(int(FileAttributes.DIRECTORY) | _HIDDEN, time, time, time, time)
            for name in (STATE, STATE_HIVES):
                super()._put(Entry(name, info), ())

    def _finish(self) -> None:
        time = self._own_time
        info = FileBasicInfo(_HIDDEN | REPARSE_POINT, time, time, time, time)
        mark = ReparsePoint(ReparseTag.WCI_TOMBSTONE, b"").encode()
        for entry in self._deleted.values():
            super()._put(replace(entry, info=info, reparse=mark), ())
        super()._finish()
