"""Reads the partitions in a master boot record and its chain of extended partitions.

Source: "Disk Concepts and Troubleshooting" (Microsoft TechNet), "Master Boot Record"; UEFI Specification 2.10, section
5.2.1 "Legacy Master Boot Record (MBR)". The structure of an entry is in `gpt.structs`, because the protective MBR has
it too.
"""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.formats.disk import Disk, DiskError
from wclayer.formats.gpt.structs import MBR_PARTITION, MBR_PARTITIONS_OFFSET, MBR_SIGNATURE, MBR_SIZE, PROTECTIVE_TYPE

EXTENDED_TYPES = (0x05, 0x0F, 0x85)
NTFS_TYPES = (0x07, 0x17, 0x27)
"""NTFS (or exFAT), hidden NTFS, and Windows' recovery environment."""
_INACTIVE, _ACTIVE = 0x00, 0x80
_DISK_ID_OFFSET = 440
_MAX_LOGICAL = 256


class MbrError(DiskError):
    """The disk has no sound master boot record."""


@dataclass(frozen=True, slots=True)
class MbrPartition:
    """A partition: its type, and its offset and size in bytes."""

    type: int
    offset: int
    size: int
    is_active: bool = False
    is_logical: bool = False
    """True if the partition is in an extended partition."""

    @property
    def is_data(self) -> bool:
        """True if the type is one that NTFS volumes have."""
        return self.type in NTFS_TYPES


@dataclass(frozen=True, slots=True)
class MbrTable:
    """The partitions of a disk, primary ones first."""

    disk_id: int
    """The number that Windows calls the disk's signature."""
    partitions: tuple[MbrPartition, ...]
    problems: tuple[str, ...] = ()


_Entry = tuple[int, int, int, int]
"""Boot indicator, type, first sector, number of sectors."""


def read_mbr(disk: Disk) -> MbrTable:
    """Returns the table of a disk. If a chain of extended partitions is damaged, the ones before the damage are in it.

    Raises:
        MbrError: the first sector is no master boot record, or is the protective one of a GUID partition table.
    """
    sector = disk.sector_size
    if disk.size < MBR_SIZE:
        raise MbrError(f"a disk of {disk.size} bytes")
    data = disk.read(0, MBR_SIZE)
    entries = _entries(data)
    if entries is None or not any(kind for _, kind, _, _ in entries):
        raise MbrError("the first sector is no master boot record")
    if any(kind == PROTECTIVE_TYPE for _, kind, _, _ in entries):
        raise MbrError("the master boot record is that of a GUID partition table")
    problems: list[str] = []
    partitions: list[MbrPartition] = []
    for flag, kind, first, count in entries:
        if kind in EXTENDED_TYPES:
            partitions += _logical(disk, first, count, problems)
        elif kind:
            partitions.append(MbrPartition(kind, first * sector, count * sector, flag == _ACTIVE))
    partitions.sort(key=lambda partition: partition.is_logical)
    end = 0
    for partition in sorted(partitions, key=lambda partition: partition.offset):
        if partition.offset < end:
            problems.append(f"the partition at {partition.offset} overlaps the one before it")
        end = max(end, partition.offset + partition.size)
        if partition.offset + partition.size > disk.size:
            problems.append(f"the partition at {partition.offset} ends outside of the disk")
    disk_id = int.from_bytes(data[_DISK_ID_OFFSET : _DISK_ID_OFFSET + 4], "little")
    return MbrTable(disk_id, tuple(partitions), tuple(problems))


def _entries(data: bytes) -> list[_Entry] | None:
    """Returns the four entries of a boot record; None for other sectors, such as a volume's boot sector."""
    if data[-2:] != MBR_SIGNATURE:
        return None
    found: list[_Entry] = []
    for index in range(4):
        flag, _, kind, _, first, count = MBR_PARTITION.unpack_from(
            data, MBR_PARTITIONS_OFFSET + index * MBR_PARTITION.size
        )
        if flag not in (_INACTIVE, _ACTIVE) or (kind and not (first and count)):
            return None
        found.append((flag, kind, first, count))
    return found


def _logical(disk: Disk, start: int, length: int, problems: list[str]) -> list[MbrPartition]:
    """Returns the partitions in an extended partition.

    It is a chain of boot records. Each holds a partition, and the offset of the next record.
    """
    sector = disk.sector_size
    found: list[MbrPartition] = []
    seen: set[int] = set()
    place = start
    while True:
        if place in seen or len(seen) >= _MAX_LOGICAL:
            problems.append(f"the chain of extended partitions leads back to sector {place}, or is too long")
            return found
        seen.add(place)
        if (place + 1) * sector > disk.size:
            problems.append(f"an extended partition is at sector {place}, outside of the disk")
            return found
        entries = _entries(disk.read(place * sector, MBR_SIZE))
        if entries is None:
            problems.append(f"there is no boot record of an extended partition at sector {place}")
            return found
        following = None
        for _, kind, first, count in entries[:2]:
            if kind in EXTENDED_TYPES:
                # The offset counts from the start of the outermost extended partition.
                following = start + first
            elif kind:
                found.append(MbrPartition(kind, (place + first) * sector, count * sector, is_logical=True))
        if following is None:
            return found
        if following >= start + length:
            problems.append(f"the next extended partition is at sector {following}, outside of the first")
            return found
        place = following
