"""Which items a tree shows: by their marks, and with what lies below them."""

from __future__ import annotations

from collections.abc import Callable

from wclayer.explore.model.marks import ALL_MARKS, Mark
from wclayer.explore.model.totals import Totals
from wclayer.explore.model.tree import Item, MarkedItem


def shown_mark(item: MarkedItem, totals: Totals | None) -> Mark:
    """Returns the mark that stands before an item: a directory in which anything has a mark has changed, too."""
    if item.mark is Mark.SAME and (totals.differs if totals is not None else item.may_differ):
        return Mark.CHANGED
    return item.mark


def accepts(item: Item, marks: frozenset[Mark], totals_of: Callable[[Item], Totals | None]) -> bool:
    """Returns whether an item is shown if only some marks are: it has one, or something below it has.

    Args:
        item: the item.
        marks: the marks that are shown.
        totals_of: returns the sums of a directory, or None while they are not known.

    A directory whose sums are not known yet is shown if something below it may have a mark.
    """
    if item.mark in marks or marks == ALL_MARKS:
        return True
    if not item.may_differ:
        return False
    totals = totals_of(item)
    if totals is None:
        return True
    counts = {Mark.ADDED: totals.added, Mark.CHANGED: totals.changed, Mark.REMOVED: totals.removed}
    return any(counts.get(mark, 0) for mark in marks)
