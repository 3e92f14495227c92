"""Data streams of a new volume while they are written: resident, sparse or in contiguous clusters."""

from __future__ import annotations

from typing import Protocol

from wclayer.formats.ntfs.allocator import ClusterAllocator, data_attribute
from wclayer.formats.ntfs.records import Attribute
from wclayer.formats.ntfs.runs import Run
from wclayer.formats.ntfs.structs import AttributeType

RESIDENT_LIMIT = 640
"""A value of up to this many bytes stays in the record, if the record has room."""
_SPARSE_UNIT = 64 << 10


class StreamWriter(Protocol):
    """A stream that is being written."""

    def write(self, data: bytes | memoryview) -> None:
        """Appends data."""

    def end(self) -> Attribute:
        """Returns the attribute that holds everything that was written."""


def new_stream(allocator: ClusterAllocator, name: str, size: int, *, is_sparse: bool) -> StreamWriter:
    """Starts a stream.

    Args:
        allocator: the clusters of the volume.
        name: the name of the stream; "" is the main one.
        size: how many bytes the stream will have.
        is_sparse: whether pieces of zeros become holes.

    Raises:
        OutOfSpaceError: the volume is full.
    """
    if size <= RESIDENT_LIMIT:
        return _ResidentStream(name)
    if is_sparse:
        return _SparseStream(allocator, name, size)
    return _ContiguousStream(allocator, name, size)


class _ResidentStream:
    def __init__(self, name: str) -> None:
        self._name = name
        self._data = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        self._data += data

    def end(self) -> Attribute:
        return Attribute(AttributeType.DATA, self._name, bytes(self._data))


class _ContiguousStream:
    def __init__(self, allocator: ClusterAllocator, name: str, size: int) -> None:
        self._allocator = allocator
        self._name = name
        self._size = size
        self._allocation = allocator.allocate(size)
        self._position = self._allocation.offset

    def write(self, data: bytes | memoryview) -> None:
        self._allocator.write(self._position, data)
        self._position += len(data)

    def end(self) -> Attribute:
        attribute = data_attribute(self._allocation, self._size)
        attribute.name = self._name
        return attribute


class _SparseStream:
    """A stream in pieces of 64 KiB, or of one cluster if that is larger. Pieces of zeros are holes."""

    def __init__(self, allocator: ClusterAllocator, name: str, size: int) -> None:
        self._allocator = allocator
        self._name = name
        self._size = size
        self._unit = max(_SPARSE_UNIT, allocator.cluster_size)
        self._pending = bytearray()
        self._runs: list[Run] = []

    def write(self, data: bytes | memoryview) -> None:
        self._pending += data
        while len(self._pending) >= self._unit:
            self._put(bytes(self._pending[: self._unit]))
            del self._pending[: self._unit]

    def _put(self, piece: bytes) -> None:
        if any(piece):
            allocation = self._allocator.allocate(len(piece))
            self._allocator.write(allocation.offset, piece)
            run = allocation.run
        else:
            run = Run(None, -(-len(piece) // self._allocator.cluster_size))
        if self._runs and self._runs[-1].joins(run):
            last = self._runs.pop()
            run = Run(last.start, last.length + run.length)
        self._runs.append(run)

    def end(self) -> Attribute:
        if self._pending:
            self._put(bytes(self._pending))
        size = self._allocator.cluster_size
        allocated = sum(run.length for run in self._runs) * size
        on_disk = sum(run.length for run in self._runs if run.start is not None) * size
        return Attribute(
            AttributeType.DATA, self._name, None, self._runs, self._size, allocated, is_sparse=True, on_disk=on_disk
        )
