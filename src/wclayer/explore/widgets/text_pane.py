"""A pane of facts: labels and texts, wrapped to its width."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from rich.cells import cell_len, chop_cells
from textual import events

from wclayer.explore.model.details import Fact, FactKind
from wclayer.explore.model.text import one_line
from wclayer.explore.widgets.pane import MOST_CHARACTERS, Pane, Part

_LABEL = 10
"""The width of the labels in cells."""
_MOST_LINES = 20_000
_MOST_TEXT = 20_000
"""Characters of a fact that are shown."""
_STYLES = {
    FactKind.HEADING: "pane--heading",
    FactKind.FIELD: "",
    FactKind.TEXT: "",
    FactKind.WARNING: "pane--warning",
    FactKind.ADDED: "pane--added",
    FactKind.CHANGED: "pane--changed",
    FactKind.REMOVED: "pane--removed",
}


class TextPane(Pane):
    """A pane of facts, which keys scroll."""

    has_cursor = False

    def __init__(self, identity: str) -> None:
        super().__init__(id=identity)
        self._facts: Sequence[Fact] = ()
        self._lines: list[list[Part]] = []
        self._width = 0

    def show(self, facts: Sequence[Fact], *, keep_place: bool = False) -> None:
        """Shows facts, from the first one on unless the place is kept."""
        if facts != self._facts:
            self._facts = facts
            self._wrap()
            self.lines_changed()
        if not keep_place:
            self.scroll_home(animate=False, immediate=True)

    @property
    def facts(self) -> Sequence[Fact]:
        """What is shown."""
        return self._facts

    def count_lines(self) -> int:
        return len(self._lines)

    def line_parts(self, number: int, width: int) -> Sequence[Part]:
        return self._lines[number]

    def on_resize(self, event: events.Resize) -> None:
        """Wraps anew to the new width."""
        if self.scrollable_content_region.width != self._width:
            self._wrap()
            self.refresh()
        super().on_resize(event)

    def _wrap(self) -> None:
        self._width = self.scrollable_content_region.width
        self._lines = []
        for fact in self._facts:
            if fact.kind is FactKind.HEADING and self._lines:
                self._lines.append([])
            self._lines += islice(_wrapped(fact, max(8, self._width)), _MOST_LINES - len(self._lines))


def _pieces(text: str, width: int) -> list[str]:
    """Returns a text in pieces that fit, cut after spaces where there are any."""
    pieces: list[str] = []
    start = 0
    # Only what may fit is looked at: to measure all that is left for each piece would take for ever for a long text.
    most = width * MOST_CHARACTERS
    while len(pieces) < _MOST_LINES:
        left = text[start : start + most]
        if cell_len(left) <= width:
            if start + most >= len(text):
                break
            end = most
        else:
            head = chop_cells(left, width)[0]
            space = head.rfind(" ")
            end = len(head) if space < width // 2 or left[len(head)] == " " else space + 1
        pieces.append(left[:end].rstrip())
        start += end
        start += text.startswith(" ", start)
    return [*pieces, text[start:]]


def _wrapped(fact: Fact, width: int) -> list[list[Part]]:
    left = len(fact.text) - _MOST_TEXT
    text = one_line(fact.text[:_MOST_TEXT]) + (f" … and {left:,} more characters" if left > 0 else "")
    style = _STYLES[fact.kind]
    if fact.kind is not FactKind.FIELD and not fact.label:
        return [[(piece, style)] for piece in _pieces(text, width)]
    label, label_style = one_line(fact.label), style or "pane--label"
    indent = max(_LABEL, min(cell_len(label), width // 2)) + 1
    if width - indent < 12 or cell_len(label) >= indent:
        indent = 2
    pieces = _pieces(text, width - indent)
    if indent == 2 and label:
        return [[(label, label_style)], *([("  ", ""), (piece, "")] for piece in pieces)]
    first: list[Part] = [(label.rjust(indent - 1) + " ", label_style), (pieces[0], "")]
    return [first, *([(" " * indent, ""), (piece, "")] for piece in pieces[1:])]
