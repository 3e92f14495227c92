"""Reads many directories of a tree of marked items, and goes on where one cannot be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from wclayer._walk import Walk
from wclayer.errors import FormatError, LayerError, detail_of
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.tree import Item, MarkedTree

READ_ERRORS = (FormatError, OSError, sqlite3.Error)
"""What a read raises if something is damaged, or if the host refuses it. Errors of layers are among them."""
_MOST_TOLD = 1_000
"""Directories that could not be read of which the reason is kept."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A directory that could not be read.

    Attributes:
        identity: the identity of its item.
        text: its path, and what is wrong.
    """

    identity: str
    text: str


class TreeReading(Generic[Item]):
    """A reading of many directories of a tree. One that cannot be read is counted, and has nothing below it.

    Args:
        tree: the tree, which no other thread uses.

    Attributes:
        tree: the tree.
        failed: how many directories could not be read.
        unread: the first of them.
    """

    def __init__(self, tree: MarkedTree[Item]) -> None:
        self.tree = tree
        self.failed = 0
        self.unread: list[Unread] = []

    @property
    def remark(self) -> str:
        """What could not be read, in words; "" if all could be."""
        if not self.unread:
            return ""
        others = "" if self.failed == 1 else f" ({self.failed - 1:,} more cannot be read)"
        return f"{self.unread[0].text}{others}"

    def children(self, item: Item) -> Sequence[Item]:
        """Returns what is in a directory or a key; nothing if it cannot be read."""
        try:
            return self.tree.children(item)
        except READ_ERRORS as error:
            self.failed += 1
            if len(self.unread) < _MOST_TOLD:
                detail = detail_of(error) if isinstance(error, (LayerError, FormatError)) else str(error)
                self.unread.append(Unread(item.identity, f"{item.shown_path} cannot be read: {detail}"))
            return ()

    def walk(self, *, only_different: bool = False) -> Iterator[Item]:
        """Yields all items of the tree, each before what is below it, in the order in which the tree is shown.

        Args:
            only_different: what is below a directory in which nothing can differ is left out.

        Raises:
            LayerError: nothing of the tree can be read.
        """
        walk = Walk(self.tree.roots(), None)
        for _, item in walk:
            yield item
            if item.is_directory and (item.may_differ or item.mark is not Mark.SAME or not only_different):
                walk.enter(self.children(item), None)
