"""Reads a plain folder of the host as a layer: its files get the metadata that Windows gives to new files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from wclayer._types import StrPath
from wclayer._walk import Walk
from wclayer.errors import InvalidDataError, NotALayerError, boundary, errors_at
from wclayer.host import system
from wclayer.layers.base import FirstNames
from wclayer.layers.budget import stored_size
from wclayer.layers.hives import LAYER_HIVES
from wclayer.layers.host_walk import HostWalkReader
from wclayer.model import DataStream, Entry, Limits
from wclayer.win32.attributes import FileAttributes, FileBasicInfo
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.inherit import inherit, volume_root
from wclayer.win32.names import decode_name, name_key
from wclayer.win32.security import SecurityDescriptor

_PIECE = 1 << 20
_MADE = frozenset(name_key(hive.base.rpartition("/")[2]) for hive in LAYER_HIVES)


# A folder has few distinct descriptors: what directories inherit is the same from the second or third level on.
_inherit = lru_cache(maxsize=256)(inherit)
_encoded = lru_cache(maxsize=256)(SecurityDescriptor.encode)


@boundary
class FolderLayerReader(HostWalkReader):
    """A `LayerReader` over a folder with `Files` in it (and perhaps `Hives`, `UtilityVM/Files`).

    Each entry inherits its security descriptor from its directory; `Files` has that of a system volume's root.
    Directories and files have the usual attributes, and all of their times are the host's modification time. A hard
    link of the host is a hard link of the layer. A file that Windows cannot hold (a symbolic link of the host, a
    device, an illegal name) is an error.

    Raises:
        NotALayerError: the folder has no `Files`.
    """

    operation = "read folder"

    def __init__(self, path: StrPath, *, limits: Limits | None = None) -> None:
        place = Path(os.path.abspath(path))
        if not (place / "Files").is_dir():
            raise NotALayerError(place, "the folder has no folder Files in it")
        super().__init__(place, is_base=True, limits=limits)
        self._first_names = FirstNames()
        self._host_path = b""

    def _walk_all(self) -> Iterator[Entry]:
        root = volume_root()
        yield from self._walk_directory(b"Files", root)
        # A folder `Hives` with effective hives only may be the rest of an interrupted call of `make_base_layer`.
        if (self.path / "Hives").is_dir() and any(name_key(name) not in _MADE for name in self._host.names(b"Hives")):
            yield from self._walk_directory(b"Hives", root)
        if (self.path / "UtilityVM" / "Files").is_dir():
            yield self._entry_of(b"UtilityVM", root, self._host.stat(b"UtilityVM"))
            yield from self._walk_directory(b"UtilityVM/Files", root)

    def _walk_directory(self, host: bytes, security: SecurityDescriptor) -> Iterator[Entry]:
        yield self._entry_of(host, security, self._host.stat(host))
        # Only the length of a directory's path is kept: a deep tree must not hold the paths of all levels in memory.
        walk = Walk(self._names(host), (len(host), security))
        for (length, above), name in walk:
            host = host[:length] + b"/" + name
            info = self._host.stat(host)
            if stat.S_ISDIR(info.st_mode):
                below = _inherit(above, is_directory=True)
                yield self._entry_of(host, below, info)
                walk.enter(self._names(host), (len(host), below))
            elif stat.S_ISREG(info.st_mode):
                self._host_path = host
                yield self._entry_of(host, _inherit(above, is_directory=False), info)
            else:
                raise InvalidDataError(
                    self.path / os.fsdecode(host),
                    "neither a file nor a directory: a layer cannot hold it",
                )

    def _names(self, host: bytes) -> Iterator[bytes]:
        # Effective hives are made from the others.
        skipped = _MADE if host == b"Hives" else ()
        names = [name for name in sorted(self._host.names(host), key=name_key) if name_key(name) not in skipped]
        encoded = [os.fsencode(name) for name in names]
        return self._held(encoded, sum(map(len, encoded)))

    def _entry_of(self, host: bytes, security: SecurityDescriptor, info: os.stat_result) -> Entry:
        is_directory = stat.S_ISDIR(info.st_mode)
        attributes = int(FileAttributes.DIRECTORY if is_directory else FileAttributes.ARCHIVE)
        time = from_unix_ns(info.st_mtime_ns)
        name = decode_name(host)
        entry = Entry(name, FileBasicInfo(attributes, time, time, time, time), security=_encoded(security))
        if not is_directory:
            entry.size = info.st_size
            self._stored.store(stored_size(info))
            # `Files` comes first, and only its files can be hard links.
            may_link = info.st_nlink > 1 and name.startswith("Files/")
            if may_link and not self._first_names.link(entry, (info.st_dev, info.st_ino)):
                self._hold(1, len(name))
        return entry

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        if entry.has_data:
            yield DataStream("", entry.size, self._chunks(self._host_path, entry.size))

    def _chunks(self, host: bytes, size: int) -> Iterator[bytes]:
        with errors_at(self.path / os.fsdecode(host)):
            fd = self._host.open(host)
            try:
                while size and (data := os.read(fd, min(size, _PIECE))):
                    size -= len(data)
                    yield data
            finally:
                system.close_read(fd)
