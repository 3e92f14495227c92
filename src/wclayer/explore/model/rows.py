"""The rows of a tree of which some directories are open, in order: what a pane of the screen shows a window of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar


class TreeItem(Protocol):
    """What a row needs of an item of a tree."""

    @property
    def identity(self) -> str:
        """What the item is known by when the tree is read anew."""

    @property
    def is_directory(self) -> bool:
        """Whether it can be opened."""


Item = TypeVar("Item", bound=TreeItem)


class Row(Generic[Item]):
    """A row: an item, how deep it lies, and whether it is open."""

    __slots__ = ("depth", "is_open", "item")

    def __init__(self, item: Item, depth: int, is_open: bool) -> None:
        self.item = item
        self.depth = depth
        self.is_open = is_open


class TreeRows(Generic[Item]):
    """The rows of a tree.

    Args:
        roots: the items at the top.
    """

    def __init__(self, roots: Sequence[Item] = ()) -> None:
        self.rows: list[Row[Item]] = []
        self._roots = roots
        self._open: dict[str, Sequence[Item]] = {}
        self._accepts: Callable[[Item], bool] = lambda item: True
        self._order: Callable[[Item], object] | None = None
        self.rebuild()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def opened(self) -> dict[str, Sequence[Item]]:
        """What the open directories hold, by their identities."""
        return self._open

    def show(self, roots: Sequence[Item], opened: dict[str, Sequence[Item]]) -> None:
        """Shows another tree."""
        self._roots = roots
        self._open = opened
        self.rebuild()

    def filter(self, accepts: Callable[[Item], bool]) -> None:
        """Shows only the items that are accepted."""
        self._accepts = accepts
        self.rebuild()

    def sort(self, order: Callable[[Item], object] | None) -> None:
        """Sorts what each directory holds, by a key; None for the order in which the tree has it."""
        self._order = order
        self.rebuild()

    def open(self, item: Item, children: Sequence[Item]) -> None:
        """Opens a directory."""
        self._open[item.identity] = children
        self.rebuild()

    def close(self, item: Item) -> None:
        """Closes a directory."""
        if self._open.pop(item.identity, None) is not None:
            self.rebuild()

    def close_all(self) -> None:
        """Closes all directories."""
        self._open.clear()
        self.rebuild()

    def is_open(self, item: Item) -> bool:
        """Returns whether a directory is open."""
        return item.identity in self._open

    def rebuild(self) -> None:
        """Makes the rows anew: after a change of what is accepted, or of the order."""
        rows: list[Row[Item]] = []
        accepts, opened = self._accepts, self._open
        levels = [iter(self._ordered(self._roots))]
        while levels:
            depth = len(levels)
            for item in levels[-1]:
                if not accepts(item):
                    continue
                inside = opened.get(item.identity) if item.is_directory else None
                rows.append(Row(item, depth - 1, inside is not None))
                if inside is not None:
                    levels.append(iter(self._ordered(inside)))
                    break
            else:
                levels.pop()
        self.rows = rows

    def _ordered(self, items: Sequence[Item]) -> Sequence[Item]:
        return items if self._order is None else sorted(items, key=self._order)  # type: ignore[arg-type]

    def find(self, identity: str) -> int | None:
        """Returns the number of the row of an item, or None if it is not shown."""
        return next((number for number, row in enumerate(self.rows) if row.item.identity == identity), None)

    def above(self, number: int) -> int | None:
        """Returns the number of the row of the directory in which a row is; None at the top."""
        depth = self.rows[number].depth
        return next((index for index in range(number - 1, -1, -1) if self.rows[index].depth < depth), None)
