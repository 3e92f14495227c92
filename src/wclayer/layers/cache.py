"""A dictionary of bounded size, for values that occur many times in a layer and can be computed again."""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")
_OVERHEAD = 200
"""Bytes that an item takes besides its contents, roughly."""


class Cache(dict[_K, _V]):
    """A dictionary that forgets everything when its items take more than `max_bytes`.

    The few distinct values of a real layer fit easily; a hostile layer must not fill the memory with them.
    """

    def __init__(self, max_bytes: int = 4 << 20) -> None:
        super().__init__()
        self._max_bytes = max_bytes
        self._size = 0

    def keep(self, key: _K, value: _V, size: int) -> None:
        """Remembers an item whose key and value take `size` bytes together."""
        self._size += size + _OVERHEAD
        if self._size > self._max_bytes:
            self.clear()
            self._size = size + _OVERHEAD
        self[key] = value

    def forget(self) -> None:
        """Forgets everything."""
        self.clear()
        self._size = 0
