"""The clusters of a new volume: allocated one after the other, and written in large pieces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from wclayer.formats.disk import Disk
from wclayer.formats.ntfs.records import Attribute
from wclayer.formats.ntfs.runs import Run
from wclayer.formats.ntfs.structs import MAX_CLUSTERS, SECTOR_SIZE, AttributeType, NtfsError, OutOfSpaceError

_WRITE_BUFFER = 1 << 20


class Allocation(NamedTuple):
    """Contiguous clusters of a volume."""

    run: Run
    offset: int
    """The first byte, from the start of the volume."""
    size: int
    """Bytes of the clusters."""


class ClusterAllocator:
    """Allocates the clusters of a new volume, and buffers the data that is written into them.

    Args:
        disk: the space for the volume, all zeros.
        cluster_size: bytes of a cluster.

    Raises:
        NtfsError: the volume would have more clusters than NTFS allows.
    """

    def __init__(self, disk: Disk, cluster_size: int) -> None:
        self.disk = disk
        self.cluster_size = cluster_size
        # The last sector holds the copy of the boot sector and is part of no cluster.
        self.sectors = disk.size // SECTOR_SIZE - 1
        """Sectors of the volume."""
        self.clusters = self.sectors * SECTOR_SIZE // cluster_size
        """Clusters of the volume."""
        if self.clusters > MAX_CLUSTERS:
            raise NtfsError(f"{self.clusters} clusters of {cluster_size} bytes; a volume has at most 2^32")
        self._next = 0
        self._freed: list[Run] = []
        # The rest of a cluster separates two files.
        self._buffer = WriteBuffer(disk, cluster_size)

    def allocate(self, size: int) -> Allocation:
        """Allocates contiguous clusters for `size` bytes.

        Raises:
            OutOfSpaceError: the volume has too few free clusters.
        """
        cluster_size = self.cluster_size
        count = -(-size // cluster_size)
        start = self._next
        if start + count > self.clusters:
            raise OutOfSpaceError(f"the volume of {self.disk.size} bytes is full")
        self._next += count
        return Allocation(Run(start, count), start * cluster_size, count * cluster_size)

    def free(self, runs: Iterable[Run]) -> None:
        """Frees allocated clusters. They are not allocated again."""
        self._freed += runs

    def used_ranges(self) -> list[tuple[int, int]]:
        """Returns the clusters in use as ranges: the first cluster, and the one after the last."""
        ranges = []
        first = 0
        for start, length in sorted((run.start or 0, run.length) for run in self._freed):
            ranges.append((first, start))
            first = start + length
        return [*ranges, (first, self._next)]

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Writes data at a byte offset of the volume. Consecutive writes reach the disk together."""
        self._buffer.write(offset, data)

    def store(self, value: bytes | bytearray, kind: int, name: str = "") -> Attribute:
        """Writes a value into newly allocated clusters.

        Returns:
            The non-resident attribute of the type `kind` that holds it.
        """
        allocation = self.allocate(len(value))
        self.write(allocation.offset, value)
        return Attribute(kind, name, None, [allocation.run], len(value), allocation.size)

    def flush(self) -> None:
        """Writes the buffered data to the disk."""
        self._buffer.flush()


def data_attribute(allocation: Allocation, size: int, kind: AttributeType = AttributeType.DATA) -> Attribute:
    """Returns a non-resident attribute, by default unnamed data, of `size` bytes in allocated clusters."""
    return Attribute(kind, "", None, [allocation.run], size, allocation.size)


def set_bits(bits: bytearray, first: int, stop: int) -> None:
    """Sets the bits of a bitmap from `first` to the one before `stop`."""
    while first < stop and first & 7:
        bits[first >> 3] |= 1 << (first & 7)
        first += 1
    whole = (stop - first) >> 3
    if whole > 0:
        bits[first >> 3 : (first >> 3) + whole] = b"\xff" * whole
        first += whole << 3
    while first < stop:
        bits[first >> 3] |= 1 << (first & 7)
        first += 1


class WriteBuffer:
    """Joins consecutive writes to a disk.

    Args:
        disk: where the data go.
        gap: writes that are less than this many bytes apart are joined, with zeros between them.
    """

    def __init__(self, disk: Disk, gap: int) -> None:
        self._disk = disk
        self._gap = gap
        self._data = bytearray(_WRITE_BUFFER)
        self._used = 0
        self._start = 0

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Buffers data for a byte offset of the disk."""
        start = offset - self._start
        end = start + len(data)
        if not self._used or not 0 <= start - self._used < self._gap or end > _WRITE_BUFFER:
            self.flush()
            if len(data) >= _WRITE_BUFFER // 2:
                self._disk.write(offset, data)
                return
            self._start, start, end = offset, 0, len(data)
        self._data[start:end] = data
        self._used = end

    def flush(self) -> None:
        """Writes to the disk what is buffered."""
        if self._used:
            with memoryview(self._data) as view:
                self._disk.write(self._start, view[: self._used])
            # The bytes between two writes are zeros.
            self._data = bytearray(_WRITE_BUFFER)
            self._used = 0
