"""The explorer: the panes, the keys, and what is read when."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, cast

from rich.console import RenderableType
from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.driver import Driver
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Input

from wclayer.errors import InvalidParameterError
from wclayer.explore.desk import Desk
from wclayer.explore.keyboard import Keyboard
from wclayer.explore.model.details import Fact, heading, line, warning
from wclayer.explore.model.explored import Explorable, Session, View, ViewKind
from wclayer.explore.model.export import Exported, export
from wclayer.explore.model.files import FileItem
from wclayer.explore.model.outline import OutlineItem
from wclayer.explore.model.preview import PreviewKind
from wclayer.explore.model.text import one_line
from wclayer.explore.widgets.bars import Bar, TabBar
from wclayer.explore.widgets.dialogs import KeysScreen, QuestionScreen
from wclayer.explore.widgets.files_pane import FilesPane
from wclayer.explore.widgets.jobs import start
from wclayer.explore.widgets.layers_pane import LayersPane
from wclayer.explore.widgets.marked_pane import MarkedPane
from wclayer.explore.widgets.outline_pane import OutlinePane
from wclayer.explore.widgets.pane import PART_CSS, PART_STYLES, Pane, line_of
from wclayer.explore.widgets.registry_pane import RegistryPane
from wclayer.explore.widgets.summary_pane import SummaryPane
from wclayer.explore.widgets.tab import Details, Tab
from wclayer.explore.widgets.text_pane import TextPane
from wclayer.explore.widgets.tree_pane import TreePane
from wclayer.layers.progress import Progress, ProgressCallback
from wclayer.win32.shown import count_text

_TICK = 0.25
"""Seconds between two redraws of what becomes known in threads."""
_MOST_TOLD = 1_000
"""Cells of a text that was copied that are told."""
_MOVES = frozenset(key for move in Pane.BINDINGS if isinstance(move, Binding) for key in move.key.split(","))
"""The keys that move within a pane."""
_PLACEHOLDER = "name, *.dll, Windows\\x, type:pe, mark:added"
_KEYS = " ? keys  / search  Tab panes  1-5 tabs  v view  + - = marks  x export  q quit"


class _ExploreScreen(Screen[None]):
    """The screen with the panes."""

    # The widgets draw whether they have the focus. There is no reason to draw the whole screen anew.
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


class ExploreApp(App[None]):
    """The explorer.

    Args:
        explored: what is explored.
    """

    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (160, "-huge")]  # noqa: RUF012 - Textual declares it so
    COMPONENT_CLASSES = PART_STYLES
    CSS = (
        PART_CSS
        + """
    #body { layout: grid; grid-size: 2 2; grid-columns: 3fr 5fr; grid-rows: 2fr 3fr; height: 1fr; }
    #main { row-span: 2; }
    .-wide #body, .-huge #body { grid-size: 3 1; grid-columns: 24 6fr 5fr; grid-rows: 1fr; }
    .-huge #body { grid-columns: 44 6fr 5fr; }
    .-wide #main, .-huge #main { row-span: 1; }
    ContentSwitcher { height: 1fr; }
    #search { display: none; height: 1; border: none; padding: 0 1; }
    """
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "keys", "Show the keys"),
        Binding("tab", "app.focus_next", "Go to the next pane"),
        Binding("shift+tab", "app.focus_previous", "Go to the pane before"),
        Binding("1", "tab(0)", "Files"),
        Binding("2", "tab(1)", "Registry"),
        Binding("3", "tab(2)", "Inventory"),
        Binding("4", "tab(3)", "Documents of the image"),
        Binding("5", "tab(4)", "What is wasted"),
        Binding("right_square_bracket", "next_tab(1)", "Next tab"),
        Binding("left_square_bracket", "next_tab(-1)", "Tab before"),
        Binding("slash,ctrl+f", "search", "Search in the tab"),
        Binding("escape", "leave", "End the search, make a pane small again"),
        Binding("v", "next_view", "Marks for one layer, or for all layers over the base layer"),
        Binding("ctrl+l", "view('LAYER')", "Marks for what the layer changes"),
        Binding("t", "times", "Count other times as a change, or not"),
        Binding("less_than_sign,comma", "layer(-1)", "Choose the layer below"),
        Binding("greater_than_sign,full_stop", "layer(1)", "Choose the layer above"),
        Binding("p", "preview", "Contents as what they are, as text, in hexadecimal"),
        Binding("y", "copy_path", "Copy the path to the clipboard"),
        Binding("x", "export", "Export the file or directory"),
        Binding("z", "zoom", "Make the pane large, or small again"),
        Binding("q,ctrl+q,ctrl+c", "quit", "Quit"),
    ]

    def __init__(self, explored: Explorable) -> None:
        super().__init__()
        self.explored = explored
        self.desk = desk = Desk(explored, self._tell)
        self.layers = (
            SummaryPane(explored, "layers") if explored.summary else LayersPane(explored.layers, "layers")
        )  # fmt: skip
        self.files = FilesPane("files", desk)
        self.tabs: dict[str, Tab] = {
            "Files": self.files,
            "Registry": RegistryPane("registry", desk),
            "Inventory": OutlinePane("inventory", desk, self._take_inventory),
            "Image": OutlinePane("image", desk, self._read_documents),
            "Waste": OutlinePane("waste", desk, self._find_waste),
        }
        self.detail = TextPane("detail")
        self._head, self._foot = Bar(), Bar()
        self._tab_bar = TabBar(tuple(self.tabs), "tabs")
        self._switcher = ContentSwitcher(initial="files")
        self._search_line = Input(id="search", placeholder=_PLACEHOLDER, compact=True)
        self._stopped = threading.Event()
        self._typed = Keyboard(self, super().on_event, self._keeps_focus)

    async def on_event(self, event: events.Event) -> None:
        """Handles an event; what is typed or pasted when what was typed before is done."""
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            await self._typed.take(event)
        else:
            await super().on_event(event)

    def _keeps_focus(self, event: events.Event) -> bool:
        return isinstance(event, events.Key) and event.key in _MOVES and isinstance(self.focused, Pane)

    @property
    def is_typed_ahead(self) -> bool:
        """Whether something that was typed is still being handled."""
        return self._typed.is_busy

    def exit(self, result: None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """Ends the program. What is typed from now on is not meant for it."""
        self._typed.close()
        super().exit(result, return_code, message)

    def get_driver_class(self) -> type[Driver]:
        """Returns the driver of the terminal: our own where Textual has chosen its own for POSIX."""
        chosen = super().get_driver_class()
        if sys.platform != "win32":
            # It uses the parser of Textual, which another version may have at another place.
            with suppress(ImportError):
                from textual.drivers.linux_driver import LinuxDriver

                from wclayer.explore.terminal import TerminalDriver

                if chosen is LinuxDriver:
                    return TerminalDriver
        return chosen

    def get_default_screen(self) -> Screen[None]:
        """Returns the screen with the panes."""
        return _ExploreScreen(id="_default")

    def compose(self) -> ComposeResult:
        yield self._head
        with Container(id="body"):
            yield self.layers
            with Container(id="main"):
                yield self._tab_bar
                with self._switcher:
                    yield from (cast("Pane", tab) for tab in self.tabs.values())
            yield self.detail
        yield self._search_line
        yield self._foot

    def on_mount(self) -> None:
        """Shows what is there at once, and begins to read the rest."""
        self.install_screen(KeysScreen(KEYS), "keys")
        self.layers.show_title(self.explored.list_title)
        self.pane.focus()
        self._show_head()
        self._foot.left = _KEYS
        self.set_interval(_TICK, self._tick)
        self.tab.show()
        if self.explored.remark:
            self.notify(one_line(self.explored.remark), markup=False, timeout=10)

    @on(Driver.SignalResume)
    def _draw_again(self) -> None:
        """Draws all: the terminal has shown something else in the meantime."""
        self.screen.refresh(layout=True)
        self.refresh()

    # What there is.

    @property
    def tab(self) -> Tab:
        """The current tab."""
        return list(self.tabs.values())[self._tab_bar.current]

    @property
    def pane(self) -> Pane:
        """The pane of the current tab."""
        return cast("Pane", self.tab)

    def _take_inventory(self, session: Session, progress: ProgressCallback) -> Sequence[OutlineItem]:
        return self.explored.inventory(progress)

    def _find_waste(self, session: Session, progress: ProgressCallback) -> Sequence[OutlineItem]:
        return self.explored.waste(progress)

    def _read_documents(self, session: Session, progress: ProgressCallback) -> Sequence[OutlineItem]:
        return self.explored.documents()

    def _show_head(self) -> None:
        self._head.left = f" {one_line(self.explored.name)}"
        self._head.right = f"{self.explored.view_text(self.desk.view)} "

    def _tell(self, error: str) -> None:
        self.notify(one_line(error), severity="error", markup=False, timeout=10)

    def _tick(self) -> None:
        self.tab.tick()

    # Details.

    @on(Pane.Moved)
    def _moved(self, message: Pane.Moved) -> None:
        pane = message.pane
        if isinstance(pane, LayersPane):
            if not self.explored.follows_layer:
                self._show_layer()
            elif pane.shown_layer.number != self.desk.view.layer:
                self._change_view(replace(self.desk.view, layer=pane.shown_layer.number))
        if pane is self.focused or (pane is self.pane and not isinstance(self.focused, LayersPane)):
            self._show_details(keep_place=message.is_same)

    def on_descendant_focus(self) -> None:
        """Shows the details of what is chosen in the pane that has the focus now."""
        if isinstance(self.focused, Pane) and not isinstance(self.focused, TextPane):
            self._show_details()

    def _show_details(self, *, keep_place: bool = False) -> None:
        start(self, partial(self._read_details, keep_place), "detail", alone=True)

    async def _read_details(self, keep_place: bool) -> None:
        if isinstance(self.focused, LayersPane):
            self._show_layer()
        else:
            self._put_details(await self.tab.details() or Details("", ()), keep_place=keep_place)

    def _show_layer(self) -> None:
        self._put_details(self.layers.details())

    def _put_details(self, details: Details, *, keep_place: bool = False) -> None:
        detail = self.detail
        title = line_of(details.title, self.size.width)
        # What was chosen may be another thing when its details are there.
        keep_place = keep_place and title == detail.title
        detail.show_title(title, self.desk.preview.value if details.facts else "")
        detail.show(details.facts, keep_place=keep_place)

    # Views.

    def _change_view(self, view: View) -> None:
        self.desk.view = view
        self._show_head()
        for tab in self.tabs.values():
            tab.view_changed()
        self.tab.show()

    def action_next_view(self) -> None:
        """Shows the changes of one layer, or of all layers over the base layer."""
        view = self.desk.view
        kinds = self.explored.view_kinds
        if len(kinds) > 1:
            self._change_view(replace(view, kind=kinds[(kinds.index(view.kind) + 1) % len(kinds)]))
        else:
            self._tell_only_view()

    def action_view(self, name: str) -> None:
        """Shows one kind of view."""
        if ViewKind[name] in self.explored.view_kinds:
            self._change_view(replace(self.desk.view, kind=ViewKind[name]))
        else:
            self._tell_only_view()

    def _tell_only_view(self) -> None:
        kind = self.desk.view.kind.value
        marks = f"the marks tell the {kind}" if self.explored.view_kinds else "nothing has a mark here"
        self.notify(f"{marks}; there is no other view", timeout=3)

    def action_times(self) -> None:
        """Counts times as changes, or does not."""
        self._change_view(replace(self.desk.view, times=not self.desk.view.times))

    def action_layer(self, by: int) -> None:
        """Goes to the layer above or below."""
        self.layers.move_cursor(self.layers.cursor - by)

    # Tabs.

    @on(TabBar.Chosen)
    def _tab_clicked(self, message: TabBar.Chosen) -> None:
        self.action_tab(message.number)

    def action_tab(self, number: int) -> None:
        """Shows a tab."""
        self._close_search()
        self._tab_bar.current = number
        self._switcher.current = self.pane.id
        if self.focused is self.pane:
            self._show_details()
        else:
            # Its details follow the focus.
            self.pane.focus()
        self.tab.show()

    def action_next_tab(self, by: int) -> None:
        """Shows the next tab, or the one before."""
        self.action_tab((self._tab_bar.current + by) % len(self.tabs))

    # Searches.

    def action_search(self) -> None:
        """Opens the line in which the user writes what is searched."""
        self._show_search_line(True)
        self._search_line.focus()

    def _show_search_line(self, shown: bool) -> None:
        """Shows the line of the search in the place of the last one. So the panes keep their sizes."""
        self._search_line.display = shown
        self._foot.display = not shown

    @on(Input.Changed, "#search")
    def _searched(self, message: Input.Changed) -> None:
        try:
            self.tab.search(message.value)
        except InvalidParameterError as error:
            self.tab.search("")
            self.pane.show_title(one_line(f"{error.path}: {error.detail}"))

    @on(Input.Submitted, "#search")
    def _search_entered(self) -> None:
        self.pane.focus()

    def action_leave(self) -> None:
        """Ends the search; makes a pane small again."""
        if self.screen.maximized is not None:
            self.screen.minimize()
        else:
            self._close_search()

    def _close_search(self) -> None:
        line = self._search_line
        line.value = ""
        self._show_search_line(False)
        self.tab.search("")
        if self.focused is line or self.focused is None:
            self.pane.focus()

    # Other keys.

    async def action_keys(self) -> None:
        """Shows the keys."""
        await self.push_screen("keys")

    def action_preview(self) -> None:
        """Shows contents as text, in hexadecimal, or as what they are."""
        kinds = list(PreviewKind)
        self.desk.preview = kinds[(kinds.index(self.desk.preview) + 1) % len(kinds)]
        self._show_details()

    def action_copy_path(self) -> None:
        """Copies the path of what is chosen to the clipboard of the terminal."""
        layers = self.focused
        text = one_line(layers.shown_layer.path if isinstance(layers, LayersPane) else self.tab.copied())
        if text:
            self.copy_to_clipboard(text)
            self.notify(f"copied {line_of(text, _MOST_TOLD)}", markup=False, timeout=2)

    def action_zoom(self) -> None:
        """Makes the pane that has the focus as large as the screen, or small again."""
        if self.screen.maximized is not None:
            self.screen.minimize()
        elif self.focused is not None:
            self.screen.maximize(self.focused, container=False)

    # Export.

    async def action_export(self) -> None:
        """Asks where to, and copies the chosen file or directory there."""
        files = self.files
        item = files.item
        if self.pane is not files or item is None:
            self._tell("a file or a directory of the tab Files can be exported")
            return
        name = one_line(item.title.rstrip(":")) or "root"
        if name.startswith("~"):
            name = f"./{name}"
        await self.push_screen(
            QuestionScreen(f"Export {one_line(item.shown_path)} to", name),
            partial(self._export, files.view, item),
        )

    def _export(self, view: View, item: FileItem, target: str | None) -> None:
        if not target:
            return
        try:
            path = _host_path(target)
        except RuntimeError as error:
            self._put_details(Details("Export", [warning(f"{target}: {error}; name the folder in full")]))
            return
        start(self, partial(self._export_to, view, item, path), "export")

    async def _export_to(self, view: View, item: FileItem, target: Path) -> None:
        state = self._foot

        def progress(done: Progress, /) -> None:
            self.call_from_thread(setattr, state, "left", f" exporting … {count_text(done.entries, 'file')}")

        answer = await self.desk.collector.read(
            lambda session: export(session, view, item, target, progress, self._stopped.is_set)
        )
        state.left = _KEYS
        if answer.value is None:
            self._put_details(Details("Export", [warning(answer.error)]))
        else:
            self._put_details(_exported(item, target, answer.value))

    def close(self) -> None:
        """Ends the threads."""
        self._stopped.set()
        for tab in self.tabs.values():
            tab.stop()
        self.desk.close()


KEYS: Sequence[tuple[str, list[BindingType]]] = (
    ("In a tree", TreePane.BINDINGS),
    ("Marks", MarkedPane.BINDINGS),
    ("In every pane", Pane.BINDINGS),
    ("Everywhere", ExploreApp.BINDINGS),
)
"""All keys, each group with its title."""


def _host_path(text: str) -> Path:
    """Returns the path that a user has typed. Only `~` alone and before a separator is the home folder of the user.

    Raises:
        RuntimeError: the user has no home folder.
    """
    path = Path(text)
    return path.expanduser() if text[:1] == "~" and text[1:2] in ("", "/", os.sep) else path


def _exported(item: FileItem, target: Path, exported: Exported) -> Details:
    facts: list[Fact] = [
        Fact(count_text(exported.files, "file"), "exported"),
        Fact(item.shown_path, "from"),
        Fact(str(target), "to"),
    ]
    if exported.count_left_out:
        facts.append(heading(f"Not copied: {exported.count_left_out:,}"))
        facts += [line(f"{path}: {what}") for path, what in exported.left_out]
    return Details("Export", facts)
