"""Reads an NTFS volume as a layer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from wclayer._types import StrPath
from wclayer._walk import Walk
from wclayer.errors import LimitExceededError, boundary, errors_inside, limit_hint
from wclayer.formats.disk import Disk, DiskError
from wclayer.formats.ntfs.structs import (
    BOOT_OEM_ID,
    END_RESERVED,
    RECORD_MASK,
    SECTOR_SIZE,
    AttributeType,
    NtfsError,
    SystemFile,
)
from wclayer.formats.ntfs.volume import FileRecord, NtfsVolume, StreamAttribute
from wclayer.formats.ntfs.wof import STREAM, algorithm_of, decompressed
from wclayer.layers.base import FirstNames, LayerReaderBase
from wclayer.layers.budget import Budget, stored_size
from wclayer.layers.names import ROOTS
from wclayer.layers.volume.disk_file import DiskFile, data_windows
from wclayer.model import DataStream, Entry, ExtraStream, Limits, LinkInfo, limits_in_use
from wclayer.win32.attributes import DIRECTORY, FileAttributes, FileBasicInfo
from wclayer.win32.backup import StreamId
from wclayer.win32.ea import decode_eas, with_last_marked
from wclayer.win32.names import name_key, utf16_length
from wclayer.win32.reparse import is_name_surrogate

_WINDOWS_OWN = frozenset(name_key(name) for name in ("$RECYCLE.BIN", "System Volume Information"))
"""The files and directories that Windows adds to every volume that it mounts."""
_OVERLAY_ATTRIBUTES = int(FileAttributes.REPARSE_POINT | FileAttributes.SPARSE_FILE)
_MAX_PLACE = 300
"""The maximum number of characters of a path in a message."""
_TOP_ROOTS = frozenset(name_key(root) for root in ROOTS if "/" not in root)


@boundary
class VolumeLayerReader(LayerReaderBase):
    """A `LayerReader` over the NTFS volume in a disk file (VHDX, VHD or raw, with or without a partition table).

    A volume whose root has only `Files`, `Hives` and `UtilityVM` is read as a layer as it is. The root of any other
    volume becomes the layer's `Files`. NTFS's own files, and the files that Windows adds to every volume, are left out.
    Files that the Windows Overlay Filter compressed are read as uncompressed files. Names are in the order in which
    Windows lists them. Short names are not kept.

    Args:
        path: the disk file.
        limits: how much is accepted; by default the limits in use.

    Raises:
        PathNotFoundError: the file does not exist.
        InvalidDataError: it does not hold an intact NTFS volume.
        LimitExceededError: it is larger than `limits`.
    """

    operation = "read volume"

    def __init__(self, path: StrPath, *, limits: Limits | None = None) -> None:
        self._limits = limits or limits_in_use()
        self._file = DiskFile(path)
        super().__init__(str(self._file.path))
        # Sparse, compressed and damaged files may claim any size.
        self._budget = Budget(self.source, self._limits)
        for file in (self._file.path, *self._file.chain):
            self._budget.store(stored_size(os.stat(file)))
        try:
            with self._errors("the volume"):
                self.volume = NtfsVolume(find_volume(self._file.disk))
                root = self.volume.record(SystemFile.ROOT)
                self._whole = self._is_layer(root)
        except BaseException:
            self._file.__exit__(None, None, None)
            raise
        self._records = self._walk(root)
        self._claimed = 0
        """The number of clusters that the files so far claim."""
        self._record: FileRecord | None = None
        self._algorithm: int | None = None
        """How the Windows Overlay Filter compressed the current file; None if it did not."""
        self._first_names = FirstNames()

    def _errors(self, place: str) -> errors_inside:
        return errors_inside(self._file.path, place)

    def _names(self, directory: FileRecord) -> Iterator[tuple[str, int]]:
        """Yields the names in a directory, in Windows' order, with their record numbers."""
        is_root = directory.number == SystemFile.ROOT
        for entry in self.volume.entries(directory):
            number = entry.reference & RECORD_MASK
            if not is_root or (number >= END_RESERVED and name_key(entry.name) not in _WINDOWS_OWN):
                yield entry.name, number

    def _is_layer(self, root: FileRecord) -> bool:
        names: set[str] = set()
        for name, _ in self._names(root):
            names.add(name_key(name))
            if not names <= _TOP_ROOTS:
                return False
        return "FILES" in names

    def _walk(self, root: FileRecord) -> Iterator[tuple[str, FileRecord]]:
        path = "" if self._whole else "Files"
        if not self._whole:
            yield path, root
        # Only the length of a directory's path is kept: a deep tree must not hold the paths of all levels in memory.
        walk = Walk(self._names(root), len(path))
        limits, count = self._limits, 0
        seen = {root.number}
        try:
            for length, (name, number) in walk:
                path = f"{path[:length]}/{name}" if length else name
                count += 1
                if count > limits.entries:
                    self._exceeded(path, "entries", "entries")
                if walk.depth >= limits.path_depth:
                    self._exceeded(path, "path_depth", "names in a path")
                if len(path) > limits.path_length >> 1 and utf16_length(path) > limits.path_length:
                    self._exceeded(path, "path_length", "UTF-16 units in a path")
                with self._errors(path):
                    record = self.volume.record(number)
                yield path, record
                with self._errors(path):
                    if record.is_directory and self._descends(record):
                        if number in seen:
                            raise NtfsError(f"record {number}: a directory with two names")
                        seen.add(number)
                        walk.enter(self._names(record), len(path))
        except Exception:
            # The names of a directory cannot be read. Errors of its entries already name the entries.
            with self._errors(path[: walk.above]):
                raise

    def _exceeded(self, path: str, limit: str, what: str) -> None:
        problem = f"{path[:_MAX_PLACE]}: more than {getattr(self._limits, limit)} {what} {limit_hint(limit)}"
        raise LimitExceededError(self.source, problem)

    def _descends(self, record: FileRecord) -> bool:
        """Returns whether the contents of a directory are part of the layer. Those of a junction or another link are
        not."""
        reparse = record.find(AttributeType.REPARSE_POINT)
        return reparse is None or not is_name_surrogate(self.volume.value(reparse))

    def _advance(self) -> Entry | None:
        found = next(self._records, None)
        if found is None:
            self._record = None
            return None
        path, record = found
        self._record = record
        with self._errors(path):
            return self._entry_of(path, record)

    def _entry_of(self, path: str, record: FileRecord) -> Entry:
        info = basic_info(record)
        if not record.is_directory and len({(n.parent, n.name) for n in record.names()}) > 1:
            entry = Entry(path, info)
            if self._first_names.link(entry, record.number):
                return entry
        self._claim(record)
        main = record.find(AttributeType.DATA)
        reparse, eas = record.find(AttributeType.REPARSE_POINT), record.find(AttributeType.EA)
        object_id = self.volume.object_id(record)
        extra: tuple[ExtraStream, ...] = ()
        if object_id is not None:
            extra = (ExtraStream(int(StreamId.OBJECT_ID), 0, "", object_id),)
        reparse_data = None if reparse is None else self.volume.value(reparse)
        self._algorithm = None if reparse_data is None else algorithm_of(reparse_data)
        if self._algorithm is not None:
            # As Windows shows the file: without the mark of the filter.
            reparse_data, info = None, replace(info, attributes=info.attributes & ~_OVERLAY_ATTRIBUTES)
        return Entry(
            path,
            info,
            0 if main is None or record.is_directory else main.size,
            self.volume.security(record, record.information().security_id),
            b"" if eas is None else eas_of(self.volume, eas),
            reparse_data,
            None,
            extra,
        )

    def _claim(self, record: FileRecord) -> None:
        """Counts a file's clusters. No two files share a cluster, so all files together have at most as many as the
        volume."""
        self._claimed += sum(attribute.runs.allocated for attribute in record.attributes)
        if self._claimed > self.volume.clusters:
            raise NtfsError(
                f"record {record.number}: with this file, {self._claimed} clusters are in use of a volume that has "
                f"{self.volume.clusters}"
            )

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        record = self._record
        assert record is not None
        if entry.link_target is not None:
            return
        data = [a for a in record.attributes if a.type == AttributeType.DATA]
        main = next((a for a in data if not a.name), None)
        overlay = next((a for a in data if a.name == STREAM), None) if self._algorithm is not None else None
        if main is not None and entry.has_data:
            yield DataStream("", main.size, self._chunks(entry.name, main, overlay))
        for stream in data:
            if stream.name and stream is not overlay:
                yield DataStream(stream.name, stream.size, self._chunks(f"{entry.name}:{stream.name}", stream))

    def _chunks(self, place: str, stream: StreamAttribute, overlay: StreamAttribute | None = None) -> Iterator[bytes]:
        with self._errors(place):
            if overlay is None:
                yield from self.volume.chunks(stream)
            else:
                assert self._algorithm is not None
                read = partial(self.volume.chunks, overlay)
                yield from decompressed(self._algorithm, stream.size, read, overlay.size)

    def _link_info(self) -> LinkInfo | None:
        record, item = self._record, self._item
        if record is None or item is None:
            return None
        with self._errors(item.entry.name):
            names = {(name.parent, name.name) for name in record.names()}
        return LinkInfo(max(1, len(names)), record.number.to_bytes(16, "little"))

    def _release(self) -> None:
        self._file.__exit__(None, None, None)


