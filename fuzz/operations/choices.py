"""Choices that bytes make: what a target does with an input that is a sequence of operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


class Choices:
    """Reads decisions from bytes, in order; when they are used up, each decision is the first one that is possible."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        """The next byte, or 0."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def number(self, size: int) -> int:
        """An unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size).ljust(size, b"\0"), "little")

    def below(self, count: int) -> int:
        """A number from 0 to `count` - 1; `count` is at most 256."""
        return self.byte() % count

    def pick(self, items: Sequence[_Item]) -> _Item:
        """One of the items."""
        return items[self.below(len(items))]

    def take(self, size: int) -> bytes:
        """The next bytes: `size`, or as many as there are."""
        start = self._at
        self._at = min(len(self._data), start + size) if start < len(self._data) else start
        return self._data[start : self._at]

    def block(self, *, wide: bool = False) -> bytes:
        """Bytes whose number stands before them, in one byte, or in two."""
        return self.take(self.number(2) if wide else self.byte())

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))
