"""A pane with a tree of marked items, read in threads: marks, sums, views, searches."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Generic, TypeVar

from textual.binding import Binding, BindingType

from wclayer.explore.desk import Desk
from wclayer.explore.model.details import Fact, warning
from wclayer.explore.model.explored import Session, View
from wclayer.explore.model.filters import accepts
from wclayer.explore.model.marks import ALL_MARKS, Mark
from wclayer.explore.model.reading import TreeReading
from wclayer.explore.model.search import Query, Search, parse_query
from wclayer.explore.model.totals import Totals, TotalsMemory, count_totals
from wclayer.explore.model.tree import MarkedItem, MarkedTree, find_path
from wclayer.explore.widgets.jobs import start
from wclayer.explore.widgets.pane import STYLES
from wclayer.explore.widgets.tab import Details
from wclayer.explore.widgets.tree_pane import TreePane
from wclayer.layers.cache import Cache
from wclayer.win32.shown import count_text

Item = TypeVar("Item", bound=MarkedItem)
_FOUND = 32 << 20
"""Bytes of sums of directories that are kept for one view."""


class MarkedPane(TreePane[Item], Generic[Item]):
    """A tree of marked items.

    Args:
        identity: the id of the widget.
        desk: what the panes share.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+a,plus", "mark('ADDED')", "Show or hide what was added"),
        Binding("ctrl+m,asterisk,tilde", "mark('CHANGED')", "Show or hide what was changed"),
        Binding("ctrl+r,minus", "mark('REMOVED')", "Show or hide what was removed"),
        Binding("ctrl+u,equals_sign", "mark('SAME')", "Show or hide what is unchanged"),
    ]

    def __init__(self, identity: str, desk: Desk) -> None:
        super().__init__(identity)
        self.desk = desk
        self.marks = ALL_MARKS
        self.tree_of_view: MarkedTree[Item] | None = None
        self.view: View = desk.view
        """The view whose items are shown: that of `tree_of_view`, also while the tree of another one is read."""
        self._is_current = False
        self._memory = TotalsMemory()
        self._totals: Cache[str, Totals] = Cache(_FOUND)
        self._stop_counting = threading.Event()
        self._is_counting = False
        self._told = ""
        self._query: Query | None = None
        self._searched: Search[Item] | None = None
        self._is_end_shown = False
        """Whether the end of the search is drawn already."""
        self.errors: dict[str, str] = {}
        """What could not be read, by the identities of the items; "" for the tree itself."""
        self._stop_searching = threading.Event()

    @abstractmethod
    def make_tree(self, session: Session, view: View) -> MarkedTree[Item]:
        """Returns the tree of a view."""

    @abstractmethod
    def matcher(self, query: Query) -> Callable[[MarkedTree[Item], Item], bool]:
        """Returns what tells whether an item fits to a search."""

    # The tree.

    def view_changed(self) -> None:
        """Takes note that other layers are to be shown."""
        self._is_current = False

    def show(self) -> None:
        """Reads the tree of the view, if it is not shown yet."""
        if not self._is_current:
            self._is_current = True
            self._stop_counting.set()
            start(self, partial(self._show_view, self.desk.view), f"{self.id}-view", alone=True)

    async def _show_view(self, view: View) -> None:
        """Reads the tree, and the directories in it that were open."""
        is_first = self.tree_of_view is None
        opened = set(self.rows.opened)
        answer = await self.desk.reader.read(
            lambda session: _read_view(TreeReading(self.make_tree(session, view)), opened, is_first)
        )
        if answer.value is None:
            self._is_current = False
            self._failed("", answer.error)
            return
        reading, roots, children = answer.value
        self.errors = {each.identity: each.text for each in reading.unread}
        self.tree_of_view = reading.tree
        self.view = view
        self._totals = Cache(_FOUND)
        self.show_tree(roots, children)
        if self._query is not None:
            # What was found belongs to the view before.
            self._begin_search(self._query)
        self._stop_counting = threading.Event()
        start(self, partial(self._count, view, self._totals, self._stop_counting), f"{self.id}-totals", alone=True)
        self._show_title()

    def read_directory(self, item: Item) -> None:
        start(self, partial(self._read_directory, item), f"{self.id}-open")

    async def _read_directory(self, item: Item) -> None:
        tree = self.tree_of_view
        if tree is None:
            return
        answer = await self.desk.reader.read(lambda session: tree.children(item))
        if tree is not self.tree_of_view:
            return
        if answer.error:
            self._failed(item.identity, answer.error)
        self.put(item, answer.value or ())

    def _failed(self, identity: str, error: str) -> None:
        self.errors[identity] = error
        self.desk.tell(error)
        self.post_message(self.Moved(self))

    @abstractmethod
    def read_facts(self, item: Item, tree: MarkedTree[Item]) -> Callable[[Session], list[Fact]]:
        """Returns what reads all that is known of an item."""

    async def details(self) -> Details | None:
        """Returns what is known of the chosen item, and what could not be read."""
        item, tree = self.item, self.tree_of_view
        if item is None or tree is None:
            error = self.errors.get("")
            return None if error is None else Details("Error", [warning(error)])
        answer = await self.desk.reader.read(self.read_facts(item, tree))
        facts = [warning(answer.error)] if answer.value is None else answer.value
        if (error := self.errors.get(item.identity)) is not None:
            facts.insert(0, warning(error))
        return Details(item.shown_path, facts)

    # Sums.

    async def _count(self, view: View, totals: Cache[str, Totals], stop: threading.Event) -> None:
        self._is_counting = True

        def work(session: Session) -> str:
            reading = TreeReading(self.make_tree(session, view))
            count_totals(reading, self._memory, totals, stop.is_set)
            return reading.remark

        answer = await self.desk.counter.read(work)
        told = answer.error or answer.value
        # Another view has the same damage.
        if told and told != self._told:
            self._told = told
            self.desk.tell(told)
        if totals is self._totals:
            self._is_counting = False
            self._totals_changed()

    def totals_of(self, item: Item) -> Totals | None:
        """Returns the sums of a directory, or None while they are not known."""
        found = self._totals.get(item.identity)
        if found is None and self.tree_of_view is not None:
            return self._memory.find(self.tree_of_view.same_below(item), item.mark)
        return found

    def _totals_changed(self) -> None:
        if self.found is None and (self.marks != ALL_MARKS or self.by_size):
            chosen = self.item
            self.rows.rebuild()
            self.rows_changed(chosen)
        else:
            self.refresh()
            if (item := self.item) is not None and item.is_directory:
                # Its details were told without its sums.
                self.post_message(self.Moved(self, is_same=True))

    def size_order(self, item: Item) -> int:
        if not item.is_directory:
            return -item.size
        totals = self.totals_of(item)
        return 0 if totals is None else -totals.bytes - totals.removed_bytes

    # Marks.

    def action_mark(self, name: str) -> None:
        """Shows or hides what has a mark."""
        self.marks ^= {Mark[name]}
        chosen = self.item
        self.rows.filter(lambda item: accepts(item, self.marks, self.totals_of))
        self.rows_changed(chosen)
        self._show_title()

    def _show_title(self) -> None:
        hidden = [mark.word for mark in Mark if mark not in self.marks]
        notes = [f"without what is {' or '.join(hidden)}"] if hidden else []
        if self.by_size:
            notes.append("largest first")
        searched = self._searched
        title = ""
        if searched is not None and self.found is not None:
            title = f"{count_text(len(searched.found), 'item')} found"
            if not searched.is_done:
                title += f", {searched.looked_at:,} looked at …"
            elif not searched.is_whole:
                title += "; there are more"
            if searched.failed:
                title += f", {searched.failed:,} could not be read"
        self.show_title(title, "; ".join(notes))

    def action_sort(self) -> None:
        """Changes the order: by name, or the largest first."""
        super().action_sort()
        self._show_title()

    # Searches.

    def search(self, text: str) -> None:
        """Searches for a text; the empty one ends the search."""
        query = parse_query(text)
        if query:
            self._begin_search(query)
        else:
            self.end_search()

    def _begin_search(self, query: Query) -> None:
        """Searches the view that is shown."""
        self._stop_searching.set()
        self._query = query
        self._searched = search = Search[Item]()
        self._is_end_shown = False
        self._stop_searching = stop = threading.Event()
        self.show_found(search.found)
        view, matches = self.view, self.matcher(query)

        async def run() -> None:
            def work(session: Session) -> None:
                tree = self.make_tree(session, view)
                search.run(tree, lambda item: matches(tree, item), stop.is_set)

            answer = await self.desk.seeker.read(work)
            if answer.error:
                self.desk.tell(answer.error)
            self.tick()

        start(self, run, f"{self.id}-search", alone=True)

    def end_search(self, chosen: Item | None = None) -> None:
        """Shows the tree again, at an item or at the place where it was."""
        self._stop_searching.set()
        self._query = self._searched = None
        super().end_search(chosen)
        self._show_title()

    def tick(self) -> None:
        """Shows what has become known in the meantime."""
        searched = self._searched
        if searched is not None and not (searched.is_done and self._is_end_shown):
            self._is_end_shown = searched.is_done
            before = self.virtual_size.height
            self.lines_changed()
            self._show_title()
            if not before and self.count_lines():
                self.post_message(self.Moved(self))
        elif self._is_counting:
            self.refresh()

    def stop(self) -> None:
        """Makes what is done in threads end soon."""
        self._stop_counting.set()
        self._stop_searching.set()

    def show_in_place(self, item: Item) -> None:
        start(self, partial(self._show_in_place, item), f"{self.id}-open")

    async def _show_in_place(self, item: Item) -> None:
        tree = self.tree_of_view
        if tree is None:
            return
        answer = await self.desk.reader.read(lambda session: find_path(tree, item))
        if tree is not self.tree_of_view:
            return
        if answer.value is None:
            self.desk.tell(answer.error)
            return
        if item.mark not in self.marks:
            self.marks |= {item.mark}
        for identity, children in answer.value.items():
            self.rows.opened.setdefault(identity, children)
        self.rows.rebuild()
        self.end_search(item)

    def copied(self) -> str:
        """Returns the path of the chosen item."""
        item = self.item
        return "" if item is None else item.shown_path

    def mark_style(self, mark: Mark) -> str:
        """Returns the name of the style of a mark."""
        return STYLES[mark.name]


def _read_view(
    reading: TreeReading[Item], opened: set[str], is_first: bool
) -> tuple[TreeReading[Item], Sequence[Item], dict[str, Sequence[Item]]]:
    roots = reading.tree.roots()
    if is_first:
        opened |= {root.identity for root in roots[:1]}
    children: dict[str, Sequence[Item]] = {}
    pending = list(roots)
    while pending:
        item = pending.pop()
        if item.is_directory and item.identity in opened:
            children[item.identity] = inside = reading.children(item)
            pending += inside
    return reading, roots, children
