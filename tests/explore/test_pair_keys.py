"""Every key does what the list of keys says while two images are compared, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explore.chains import base, update
from tests.explore.made import Driven, drive, explored_pair
from tests.explore.uses import (
    EVERYWHERE,
    Check,
    Use,
    at,
    is_closed,
    is_open,
    keys_of_bindings,
    press,
    shows,
    without,
)
from tests.support import put_directories, put_file
from wclayer import sample
from wclayer.explore.app import KEYS
from wclayer.explore.model.explored import ViewKind
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.pair import ExploredPair
from wclayer.explore.model.preview import PreviewKind
from wclayer.explore.widgets.dialogs import QuestionScreen
from wclayer.model import Entry, LayerWriter


def older(writer: LayerWriter) -> None:
    """What the first one has over the common layer."""
    put_directories(writer, "Files", "Files/a", "Files/old")
    put_file(writer, "Files/old/gone.txt", b"9" * 2000)
    writer.put(Entry("Files/Kept", None))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> ExploredPair:
    return explored_pair(tmp_path_factory.mktemp("pair"), [base], [older], [update])


def chosen_layer(title: str) -> Check:
    """The details are those of a layer, which is the chosen one."""
    return lambda driven: title in driven.app.layers.shown_layer.owner and f"is in {title}" in driven.text()


def only_view(driven: Driven) -> bool:
    return driven.app.desk.view.kind is ViewKind.COMPARED and any(
        "there is no other view" in message for message in driven.messages
    )


_END = "Hives"
USES = [
    # In every pane.
    Use("down", at("a")),
    Use("j", at("a")),
    Use("up", at("C:"), "j"),
    Use("k", at("C:"), "j"),
    Use("pagedown", at(_END)),
    Use("pageup", at("C:"), "pagedown"),
    Use("ctrl+b", at("C:"), "pagedown"),
    Use("end", at(_END)),
    Use("G", at(_END)),
    Use("home", at("C:"), "end"),
    Use("g", at("C:"), "end"),
    # In a tree.
    Use("space", is_closed("C:")),
    Use("space", is_open("a"), "j"),
    Use("enter", is_open("C:"), "space"),
    Use("right", is_open("a"), "j"),
    Use("right", at("changed.txt"), "j l"),
    Use("l", is_open("a"), "j"),
    Use("left", is_closed("a"), "j l"),
    Use("left", at("C:"), "j"),
    Use("h", is_closed("a"), "j l"),
    Use("backspace", at("a"), "j l j"),
    Use("ctrl+space", is_closed("C:"), "j l"),
    Use("ctrl+@", is_closed("C:")),
    Use("C", is_closed("C:")),
    # The largest is what only the first one has.
    Use("o", lambda driven: driven.files.rows.rows[1].item.title == "old"),
    Use("ctrl+o", shows("largest first")),
    # Marks.
    Use("ctrl+a", without(Mark.ADDED)),
    Use("plus", lambda driven: "▸ new" not in driven.text()),
    Use("ctrl+m", without(Mark.CHANGED)),
    Use("asterisk", without(Mark.CHANGED)),
    Use("tilde", without(Mark.CHANGED)),
    Use("ctrl+r", without(Mark.REMOVED)),
    Use("minus", lambda driven: "▸ old" not in driven.text()),
    Use("ctrl+u", without(Mark.SAME)),
    Use("equals_sign", lambda driven: "▸ Hives" not in driven.text()),
    *EVERYWHERE,
    Use("v", only_view),
    Use("ctrl+l", only_view),
    Use("t", shows("without times")),
    Use("less_than_sign", chosen_layer("first alone")),
    Use("comma", chosen_layer("first alone")),
    Use("greater_than_sign", chosen_layer("first alone"), "comma comma"),
    Use("full_stop", chosen_layer("second alone"), "comma"),
    Use("p", lambda driven: driven.app.desk.preview is PreviewKind.TEXT),
    Use("y", lambda driven: driven.app.clipboard == "C:\\a", "j"),
    Use("x", lambda driven: isinstance(driven.app.screen, QuestionScreen), "j"),
    Use("z", lambda driven: driven.app.screen.maximized is driven.files),
    Use("q", lambda driven: driven.app._exit),
    Use("ctrl+q", lambda driven: driven.app._exit),
    Use("ctrl+c", lambda driven: driven.app._exit),
]


@pytest.mark.parametrize("use", USES, ids=str)
def test_a_key_does_what_it_is_for(pair: ExploredPair, use: Use) -> None:
    press(pair, use)


def test_every_key_is_driven() -> None:
    assert {use.key for use in USES} == {key for _, bindings in KEYS for key in keys_of_bindings(bindings)}


def test_all_panes_can_be_walked_through(tmp_path: Path) -> None:
    pair = explored_pair(tmp_path, [sample.write_base], [], [sample.write_child])

    async def steps(driven: Driven) -> None:
        for number in "12345":
            await driven.press(number, "j", "l", "j", "l", "j", "k", "h", "o", "G", "g")
            assert driven.app.pane.count_lines()
            await driven.press("slash", "a", "enter", "enter", "escape")
        await driven.press("shift+tab", "j", "j")
        assert "both: layer 1 of first" in driven.text()

    drive(pair, steps)
