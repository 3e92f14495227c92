"""Readers of Windows' layers: a base layer is read in place, a child is exported to a temporary folder first."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wclayer._types import Chain, StrPath
from wclayer._walk import Walk
from wclayer.engines.hcs.backup_entry import BackupEntry
from wclayer.engines.hcs.files import BackupFile
from wclayer.engines.hcs.functions import export_layer
from wclayer.engines.hcs.privileges import privileges
from wclayer.engines.hcs.utility_vm import FILES, TOP
from wclayer.errors import (
    InvalidDataError,
    NotALayerError,
    PathNotFoundError,
    boundary,
    during,
    from_os_error,
)
from wclayer.host import system
from wclayer.host.root import HostRoot, remove_tree
from wclayer.layers.backup_api import BackupLayerReader
from wclayer.layers.base import FirstNames, LayerReaderBase
from wclayer.layers.transport import TransportLayerReader
from wclayer.model import DataStream, Entry, LayerItem, LinkInfo
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.names import decode_name, encode_name, names_equal, path_key

_RECYCLE_BIN = "$Recycle.Bin"


@boundary
class BaseLayerReader(LayerReaderBase):
    """A `LayerReader` over a base layer in place: `Files`, then `UtilityVM` with its `Files`, if they exist.

    The names of each directory are sorted as Go sorts them, by their UTF-8. `Files\\$Recycle.Bin` is left out, and
    reparse points are not followed. A further name of a file is a link to the first.

    Raises:
        PathNotFoundError: the folder does not exist.
        NotALayerError: the folder has no `Files`.

    Reference: hcsshim, `baselayerreader.go`.
    """

    operation = "read base layer"

    def __init__(self, path: StrPath) -> None:
        place = os.path.abspath(path)
        super().__init__(place)
        if not os.path.isdir(place):
            raise PathNotFoundError(place, "the folder does not exist")
        if not os.path.isdir(os.path.join(place, "Files")):
            raise NotALayerError(place, "not a base layer: it has no folder Files")
        self._root = HostRoot(place)
        self._walk = self._walk_all()
        self._first_names = FirstNames()
        self._file: BackupFile | None = None
        self._backup_entry: BackupEntry | None = None

    def _walk_all(self) -> Iterator[bytes]:
        yield from self._walk_directory(b"Files")
        if self._is_directory(FILES):
            # Only `Files`: everything else in `UtilityVM` was made from it.
            yield TOP
            yield from self._walk_directory(FILES)

    def _is_directory(self, path: bytes) -> bool:
        try:
            return self._root.is_directory(path)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _walk_directory(self, top: bytes) -> Iterator[bytes]:
        yield top
        walk = Walk(self._children(top), None)
        for _, (path, is_directory) in walk:
            yield path
            if is_directory:
                walk.enter(self._children(path), None)

    def _children(self, path: bytes) -> Iterator[tuple[bytes, bool]]:
        found = [
            (encode_name(name), is_directory)
            for name, is_directory in system.list_directory(self._root.directory(path))
        ]
        for name, is_directory in sorted(found):
            is_bin = path == b"Files" and is_directory and names_equal(decode_name(name), _RECYCLE_BIN)
            if not is_bin:
                yield path + b"/" + name, is_directory

    def _advance(self) -> Entry | None:
        self._close_file()
        with self._reading():
            path = next(self._walk, None)
            return None if path is None else self._entry_at(path)

    def _entry_at(self, path: bytes) -> Entry:
        file = self._file = BackupFile(self._root, path)
        info = file.info()
        entry = Entry(decode_name(path), info)
        size = 0
        if not info.is_directory:
            links = file.link_info()
            if links.number_of_links > 1 and self._first_names.link(entry, links.file_id):
                return entry
            size = file.size()
        self._backup_entry = BackupEntry(entry, file, size, self._reading, self.source)
        return entry

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        return iter(()) if self._backup_entry is None else self._backup_entry.streams()

    def backup_stream(self) -> Iterator[bytes]:
        """Returns the current entry's backup stream exactly as Windows returns it."""
        return iter(()) if self._backup_entry is None else self._backup_entry.backup_stream()

    def _link_info(self) -> LinkInfo:
        if self._file is None:
            return LinkInfo(1, bytes(16))
        with self._reading():
            return self._file.link_info()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """A context for calls of Windows: it holds the privileges, and turns failures into errors with the file's
        name."""
        try:
            with privileges(self.source):
                yield
        except OSError as error:
            raise from_os_error(self.source, error) from error
        except ValueError as error:
            place = "" if self._file is None else f"{decode_name(self._file.path)}: "
            raise InvalidDataError(self.source, f"{place}{error}") from None

    def _close_file(self) -> None:
        self._backup_entry = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _release(self) -> None:
        self._close_file()
        self._root.close()


@boundary
class BaseBackupReader(BackupLayerReader):
    """A `BackupReader` over a base layer, with the backup streams exactly as Windows returns them."""

    def __init__(self, reader: BaseLayerReader) -> None:
        super().__init__(reader)
        self._base = reader

    def _open_backup(self, item: LayerItem) -> Iterator[bytes | memoryview]:
        return self._base.backup_stream()


@boundary
class ExportedLayerReader(TransportLayerReader):
    """A `LayerReader` over a child layer. Windows exports it to a temporary folder, which `close` removes.

    Outside of `Files`, the creation and access time of a file are set to its last write time, and the folders `Files`
    and `Hives` get the times of `Hives\\System_Delta`, because the times that the export sets have no meaning.

    Reference: hcsshim, `NewLayerReader` and `legacyLayerReader`.
    """

    operation = "read layer"

    def __init__(self, path: StrPath, parents: Chain) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="hcs"))
        try:
            with privileges(os.fspath(path)):
                export_layer(path, self._folder, parents)
            super().__init__(self._folder)
        except BaseException:
            remove_tree(self._folder)
            raise

    def _directory_entry(self, host: bytes, name: str, sidecar: bytes | None) -> Entry:
        entry = super()._directory_entry(host, name, sidecar)
        if sidecar is None and path_key(name) in ("FILES", "HIVES"):
            try:
                status = self._host.stat(b"Hives/System_Delta")
            except FileNotFoundError:
                raise InvalidDataError(self.source, "the export has no Hives\\System_Delta") from None
            assert entry.info is not None
            entry.info = _written_at(entry.info.attributes, status)
        return entry

    def _file_entry(self, host: bytes, name: str, encoded: bool, *, may_link: bool = True) -> Entry:
        entry = super()._file_entry(host, name, encoded, may_link=may_link)
        if not encoded:
            status = self._host.stat(host)
            entry.info = _written_at(status.st_file_attributes, status)
        return entry

    def _release(self) -> None:
        super()._release()
        remove_tree(self._folder)


def _written_at(attributes: int, status: os.stat_result) -> FileBasicInfo:
    time = from_unix_ns(status.st_mtime_ns)
    return FileBasicInfo(attributes, time, time, time, time)


@during("read layer")
def new_layer_reader(path: StrPath, parents: Chain = ()) -> BackupLayerReader:
    """Returns a reader of the layer at `path`. A base layer is read in place, a child is exported first.

    Args:
        path: the layer's folder.
        parents: the parent chain, nearest first; empty for a base layer.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
        AccessDeniedError: the user does not have the privileges that a backup needs.
        LayerError: Windows could not export the layer.

    Reference: hcsshim, `NewLayerReader`.
    """
    if parents:
        return BackupLayerReader(ExportedLayerReader(path, parents))
    return BaseBackupReader(BaseLayerReader(path))
