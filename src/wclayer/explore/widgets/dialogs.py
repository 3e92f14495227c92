"""The screens over the panes: the keys, and a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from wclayer.explore.model.details import Fact, heading
from wclayer.explore.model.text import one_line
from wclayer.explore.widgets.text_pane import TextPane

_NAMES = {
    "question_mark": "?", "right_square_bracket": "]", "left_square_bracket": "[", "slash": "/", "less_than_sign": "<",
    "greater_than_sign": ">", "comma": ",", "full_stop": ".", "plus": "+", "minus": "-", "asterisk": "*",
    "tilde": "~", "equals_sign": "=", "up": "↑", "down": "↓", "left": "←", "right": "→", "pageup": "Page Up",
    "pagedown": "Page Down", "ctrl+@": "", "escape": "Esc",
}  # fmt: skip


def key_name(key: str) -> str:
    """Returns a key as people write it; "" for another spelling of one that is named already."""
    if key in _NAMES:
        return _NAMES[key]
    if len(key) == 1:
        return key
    return "+".join(part.upper() if len(part) == 1 else part.capitalize() for part in key.split("+"))


def keys_of(bindings: list[BindingType]) -> list[tuple[str, str]]:
    """Returns the keys of bindings, each with what they do."""
    found = []
    for binding in bindings:
        assert isinstance(binding, Binding)
        names = [name for name in map(key_name, binding.key.split(",")) if name]
        found.append(("  ".join(names), binding.description))
    return found


class KeysScreen(ModalScreen[None]):
    """The keys. It is shown again and again.

    Args:
        groups: the bindings that are shown, each group with its title.
    """

    DEFAULT_CSS = """
    KeysScreen { align: center middle; background: $background; }
    KeysScreen > TextPane { width: 90%; max-width: 84; height: 90%; max-height: 60; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss", "Close"),
    ]

    def __init__(self, groups: Sequence[tuple[str, list[BindingType]]]) -> None:
        super().__init__()
        self._groups = groups
        self._pane = TextPane("keys")

    def compose(self) -> ComposeResult:
        yield self._pane

    def on_mount(self) -> None:
        """Shows the keys."""
        facts: list[Fact] = []
        for title, bindings in self._groups:
            facts.append(heading(title))
            facts += [Fact(what, keys) for keys, what in keys_of(bindings)]
        pane = self._pane
        pane.show_title("Keys", "Esc closes")
        pane.show(facts)
        pane.focus()

    def on_screen_resume(self) -> None:
        """Begins with the first line again."""
        self._pane.scroll_home(animate=False, immediate=True)


class QuestionScreen(ModalScreen[str | None]):
    """A question that is answered with a line.

    Args:
        question: the question.
        answer: what stands in the line at first.
    """

    DEFAULT_CSS = """
    QuestionScreen { align: center middle; background: $background; }
    QuestionScreen > Vertical {
        width: 80%; max-width: 100; height: auto; border: round $primary; background: $surface; padding: 0 1;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, question: str, answer: str) -> None:
        super().__init__()
        self._question = question
        self._line = Input(answer, id="answer", compact=True)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(one_line(self._question), markup=False)
            yield self._line

    def on_mount(self) -> None:
        """Lets the user write at once."""
        self._line.focus()

    @on(Input.Submitted)
    def _answered(self, message: Input.Submitted) -> None:
        # A second Enter may have come before the first one was handled.
        if self.is_current:
            self.dismiss(message.value)

    def action_cancel(self) -> None:
        """Closes the question without an answer."""
        self.dismiss(None)
