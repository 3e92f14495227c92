"""`convert_disk`, `check_disk`, `disk_info`: disk files with any contents."""

from __future__ import annotations

import heapq
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from wclayer._types import StrPath
from wclayer.engines.disk_info import DiskInfo, PartitionInfo
from wclayer.errors import FormatError, InvalidParameterError, during, errors_at
from wclayer.formats.disk import Disk, is_zero
from wclayer.formats.gpt.structs import HEADER_SIGNATURE as GPT_SIGNATURE
from wclayer.formats.gpt.table import read_table
from wclayer.formats.mbr.table import MbrError, read_mbr
from wclayer.formats.vhd.image import DynamicVhd
from wclayer.formats.vhdx.check import check_vhdx
from wclayer.formats.vhdx.create import DEFAULT_BLOCK_SIZE, create_vhdx
from wclayer.formats.vhdx.image import Vhdx
from wclayer.layers.atomic import OutputFile
from wclayer.layers.directory.problem import Problem
from wclayer.layers.inputs import has_any_place, open_any_place
from wclayer.layers.open_iterator import OpenIterator
from wclayer.layers.progress import Cancelled, Progress, ProgressCallback, report
from wclayer.layers.volume.disk_file import DiskFile, locator_for
from wclayer.layers.volume.kinds import holds_disk
from wclayer.layers.volume.raw import RawDisk

_PIECE = 1 << 20


@during("disk info")
def is_disk(path: StrPath) -> bool:
    """Returns whether a file holds a disk or a volume: VHDX, VHD, raw with a partition table, or an NTFS volume.

    The result is also True for a disk in an unsupported format, and False for a stream.
    """
    # Data that is read from a stream here would be lost to its next reader.
    if not has_any_place(path):
        return False
    try:
        with open_any_place(path) as file:
            return holds_disk(file)
    except OSError:
        return False


@during("disk info")
def disk_info(path: StrPath) -> DiskInfo:
    """Returns the properties of a disk file: its format, sizes, parents and partitions.

    Raises:
        PathNotFoundError, InvalidDataError: see `DiskFile`.
    """
    with DiskFile(path) as opened, opened.errors():
        disk = opened.disk
        table, partitions = _partitions(disk)
        common: dict[str, Any] = {
            "path": opened.path,
            "size": disk.size,
            "file_size": opened.path.stat().st_size,
            "partition_table": table,
            "partitions": partitions,
        }
        if isinstance(disk, Vhdx):
            metadata = disk.metadata
            return DiskInfo(
                format="vhdx",
                kind=metadata.kind,
                block_size=metadata.block_size,
                blocks_present=disk.allocated(),
                logical_sector_size=metadata.logical_sector_size,
                physical_sector_size=metadata.physical_sector_size,
                disk_id=metadata.disk_id,
                linkage=disk.linkage,
                parents=tuple(opened.chain),
                **common,
            )
        if opened.vhd is None:
            return DiskInfo(format="raw", **common)
        found = DiskInfo(format="vhd", kind=opened.vhd.kind, disk_id=opened.vhd.disk_id, **common)
        if isinstance(disk, DynamicVhd):
            found = replace(found, block_size=disk.block_size, blocks_present=disk.allocated())
        return found


def _partitions(disk: Disk) -> tuple[str | None, tuple[PartitionInfo, ...]]:
    """Returns the name of a disk's partition table (None for a disk without one) and its partitions."""
    with suppress(FormatError):
        table = read_table(disk)
        return str(table.disk_guid), tuple(
            PartitionInfo(str(part.type), part.offset, part.size, part.name, guid=part.guid)
            for part in table.partitions
        )
    with suppress(FormatError):
        record = read_mbr(disk)
        return f"MBR {record.disk_id:#010x}", tuple(
            PartitionInfo(
                f"{part.type:#04x}",
                part.offset,
                part.size,
                "logical" if part.is_logical else "",
                is_active=part.is_active,
            )
            for part in record.partitions
        )
    return None, ()


def check_disk(path: StrPath) -> OpenIterator[Problem]:
    """Checks a disk file: the structures of a VHDX or VHD file, and the partition table in it.

    Returns:
        An iterator of the problems. The file stays open until the iterator is exhausted or closed.

    Raises:
        PathNotFoundError, InvalidDataError: the file cannot be opened at all.
    """
    return OpenIterator(during("check disk", path), lambda: DiskFile(path), _problems)


def _problems(opened: DiskFile) -> Generator[Problem, None, None]:
    with opened.errors():
        for text in _problem_texts(opened):
            yield Problem(str(opened.path), text)


def _problem_texts(opened: DiskFile) -> Iterator[str]:
    if isinstance(opened.disk, Vhdx):
        yield from check_vhdx(opened.file, opened.disk)
    if opened.vhd is not None:
        yield from opened.vhd.problems
    if isinstance(opened.disk, DynamicVhd):
        yield from opened.disk.problems()
    try:
        yield from _table_problems(opened.disk)
    except FormatError as error:
        yield str(error)


