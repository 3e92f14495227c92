"""What the detail pane shows: headings, facts with labels, and text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FactKind(Enum):
    """How a line of the detail pane is shown."""

    HEADING = "heading"
    FIELD = "field"
    TEXT = "text"
    WARNING = "warning"
    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the detail pane, or of another text.

    Attributes:
        text: the text; it may be any text of an image.
        label: what stands before it; "" for nothing.
        kind: how it is shown.
    """

    text: str
    label: str = ""
    kind: FactKind = FactKind.FIELD


def heading(text: str) -> Fact:
    """Returns a heading."""
    return Fact(text, kind=FactKind.HEADING)


def line(text: str) -> Fact:
    """Returns a line without a label."""
    return Fact(text, kind=FactKind.TEXT)


def warning(text: str) -> Fact:
    """Returns a line that tells what is wrong."""
    return Fact(text, kind=FactKind.WARNING)
