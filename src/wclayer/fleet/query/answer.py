"""`FleetAnswer`: the rows of an answer, which are read while they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from wclayer.errors import boundary
from wclayer.fleet.query.interrupts import interruptible

_AT_ONCE = 1000


@boundary
class FleetAnswer:
    """The answer to a query: an iterator of its rows, each a tuple with a value for each column.

    Rows are read while they are used: memory does not grow with their number. Values are those of Python: `str`, `int`,
    `float`, `bool`, `datetime` (UTC), `list`, …, and None for NULL. The end of its context closes it.

    Attributes:
        columns: the names of the columns.
    """

    operation = "query fleet"

    def __init__(
        self,
        _cursor: Any,
        _told: Callable[[], AbstractContextManager[None]],
        _close: Callable[[], None],
    ) -> None:
        self.columns: tuple[str, ...] = tuple(column[0] for column in _cursor.description)
        self._close = _close
        self._rows = self._read(_cursor, _told)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self

    def __next__(self) -> tuple[Any, ...]:
        return next(self._rows)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yields the rows as dictionaries. Of columns with the same name, the second one is `NAME_2`."""
        names = _distinct(self.columns)
        for row in self:
            yield dict(zip(names, row, strict=True))

    def close(self) -> None:
        """Ends the query, also if rows are left."""
        self._rows = iter(())
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @staticmethod
    def _read(cursor: Any, told: Callable[[], AbstractContextManager[None]]) -> Iterator[tuple[Any, ...]]:
        while True:
            with told():
                rows = interruptible(cursor, cursor.fetchmany, _AT_ONCE)
            if not rows:
                return
            yield from rows


def _distinct(names: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for name in names:
        number, distinct = 1, name
        while distinct in found:
            number += 1
            distinct = f"{name}_{number}"
        found.append(distinct)
    return found
