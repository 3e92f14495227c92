"""A pane with an outline, which is loaded as a whole when the pane is first shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from rich.cells import cell_len

from wclayer.errors import OperationCancelledError
from wclayer.explore.desk import Desk, answer_of
from wclayer.explore.model.details import Fact, warning
from wclayer.explore.model.explored import Session
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.outline import OutlineItem, matches, walk, warning_item, with_identities
from wclayer.explore.widgets.jobs import start
from wclayer.explore.widgets.pane import STYLES, Part, line_of
from wclayer.explore.widgets.tab import Details
from wclayer.explore.widgets.tree_pane import TreePane
from wclayer.layers.progress import Progress, ProgressCallback
from wclayer.win32.shown import count_text

Load = Callable[[Session, ProgressCallback], Sequence[OutlineItem]]
"""Loads an outline; calls the second argument while it does."""


class OutlinePane(TreePane[OutlineItem]):
    """An outline.

    Args:
        identity: the id of the widget.
        desk: what the panes share.
        load: loads the outline, in a thread.
    """

    def __init__(self, identity: str, desk: Desk, load: Load) -> None:
        super().__init__(identity)
        self.desk = desk
        self._load = load
        self._is_loaded = False
        self._is_loading = False
        self._outline: Sequence[OutlineItem] = ()
        self._has_marks = False
        self._done = Progress()
        self._stopped = threading.Event()
        self._error = ""
        self._words: Sequence[str] = ()
        """What is searched for; empty if nothing is."""

    def item_parts(self, item: OutlineItem, indent: str, width: int, *, with_path: bool) -> Sequence[Part]:
        style = STYLES[item.mark.name]
        head: list[Part] = [(f"{item.mark.value} " if self._has_marks else "", style), (indent, "pane--dim")]
        if item.note:
            head.append((f"{line_of(item.note, width)}  ", "pane--label"))
        used = sum(cell_len(text) for text, _ in head)
        return [*head, (line_of(item.title, width - used), style)]

    def view_changed(self) -> None:
        """Does nothing: an outline is that of all layers."""

    def show(self) -> None:
        """Begins to load the outline, if it is not loaded."""
        if not self._is_loading and not self._is_loaded:
            self._is_loading = True
            self._error = ""
            start(self, self._load_outline, f"{self.id}-load")
            self._show_title()

    async def _load_outline(self) -> None:
        answer = await self.desk.collector.read(lambda session: self._load(session, self._note))
        self._is_loading = False
        self._is_loaded = answer.value is not None
        if answer.value is not None:
            self._outline = with_identities(answer.value)
            self._has_marks = any(item.mark is not Mark.SAME for item in walk(self._outline))
            self.show_tree(self._outline, {})
            if self._words:
                self._show_matches()
        else:
            self.end_search()
            self._error = answer.error
            self.show_tree(with_identities([warning_item(answer.error)]), {})
        self._show_title()

    def _note(self, state: Progress, /) -> None:
        self._done = Progress(entries=state.entries, bytes=state.bytes)
        if self._stopped.is_set():
            raise OperationCancelledError(self.desk.explored.name, "was stopped")

    def _show_title(self) -> None:
        title = ""
        if self._is_loading:
            title = f"reading … {count_text(self._done.entries, 'file')}" if self._done.entries else "reading …"
        elif self.found is not None:
            title = f"{count_text(len(self.found), 'item')} found"
        self.show_title(title, "largest first" if self.by_size else "")

    def tick(self) -> None:
        """Shows how far the loading is."""
        if self._is_loading:
            self._show_title()

    def stop(self) -> None:
        """Makes the loading end soon."""
        self._stopped.set()

    def read_directory(self, item: OutlineItem) -> None:
        self.put(item, item.children)

    def size_order(self, item: OutlineItem) -> int:
        return -item.weight

    def search(self, text: str) -> None:
        """Searches for a text in titles, notes and facts."""
        self._words = text.casefold().split()
        if self._words:
            self._show_matches()
        else:
            self.end_search()

    def _show_matches(self) -> None:
        """Shows what fits to the search, of what is loaded so far."""
        self.show_found([item for item in walk(self._outline) if matches(item, self._words, self._told)])
        self._show_title()

    def end_search(self, chosen: OutlineItem | None = None) -> None:
        """Shows the outline again."""
        self._words = ()
        super().end_search(chosen)
        self._show_title()

    def show_in_place(self, item: OutlineItem) -> None:
        places = item.identity.split(".")
        level = self._outline
        for place in places[:-1]:
            above = level[int(place)]
            self.rows.opened.setdefault(above.identity, above.children)
            level = above.children
        self.rows.rebuild()
        self.end_search(item)

    async def details(self) -> Details | None:
        """Returns what is known of the chosen item."""
        item = self.item
        return None if item is None else Details(item.title, self._told(item) or [Fact(item.title)])

    def _told(self, item: OutlineItem) -> Sequence[Fact]:
        """Returns what is known of an item, or what is wrong."""
        answer = answer_of(self.desk.explored.name, item.tell)
        return [warning(answer.error)] if answer.value is None else answer.value

    def copied(self) -> str:
        """Returns the path of the chosen item, or its title."""
        item = self.item
        return "" if item is None else item.path or item.title
