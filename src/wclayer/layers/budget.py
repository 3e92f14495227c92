"""How much may come out of a source that is no stream: what a folder or a disk says, against `Limits`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from wclayer.errors import LimitExceededError, limit_hint
from wclayer.model import DataStream, Entry, Limits


class Budget:
    """Counts the data that comes out of a source, before it does: files with holes may claim any size.

    Args:
        source: for errors.
        limits: `total_size`, `ratio`, `unrated_size` and `streams` are obeyed.
    """

    def __init__(self, source: str, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._stored = 0
        self._size = 0

    def store(self, size: int) -> None:
        """Says that the source takes `size` more bytes where it is stored."""
        self._stored += size

    def spend(self, size: int, what: str) -> None:
        """Says that `size` bytes are about to come out.

        Args:
            size: bytes, holes included.
            what: names them in a message ("entry 'Files/a'").

        Raises:
            LimitExceededError: this is more than `total_size`, or more than `ratio` for each stored byte.
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
        """Checks a size that was announced, and may still grow, without spending it."""
        before = self._size
        self.spend(size, what)
        self._size = before

    def checked(self, entry: Entry, streams: Iterator[DataStream]) -> Iterator[DataStream]:
        """The data streams of an entry, each spent before its data is asked for."""
        for number, stream in enumerate(streams):
            if number > self._limits.streams:
                self._refuse(f"entry {entry.name[:300]!r}", f"more than {self._limits.streams} streams", "streams")
            self.spend(stream.size, f"entry {entry.name[:300]!r}")
            yield stream

    def _refuse(self, what: str, problem: str, limit: str) -> None:
        raise LimitExceededError(self._source, f"{what}: {problem} {limit_hint(limit)}")


def stored_size(status: os.stat_result) -> int:
    """The bytes that a file of the host takes on its disk, as far as the host tells: without its holes."""
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else min(status.st_size, int(blocks) * 512)
