"""Keys that arrive all at once: from a fast hand, a slow connection, or a terminal that pastes as if it were typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.geometry import Size
from textual.widgets import Input

from tests.explore.made import Driven, drive, explored
from wclayer import sample
from wclayer.explore import app
from wclayer.explore.model.explored import ExploredChain
from wclayer.explore.model.export import Exported

_NAMES = {"/": "slash", "?": "question_mark", "\r": "enter", "\x1b": "escape", "\t": "tab"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> ExploredChain:
    return explored(tmp_path_factory.mktemp("image"), sample.write_base, sample.write_child)


def key(character: str) -> events.Key:
    return events.Key(_NAMES.get(character, character), character)


async def typed(driven: Driven, *what: str | events.Event) -> None:
    """Gives the program all keys of a text, and other events, before it does anything."""
    for each in what:
        for event in map(key, each) if isinstance(each, str) else (each,):
            driven.app.post_message(event)
    await driven.settled()


@pytest.mark.parametrize("text", ["app", "quit", "xz123vt"])
def test_what_follows_the_key_of_the_search_is_searched(image: ExploredChain, text: str) -> None:
    async def steps(driven: Driven) -> None:
        await typed(driven, f"/{text}")
        assert driven.app.query_one("#search", Input).value == text
        assert not driven.app._exit
        await typed(driven, "\x1b", "j")
        assert driven.files.cursor == 1

    drive(image, steps)


def test_what_is_pasted_after_the_key_of_the_search_is_searched(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await typed(driven, "/", events.Paste("app"), "s")
        assert driven.app.query_one("#search", Input).value == "apps"

    drive(image, steps)


def test_keys_after_that_of_another_tab_are_meant_for_it(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("2", "1")
        await typed(driven, "2j1")
        assert driven.app.pane is driven.files
        assert not driven.files.cursor
        await typed(driven, "2")
        assert driven.app.pane.cursor == 1

    drive(image, steps)


def test_an_answer_that_is_given_at_once_is_taken_once(image: ExploredChain, monkeypatch: pytest.MonkeyPatch) -> None:
    targets: list[Path] = []

    def export(*arguments: Any) -> Exported:
        targets.append(arguments[3])
        return Exported(1, (), 0)

    monkeypatch.setattr(app, "export", export)

    async def steps(driven: Driven) -> None:
        await typed(driven, "jx/a\r\r")
        assert len(driven.app.screen_stack) == 1
        # The second Enter has opened the directory.
        assert driven.files.rows.rows[1].is_open

    drive(image, steps)
    assert targets == [Path("/a")]


@pytest.mark.parametrize("keys", ["?\r\r", "?\x1b\x1b", "??\x1b", "x\x1b\x1b\x1b"])
def test_a_screen_that_is_closed_twice_is_closed(image: ExploredChain, keys: str) -> None:
    async def steps(driven: Driven) -> None:
        await typed(driven, keys)
        assert len(driven.app.screen_stack) == 1

    drive(image, steps)


@pytest.mark.parametrize("keys", ["q?", "qx", "q/q", "qq", "?qq", "q2345"])
def test_keys_after_that_of_the_end_do_nothing(image: ExploredChain, keys: str) -> None:
    drive(image, lambda driven: typed(driven, keys))


@pytest.mark.parametrize("name", ["action_keys", "action_export"])
def test_a_screen_that_opens_while_the_program_ends_is_no_error(image: ExploredChain, name: str) -> None:
    async def steps(driven: Driven) -> None:
        # As at a signal.
        driven.app.exit(None, 143)
        driven.app.call_later(getattr(driven.app, name))
        await driven.settled()

    drive(image, steps)


def test_each_key_is_handled_though_widgets_go_away(image: ExploredChain) -> None:
    """A key whose widget is gone does not hold back those after it."""

    async def steps(driven: Driven) -> None:
        await typed(driven, "?\x1bx\x1b/a\x1b21zz" * 3, "j")
        assert driven.files.cursor == 1
        driven.app.post_message(events.Resize(Size(80, 24), Size(80, 24)))
        await typed(driven, "?\x1bj")
        assert driven.files.cursor == 2

    drive(image, steps)
