"""Runlists: where the clusters of a non-resident attribute are ("Data Runs")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wclayer.formats.ntfs.structs import NtfsError


class Run(NamedTuple):
    """Clusters in a row: the first one (None: a hole, all zeros), and how many."""

    start: int | None
    length: int


def encode_runs(runs: Sequence[Run]) -> bytes:
    """The mapping pairs: each start relative to the one before, in as few bytes as it takes."""
    out = bytearray()
    previous = 0
    for start, length in runs:
        size = _signed(length)
        place = b""
        if start is not None:
            place = _signed(start - previous)
            previous = start
        out.append(len(place) << 4 | len(size))
        out += size + place
    out.append(0)
    return bytes(out)


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
