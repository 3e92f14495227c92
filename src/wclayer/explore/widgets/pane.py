"""A pane of lines that are drawn when they are visible, with a line that the user has chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import Reactive, reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from wclayer.explore.model.text import one_line

MOST_CHARACTERS = 5
"""How many characters a cell may have: those that combine with the one before take none."""
STYLES = {"ADDED": "pane--added", "CHANGED": "pane--changed", "REMOVED": "pane--removed", "SAME": ""}
"""The component class of each mark, by its name."""
Part = tuple[str, str]
"""A piece of a line and the name of its style: one of `PART_STYLES`, or "" for the plain one."""
PART_STYLES = {
    "pane--added", "pane--changed", "pane--removed", "pane--dim", "pane--heading", "pane--label", "pane--warning",
    "pane--cursor", "pane--chosen",
}  # fmt: skip
"""The component classes of parts. The program has them, not each pane: Textual computes those of a widget anew whenever
the widget gets or loses the focus, or something above it changes its look."""
PART_CSS = """
    App > .pane--added { color: $text-success; }
    App > .pane--changed { color: $text-warning; }
    App > .pane--removed { color: $text-error; }
    App > .pane--dim { color: $foreground 55%; }
    App > .pane--heading { color: $text-accent; text-style: bold; }
    App > .pane--label { color: $foreground 60%; }
    App > .pane--warning { color: $text-error; text-style: bold; }
    App > .pane--cursor { background: $primary 60%; }
    App > .pane--chosen { background: $foreground 20%; }
"""
"""How they look."""


def cut(text: str, width: int) -> str:
    """Returns the beginning of a text that fits into so many cells, with "…" if something is left out."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def line_of(text: str, width: int) -> str:
    """Returns the beginning of any text of an image as a part of a line that fits into so many cells."""
    # To look at all of a long text for each drawing would take seconds.
    head = text[: max(0, width) * MOST_CHARACTERS]
    return cut(one_line(head) + ("…" if len(head) < len(text) else ""), width)


