"""The files of a disk: what the NTFS volume in a disk file has, read in place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import sha256
from typing import BinaryIO, cast

from wclayer._types import StrPath
from wclayer.errors import FormatError, FormatLimitError
from wclayer.formats.ntfs.structs import END_RESERVED, RECORD_MASK, AttributeType, SystemFile
from wclayer.formats.ntfs.volume import FileRecord, NtfsVolume
from wclayer.formats.ntfs.wof import STREAM, algorithm_of, decompressed
from wclayer.inventory.item import SubjectLayer
from wclayer.inventory.subject.files import SubjectFile, SubjectFiles
from wclayer.layers.budget import Budget, stored_size
from wclayer.layers.range_stream import open_range
from wclayer.layers.volume.disk_file import DiskFile
from wclayer.layers.volume.reader import find_volume
from wclayer.model import limits_in_use
from wclayer.view.resolve import is_link
from wclayer.win32.names import name_key

_PIECE = 1 << 20
_MAX_COMPRESSED = 1 << 28
_IN_MEMORY = 1 << 20
"""Decompressed contents up to this size in bytes are kept in memory, larger ones in a temporary file."""
_DEPTH = 512
_KEPT_NAMES = 100_000
"""Names in directories that are kept in memory, so that a look-up does not read a directory again; each directory
counts as one more. The names of one larger directory are kept nevertheless."""


class DiskFiles(SubjectFiles):
    """The files of the volume in a disk file. If the volume holds a layer, C: is its directory `Files`.

    Args:
        path: the disk file.
        layer: the disk as a layer.

    Raises:
        PathNotFoundError: the file does not exist.
        InvalidDataError, NotSupportedError: it holds no intact NTFS volume.
    """

    def __init__(self, path: StrPath, layer: SubjectLayer) -> None:
        self._layer = layer
        self._indexes: dict[int, dict[str, tuple[str, int]]] = {}
        self._kept = 0
        """The number of names in the indexes, and of the indexes."""
        self._disk = DiskFile(path)
        # Files with holes may claim any size.
        self._budget = Budget(os.fspath(path), limits_in_use())
        for file in (self._disk.path, *self._disk.chain):
            self._budget.store(stored_size(os.stat(file)))
        try:
            with self._disk.errors():
                self._volume = NtfsVolume(find_volume(self._disk.disk))
                self._top = self._volume.record(SystemFile.ROOT)
                names = self._index(self._top)
                files = names.get(name_key("Files")) if name_key("Windows") not in names else None
                self._root = self._top if files is None else self._volume.record(files[1])
        except BaseException:
            self.close()
            raise

    @property
    def disk(self) -> DiskFile:
        """The disk file."""
        return self._disk

    @property
    def volume(self) -> NtfsVolume:
        """The volume."""
        return self._volume

    @property
    def holds_layer(self) -> bool:
        """Whether C: is the directory `Files` of the volume, and not its root."""
        return self._root is not self._top

    def root(self) -> SubjectFile:
        return self._file("", self._root)

    def top(self) -> SubjectFile:
        """Returns the root of the volume, which is C: itself or above it. Its path is empty."""
        return self._file("", self._top)

    def at(self, path: str, number: int) -> SubjectFile:
        """Returns the file or directory with a record number.

        Args:
            path: the path that it gets.
            number: the number of its record.

        Raises:
            FormatError: the record is damaged.
        """
        return self._file(path, self._volume.record(number))

    def child(self, directory: SubjectFile, name: str) -> SubjectFile | None:
        if directory.is_link or not directory.is_directory:
            return None
        found = self._index(record_of(directory)).get(name_key(name))
        return None if found is None else self.found(directory, *found)

    def children(self, directory: SubjectFile) -> Iterator[SubjectFile]:
        if not directory.is_directory or directory.is_link:
            return
        if directory.path.count("/") > _DEPTH:
            raise FormatError(f"{directory.path[:100]}: more than {_DEPTH} directories deep")
        for name, number in self.names(directory):
            yield self.found(directory, name, number)

    def names(self, directory: SubjectFile) -> Iterator[tuple[str, int]]:
        """Yields the names in a directory, in Windows' order, with their record numbers.

        Raises:
            FormatError: the directory is damaged.
        """
        return self._names(record_of(directory))

    def open(self, file: SubjectFile) -> BinaryIO:
        record = record_of(file)
        data = record.find(AttributeType.DATA)
        if record.is_directory or data is None:
            raise FormatError("has no contents")
        algorithm = self._algorithm(record)
        if algorithm is None and not data.is_compressed:
            return open_range(data.size, lambda start, end: b"".join(self._volume.chunks(data, start, end)))
        if data.size > _MAX_COMPRESSED:
            raise FormatLimitError(f"is compressed, and {data.size} bytes long; at most {_MAX_COMPRESSED} are read")
        self._budget.spend(data.size, file.windows_path)
        if algorithm is None:
            return _copied(self._volume.chunks(data))
        overlay = record.find(AttributeType.DATA, STREAM)
        if overlay is None:
            raise FormatError(f"its compressed contents are missing: it has no stream {STREAM}")
        return _copied(decompressed(algorithm, data.size, partial(self._volume.chunks, overlay), overlay.size))

    def identity(self, file: SubjectFile) -> int:
        return record_of(file).number

    def sha256(self, file: SubjectFile) -> str:
        self._budget.spend(file.size, file.windows_path)
        digest = sha256()
        with self.open(file) as opened:
            while piece := opened.read(_PIECE):
                digest.update(piece)
        return digest.hexdigest()

    def security(self, file: SubjectFile) -> bytes | None:
        record = record_of(file)
        return self._volume.security(record, record.information().security_id)

    def close(self) -> None:
        self._disk.__exit__(None, None, None)

    def _names(self, directory: FileRecord) -> Iterator[tuple[str, int]]:
        """Yields the names in a directory with their record numbers."""
        for entry in self._volume.entries(directory):
            number = entry.reference & RECORD_MASK
            # The root of the volume lists itself, and the files of NTFS.
            if directory.number != SystemFile.ROOT or number >= END_RESERVED:
                yield entry.name, number

    def _index(self, directory: FileRecord) -> dict[str, tuple[str, int]]:
        """Returns the names in a directory with their record numbers, by their keys; those of some directories are
        kept."""
        known = self._indexes.pop(directory.number, None)
        if known is None:
            known = {name_key(name): (name, child) for name, child in self._names(directory)}
            self._kept += len(known) + 1
            while self._indexes and self._kept > _KEPT_NAMES:
                self._kept -= len(self._indexes.pop(next(iter(self._indexes)))) + 1
        # The last one is the one that was used last.
        self._indexes[directory.number] = known
        return known

    def found(self, directory: SubjectFile, name: str, number: int) -> SubjectFile:
        """Returns what a directory has under a name.

        Args:
            directory: the directory.
            name: the name.
            number: the number of the record that the directory has for it.

        Raises:
            FormatError: the record is damaged, or is a directory that belongs to another one.
        """
        path = f"{directory.path}/{name}" if directory.path else name
        record = self._volume.record(number)
        parents = {known.parent & RECORD_MASK for known in record.names()} if record.is_directory else set()
        if record.is_directory and parents != {record_of(directory).number}:
            # Otherwise a directory could be in itself, and a walk would not end.
            raise FormatError(f"{path[:100]}: record {number} belongs to another directory")
        return self._file(path, record)

    def _file(self, path: str, record: FileRecord) -> SubjectFile:
        data = None if record.is_directory else record.find(AttributeType.DATA)
        size = 0 if data is None else data.size
        return SubjectFile(path, size, record.is_directory, is_link(self.reparse(record)), self._layer, record)

    def reparse(self, record: FileRecord) -> bytes | None:
        """Returns the REPARSE_DATA_BUFFER of a record; None if it is no reparse point."""
        found = record.find(AttributeType.REPARSE_POINT)
        return None if found is None else self._volume.value(found)

    def is_overlaid(self, record: FileRecord) -> bool:
        """Returns whether the Windows Overlay Filter compressed a file: its contents are in a stream then."""
        return self._algorithm(record) is not None

    def _algorithm(self, record: FileRecord) -> int | None:
        reparse = self.reparse(record)
        return None if reparse is None else algorithm_of(reparse)


def _copied(chunks: Iterable[bytes]) -> BinaryIO:
    """Returns an unnamed file with the bytes of all chunks, to read at any offset."""
    opened = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the caller closes it
    try:
        opened.writelines(chunks)
        opened.seek(0)
    except BaseException:
        opened.close()
        raise
    return cast("BinaryIO", opened)


def record_of(file: SubjectFile) -> FileRecord:
    """Returns the record of a file of a disk."""
    assert isinstance(file.handle, FileRecord)
    return file.handle
