"""Reads, makes, grows and writes the GUID partition table of a disk."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from uuid import UUID

from wclayer.errors import FormatError
from wclayer.formats.disk import Disk
from wclayer.formats.gpt import structs
from wclayer.formats.gpt.structs import Header

MIB = 1 << 20
_RESERVED_END = 16 * MIB
"""The offset at which the Microsoft reserved partition ends, and the data partition begins."""


class GptError(FormatError):
    """The disk has no sound GUID partition table, or the requested one does not fit it."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: its type and GUID, its offset and size in bytes, its attributes and name."""

    type: UUID
    guid: UUID
    offset: int
    size: int
    attributes: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """The partition table of a disk of `disk_size` bytes."""

    disk_size: int
    sector_size: int
    disk_guid: UUID
    partitions: tuple[Partition, ...] = field(default=())
    problems: tuple[str, ...] = ()
    """The defects of one of the table's two copies, or of the protective MBR."""

    @property
    def data_partition(self) -> Partition:
        """The last partition, which holds the data of a data disk.

        Raises:
            GptError: there is no partition.
        """
        if not self.partitions:
            raise GptError("the partition table has no partition")
        return max(self.partitions, key=lambda partition: partition.offset)

    @property
    def entries_sectors(self) -> int:
        """The number of sectors of the array of entries."""
        return structs.ENTRY_COUNT * structs.ENTRY.size // self.sector_size

    @property
    def first_usable(self) -> int:
        """The offset of the first byte that a partition can have."""
        return (2 + self.entries_sectors) * self.sector_size

    @property
    def end_usable(self) -> int:
        """The offset after the last byte that a partition can have."""
        return self.disk_size - (1 + self.entries_sectors) * self.sector_size


def data_disk_table(disk_size: int, sector_size: int, disk_guid: UUID, guids: tuple[UUID, UUID]) -> PartitionTable:
    """Returns the table of a data disk, as Windows makes it.

    It has a Microsoft reserved partition up to 16 MiB, then one basic data partition to the disk's last whole MiB.

    Args:
        disk_size: bytes of the disk.
        sector_size: bytes of a sector.
        disk_guid: the GUID of the disk.
        guids: the GUIDs of the two partitions.

    Raises:
        GptError: the disk is too small.
    """
    table = PartitionTable(disk_size, sector_size, disk_guid)
    end = table.end_usable // MIB * MIB
    if end <= _RESERVED_END:
        raise GptError(f"a disk of {disk_size} bytes has no room for a partition after the first 16 MiB")
    reserved = Partition(
        structs.MICROSOFT_RESERVED, guids[0], table.first_usable, _RESERVED_END - table.first_usable,
        name="Microsoft reserved partition",
    )  # fmt: skip
    data = Partition(structs.BASIC_DATA, guids[1], _RESERVED_END, end - _RESERVED_END, name="Basic data partition")
    return replace(table, partitions=(reserved, data))


