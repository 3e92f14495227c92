"""Writes a layer as an NTFS volume."""

from __future__ import annotations

from typing import Protocol

from wclayer.errors import FormatError, InvalidParameterError, NotSupportedError, boundary, errors_at
from wclayer.formats.disk import Disk
from wclayer.formats.ntfs.builder import DEFAULT_CLUSTER_SIZE, VolumeBuilder
from wclayer.formats.ntfs.file_metadata import FileMetadata
from wclayer.formats.ntfs.number_table import NumberTable
from wclayer.formats.ntfs.streams import RESIDENT_LIMIT
from wclayer.layers.base import LayerWriterBase, StoredFile, StoredStream
from wclayer.layers.names import ROOTS, NameChecker
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import DIRECTORY, SPARSE_FILE, FileAttributes
from wclayer.win32.backup import StreamId
from wclayer.win32.inherit import inherited, volume_root
from wclayer.win32.names import path_key

_FILES = "FILES"
_IGNORED = frozenset({int(StreamId.LINK), int(StreamId.OBJECT_ID)})
"""Extra streams that are not written as such: the names of a file, which the volume has anyway, and its object id."""
_ENCRYPTED = int(FileAttributes.ENCRYPTED)
_ROOT_ATTRIBUTES = int(FileAttributes.DIRECTORY | FileAttributes.HIDDEN | FileAttributes.SYSTEM)


class Copier(Protocol):
    """Copies files in another process (`ContentCopier`)."""

    def take(self, file: StoredFile) -> bool: ...
    def place(self, offset: int) -> None: ...
    def finish(self) -> None: ...


