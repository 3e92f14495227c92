"""Files of the host that hold a disk: VHDX files with their parents, VHD files, and raw images."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path, PureWindowsPath
from types import TracebackType
from typing import BinaryIO, Self
from uuid import UUID

from wclayer._types import StrPath
from wclayer.errors import (
    InvalidDataError,
    InvalidParameterError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
    errors_at,
)
from wclayer.formats.disk import Disk, DiskError
from wclayer.formats.gpt.structs import BASIC_DATA
from wclayer.formats.gpt.table import GptError, data_disk_table, read_table, write_table
from wclayer.formats.mbr.table import MbrError, read_mbr
from wclayer.formats.vhd.image import DynamicVhd, VhdMetadata, read_metadata
from wclayer.formats.vhdx.headers import ParentLocator
from wclayer.formats.vhdx.image import Vhdx
from wclayer.layers.inputs import is_standard_input, open_any_place
from wclayer.layers.volume.kinds import DiskKind, disk_kind, foreign_format, raw_sector_size, what_else
from wclayer.layers.volume.raw import RawDisk

_MAX_CHAIN = 128


class PartitionWindow:
    """A partition as a disk of its own: a range of the bytes of a disk."""

    def __init__(self, disk: Disk, offset: int, size: int) -> None:
        self._disk = disk
        self.offset = offset
        """The offset of the partition in the disk, in bytes."""
        self.size = size
        self.sector_size = disk.sector_size

    def read(self, offset: int, length: int) -> bytes:
        """Returns `length` bytes from `offset`.

        Raises:
            DiskError: the range is outside of the partition.
        """
        self._check(offset, length)
        return self._disk.read(self.offset + offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Writes bytes at `offset`.

        Raises:
            DiskError: the range is outside of the partition.
        """
        self._check(offset, len(data))
        self._disk.write(self.offset + offset, data)

    def flush(self) -> None:
        """Flushes the written bytes to the disk below."""
        self._disk.flush()

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise DiskError(f"{length} bytes at {offset} of a partition of {self.size}")


def data_windows(disk: Disk) -> list[PartitionWindow]:
    """Returns the partitions of a disk that may hold a Windows volume, by its GUID partition table or boot record.

    Raises:
        DiskError: the disk has neither a GUID partition table nor a master boot record.
    """
    try:
        found = [(part.offset, part.size) for part in read_table(disk).partitions if part.type == BASIC_DATA]
    except GptError as error:
        try:
            found = [(part.offset, part.size) for part in read_mbr(disk).partitions if part.is_data]
        except MbrError as other:
            raise DiskError(f"it has no partition table: {error}; {other}") from None
    return [PartitionWindow(disk, offset, size) for offset, size in found if offset + size <= disk.size]


def partition_data_disk(disk: Disk, disk_guid: UUID, guids: tuple[UUID, UUID]) -> PartitionWindow:
    """Writes the partition table of a data disk and returns its data partition.

    Args:
        disk: the disk.
        disk_guid, guids: see `data_disk_table`.
    """
    table = data_disk_table(disk.size, disk.sector_size, disk_guid, guids)
    write_table(disk, table)
    data = table.data_partition
    return PartitionWindow(disk, data.offset, data.size)


