"""Uses of keys: what is pressed, and what is true after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from textual.binding import Binding, BindingType

from tests.explore.made import Driven, drive
from wclayer.explore.model.explored import Explorable
from wclayer.explore.model.marks import ALL_MARKS, Mark
from wclayer.explore.widgets.dialogs import KeysScreen

Check = Callable[[Driven], bool]


@dataclass(frozen=True)
class Use:
    """A use of a key.

    Attributes:
        key: the key.
        check: what is true after it, and not before.
        before: the keys that are pressed before it.
    """

    key: str
    check: Check
    before: str = ""

    def __str__(self) -> str:
        return f"{self.before} {self.key}".strip()


def at(name: str) -> Check:
    """The chosen file has a name."""
    return lambda driven: driven.files.item is not None and driven.files.item.title == name


def shows(text: str) -> Check:
    return lambda driven: text in driven.text()


def tab(name: str) -> Check:
    return lambda driven: driven.app.pane.id == name


def without(mark: Mark) -> Check:
    return lambda driven: driven.files.marks == ALL_MARKS - {mark}


def focused(name: str) -> Check:
    return lambda driven: driven.app.focused is not None and driven.app.focused.id == name


def is_open(name: str) -> Check:
    def check(driven: Driven) -> bool:
        return any(row.is_open and row.item.title == name for row in driven.files.rows.rows)

    return check


def is_closed(name: str) -> Check:
    return lambda driven: not is_open(name)(driven)


def layer(number: int) -> Check:
    return lambda driven: driven.app.desk.view.layer == number


def press(image: Explorable, use: Use) -> None:
    """Presses a key, and checks what it is for."""

    async def steps(driven: Driven) -> None:
        await driven.press(*(key.replace("/", "slash") for key in use.before.split()))
        assert not use.check(driven)
        await driven.press(use.key)
        assert use.check(driven), driven.text()

    drive(image, steps)


def keys_of_bindings(bindings: Sequence[BindingType]) -> Iterator[str]:
    """The keys of bindings, each of which says what it does."""
    for binding in bindings:
        assert isinstance(binding, Binding)
        assert binding.description, binding
        yield from binding.key.split(",")


EVERYWHERE = [
    Use("question_mark", lambda driven: isinstance(driven.app.screen, KeysScreen)),
    Use("f1", shows("Go up a page")),
    Use("tab", focused("detail")),
    Use("tab", focused("layers"), "tab"),
    Use("shift+tab", focused("layers")),
    Use("1", tab("files"), "2"),
    Use("2", tab("registry")),
    Use("3", tab("inventory")),
    Use("4", tab("image")),
    Use("5", tab("waste")),
    Use("right_square_bracket", tab("registry")),
    Use("left_square_bracket", tab("files"), "2"),
    Use("slash", focused("search")),
    Use("ctrl+f", focused("search")),
    Use("escape", focused("files"), "/ a"),
]
"""What is the same of each image, and of two that are compared."""
