"""Counts what a folder, a disk or a backup stream yields against the limits of its size and ratio."""

from __future__ import annotations

import os
from collections.abc import Iterator

from wclayer.errors import LimitExceededError, limit_hint
from wclayer.model import DataStream, Entry, Limits


class Budget:
    """Counts the data of a source before it is read: files with holes may claim any size.

    Args:
        source: the path that errors report.
        limits: the limits; `total_size`, `ratio`, `unrated_size` and `streams` are checked.
    """

    def __init__(self, source: str, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._stored = 0
        self._size = 0

    def store(self, size: int) -> None:
        """Counts `size` bytes that the source takes on its disk."""
        self._stored += size

    def spend(self, size: int, what: str) -> None:
        """Counts data that is about to be read.

        Args:
            size: bytes, with the holes.
            what: what has the data, for messages ("entry 'Files/a'").

        Raises:
            LimitExceededError: the data is more than `total_size`, or more than `ratio` for each stored byte.
        """
        limits = self._limits
        self._size += size
        if self._size > limits.total_size:
            self._refuse(what, f"with its {size} bytes, more than {limits.total_size} come out", "total_size")
        if self._size > limits.unrated_size + self._stored * limits.ratio:
            self._refuse(
                what,
                f"with its {size} bytes, {self._size} come out of {self._stored}: more than {limits.ratio} for one",
                "ratio",
            )

    def check(self, size: int, what: str) -> None:
        """Checks a size that may still grow, without counting it."""
        before = self._size
        self.spend(size, what)
        self._size = before

    def checked(self, entry: Entry, streams: Iterator[DataStream]) -> Iterator[DataStream]:
        """Yields the data streams of an entry; each is counted before its data is read."""
        for number, stream in enumerate(streams):
            if number > self._limits.streams:
                self._refuse(f"entry {entry.name[:300]!r}", f"more than {self._limits.streams} streams", "streams")
            self.spend(stream.size, f"entry {entry.name[:300]!r}")
            yield stream

    def _refuse(self, what: str, problem: str, limit: str) -> None:
        raise LimitExceededError(self._source, f"{what}: {problem} {limit_hint(limit)}")


def stored_size(status: os.stat_result) -> int:
    """Returns the bytes that a file takes on the host's disk: without its holes, if the host states them."""
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else min(status.st_size, int(blocks) * 512)