@boundary
class VolumeLayerWriter(LayerWriterBase):
    """A `LayerWriter` that writes a layer as an NTFS volume, in one pass. The volume is complete when `close` returns.

    Args:
        disk: the disk or partition for the volume, which reads as zeros. It is not closed.
        target: the name of the volume in messages.
        whole: True if the layer's roots (`Files`, `Hives`, `UtilityVM`) become directories of the volume. Otherwise the
            contents of `Files` become the volume's root, as Windows sees it, and the other roots are left out.
        cluster_size: the size of a cluster in bytes.
        label: the volume's name.
        serial: its serial number.
        time: the FILETIME of the volume's own files.
        hidden_sectors: the number of sectors of the disk before the volume.
        names: checks the entries; it may be the one that the reader uses.
        copier: copies the contents of files that a reader lends; None to read them all.

    Raises:
        NtfsError: a volume cannot have these sizes.
    """

    operation = "write volume"

    def __init__(
        self,
        disk: Disk,
        target: str,
        *,
        whole: bool = False,
        cluster_size: int = DEFAULT_CLUSTER_SIZE,
        label: str = "",
        serial: int,
        time: int,
        hidden_sectors: int = 0,
        names: NameChecker | None = None,
        copier: Copier | None = None,
    ) -> None:
        super().__init__(target, names or NameChecker(target, is_base=False))
        self._whole = whole
        self._copier = copier
        root = FileMetadata(time, time, time, time, _ROOT_ATTRIBUTES, volume_root().encode())
        with errors_at(target, damage=InvalidParameterError):
            self._builder = VolumeBuilder(
                disk, root, cluster_size=cluster_size, label=label, serial=serial, time=time,
                hidden_sectors=hidden_sectors,
            )  # fmt: skip
        self._directories = NumberTable()
        """The numbers of directories by their path keys."""
        self._directories.keep("", self._builder.root)
        self._last_directory = "", self._builder.root
        """The path key and the number of the directory that was looked up last."""
        self._time = time
        self._entry = Entry("", None)
        self.unencrypted = 0
        """The number of entries whose attribute "encrypted" was dropped, because their data is plain here."""
        self._is_link = False
        self._is_sparse = False
        self._has_main = False

    def _put_plain(self, entry: Entry, key: str, data: bytes) -> bool:
        parent = self._parent_of_plain(entry, key)
        info, security = entry.info, entry.security
        if parent is None or info is None or security is None:
            return False
        self._builder.put_plain_file(parent, entry.name.rpartition("/")[2], info, security, data)
        return True

    def _put_stored(self, entry: Entry, key: str, stream: StoredStream) -> bool:
        if self._copier is None or entry.size <= RESIDENT_LIMIT:
            return False
        parent = self._parent_of_plain(entry, key)
        info, security = entry.info, entry.security
        if parent is None or info is None or security is None:
            # `_put_plain` would not take it either.
            self._put_in_steps(entry, (stream,))
            return True
        if not self._copier.take(stream.file):
            return False
        name = entry.name.rpartition("/")[2]
        self._copier.place(self._builder.reserve_plain_file(parent, name, info, security, entry.size))
        return True

    def _parent_of_plain(self, entry: Entry, key: str) -> int | None:
        """Returns the number of a file's directory, or None if the file has to take the usual steps."""
        if entry.info is None or entry.info.attributes & _ENCRYPTED:
            return None
        parent_key = key[: max(entry.name.rfind("/"), 0)]
        last_key, parent = self._last_directory
        if parent_key != last_key:
            found = self._directories.get(parent_key)
            if found is None:
                return None
            parent = found
            self._last_directory = parent_key, parent
        return parent

    def _begin(self, entry: Entry, key: str) -> None:
        self._entry = entry
        self._is_link = self._has_main = False
        info = entry.info
        if info is None:
            raise NotSupportedError(
                self.target, f"tombstone {entry.name!r}: a volume holds none; convert the whole chain"
            )
        if not self._whole:
            if key == _FILES:
                self._set_root(entry)
                return
            if not key.startswith(_FILES + "/"):
                raise NotSupportedError(
                    self.target, f"entry {entry.name!r}: only what is in Files is part of this volume"
                )
        parent_key, _, _ = key.rpartition("/")
        name = entry.name.rpartition("/")[2]
        parent = self._parent(parent_key)
        if entry.link_target is not None and self._add_link(entry, parent, name):
            self._is_link = True
            return
        metadata = self._metadata(entry, parent)
        self._is_sparse = bool(info.attributes & SPARSE_FILE)
        if entry.is_directory:
            self._directories.keep(key, self._builder.make_directory(parent, name, metadata))
        else:
            self._builder.begin_node(parent, name, metadata)

    def _set_root(self, entry: Entry) -> None:
        self._builder.set_root(self._metadata(entry, self._builder.root))
        self._directories.keep(_FILES, self._builder.root)

    def _parent(self, key: str) -> int:
        """Returns the number of the directory at a path key. A root without an entry is made."""
        known = self._directories.get(key)
        if known is None and not self._whole and key == _FILES:
            known = self._builder.root
        if known is None:
            parent = self._parent(key.rpartition("/")[0])
            name = next(root for root in ROOTS if path_key(root) == key).rpartition("/")[2]
            time = self._time
            security = inherited(self._builder.descriptor_of(parent), True)
            metadata = FileMetadata(time, time, time, time, DIRECTORY, security)
            known = self._builder.make_directory(parent, name, metadata)
        self._directories.keep(key, known)
        return known

    def _metadata(self, entry: Entry, parent: int) -> FileMetadata:
        info = entry.info
        assert info is not None
        object_id = None
        for extra in entry.extra:
            if extra.id not in _IGNORED:
                raise NotSupportedError(
                    self.target, f"entry {entry.name!r}: a volume has no place for stream {extra.id}"
                )
            if extra.id == StreamId.OBJECT_ID:
                object_id = extra.data[:64]
        attributes = info.attributes
        if attributes & _ENCRYPTED:
            # A layer does not contain encryption keys, and without its key the file could not be opened.
            attributes &= ~_ENCRYPTED
            self.unencrypted += 1
        security = entry.security
        if security is None:
            try:
                security = inherited(self._builder.descriptor_of(parent), entry.is_directory)
            except FormatError as error:
                raise self._bad(entry, f"the security descriptor of its directory is damaged: {error}") from None
        return FileMetadata(
            info.creation_time, info.last_write_time, info.change_time, info.last_access_time, attributes, security,
            entry.eas, entry.reparse, object_id,
        )  # fmt: skip

    def _add_link(self, entry: Entry, parent: int, name: str) -> bool:
        """Adds a further name of a file of this volume. Returns False if the target is not on this volume."""
        assert entry.link_target is not None
        target_key = path_key(entry.link_target)
        directory_key, _, last = target_key.rpartition("/")
        directory = self._directories.get(directory_key)
        file = None if directory is None else self._builder.find(directory, last)
        if file is None:
            return False
        self._builder.add_link(parent, name, file)
        return True

    def _copy_stream(self, stream: StoredStream) -> bool:
        is_sparse = self._is_sparse and not stream.name
        if self._copier is None or self._is_link or is_sparse or stream.size <= RESIDENT_LIMIT:
            return False
        if not self._copier.take(stream.file):
            return False
        self._has_main = self._has_main or not stream.name
        self._copier.place(self._builder.reserve_stream(stream.name, stream.size))
        return True

    def _open_stream(self, stream: DataStream) -> None:
        if self._is_link:
            return
        self._has_main = self._has_main or not stream.name
        self._builder.begin_stream(stream.name, stream.size, is_sparse=self._is_sparse and not stream.name)

    def _data(self, chunk: bytes | memoryview) -> None:
        if not self._is_link:
            self._builder.write(chunk)

    def _close_stream(self) -> None:
        if not self._is_link:
            self._builder.end_stream()

    def _end(self) -> None:
        entry = self._entry
        if self._is_link or entry.info is None or entry.is_directory:
            return
        if entry.link_target is not None and not self._has_main:
            raise self._bad(entry, f"hard link to {entry.link_target!r}, which is not there")
        if entry.has_data and not self._has_main:
            self._builder.begin_stream("", 0)
            self._builder.end_stream()
        self._builder.end_node()

    def _finish(self) -> None:
        self._builder.finish()
        if self._copier is not None:
            self._copier.finish()

    def _discard(self) -> None:
        """Does nothing: the caller owns the disk, and discards it."""
