"""Finds numbers by keys that are not kept: 12 bytes for each, and room to grow.

A key is one 64-bit salted hash in an open-addressing table. The probability that two keys have the same hash is one in
2^63 per pair.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable

_HASH = (1 << 64) - 1


class NumberTable:
    """32-bit numbers by their keys."""

    __slots__ = ("_hashes", "_mask", "_numbers", "_used")

    def __init__(self) -> None:
        self._hashes = array("Q", bytes(8 << 8))
        self._numbers = array("I", bytes(4 << 8))
        self._mask = len(self._hashes) - 1
        self._used = 0

    def get(self, key: Hashable) -> int | None:
        """Returns the number of a key, or None."""
        index = self._index(hash(key) & _HASH | 1)
        return self._numbers[index] if self._hashes[index] else None

    def keep(self, key: Hashable, number: int) -> None:
        """Sets the number of a key."""
        digest = hash(key) & _HASH | 1
        index = self._index(digest)
        if not self._hashes[index]:
            self._hashes[index] = digest
            self._used += 1
        self._numbers[index] = number
        if self._used * 3 > self._mask * 2:
            self._grow()

    def _index(self, digest: int) -> int:
        """Returns the index of a hash, which is never 0, or of the free place for it."""
        hashes, mask = self._hashes, self._mask
        index = (digest >> 1) & mask
        while (found := hashes[index]) and found != digest:
            index = (index + 1) & mask
        return index

    def _grow(self) -> None:
        hashes, numbers = self._hashes, self._numbers
        self._hashes = array("Q", bytes(16 * len(hashes)))
        self._numbers = array("I", bytes(8 * len(hashes)))
        self._mask = len(self._hashes) - 1
        for digest, number in zip(hashes, numbers, strict=True):
            if digest:
                index = self._index(digest)
                self._hashes[index], self._numbers[index] = digest, number
