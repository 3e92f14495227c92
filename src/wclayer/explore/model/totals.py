"""The sums of directories: bytes, files, and what was added, changed and removed below each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic

from wclayer.explore.model.marks import Mark
from wclayer.explore.model.reading import TreeReading
from wclayer.explore.model.tree import Item, MarkedItem
from wclayer.layers.cache import Cache

_ITEM_SIZE = 250
"""About how many bytes the sums of a directory take."""


@dataclass(slots=True)
class Totals:
    """The sums of what lies below a directory.

    Attributes:
        bytes: the bytes of the visible files; a file with several names counts once.
        files, directories: how many are visible.
        added, changed, removed: how many names have that mark, directories too.
        added_bytes, removed_bytes: the bytes of the added and of the removed files.
        before_bytes: the bytes of the files that were visible before.
        unread: how many directories could not be read. What is in them is missing in the other sums.
    """

    bytes: int = 0
    files: int = 0
    directories: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    added_bytes: int = 0
    removed_bytes: int = 0
    before_bytes: int = 0
    unread: int = 0

    @property
    def differs(self) -> bool:
        """Whether anything below has a mark."""
        return bool(self.added or self.changed or self.removed)

    def add(self, item: MarkedItem, below: Totals | None) -> None:
        """Adds an item, and what lies below it."""
        size = item.size if item.counts and not item.is_directory else 0
        self.before_bytes += item.size_before
        if item.mark is Mark.REMOVED:
            self.removed += 1
            self.removed_bytes += size
        else:
            self.bytes += size
            if item.is_directory:
                self.directories += 1
            else:
                self.files += 1
            if item.mark is Mark.ADDED:
                self.added += 1
                self.added_bytes += size
            elif item.mark is Mark.CHANGED:
                self.changed += 1
        if below is not None:
            self.bytes += below.bytes
            self.files += below.files
            self.directories += below.directories
            self.added += below.added
            self.changed += below.changed
            self.removed += below.removed
            self.added_bytes += below.added_bytes
            self.removed_bytes += below.removed_bytes
            self.before_bytes += below.before_bytes
            self.unread += below.unread


class _Frame(Generic[Item]):
    __slots__ = ("items", "top", "totals")

    def __init__(self, top: Item, items: Iterator[Item]) -> None:
        self.top = top
        self.items = items
        self.totals = Totals()


class TotalsMemory:
    """The sums of directories that several trees of a session have in common, by what they are merged from."""

    def __init__(self) -> None:
        self._known: Cache[object, Totals] = Cache(32 << 20)

    def find(self, parts: object | None, mark: Mark) -> Totals | None:
        """Returns the sums of a directory whose items all have one mark."""
        plain = None if parts is None else self._known.get(parts)
        if plain is None:
            return None
        if mark is Mark.ADDED:
            return replace(plain, added=plain.files + plain.directories, added_bytes=plain.bytes, before_bytes=0)
        if mark is Mark.REMOVED:
            return Totals(removed=plain.files + plain.directories, removed_bytes=plain.bytes, before_bytes=plain.bytes)
        return plain

    def keep(self, parts: object | None, mark: Mark, totals: Totals) -> bool:
        """Remembers the sums of a directory whose items all have one mark.

        Returns:
            False if they were not remembered, because they are true of this tree alone, or not whole.
        """
        # Of removed names, it is not known how many are directories.
        if parts is None or mark is Mark.REMOVED or totals.unread:
            return False
        self._known.keep(parts, replace(totals, added=0, added_bytes=0, before_bytes=totals.bytes), _ITEM_SIZE)
        return True


def count_totals(
    reading: TreeReading[Item], memory: TotalsMemory, found: Cache[str, Totals], cancelled: Callable[[], bool]
) -> bool:
    """Computes the sums of all directories of a tree.

    Args:
        reading: the tree. What cannot be read is missing in the sums, and counted.
        memory: what is known of directories of other trees.
        found: gets the sums of each directory that `memory` does not take, by the identity of its item.
        cancelled: tells whether to stop.

    Returns:
        Whether all were computed.

    Raises:
        LayerError: nothing of the tree can be read.
    """
    for root in reading.tree.roots():
        if root.is_directory and not _count_below(reading, root, memory, found, cancelled):
            return False
    return True


def _count_below(
    reading: TreeReading[Item],
    root: Item,
    memory: TotalsMemory,
    found: Cache[str, Totals],
    cancelled: Callable[[], bool],
) -> bool:
    tree = reading.tree
    frames = [_frame(reading, root)]
    while frames:
        frame = frames[-1]
        for item in frame.items:
            if not item.is_directory:
                frame.totals.add(item, None)
                continue
            known = memory.find(tree.same_below(item), item.mark)
            if known is not None:
                frame.totals.add(item, known)
                continue
            if cancelled():
                return False
            frames.append(_frame(reading, item))
            break
        else:
            frames.pop()
            if not memory.keep(tree.same_below(frame.top), frame.top.mark, frame.totals):
                found.keep(frame.top.identity, frame.totals, _ITEM_SIZE + len(frame.top.key))
            if frames:
                frames[-1].totals.add(frame.top, frame.totals)
    return True


def _frame(reading: TreeReading[Item], top: Item) -> _Frame[Item]:
    failed = reading.failed
    frame = _Frame(top, iter(reading.children(top)))
    frame.totals.unread = reading.failed - failed
    return frame
