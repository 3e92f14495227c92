"""The marks of a tree: what a layer, or an image, does to a name of another one."""

from __future__ import annotations

from enum import Enum

from wclayer.view.diff import Change


class Mark(Enum):
    """What happened to a name. The value is the character that stands for it."""

    ADDED = "+"
    CHANGED = "~"
    REMOVED = "-"
    SAME = " "

    @property
    def word(self) -> str:
        """The mark in a word."""
        return _WORDS[self]


_WORDS = {Mark.ADDED: "added", Mark.CHANGED: "changed", Mark.REMOVED: "removed", Mark.SAME: "unchanged"}
ALL_MARKS = frozenset(Mark)
_OF_CHANGES = {Change.ADDED: Mark.ADDED, Change.CHANGED: Mark.CHANGED, Change.REMOVED: Mark.REMOVED}


def mark_of(change: Change) -> Mark:
    """Returns the mark of a change."""
    return _OF_CHANGES[change]
