"""`DiskInfo`: the properties of a disk file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """A partition of a disk.

    Attributes:
        type: its type: a GUID, or with a master boot record a number such as "0x07".
        offset, size: its offset on the disk and its size, in bytes.
        name: its name; with a master boot record, "logical" for a logical partition.
        guid: its own GUID; None with a master boot record.
        is_active: True if it is marked as active; None with a GUID partition table.
    """

    type: str
    offset: int
    size: int
    name: str
    guid: UUID | None = None
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """The properties of a disk file. A field is None if the format does not have it.

    Attributes:
        path: the path of the file.
        format: "vhdx", "vhd" or "raw".
        size: the size of the disk in bytes.
        file_size: the size of the file in bytes.
        kind: "fixed", "dynamic" or "differencing".
        block_size: the size of a block in bytes.
        blocks_present: the number of blocks that are in the file.
        logical_sector_size, physical_sector_size: the sizes of a sector in bytes.
        disk_id: the GUID of the disk.
        linkage: the GUID by which a child of a VHDX file identifies its parent.
        parents: the parents of a VHDX file, nearest first.
        partition_table: the GUID of a GUID partition table, or "MBR" with the disk's id.
        partitions: the partitions, in the order of the table.
    """

    path: Path
    format: str
    size: int
    file_size: int
    kind: str | None = None
    block_size: int | None = None
    blocks_present: int | None = None
    logical_sector_size: int | None = None
    physical_sector_size: int | None = None
    disk_id: UUID | None = None
    linkage: UUID | None = None
    parents: tuple[Path, ...] = ()
    partition_table: str | None = None
    partitions: tuple[PartitionInfo, ...] = ()