def basic_info(record: FileRecord) -> FileBasicInfo:
    """Returns the times and attributes of a file.

    Raises:
        NtfsError: the file has none.
    """
    information = record.information()
    attributes = information.attributes | (DIRECTORY if record.is_directory else 0)
    return FileBasicInfo(
        attributes & 0xFFFFFFFF, information.creation_time, information.last_access_time,
        information.last_write_time, information.change_time,
    )  # fmt: skip


def eas_of(volume: NtfsVolume, attribute: StreamAttribute) -> bytes:
    """Returns the EAs in an attribute as Windows shows them.

    Raises:
        ValueError: they are damaged.
    """
    eas = volume.value(attribute)
    decode_eas(eas)
    return with_last_marked(eas)


def find_volume(disk: Disk) -> Disk:
    """Returns the volume of a disk: the disk itself, or its first data partition that holds one."""
    if _has_volume(disk):
        return disk
    try:
        windows = data_windows(disk)
    except DiskError as error:
        raise NtfsError(f"neither an NTFS volume nor a partition table: {error}") from None
    found = next((window for window in windows if _has_volume(window)), None)
    if found is None:
        raise NtfsError("no partition of the disk holds an NTFS volume")
    return found


def _has_volume(disk: Disk) -> bool:
    # The OEM ID follows the jump instruction of the boot sector.
    return disk.size >= SECTOR_SIZE and disk.read(3, len(BOOT_OEM_ID)) == BOOT_OEM_ID
