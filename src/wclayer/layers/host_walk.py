"""The base class of readers that walk a folder of the host."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from wclayer.errors import (
    IN_THE_WAY,
    InvalidDataError,
    LimitExceededError,
    boundary,
    errors_at,
    from_os_error,
    limit_hint,
)
from wclayer.host.root import HostRoot
from wclayer.layers.base import LayerReaderBase
from wclayer.layers.budget import Budget
from wclayer.layers.names import NameChecker
from wclayer.model import Entry, Limits, limits_in_use

T = TypeVar("T")
_NAME_OVERHEAD = 200
"""Bytes of memory that a name takes besides its characters, roughly."""


@boundary
class HostWalkReader(LayerReaderBase):
    """A `LayerReader` over a folder. One generator finds the entries, and each is checked when it is found.

    Args:
        path: the folder.
        is_base: True if the layer has no parents: tombstones, and links out of the layer, are then errors.
        limits: how much is accepted; by default the limits in use.
    """

    def __init__(self, path: Path, *, is_base: bool, limits: Limits | None = None) -> None:
        super().__init__(str(path))
        self.path = path
        self.limits = limits or limits_in_use()
        self._checker = NameChecker(self.source, is_base=is_base, limits=self.limits)
        self._budget = self._stored = Budget(self.source, self.limits)
        self._names_size = 0
        with errors_at(path):
            self._host = HostRoot(path)
        self._walk = self._walk_all()

    @abstractmethod
    def _walk_all(self) -> Iterator[Entry]:
        """Yields every entry in order.

        Raises:
            OSError: the host reports an error.
            UnicodeDecodeError: a name of the host is not UTF-8.
        """

    def _advance(self) -> Entry | None:
        try:
            entry = next(self._walk, None)
        except OSError as error:
            told = from_os_error(self.path, error)
            if error.errno in IN_THE_WAY:
                raise InvalidDataError(
                    told.path, f"{told.detail}; neither links nor special files are followed"
                ) from error
            raise told from error
        except UnicodeDecodeError as error:
            raise InvalidDataError(self.path, f"the name {error.object!r} is not UTF-8") from None
        if entry is not None:
            self._checker.add(entry)
        return entry

    def _hold(self, names: int, size: int) -> None:
        """Counts names that are kept in memory against `names_size`.

        Args:
            names: their number; a negative number releases them.
            size: the bytes in them, negative to release them.

        Raises:
            LimitExceededError: the names that are kept take more than the limit.
        """
        self._names_size += _NAME_OVERHEAD * names + size
        if self._names_size > self.limits.names_size:
            problem = f"its names take more than {self.limits.names_size} bytes {limit_hint('names_size')}"
            raise LimitExceededError(self.source, problem)

    def _held(self, names: list[T], size: int) -> Iterator[T]:
        """Yields the names of one directory, of `size` bytes, which count against the limit until the last is taken."""
        count = len(names)
        self._hold(count, size)
        names.reverse()
        while names:
            yield names.pop()
        self._hold(-count, -size)

    def _release(self) -> None:
        self._host.close()
