"""The lines above and below the panes: what is shown, the tabs, and the keys."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from wclayer.explore.widgets.pane import cut


class Bar(Widget):
    """A line with a text at the left, and one at the right. Nothing in them is markup."""

    DEFAULT_CSS = """
    Bar { height: 1; background: $panel; color: $foreground; text-style: none; }
    """
    left: reactive[str] = reactive("")
    right: reactive[str] = reactive("")

    def render_line(self, y: int) -> Strip:
        width, style = self.size.width, self.rich_style
        right = cut(self.right, width // 2)
        left = cut(self.left, max(0, width - cell_len(right) - 1))
        gap = " " * max(0, width - cell_len(left) - cell_len(right))
        return Strip([Segment(left + gap + right, style)]).adjust_cell_length(width, style)


class TabBar(Widget):
    """The tabs in a line, each with the number of its key."""

    COMPONENT_CLASSES = {"tab-bar--current"}  # noqa: RUF012 - Textual declares it so
    DEFAULT_CSS = """
    TabBar { height: 1; background: $panel; color: $foreground 70%; }
    TabBar > .tab-bar--current { background: $primary; color: $text; text-style: bold; }
    """
    current: reactive[int] = reactive(0)

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, titles: Sequence[str], identity: str) -> None:
        super().__init__(id=identity)
        self._titles = titles

    def _texts(self) -> list[str]:
        texts = [f" {number} {title} " for number, title in enumerate(self._titles, 1)]
        if sum(map(len, texts)) > self.size.width:
            texts = [f" {number} {title[:3]} " for number, title in enumerate(self._titles, 1)]
        return texts

    def render_line(self, y: int) -> Strip:
        current = self.get_component_rich_style("tab-bar--current")
        segments = [
            Segment(text, current if number == self.current else self.rich_style)
            for number, text in enumerate(self._texts())
        ]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def on_click(self, event: events.Click) -> None:
        """Chooses the tab that was clicked."""
        end = 0
        for number, text in enumerate(self._texts()):
            end += len(text)
            if event.x < end:
                self.post_message(self.Chosen(number))
                return
