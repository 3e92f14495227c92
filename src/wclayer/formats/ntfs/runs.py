"""Runlists: where the clusters of a non-resident attribute are ("Data Runs")."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from wclayer.formats.ntfs.structs import NtfsError

MAX_RUNS = 1 << 22
"""Runs of one attribute: more than fit into the records of 1 KiB that an attribute list of 256 KiB can name."""
_MAX_CLUSTER = 1 << 62


class Run(NamedTuple):
    """Consecutive clusters: the first one (None: a hole, which reads as zeros), and how many."""

    start: int | None
    length: int

    def joins(self, following: Run) -> bool:
        """Returns whether this run and the one after it in a runlist can be one run."""
        if self.start is None or following.start is None:
            return self.start is following.start
        return self.start + self.length == following.start


class RunList:
    """Runs in order, in 16 bytes each. Adjacent runs are joined.

    Raises:
        NtfsError: there are more than `MAX_RUNS` runs, or clusters that no volume has.
    """

    __slots__ = ("_ends", "_starts", "allocated")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._starts = array("q")
        self._ends = array("q")
        self.allocated = 0
        """Clusters outside of holes."""
        self.extend(runs)

    def extend(self, runs: Iterable[Run]) -> None:
        """Appends runs."""
        starts, ends = self._starts, self._ends
        for start, length in runs:
            end = self.clusters + length
            if end > _MAX_CLUSTER or (start is not None and start + length > _MAX_CLUSTER):
                raise NtfsError(f"a run of {length} clusters at {start}")
            if start is not None:
                self.allocated += length
            if starts:
                before = ends[-1] - (ends[-2] if len(ends) > 1 else 0)
                last = starts[-1]
                if (last < 0 and start is None) or (last >= 0 and start == last + before):
                    ends[-1] = end
                    continue
                if len(starts) >= MAX_RUNS:
                    raise NtfsError(f"an attribute with more than {MAX_RUNS} runs")
            starts.append(-1 if start is None else start)
            ends.append(end)

    @property
    def clusters(self) -> int:
        """The number of clusters of the runs, holes included."""
        return self._ends[-1] if self._ends else 0

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Run:
        start, end = self._starts[index], self._ends[index]
        index %= len(self._starts)
        return Run(None if start < 0 else start, end - (self._ends[index - 1] if index else 0))

    def __iter__(self) -> Iterator[Run]:
        return map(self.__getitem__, range(len(self._starts)))

    def from_cluster(self, cluster: int) -> Iterator[Run]:
        """Yields the runs from a cluster of the attribute on, the first one without the clusters before it.

        Args:
            cluster: the number of the cluster, counted within the attribute.
        """
        index = bisect_right(self._ends, cluster)
        if index < len(self._ends):
            start, length = self[index]
            passed = cluster - (self._ends[index - 1] if index else 0)
            yield Run(None if start is None else start + passed, length - passed)
            yield from map(self.__getitem__, range(index + 1, len(self._starts)))


def encode_runs(runs: Iterable[Run]) -> bytes:
    """Encodes runs as mapping pairs, with each start relative to the one before, in as few bytes as possible."""
    pairs = bytearray()
    previous = 0
    for run in runs:
        pair, previous = encode_run(run, previous)
        pairs += pair
    pairs.append(0)
    return bytes(pairs)


def encode_run(run: Run, previous: int) -> tuple[bytes, int]:
    """Encodes a run as a mapping pair.

    Args:
        run: the run.
        previous: the cluster to which its start is relative.

    Returns:
        The pair, and the cluster to which the start of the next run is relative.
    """
    size = _signed(run.length)
    place = b""
    if run.start is not None:
        place = _signed(run.start - previous)
        previous = run.start
    return bytes((len(place) << 4 | len(size),)) + size + place, previous


def _signed(number: int) -> bytes:
    return number.to_bytes(
        (number.bit_length() if number >= 0 else (~number).bit_length()) // 8 + 1, "little", signed=True
    )


def decode_runs(data: bytes | memoryview) -> Iterator[Run]:
    """Yields the runs of mapping pairs.

    Raises:
        NtfsError: the pairs have no end, or a run starts before the first cluster.
    """
    position = 0
    place = 0
    while True:
        if position >= len(data):
            raise NtfsError("a runlist without an end")
        header = data[position]
        if not header:
            return
        size, offset = header & 0xF, header >> 4
        end = position + 1 + size + offset
        if not 0 < size <= 8 or offset > 8 or end > len(data):
            raise NtfsError(f"a run with the header {header:#04x}")
        length = int.from_bytes(data[position + 1 : position + 1 + size], "little", signed=True)
        if length <= 0:
            raise NtfsError(f"a run of {length} clusters")
        if offset:
            place += int.from_bytes(data[position + 1 + size : end], "little", signed=True)
            if place < 0:
                raise NtfsError(f"a run at cluster {place}")
        yield Run(place if offset else None, length)
        position = end
