"""The lists of a report: as tables that are read without JavaScript, and as data of the script that searches them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

from wclayer.pages.page import json_text
from wclayer.pages.parts import cut_text, number_html, size_html, table_html, text_html

_LISTED = 100
"""How many rows are shown without JavaScript."""
_MAX_TEXT = 8 << 20
"""How many characters of rows a list holds."""

Value = str | int | float | None


class ColumnKind(StrEnum):
    """What the values of a column are."""

    TEXT = "text"
    NUMBER = "number"
    SIZE = "size"
    EXPIRY = "expiry"
    """A time at which something expires (ISO 8601): the script says whether it has."""


class Column(NamedTuple):
    """A column of a list.

    Attributes:
        title: its head, plain words.
        kind: what its values are.
        is_filter: whether rows can be chosen by its values.
    """

    title: str
    kind: ColumnKind = ColumnKind.TEXT
    is_filter: bool = False


class ReportList:
    """A list that can be searched, filtered and sorted.

    Args:
        name: its name in the page.
        label: its caption, plain words.
        things: what its rows are, in the plural.
        columns: its columns. The first one is the head of a row.
        rows: the values of each row.
    """

    def __init__(
        self, name: str, label: str, things: str, columns: Sequence[Column], rows: Sequence[Sequence[Value]]
    ) -> None:
        self._name = name
        self._label = label
        self._things = things
        self._columns = columns
        self._rows = rows

    def html(self) -> Iterator[str]:
        """Yields the table, which the script replaces."""
        if not self._rows:
            yield f"<p>There are no {self._things}.</p>"
            return
        yield f'<div class="listed" id="list-{self._name}">'
        numbers = [
            place for place, column in enumerate(self._columns) if column.kind in (ColumnKind.NUMBER, ColumnKind.SIZE)
        ]
        rows = (
            [_cell(column.kind, value) for column, value in zip(self._columns, row, strict=True)]
            for row in islice(self._rows, _LISTED)
        )
        yield table_html(self._label, [column.title for column in self._columns], rows, numbers=numbers)
        if len(self._rows) > _LISTED:
            yield (
                f"<p>The first {_LISTED:,} of {len(self._rows):,} are shown. With JavaScript, this page can search and"
                " sort them.</p>"
            )
        yield "</div>"

    def data(self) -> Iterator[str]:
        """Yields JSON for the script: as many rows as fit, and how many do not. An empty list has none."""
        if not self._rows:
            return
        head = {
            "name": self._name, "label": self._label, "things": self._things,
            "columns": [[column.title, column.kind, column.is_filter] for column in self._columns],
        }  # fmt: skip
        yield f'{json_text(head)[:-1]}, "rows": ['
        room, written = _MAX_TEXT, 0
        for row in self._rows:
            text = json_text([cut_text(value) if isinstance(value, str) else value for value in row])
            room -= len(text)
            if room < 0:
                break
            yield f"{',' if written else ''}\n{text}"
            written += 1
        yield f'], "left": {len(self._rows) - written}}}'


def _cell(kind: ColumnKind, value: Value) -> str:
    if isinstance(value, str):
        return text_html(value)
    if isinstance(value, float):
        return f"{value:g}"
    return size_html(value) if kind is ColumnKind.SIZE else number_html(value)