class Pane(ScrollView, can_focus=True):
    """A pane of lines. A subclass has `count_lines`, and `line_parts` for each line."""

    DEFAULT_CSS = """
    Pane {
        border: round $foreground 30%;
        border-title-color: $foreground 70%;
        border-subtitle-color: $foreground 50%;
        background: $background;
        color: $foreground;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 0;
        overflow-x: hidden;
        overflow-y: auto;
        &:focus { border: round $primary; border-title-color: $primary; border-title-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Go up"),
        Binding("down,j", "move(1)", "Go down"),
        Binding("pageup,ctrl+b", "move_page(-1)", "Go up a page"),
        Binding("pagedown", "move_page(1)", "Go down a page"),
        Binding("home,g", "move_to_end(-1)", "Go to the first line"),
        Binding("end,G", "move_to_end(1)", "Go to the last line"),
    ]
    cursor: reactive[int] = reactive(0, repaint=False)
    # Another number of lines is no reason to lay out the whole screen again, as it is for a widget of Textual.
    virtual_size: Reactive[Size] = Reactive(Size(0, 0), repaint=False)

    class Moved(Message):
        """The user has chosen another line, or more has become known of the chosen one (`is_same`)."""

        def __init__(self, pane: Pane, *, is_same: bool = False) -> None:
            super().__init__()
            self.pane = pane
            self.is_same = is_same

    _titles = ("", "")
    has_cursor = True
    """Whether a line is chosen; otherwise keys scroll."""
    _plain = Style.null()
    """The style of text that has none of its own, while lines are drawn."""
    _part_styles: dict[str, Style]
    """The styles that were needed so far, while lines are drawn."""

    def count_lines(self) -> int:
        """Returns the number of lines."""
        raise NotImplementedError

    def line_parts(self, number: int, width: int) -> Sequence[Part]:
        """Returns a line, from left to right. What is wider than the pane is cut."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """The title in the border."""
        return self._titles[0]

    def show_title(self, title: str, subtitle: str = "") -> None:
        """Sets the titles in the border, in which nothing is markup."""
        if (title, subtitle) != self._titles:
            self._titles = (title, subtitle)
            self.border_title = Content(title)
            self.border_subtitle = Content(subtitle)

    def lines_changed(self) -> None:
        """Draws everything anew, because lines were added, removed or changed."""
        self._take_count()
        self.refresh()

    def _take_count(self) -> None:
        count = self.count_lines()
        # Nothing scrolls to the side, whatever the width is.
        self.virtual_size = Size(1, count)
        self.cursor = max(0, min(self.cursor, count - 1))

    def watch_virtual_size(self, size: Size) -> None:
        """Makes the scrollbar fit. The screen is laid out again if one appears or disappears."""
        self._scroll_update(size)

    def on_resize(self, event: events.Resize) -> None:
        """Keeps the chosen line visible. Textual has drawn the pane in the new size before."""
        self._take_count()
        self._show_cursor()

    def render_lines(self, crop: Region) -> list[Strip]:
        # Computed from the styles of all widgets above: for each line, that would take most of the time of drawing.
        self._plain = self.rich_style
        self._part_styles = {}
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        number = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        plain = self._plain
        if number >= self.count_lines():
            return Strip.blank(width, plain)
        over = Style.null()
        if self.has_cursor and number == self.cursor:
            chosen = self.app.get_component_styles("pane--cursor" if self.has_focus else "pane--chosen")
            over = Style(bgcolor=chosen.rich_style.bgcolor, bold=True)
        segments = []
        for text, name in self.line_parts(number, width):
            segments.append(Segment(text, (self._style_of(name) if name else plain) + over))
        return Strip(segments).adjust_cell_length(width, plain + over)

    def _style_of(self, name: str) -> Style:
        style = self._part_styles.get(name)
        if style is None:
            style = self._plain + self.app.get_component_styles(name).partial_rich_style
            self._part_styles[name] = style
        return style

    def watch_cursor(self, old: int, new: int) -> None:
        """Draws the line that is chosen now, and the one that was."""
        if old == new or not self.is_mounted:
            return
        self._refresh_line(old)
        self._refresh_line(new)
        self._show_cursor()
        self.post_message(self.Moved(self))

    def watch_has_focus(self, has_focus: bool) -> None:
        """Draws the chosen line, which looks different then."""
        super().watch_has_focus(has_focus)
        self._refresh_line(self.cursor)

    def _refresh_line(self, number: int) -> None:
        y = number - self.scroll_offset.y
        if 0 <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _show_cursor(self) -> None:
        if self.has_cursor and self.count_lines():
            self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True, immediate=True)

    def move_cursor(self, number: int) -> None:
        """Chooses a line."""
        self.cursor = max(0, min(number, self.count_lines() - 1))

    def action_move(self, by: int) -> None:
        """Goes up or down."""
        if self.has_cursor:
            self.move_cursor(self.cursor + by)
        else:
            self.scroll_relative(y=by, animate=False)

    def action_move_page(self, by: int) -> None:
        """Goes up or down by a page."""
        self.action_move(by * max(1, self.scrollable_content_region.height - 1))

    def action_move_to_end(self, to: int) -> None:
        """Goes to the first or the last line."""
        if self.has_cursor:
            self.move_cursor(0 if to < 0 else self.count_lines() - 1)
        elif to < 0:
            self.scroll_home(animate=False)
        else:
            self.scroll_end(animate=False)

    def on_click(self, event: events.Click) -> None:
        """Chooses the line that was clicked; the second click on it is as Enter."""
        offset = event.get_content_offset(self)
        if offset is None or not self.has_cursor:
            return
        number = offset.y + self.scroll_offset.y
        if number >= self.count_lines():
            return
        if number == self.cursor:
            self.line_entered()
        else:
            self.move_cursor(number)

    def line_entered(self) -> None:
        """Does what Enter, or a click on the chosen line, does."""
