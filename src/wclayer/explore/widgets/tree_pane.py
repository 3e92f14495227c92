"""A pane with a tree whose directories are read when they are opened."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from textual.binding import Binding, BindingType

from wclayer.explore.model.rows import Row, TreeItem, TreeRows
from wclayer.explore.widgets.pane import Pane, Part

Item = TypeVar("Item", bound=TreeItem)
_OPEN, _CLOSED, _LEAF, _READING = "▾ ", "▸ ", "  ", "… "


class TreePane(Pane, Generic[Item]):
    """A tree, or the items that a search has found in it. A subclass reads what is in a directory (`read_directory`),
    and gives it to `put`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "fold", "Open or close a directory"),
        Binding("enter", "enter", "Open or close a directory; show what was found in its place"),
        Binding("right,l", "unfold", "Open a directory, go into it"),
        Binding("left,h,backspace", "up", "Close a directory, go to the one above"),
        Binding("ctrl+space,ctrl+@,C", "close_all", "Close all directories"),
        Binding("o,ctrl+o", "sort", "Sort by name, or the largest first"),
    ]

    def __init__(self, identity: str) -> None:
        super().__init__(id=identity)
        self.rows: TreeRows[Item] = TreeRows()
        self.pending: set[str] = set()
        self.found: Sequence[Item] | None = None
        """What a search has found so far; None if the tree is shown."""
        self.by_size = False
        self._place = 0

    @abstractmethod
    def item_parts(self, item: Item, indent: str, width: int, *, with_path: bool) -> Sequence[Part]:
        """Returns the line of an item. `indent` stands before its name, or its path."""

    @abstractmethod
    def read_directory(self, item: Item) -> None:
        """Begins to read what is in a directory, and gives it to `put`."""

    @abstractmethod
    def show_in_place(self, item: Item) -> None:
        """Shows an item that was found in its place in the tree."""

    @abstractmethod
    def size_order(self, item: Item) -> int:
        """Returns the number by which items are sorted if the largest come first: small for the large ones."""

    @property
    def item(self) -> Item | None:
        """The chosen item."""
        if self.found is not None:
            return self.found[self.cursor] if self.cursor < len(self.found) else None
        return self.rows.rows[self.cursor].item if self.cursor < len(self.rows) else None

    def count_lines(self) -> int:
        return len(self.rows) if self.found is None else len(self.found)

    def line_parts(self, number: int, width: int) -> Sequence[Part]:
        if self.found is not None:
            return self.item_parts(self.found[number], "", width, with_path=True)
        row = self.rows.rows[number]
        return self.item_parts(row.item, self._indent(row, width), width, with_path=False)

    def _indent(self, row: Row[Item], width: int) -> str:
        sign = _LEAF
        if row.item.is_directory:
            sign = _OPEN if row.is_open else _CLOSED
            if row.item.identity in self.pending:
                sign = _READING
        return " " * min(2 * row.depth, width // 3) + sign

    def show_tree(self, roots: Sequence[Item], opened: dict[str, Sequence[Item]]) -> None:
        """Shows another tree; the same item stays chosen, if it is there."""
        chosen = self.item
        self.pending.clear()
        self.rows.show(roots, opened)
        self.rows_changed(chosen)

    def put(self, item: Item, children: Sequence[Item]) -> None:
        """Takes what is in a directory, which is opened by that."""
        if item.identity in self.pending:
            self.pending.discard(item.identity)
            chosen = self.item
            self.rows.open(item, children)
            self.rows_changed(chosen)

    def rows_changed(self, chosen: Item | None) -> None:
        """Draws anew, after a change of the rows; the chosen item stays chosen, or the line in which it was."""
        number = None if chosen is None or self.found is not None else self.rows.find(chosen.identity)
        self.lines_changed()
        if number is not None:
            self.cursor = number
        self._show_cursor()
        self.post_message(self.Moved(self))

    # Searches.

    def show_found(self, found: Sequence[Item]) -> None:
        """Shows what a search has found so far, in the place of the tree."""
        if self.found is None:
            self._place = self.cursor
        is_new = self.found is not found
        self.found = found
        if is_new:
            self.cursor = 0
        self.lines_changed()
        if is_new:
            self.post_message(self.Moved(self))

    def end_search(self, chosen: Item | None = None) -> None:
        """Shows the tree again, at an item or at the place where it was."""
        if self.found is None:
            return
        self.found = None
        self.lines_changed()
        self.cursor = min(self._place, max(0, len(self.rows) - 1))
        self.rows_changed(chosen)

    # Keys.

    def action_fold(self) -> None:
        """Opens or closes the chosen directory."""
        item = self.item
        if item is None or self.found is not None or not item.is_directory:
            return
        if self.rows.is_open(item) or item.identity in self.pending:
            self.action_up()
        else:
            self.action_unfold()

    def action_enter(self) -> None:
        """Does what a click on the chosen line does."""
        self.line_entered()

    def line_entered(self) -> None:
        item = self.item
        if self.found is None:
            self.action_fold()
        elif item is not None:
            self.show_in_place(item)

    def action_unfold(self) -> None:
        """Opens the chosen directory; goes to its first entry if it is open."""
        item = self.item
        if item is None or self.found is not None or not item.is_directory:
            return
        if self.rows.is_open(item):
            self.move_cursor(self.cursor + 1)
        elif item.identity not in self.pending:
            self.pending.add(item.identity)
            self._refresh_line(self.cursor)
            self.read_directory(item)

    def action_up(self) -> None:
        """Closes the chosen directory; goes to the directory above if it is closed."""
        item = self.item
        if item is None or self.found is not None:
            return
        if item.identity in self.pending:
            self.pending.discard(item.identity)
            self._refresh_line(self.cursor)
        elif item.is_directory and self.rows.is_open(item):
            self.rows.close(item)
            self.rows_changed(item)
        elif (above := self.rows.above(self.cursor)) is not None:
            self.move_cursor(above)

    def action_close_all(self) -> None:
        """Closes all directories."""
        self.pending.clear()
        self.rows.close_all()
        self.rows_changed(self.item)

    def action_sort(self) -> None:
        """Changes the order: by name, or the largest first."""
        self.by_size = not self.by_size
        chosen = self.item
        self.rows.sort(self.size_order if self.by_size else None)
        self.rows_changed(chosen)
