"""Tables of text: rows whose columns are below each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_WIDEST = 60
"""Columns that a cell takes; a longer text stands alone in the last column, or is cut."""


def aligned(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yields the rows with their columns below each other. Only the last cell of a row is as long as it is."""
    cut = [
        (*(cell if len(cell) <= _WIDEST else cell[: _WIDEST - 1] + "…" for cell in row[:-1]), row[-1]) for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    for row in cut:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