def read_table(disk: Disk) -> PartitionTable:
    """Returns the table of a disk from its primary copy or, if that is damaged, from its backup.

    Raises:
        GptError: neither copy is sound.
    """
    sector = disk.sector_size
    problems = []
    tables: list[PartitionTable | None] = []
    for name, place in (("primary", 1), ("backup", disk.size // sector - 1)):
        try:
            tables.append(_read_copy(disk, place))
        except GptError as error:
            tables.append(None)
            problems.append(f"the {name} table: {error}")
    found = next((table for table in tables if table is not None), None)
    if found is None:
        raise GptError("; ".join(problems))
    if None not in tables and tables[0] != tables[1]:
        problems.append("the two copies of the table differ")
    mbr = disk.read(0, structs.MBR_SIZE)
    if mbr[-2:] != structs.MBR_SIGNATURE or mbr[structs.MBR_PARTITIONS_OFFSET + 4] != structs.PROTECTIVE_TYPE:
        problems.append("there is no protective MBR")
    problems += _placing_problems(found)
    return replace(found, problems=tuple(problems))


def _read_copy(disk: Disk, place: int) -> PartitionTable:
    sector = disk.sector_size
    data = disk.read(place * sector, sector)
    header = Header._make(structs.HEADER.unpack_from(data))
    if header.signature != structs.HEADER_SIGNATURE:
        raise GptError("no signature 'EFI PART'")
    if not structs.HEADER.size <= header.size <= sector:
        raise GptError(f"a header of {header.size} bytes")
    cleared = bytearray(data[: header.size])
    cleared[structs.CHECKSUM_OFFSET : structs.CHECKSUM_OFFSET + 4] = bytes(4)
    if zlib.crc32(cleared) != header.checksum:
        raise GptError("the header's checksum is wrong")
    if header.own_place != place:
        raise GptError(f"a header at sector {place} that says it is at {header.own_place}")
    size = header.entry_size
    if size < structs.ENTRY.size or size % 8 or size > sector * 8 or header.entry_count > structs.MAX_ENTRIES:
        raise GptError(f"{header.entry_count} entries of {size} bytes")
    start, length = header.entries_place * sector, header.entry_count * size
    if start + length > disk.size:
        raise GptError("the entries are outside of the disk")
    entries = disk.read(start, length)
    if zlib.crc32(entries) != header.entries_checksum:
        raise GptError("the checksum of the entries is wrong")
    partitions = []
    for at in range(0, length, size):
        kind, guid, first, last, attributes, name = structs.ENTRY.unpack_from(entries, at)
        if kind == structs.NO_TYPE.bytes:
            continue
        if not first <= last < disk.size // sector:
            raise GptError(f"entry {at // size}: sectors {first} to {last} of a disk of {disk.size // sector}")
        text = name.decode("utf-16-le", "replace").partition("\0")[0]
        partitions.append(
            Partition(
                UUID(bytes_le=kind), UUID(bytes_le=guid), first * sector, (last + 1 - first) * sector, attributes, text
            )
        )
    return PartitionTable(disk.size, sector, UUID(bytes_le=header.disk_guid), tuple(partitions))


def _placing_problems(table: PartitionTable) -> list[str]:
    problems = []
    end = table.first_usable
    for partition in sorted(table.partitions, key=lambda partition: partition.offset):
        if partition.offset < end:
            problems.append(f"partition {partition.guid} overlaps what is before it")
        end = max(end, partition.offset + partition.size)
    if end > table.end_usable:
        problems.append("a partition reaches into the backup table")
    return problems


def write_table(disk: Disk, table: PartitionTable) -> None:
    """Writes the protective MBR and both copies of the table.

    The backup is written first, so the disk has a sound copy if the process is stopped between the two.

    Raises:
        GptError: partitions overlap, or are outside of the usable range.
    """
    problems = _placing_problems(table)
    if problems:
        raise GptError("; ".join(problems))
    sector = table.sector_size
    entries = b"".join(
        structs.ENTRY.pack(
            partition.type.bytes_le,
            partition.guid.bytes_le,
            partition.offset // sector,
            (partition.offset + partition.size) // sector - 1,
            partition.attributes,
            partition.name.encode("utf-16-le")[:72],
        )
        for partition in table.partitions
    ).ljust(structs.ENTRY_COUNT * structs.ENTRY.size, b"\0")
    last = table.disk_size // sector - 1
    backup_entries = last - table.entries_sectors
    disk.write(backup_entries * sector, entries)
    disk.write(last * sector, _header(table, last, 1, backup_entries, entries))
    disk.flush()
    disk.write(2 * sector, entries)
    disk.write(sector, _header(table, 1, last, 2, entries))
    disk.write(0, _protective_mbr(table))
    disk.flush()


def _header(table: PartitionTable, own: int, other: int, entries_place: int, entries: bytes) -> bytes:
    sector = table.sector_size
    header = Header(
        structs.HEADER_SIGNATURE,
        structs.REVISION,
        structs.HEADER.size,
        0,
        0,
        own,
        other,
        table.first_usable // sector,
        table.end_usable // sector - 1,
        table.disk_guid.bytes_le,
        entries_place,
        structs.ENTRY_COUNT,
        structs.ENTRY.size,
        zlib.crc32(entries),
    )
    checksum = zlib.crc32(structs.HEADER.pack(*header))
    return structs.HEADER.pack(*header._replace(checksum=checksum)).ljust(sector, b"\0")


def _protective_mbr(table: PartitionTable) -> bytes:
    sectors = min(table.disk_size // table.sector_size - 1, 0xFFFFFFFF)
    entry = structs.MBR_PARTITION.pack(0, b"\0\x02\0", structs.PROTECTIVE_TYPE, b"\xff\xff\xff", 1, sectors)
    mbr = bytearray(structs.MBR_SIZE)
    mbr[structs.MBR_PARTITIONS_OFFSET : structs.MBR_PARTITIONS_OFFSET + len(entry)] = entry
    mbr[-2:] = structs.MBR_SIGNATURE
    return bytes(mbr).ljust(table.sector_size, b"\0")


def grown_table(table: PartitionTable, disk_size: int) -> PartitionTable:
    """Returns the table for a disk grown to `disk_size` bytes: the last partition ends at the last whole MiB."""
    grown = replace(table, disk_size=disk_size, problems=())
    if not table.partitions:
        return grown
    last = table.data_partition
    end = max(grown.end_usable // MIB * MIB, last.offset + last.size)
    partitions = tuple(
        replace(partition, size=end - partition.offset) if partition is last else partition
        for partition in table.partitions
    )
    return replace(grown, partitions=partitions)
