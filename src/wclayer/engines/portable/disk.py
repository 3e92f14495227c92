"""`convert_disk`, `check_disk`, `disk_info`: disk files, whatever is in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from wclayer.errors import InvalidParameterError, from_os_error
from wclayer.formats.disk import Disk
from wclayer.formats.gpt.structs import HEADER_SIGNATURE as GPT_SIGNATURE
from wclayer.formats.gpt.table import GptError, read_table
from wclayer.formats.ntfs.structs import BOOT_OEM_ID as NTFS_SIGNATURE
from wclayer.formats.vhdx.check import check_vhdx
from wclayer.formats.vhdx.create import DEFAULT_BLOCK_SIZE, create_vhdx
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.image import Vhdx, is_zero
from wclayer.formats.vhdx.structs import IDENTIFIER_SIGNATURE as VHDX_SIGNATURE
from wclayer.host import system
from wclayer.layers.staging import StagedFile
from wclayer.layers.volume.disk_file import DiskFile, RawDisk, locator_for

PathLike = str | os.PathLike[str]
_PIECE = 1 << 20
_OPERATION = "convert disk"


def is_disk(path: PathLike) -> bool:
    """Whether a file holds a disk: VHDX, a raw one with a GUID partition table, or an NTFS volume."""
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError:
        return False
    return head.startswith(VHDX_SIGNATURE) or head[3:11] == NTFS_SIGNATURE or head[512:520] == GPT_SIGNATURE


def disk_info(path: PathLike) -> dict[str, Any]:
    """What a disk file is: its format, sizes (bytes), parents, partitions.

    Raises:
        PathNotFoundError, InvalidDataError: see `DiskFile`.
    """
    with DiskFile(path, operation="disk info") as opened:
        disk = opened.disk
        facts: dict[str, Any] = {"path": str(opened.path), "format": "raw", "size": disk.size}
        if isinstance(disk, Vhdx):
            facts |= {
                "format": "vhdx",
                "kind": disk.facts.kind,
                "block_size": disk.facts.block_size,
                "blocks_present": disk.allocated(),
                "logical_sector_size": disk.facts.logical_sector_size,
                "physical_sector_size": disk.facts.physical_sector_size,
                "disk_id": str(disk.facts.disk_id),
                "linkage": str(disk.linkage),
                "parents": [str(parent) for parent in opened.chain],
            }
        facts["file_size"] = opened.path.stat().st_size
        try:
            table = read_table(disk)
        except (GptError, VhdxError):
            facts["partitions"] = []
        else:
            facts["partition_table"] = str(table.disk_guid)
            facts["partitions"] = [
                {
                    "type": str(partition.type),
                    "guid": str(partition.guid),
                    "offset": partition.offset,
                    "size": partition.size,
                    "name": partition.name,
                }
                for partition in table.partitions
            ]
        return facts


def check_disk(path: PathLike) -> Iterator[str]:
    """Everything that is wrong with a disk file: the structures of a VHDX file, the partition table in it.

    Raises:
        PathNotFoundError, InvalidDataError: it cannot be opened at all.
    """
    with DiskFile(path, operation="check disk") as opened:
        if isinstance(opened.disk, Vhdx):
            yield from check_vhdx(opened.file, opened.disk)
        sector = opened.disk.sector_size
        if opened.disk.size >= 2 * sector and opened.disk.read(sector, 8) == b"EFI PART":
            try:
                yield from read_table(opened.disk).problems
            except GptError as error:
                yield str(error)


def convert_disk(
    source: PathLike,
    target: PathLike,
    *,
    to: str = "vhdx",
    is_fixed: bool = False,
    block_size: int = DEFAULT_BLOCK_SIZE,
    parent: PathLike | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Makes the disk file `target`, which appears when it is whole, of the disk in `source`.

    Args:
        to: "vhdx" or "raw".
        is_fixed: of a VHDX file: whether all of its space is there at once.
        block_size: bytes.
        parent: makes a differencing disk on that VHDX file, with the blocks that differ from it.
        progress: called with the bytes done and their total.

    Raises:
        PathNotFoundError, InvalidDataError: see `DiskFile`.
        InvalidParameterError: sizes that a disk cannot have; a parent that does not fit.
    """
    if to not in ("vhdx", "raw"):
        raise InvalidParameterError(_OPERATION, target, f"format {to!r}; possible are vhdx and raw")
    if parent is not None and to == "raw":
        raise InvalidParameterError(_OPERATION, target, "a raw disk has no parent")
    place = Path(os.path.abspath(target))
    with DiskFile(source, operation=_OPERATION) as opened:
        try:
            with StagedFile(_OPERATION, place, readable=True) as staged:
                if to == "raw":
                    system.make_sparse(staged.stream.fileno())
                    staged.stream.truncate(opened.disk.size)
                    _copy(opened.disk, RawDisk(staged.stream, size=opened.disk.size), None, progress)
                    return
                sizes: dict[str, Any] = {"block_size": block_size, "logical_sector_size": opened.disk.sector_size}
                if parent is None:
                    with create_vhdx(staged.stream, opened.disk.size, is_fixed=is_fixed, **sizes) as made:
                        _copy(opened.disk, made, None, progress)
                    return
                with DiskFile(parent, operation=_OPERATION) as above:
                    if not isinstance(above.disk, Vhdx):
                        raise InvalidParameterError(_OPERATION, parent, "the parent is no VHDX file")
                    locator = locator_for(place, above.path, above.disk)
                    with create_vhdx(
                        staged.stream, opened.disk.size, is_fixed=is_fixed, parent=above.disk, locator=locator, **sizes
                    ) as made:
                        _copy(opened.disk, made, above.disk, progress)
        except VhdxError as error:
            raise InvalidParameterError(_OPERATION, target, str(error)) from None
        except OSError as error:
            raise from_os_error(_OPERATION, target, error) from error


def _copy(
    source: Vhdx | RawDisk, target: Disk, parent: Vhdx | RawDisk | None, progress: Callable[[int, int], None] | None
) -> None:
    """The bytes of one disk to another, leaving out what is there already: zeros, or the parent's bytes."""
    for offset in _pieces(source, parent):
        count = min(_PIECE, source.size - offset)
        data = source.read(offset, count)
        if parent is None:
            present = is_zero(data)
        else:
            above = max(0, min(count, parent.size - offset))
            present = data == (parent.read(offset, above) if above else b"") + bytes(count - above)
        if not present:
            target.write(offset, data)
        if progress is not None:
            progress(offset + count, source.size)


def _pieces(*disks: Vhdx | RawDisk | None) -> list[int]:
    """Where the pieces start in which one of the disks, or a parent of it, may hold something."""
    found: set[int] = set()
    pending = list(disks)
    while pending:
        disk = pending.pop()
        if disk is None:
            continue
        for offset, length in disk.extents():
            found.update(range(offset // _PIECE * _PIECE, offset + length, _PIECE))
        if isinstance(disk, Vhdx) and isinstance(disk.parent, Vhdx):
            pending.append(disk.parent)
    end = disks[0].size if disks[0] is not None else 0
    return sorted(offset for offset in found if offset < end)