class DiskFile:
    """An existing disk file, opened with its parents. `disk` is the disk in it.

    Args:
        writable: True if the disk (not its parents) may be written.
        parent: the path of the disk's parent; it overrides the path that the disk records.

    Raises:
        PathNotFoundError: the file or one of its parents does not exist.
        InvalidDataError: the file is not a disk or is damaged, or a parent is not the one it was made from.
        NotSupportedError: the disk has an unsupported format; the message names it.
        InvalidParameterError: the file is a stream, such as a FIFO, not a disk.
    """

    def __init__(
        self,
        path: StrPath,
        *,
        writable: bool = False,
        parent: Path | None = None,
    ) -> None:
        if is_standard_input(path):
            raise InvalidParameterError(
                path, "is the standard input; a disk is read at any place, and its parents are beside it: name its file"
            )
        self._parent = parent
        self.path = Path(os.path.abspath(path))
        self.chain: list[Path] = []
        """The files of the parents, nearest first."""
        self.vhd: VhdMetadata | None = None
        """The contents of the footer, if the file is a VHD file."""
        with ExitStack() as stack:
            self._stack = stack
            self.file, self.disk = self._open(self.path, writable)
            self._stack = stack.pop_all()

    def vhdx(self) -> Vhdx:
        """Returns the disk as a VHDX file.

        Raises:
            InvalidDataError: it is not a VHDX file.
        """
        if not isinstance(self.disk, Vhdx):
            raise InvalidDataError(self.path, "not a VHDX file")
        return self.disk

    def errors(self) -> AbstractContextManager[None]:
        """Returns a context manager that turns errors of the disk and the host into a `LayerError` with this path."""
        return errors_at(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                with self.errors():
                    self.disk.flush()
        finally:
            self._stack.close()

    def _open(self, path: Path, writable: bool) -> tuple[BinaryIO, Vhdx | DynamicVhd | RawDisk]:
        with errors_at(path):
            file = self._stack.enter_context(open_any_place(path, writable=writable))
            foreign = foreign_format(file)
            if foreign is not None:
                raise NotSupportedError(path, foreign)
            kind = disk_kind(file)
            if kind is None:
                raise InvalidDataError(
                    path, f"not a disk: it is {what_else(file)}, neither VHDX nor VHD nor a raw image"
                )
            if kind is DiskKind.VHDX:
                return file, Vhdx(file, writable=writable, open_parent=lambda locator: self._open_parent(path, locator))
            metadata = read_metadata(file) if kind is DiskKind.VHD else None
            if metadata is None:
                return file, RawDisk(file, sector_size=raw_sector_size(file))
            if writable:
                raise NotSupportedError(path, "VHD files are read, not written")
            self.vhd = metadata
            return file, DynamicVhd(file, metadata) if metadata.kind == "dynamic" else RawDisk(file, size=metadata.size)

    def _open_parent(self, child: Path, locator: ParentLocator) -> Vhdx:
        if len(self.chain) >= _MAX_CHAIN:
            raise InvalidDataError(child, f"more than {_MAX_CHAIN} parents")
        tried = []
        problem: LayerError | None = None
        own = self._parent if child == self.path else None
        for candidate in [own] if own is not None else _candidates(child, locator):
            if candidate in self.chain or candidate == self.path:
                raise InvalidDataError(child, f"its parent {candidate} is itself made from it")
            if not candidate.is_file():
                tried.append(str(candidate))
                continue
            self.chain.append(candidate)
            _, disk = self._open(candidate, writable=False)
            if isinstance(disk, Vhdx) and disk.linkage == locator.linkage:
                return disk
            self.chain.remove(candidate)
            problem = InvalidDataError(child, f"its parent {candidate} was changed since, or is another disk")
        if problem is not None:
            raise problem
        raise PathNotFoundError(child, f"its parent is not there: {', '.join(tried) or 'no path'}")


def _candidates(child: Path, locator: ParentLocator) -> list[Path]:
    """Returns the possible paths of a parent, in the order in which Windows tries them: beside the child first."""
    found = []
    for key in ("relative_path", "absolute_win32_path", "volume_path"):
        text = locator.entries.get(key)
        if not text:
            continue
        if key == "relative_path":
            found.append(Path(os.path.normpath(child.parent / text.replace("\\", "/"))))
        elif text.startswith("/"):
            found.append(Path(text))
        else:
            # A path on the Windows host where the file was made: a file with its last component may be beside it here.
            found.append(child.parent / PureWindowsPath(text).name)
    return list(dict.fromkeys(found))


def locator_for(child: Path, parent: Path, linkage: Vhdx) -> ParentLocator:
    """Returns the locator by which the disk `child` finds its parent: the relative path and the absolute path."""
    relative = os.path.relpath(parent, child.parent).replace("/", "\\")
    if not relative.startswith(".."):
        relative = f".\\{relative}"
    return ParentLocator(linkage.linkage, {"relative_path": relative, "absolute_win32_path": os.path.abspath(parent)})
