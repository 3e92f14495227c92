"""The explorer, driven with its keys."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from textual.app import App
from textual.widget import Widget

from tests.explore.made import Driven, drive, explored
from tests.source import modules
from wclayer import sample
from wclayer.explore.model.explored import ExploredChain


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> ExploredChain:
    return explored(tmp_path_factory.mktemp("image"), sample.write_base, sample.write_child)


def test_the_first_screen_has_layers_tree_and_details(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        screen = driven.text()
        assert "made" in screen
        assert "layer 2 of 2: changes of the layer" in screen
        assert any(line.startswith("│ 1 ") for line in driven.lines())
        assert "▾ C:" in screen
        assert "+  260.2 KiB  2   ▸ app" in screen
        assert "-      680 B  1     License.txt" in screen
        assert "Metadata" in screen

    drive(image, steps)


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (120, 40), (200, 60)])
def test_it_fits_on_terminals_of_any_size(image: ExploredChain, size: tuple[int, int]) -> None:
    async def steps(driven: Driven) -> None:
        assert len(driven.lines()) == size[1]
        assert "C:" in driven.text()

    drive(image, steps, size)


def test_the_end_of_a_search_is_drawn_once(image: ExploredChain, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("slash", *"app", "enter")
        driven.files.tick()
        assert "items found" in driven.text()
        drawn = []
        monkeypatch.setattr(driven.files, "lines_changed", lambda: drawn.append(True))
        driven.files.tick()
        driven.files.tick()
        assert not drawn

    drive(image, steps)


def test_names_of_textual_are_not_taken_by_mistake() -> None:
    """A method or an attribute of the same name would be called by Textual in the place of its own."""
    meant = {
        "App": {
            "CSS", "BINDINGS", "COMPONENT_CLASSES", "ENABLE_COMMAND_PALETTE", "HORIZONTAL_BREAKPOINTS", "compose",
            "exit", "get_default_screen", "get_driver_class", "on_event", "on_mount",
        },
        "Widget": {
            "BINDINGS",
            "COMPONENT_CLASSES",
            "DEFAULT_CSS",
            "compose",
            "focused",
            "render_line",
            "render_lines",
            "virtual_size",
            "watch_has_focus",
        },
    }  # fmt: skip
    made_by_textual = {
        "_decorated_handlers", "_reactives", "_inherit_css", "_inherit_bindings", "_inherit_component_classes",
        "_css_type_name", "_merged_bindings", "_css_type_names", "_computes", "can_focus", "can_focus_children",
        "_default_focused", "_default_virtual_size",
    }  # fmt: skip
    checked = 0
    for name in modules():
        if not name.startswith("wclayer.explore."):
            continue
        module = __import__(name, fromlist=["x"])
        for kind in vars(module).values():
            if not inspect.isclass(kind) or kind.__module__ != name or not issubclass(kind, (App, Widget)):
                continue
            checked += 1
            allowed = made_by_textual | meant["App" if issubclass(kind, App) else "Widget"]
            theirs = [base for base in kind.__mro__[1:] if base.__module__.startswith("textual")]
            taken = {
                attribute
                for attribute in vars(kind)
                if not attribute.startswith("__") and any(attribute in vars(base) for base in theirs)
            }
            assert taken <= allowed, kind
    assert checked > 5


def test_without_textual_it_says_what_to_install(tmp_path: Path) -> None:
    import subprocess
    import sys

    hidden = "import sys; sys.modules['textual'] = None; from wclayer.cli.main import main; main(sys.argv[1:])"
    found = subprocess.run(
        [sys.executable, "-c", hidden, "explore", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 10
    assert "pip install 'wclayer[explore]'" in found.stderr
    assert "Traceback" not in found.stderr
