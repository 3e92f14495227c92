"""Runlists: where the clusters of a non-resident attribute are ("Data Runs")."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from wclayer.formats.ntfs.structs import NtfsError

MAX_RUNS = 1 << 22
"""Runs of one attribute: more than an attribute list of 256 KiB leads to in records of 1 KiB."""
_MAX_CLUSTER = 1 << 62


class Run(NamedTuple):
    """Clusters in a row: the first one (None: a hole, all zeros), and how many."""

    start: int | None
    length: int

    def joins(self, following: Run) -> bool:
        """Returns whether this run and the one after it in a runlist can be one run."""
        if self.start is None or following.start is None:
            return self.start is following.start
        return self.start + self.length == following.start


class RunList:
    """Runs in order, in 16 bytes each, with the runs that follow on each other joined.

    Raises:
        NtfsError: more than `MAX_RUNS`, or clusters that no volume has.
    """

    __slots__ = ("_ends", "_starts", "allocated")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._starts = array("q")
        self._ends = array("q")
        self.allocated = 0
        """Clusters that are no holes."""
        self.extend(runs)

    def extend(self, runs: Iterable[Run]) -> None:
        """Adds runs after the last."""
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
        """How many clusters the runs have, holes included."""
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
        """The runs from the cluster of that number (counted in the attribute), the first one without what is before."""
        index = bisect_right(self._ends, cluster)
        if index < len(self._ends):
            start, length = self[index]
            passed = cluster - (self._ends[index - 1] if index else 0)
            yield Run(None if start is None else start + passed, length - passed)
            yield from map(self.__getitem__, range(index + 1, len(self._starts)))


def encode_runs(runs: Iterable[Run]) -> bytes:
    """The mapping pairs: each start relative to the one before, in as few bytes as it takes."""
    pairs = bytearray()
    previous = 0
    for run in runs:
        pair, previous = encode_run(run, previous)
        pairs += pair
    pairs.append(0)
    return bytes(pairs)


def encode_run(run: Run, previous: int) -> tuple[bytes, int]:
    """A mapping pair after one that begins at the cluster `previous`, and the cluster that the next is relative to."""
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
    """The runs of mapping pairs.

    Raises:
        NtfsError: they do not end, or lead to a cluster before the first.
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
