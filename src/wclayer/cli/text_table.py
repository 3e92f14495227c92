"""Tables of text: rows whose columns are below each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_WIDEST = 60
"""Columns that a cell takes; a longer text stands alone in the last column, or is cut."""


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


def _cut(cell: str) -> str:
    return cell if len(cell) <= _WIDEST else cell[: _WIDEST - 1] + "…"