def _table_problems(disk: Disk) -> tuple[str, ...]:
    """Returns the problems of the partition table of a disk. A disk without a table has no problems."""
    sector = disk.sector_size
    if disk.size >= 2 * sector and disk.read(sector, len(GPT_SIGNATURE)) == GPT_SIGNATURE:
        return read_table(disk).problems
    try:
        return read_mbr(disk).problems
    except MbrError:
        return ()


@during("convert disk")
def convert_disk(
    source: StrPath,
    target: StrPath,
    *,
    to: str = "vhdx",
    is_fixed: bool = False,
    block_size: int = DEFAULT_BLOCK_SIZE,
    parent: StrPath | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> None:
    """Converts the disk file `source` to the disk file `target`, which appears when it is complete.

    A link is followed. A block device that is large enough is written to directly, as a raw disk.

    Args:
        to: "vhdx" or "raw".
        is_fixed: True for a VHDX file whose whole space is allocated at once.
        block_size: the size of a block in bytes.
        parent: a VHDX file; `target` becomes a differencing disk on it, with only the blocks that differ.
        progress, cancelled: see `copy_layer`.

    Raises:
        PathNotFoundError, InvalidDataError: see `DiskFile`.
        InvalidParameterError: a disk cannot have these sizes; the parent does not fit the disk; `target` is one of the
            source files, or can only be written in order.
        DiskFullError, AccessDeniedError: the host has no space, or refuses to make the file.
    """
    if to not in ("vhdx", "raw"):
        raise InvalidParameterError(target, f"format {to!r}; possible are vhdx and raw")
    if parent is not None and to == "raw":
        raise InvalidParameterError(target, "a raw disk has no parent")
    place = Path(os.path.abspath(target))
    with errors_at(place), ExitStack() as stack:
        opened = stack.enter_context(DiskFile(source))
        above = None
        if parent is not None:
            above = stack.enter_context(DiskFile(parent))
            if not isinstance(above.disk, Vhdx):
                raise InvalidParameterError(parent, "the parent is no VHDX file")
        files = [opened.path, *opened.chain, *([] if above is None else [above.path, *above.chain])]
        output = stack.enter_context(OutputFile(target, any_place=True, sources=files))
        with errors_at(place, damage=InvalidParameterError):
            made = _new_disk(output, opened.disk, above, to, is_fixed, block_size)
        _copy(opened, made, above, progress, cancelled)
        made.flush()


def _new_disk(
    output: OutputFile,
    source: Disk,
    parent: DiskFile | None,
    to: str,
    is_fixed: bool,
    block_size: int,
) -> Disk:
    """Returns a new, empty disk with the size of `source`."""
    if to == "raw":
        output.make_empty_disk(source.size)
        return RawDisk(output.stream, size=source.size)
    output.refuse_device("a VHDX file")
    disk = None if parent is None else parent.vhdx()
    return create_vhdx(
        output.stream,
        source.size,
        block_size=block_size,
        logical_sector_size=source.sector_size,
        is_fixed=is_fixed,
        parent=disk,
        locator=None if disk is None or parent is None else locator_for(output.target, parent.path, disk),
    )


def _copy(
    source: DiskFile,
    target: Disk,
    parent: DiskFile | None,
    progress: ProgressCallback | None,
    cancelled: Cancelled | None,
) -> None:
    """Copies the bytes of one disk to another, except those that it has already: zeros, or the parent's bytes."""
    disk = source.disk
    state = Progress(name=str(source.path), total_bytes=disk.size)
    for offset in _pieces(disk.size, [source] if parent is None else [source, parent]):
        count = min(_PIECE, disk.size - offset)
        with source.errors():
            data = disk.read(offset, count)
        if not _is_present(parent, offset, data):
            target.write(offset, data)
        state.bytes = offset + count
        report(state, progress, cancelled)


def _is_present(parent: DiskFile | None, offset: int, data: bytes) -> bool:
    """Returns whether a new disk, with or without that parent, has these bytes at `offset` already."""
    if parent is None:
        return is_zero(data)
    with parent.errors():
        length = max(0, min(len(data), parent.disk.size - offset))
        above = parent.disk.read(offset, length) if length else b""
    return data == above + bytes(len(data) - length)


def _pieces(size: int, files: Sequence[DiskFile]) -> Iterator[int]:
    """Yields the offsets, below `size`, of the pieces in which one of the disks or their parents may hold data."""
    done = 0
    for offset, length in heapq.merge(*(ranges for file in files for ranges in _extents(file))):
        for piece in range(max(done, offset // _PIECE * _PIECE), min(size, offset + length), _PIECE):
            yield piece
            done = piece + _PIECE


def _extents(file: DiskFile) -> list[Iterator[tuple[int, int]]]:
    """Returns, for a disk and each of its parents, the ranges that may hold data, in order."""
    found = []
    disk: Disk | None = file.disk
    while isinstance(disk, (Vhdx, DynamicVhd, RawDisk)):
        found.append(_told(file, disk.extents()))
        disk = disk.parent if isinstance(disk, Vhdx) else None
    return found


def _told(file: DiskFile, ranges: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yields the ranges. Errors name the file."""
    with file.errors():
        yield from ranges
