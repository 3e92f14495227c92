"""The pane with the layers and the steps that made them, the nearest layer at the top."""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.explore.model.explored import ShownLayer
from wclayer.explore.model.layer_facts import layer_facts
from wclayer.explore.model.marks import Mark
from wclayer.explore.widgets.pane import STYLES, Pane, Part, line_of
from wclayer.explore.widgets.tab import Details
from wclayer.win32.shown import size_text


class LayersPane(Pane):
    """The list of layers. The chosen one is the nearest layer of what is shown, unless two chains are compared."""

    def __init__(self, layers: Sequence[ShownLayer], identity: str) -> None:
        super().__init__(id=identity)
        self._layers = tuple(reversed(layers))
        self._has_marks = any(layer.mark is not Mark.SAME for layer in layers)

    @property
    def shown_layer(self) -> ShownLayer:
        """The chosen layer."""
        return self._layers[self.cursor]

    def details(self) -> Details:
        """Returns what is known of the chosen layer."""
        layer = self.shown_layer
        return Details(f"Layer {layer.number}", list(layer_facts(layer)))

    def count_lines(self) -> int:
        return len(self._layers)

    def line_parts(self, number: int, width: int) -> Sequence[Part]:
        layer = self._layers[number]
        size = "" if layer.size is None else size_text(layer.size)
        step = layer.created_by or ("base layer" if layer.number == 1 else "layer")
        mark = f"{layer.mark.value} " if self._has_marks else ""
        head = f"{layer.number:>2} {size:>9} "
        style = STYLES[layer.mark.name] or ("pane--dim" if layer.is_base else "")
        return [
            (mark, STYLES[layer.mark.name]),
            (head, "pane--dim"),
            (line_of(step, width - len(mark) - len(head)), style),
        ]
