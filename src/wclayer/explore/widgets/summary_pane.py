"""The pane with what is known of a disk or a tar as a whole, in the place of a list of layers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from wclayer.explore.model.details import FactKind
from wclayer.explore.model.explored import Explorable, ShownLayer
from wclayer.explore.widgets.layers_pane import LayersPane
from wclayer.explore.widgets.pane import Part, line_of
from wclayer.explore.widgets.tab import Details

_STYLES = {FactKind.HEADING: "pane--heading", FactKind.WARNING: "pane--warning"}


class SummaryPane(LayersPane):
    """The facts of what has no layers to choose from, a line each."""

    def __init__(self, explored: Explorable, identity: str) -> None:
        super().__init__(explored.layers, identity)
        self._title = explored.list_title
        self._facts = explored.summary

    @property
    def shown_layer(self) -> ShownLayer:
        """The only layer."""
        return self._layers[0]

    def count_lines(self) -> int:
        return len(self._facts)

    def line_parts(self, number: int, width: int) -> Sequence[Part]:
        fact = self._facts[number]
        label = f"{line_of(fact.label, width)} " if fact.label else ""
        text = line_of(fact.text, width - cell_len(label))
        return [(label, "pane--label"), (text, _STYLES.get(fact.kind, ""))]

    def details(self) -> Details:
        return Details(self._title, self._facts)
