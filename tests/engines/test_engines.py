"""The two engines take the same calls. The hcs engine loads on Windows only, so its source is read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import wclayer
from wclayer.engines import portable

ENGINES = Path(portable.__file__).parents[1]
# The others are done by this project on every host.
FUNCTIONS = sorted(
    name
    for name in set(portable.__all__) & set(wclayer.__all__)
    if getattr(wclayer, name).__module__ == "wclayer.engines.api"
)


def _parameters(engine: str) -> dict[str, list[tuple[str, str, str | None]]]:
    """Of each public function of an engine: its parameters' kinds, names and defaults."""
    found = {}
    for path in sorted((ENGINES / engine).glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                found[node.name] = _listed(node.args)
    return found


def _listed(arguments: ast.arguments) -> list[tuple[str, str, str | None]]:
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(arguments.defaults)), *arguments.defaults]
    listed = [("", one.arg, _text(default)) for one, default in zip(plain, defaults, strict=True)]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return listed + [("keyword", one.arg, _text(default)) for one, default in keywords]


def _text(default: ast.expr | None) -> str | None:
    return None if default is None else ast.unparse(default)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_engines_take_the_same_parameters(name: str) -> None:
    ours, windows = _parameters("portable"), _parameters("hcs")
    assert windows[name] == ours[name]


def test_the_functions_are_many() -> None:
    assert len(FUNCTIONS) >= 20
