"""Every key does what the list of keys says; no key is left out."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.explore.made import Driven, drive, explored
from tests.explore.uses import (
    EVERYWHERE,
    Use,
    at,
    is_closed,
    is_open,
    keys_of_bindings,
    layer,
    press,
    shows,
    without,
)
from wclayer import sample
from wclayer.explore.app import KEYS
from wclayer.explore.model.explored import ExploredChain, ViewKind
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.preview import PreviewKind
from wclayer.explore.widgets.dialogs import KeysScreen, QuestionScreen, key_name

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> ExploredChain:
    return explored(tmp_path_factory.mktemp("image"), sample.write_base, sample.write_child)


USES = [
    # In every pane.
    Use("down", at("app")),
    Use("j", at("app")),
    Use("up", at("C:"), "j"),
    Use("k", at("C:"), "j"),
    Use("pagedown", at("UtilityVM")),
    Use("pageup", at("C:"), "pagedown"),
    Use("ctrl+b", at("C:"), "pagedown"),
    Use("end", at("UtilityVM")),
    Use("G", at("UtilityVM")),
    Use("home", at("C:"), "end"),
    Use("g", at("C:"), "end"),
    # In a tree.
    Use("space", is_closed("C:")),
    Use("space", is_open("Hives"), "G k"),
    Use("enter", is_open("C:"), "space"),
    Use("right", is_open("app"), "j"),
    Use("right", at("app.exe"), "j l"),
    Use("l", is_open("app"), "j"),
    Use("left", is_closed("app"), "j l"),
    Use("left", at("C:"), "j"),
    Use("h", is_closed("app"), "j l"),
    Use("backspace", at("app"), "j l j"),
    Use("ctrl+space", is_closed("C:"), "j l"),
    Use("ctrl+@", is_closed("C:")),
    Use("C", is_closed("C:")),
    Use("o", lambda driven: driven.files.rows.rows[1].item.title == "Windows"),
    Use("ctrl+o", shows("largest first")),
    # Marks.
    Use("ctrl+a", without(Mark.ADDED)),
    Use("plus", lambda driven: "▸ app" not in driven.text()),
    Use("ctrl+m", without(Mark.CHANGED)),
    Use("asterisk", without(Mark.CHANGED)),
    Use("tilde", without(Mark.CHANGED)),
    Use("ctrl+r", without(Mark.REMOVED)),
    Use("minus", lambda driven: "License.txt" not in driven.text()),
    Use("ctrl+u", without(Mark.SAME)),
    Use("equals_sign", lambda driven: "Documents and Settings" not in driven.text()),
    *EVERYWHERE,
    Use("v", lambda driven: driven.app.desk.view.kind is ViewKind.ALL),
    Use("ctrl+l", lambda driven: driven.app.desk.view.kind is ViewKind.LAYER, "v"),
    Use("t", shows("without times")),
    Use("less_than_sign", layer(1)),
    Use("comma", layer(1)),
    Use("greater_than_sign", layer(2), "comma"),
    Use("full_stop", layer(2), "comma"),
    Use("p", lambda driven: driven.app.desk.preview is PreviewKind.TEXT),
    Use("y", lambda driven: driven.app.clipboard == "C:\\app", "j"),
    Use("x", lambda driven: isinstance(driven.app.screen, QuestionScreen), "j"),
    Use("z", lambda driven: driven.app.screen.maximized is driven.files),
    Use("q", lambda driven: not driven.app.is_running or driven.app._exit),
    Use("ctrl+q", lambda driven: driven.app._exit),
    Use("ctrl+c", lambda driven: driven.app._exit),
]


@pytest.mark.parametrize("use", USES, ids=str)
def test_a_key_does_what_it_is_for(image: ExploredChain, use: Use) -> None:
    press(image, use)


def test_every_key_is_driven() -> None:
    declared = {key for _, bindings in KEYS for key in keys_of_bindings(bindings)}
    assert len(declared) > 50
    assert {use.key for use in USES} == declared


@pytest.mark.parametrize("key", sorted(keys_of_bindings(KeysScreen.BINDINGS)))
def test_the_keys_are_closed_by(image: ExploredChain, key: str) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("question_mark")
        assert isinstance(driven.app.screen, KeysScreen)
        await driven.press(key)
        assert not isinstance(driven.app.screen, KeysScreen)
        assert not driven.app._exit

    drive(image, steps)


@pytest.mark.parametrize("key", sorted(keys_of_bindings(QuestionScreen.BINDINGS)))
def test_a_question_is_cancelled_by(image: ExploredChain, key: str) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("x", key)
        assert not isinstance(driven.app.screen, QuestionScreen)

    drive(image, steps)


def test_no_key_means_two_things_in_one_pane() -> None:
    seen: set[str] = set()
    for _, bindings in KEYS:
        keys = set(keys_of_bindings(bindings))
        assert not seen & keys
        seen |= keys


def test_the_document_has_every_key() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "explore.py"))["document"]()
    written = (ROOT / "docs" / "explore.md").read_text(encoding="utf-8")
    assert written == made, "docs/explore.md is out of date: run `python docs/explore.py`"
    for _, bindings in KEYS:
        for key in keys_of_bindings(bindings):
            assert f"`{key_name(key)}`" in made or not key_name(key)


def test_keys_typed_into_a_search_are_no_commands(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("slash", "q", "x", "1", "v")
        assert "qx1v" in driven.text()
        assert not driven.app._exit

    drive(image, steps)
