"""The pane with the keys of the registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len

from wclayer.explore.model.details import Fact, line
from wclayer.explore.model.explored import Session, View
from wclayer.explore.model.filters import shown_mark
from wclayer.explore.model.registry import KeyItem
from wclayer.explore.model.search import Query
from wclayer.explore.model.tree import MarkedTree
from wclayer.explore.widgets.marked_pane import MarkedPane
from wclayer.explore.widgets.pane import Part, line_of


class RegistryPane(MarkedPane[KeyItem]):
    """The tree of the keys. Values are in the detail pane."""

    def make_tree(self, session: Session, view: View) -> MarkedTree[KeyItem]:
        return session.registry(view)

    def matcher(self, query: Query) -> Callable[[MarkedTree[KeyItem], KeyItem], bool]:
        return lambda tree, item: query.matches_key(item)

    def item_parts(self, item: KeyItem, indent: str, width: int, *, with_path: bool) -> Sequence[Part]:
        mark = shown_mark(item, self.totals_of(item) if item.is_directory else None)
        style = self.mark_style(mark)
        head = f"{mark.value} {indent}"
        name = line_of(item.shown_path if with_path else item.title, width - cell_len(head))
        return [(head, style), (name, style)]

    def read_facts(self, item: KeyItem, tree: MarkedTree[KeyItem]) -> Callable[[Session], list[Fact]]:
        return lambda session: [line(item.shown_path), Fact(item.mark.word, "mark"), *tree.facts(item)]
