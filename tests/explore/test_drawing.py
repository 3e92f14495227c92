"""What a key makes Textual draw and lay out: that is what the user waits for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget

from tests.explore.made import Driven, drive, explored
from wclayer import sample
from wclayer.explore.app import ExploreApp
from wclayer.explore.model.explored import ExploredChain
from wclayer.explore.widgets.dialogs import KeysScreen
from wclayer.explore.widgets.text_pane import TextPane


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> ExploredChain:
    return explored(tmp_path_factory.mktemp("image"), sample.write_base, sample.write_child)


@contextmanager
def called(kind: type, name: str) -> Iterator[list[Any]]:
    """The objects of which a method was called."""
    found: list[Any] = []
    as_it_is = getattr(kind, name)

    def noted(self: Any, *arguments: Any, **options: Any) -> Any:
        found.append(self)
        return as_it_is(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, name, noted)
        yield found


def test_a_directory_that_is_opened_or_closed_does_not_lay_out_the_screen(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("j")
        with called(Screen, "_refresh_layout") as laid_out:
            await driven.press("l")
            assert "▾ app" in driven.text()
            await driven.press("h")
            assert "▸ app" in driven.text()
        assert not laid_out

    drive(image, steps, (120, 60))


def test_a_scrollbar_appears_with_the_line_that_does_not_fit(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        pane = driven.files
        for key, count in (("j", len(pane.rows)), ("l", len(pane.rows) + 2), ("h", len(pane.rows))):
            await driven.press(key)
            assert pane.count_lines() >= count
            assert pane.show_vertical_scrollbar == (pane.count_lines() > pane.scrollable_content_region.height)
            assert pane.max_scroll_y == max(0, pane.count_lines() - pane.scrollable_content_region.height)

    lines = 0

    async def count(driven: Driven) -> None:
        nonlocal lines
        lines = driven.files.count_lines()

    drive(image, count)
    # The pane has two lines for its border, and three of the screen are above and below it.
    drive(image, steps, (120, lines + 5))


def test_panes_keep_their_sizes_while_the_search_is_open(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        panes = [*driven.app.query(TextPane), driven.files]
        before = [pane.region for pane in panes]
        assert "? keys" in driven.lines()[-1]
        with called(Widget, "_scroll_update") as fitted:
            await driven.press("slash", "a")
            assert driven.lines()[-1].strip() == "a"
            assert [pane.region for pane in panes] == before
            await driven.press("escape")
        assert [pane.region for pane in panes] == before
        assert "? keys" in driven.lines()[-1]
        assert fitted

    drive(image, steps)


def test_another_focus_does_not_draw_the_whole_screen(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        with called(Widget, "refresh") as drawn:
            await driven.press("tab", "shift+tab")
        assert driven.files in drawn
        assert driven.app.screen not in drawn

    drive(image, steps)


def test_styles_of_parts_are_not_computed_for_each_pane(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        with called(DOMNode, "_attach") as computed:
            await driven.press("tab", "shift+tab", "z", "z")
        assert not [node for node in computed if any(name.startswith("pane--") for name in node.classes)]

    with called(Stylesheet, "apply") as applied:
        drive(image, steps)
    assert applied


@pytest.mark.parametrize("key", ["1", "2"])
def test_details_are_read_once_for_a_tab(image: ExploredChain, key: str) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("2", "1")
        with called(ExploreApp, "_show_details") as read:
            await driven.press(key)
        assert len(read) == 1

    drive(image, steps)


def test_details_that_are_shown_already_are_not_drawn_again(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        detail = driven.app.detail
        await driven.press("tab", "end")
        assert detail.scroll_y
        with called(TextPane, "_wrap") as wrapped:
            driven.app._show_details()
            await driven.settled()
            assert not detail.scroll_y
            assert not wrapped
            await driven.press("shift+tab", "j")
            assert wrapped

    drive(image, steps, (80, 24))


def test_a_title_that_is_shown_already_is_not_drawn_again(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        pane = driven.files
        pane.show_title("one", "two")
        with called(Widget, "refresh") as drawn:
            pane.show_title("one", "two")
            assert not drawn
            pane.show_title("one", "three")
            assert drawn
        await driven.settled()
        assert "three" in driven.text()

    drive(image, steps)


def test_the_keys_are_made_once_and_begin_at_the_first_one(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        with called(KeysScreen, "compose") as made:
            await driven.press("question_mark")
            first = driven.text()
            await driven.press("end")
            assert driven.text() != first
            await driven.press("escape", "question_mark")
            assert driven.text() == first
        assert len(made) == 1
        await driven.press("escape")
        assert driven.app.focused is driven.files

    drive(image, steps, (80, 24))


def test_the_keys_fit_to_a_terminal_whose_size_has_changed(image: ExploredChain, tmp_path: Path) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("question_mark", "escape")
        await driven._pilot.resize_terminal(60, 20)
        await driven.settled()
        await driven.press("question_mark")
        assert len(driven.lines()) == 20
        assert driven.app.screen.query_one(TextPane).region.width == 54

    drive(image, steps)
