"""Tables of text: rows whose columns are below each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

_WIDEST = 60
"""Columns that a cell takes; a longer text stands alone in the last column, or is cut."""
_LOOKED_AT = 1000
"""How many rows of a long table are looked at for the widths of its columns."""
_WIDEST_WHOLE = len("sha256:") + 64
"""Columns that a column of a long table takes. A longer cell moves those after it."""


def aligned(rows: Iterable[tuple[str, ...]], *, whole: bool = False) -> Iterator[str]:
    """Yields the rows with their columns below each other.

    Args:
        rows: the cells of each row.
        whole: no cell is cut. Otherwise, only the last one of a row is as long as it is.
    """
    cut = list(rows) if whole else [(*map(_cut, row[:-1]), row[-1]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    for row in cut:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


def aligned_while_read(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yields the rows of a table that may be too long for memory. No cell is cut; the first rows decide the widths."""
    left = iter(rows)
    first = list(islice(left, _LOOKED_AT))
    widths = [min(_WIDEST_WHOLE, max(map(len, column))) for column in zip(*first, strict=True)]
    for row in chain(first, left):
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


def _cut(cell: str) -> str:
    return cell if len(cell) <= _WIDEST else cell[: _WIDEST - 1] + "…"
