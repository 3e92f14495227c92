"""Both engines, and the public functions, have what `Engine` says.

mypy holds the types against it where each engine can be loaded; these tests hold names and defaults everywhere. The hcs
engine loads on Windows only, so its source is read.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wclayer
from wclayer.engines.engine import Engine
from wclayer.engines.portable import engine as portable

ENGINES = Path(portable.__file__).parents[1]
FUNCTIONS = sorted(name for name, _ in inspect.getmembers(Engine, inspect.isfunction) if not name.startswith("_"))
PUBLIC = sorted(set(FUNCTIONS) & set(wclayer.__all__))
Parameters = list[tuple[str, str, str | None]]


def _parameters(function: ast.FunctionDef) -> Parameters:
    """The kinds, names and defaults of a function's parameters."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(arguments.defaults)), *arguments.defaults]
    listed = [("", one.arg, _text(default)) for one, default in zip(plain, defaults, strict=True)]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return listed + [("keyword", one.arg, _text(default)) for one, default in keywords]


def _text(default: ast.expr | None) -> str | None:
    return None if default is None else ast.unparse(default)


def _functions(nodes: list[ast.stmt]) -> dict[str, Parameters]:
    return {node.name: _parameters(node) for node in nodes if isinstance(node, ast.FunctionDef)}


def _functions_of(engine: str) -> dict[str, Parameters]:
    found: dict[str, Parameters] = {}
    for path in sorted((ENGINES / engine).glob("*.py")):
        found |= _functions(ast.parse(path.read_text()).body)
    return found


def _wanted() -> dict[str, Parameters]:
    nodes = ast.parse((ENGINES / "engine.py").read_text()).body
    (engine,) = (node for node in nodes if isinstance(node, ast.ClassDef) and node.name == "Engine")
    return {name: parameters[1:] for name, parameters in _functions(engine.body).items()}


@pytest.mark.parametrize("engine", ["hcs", "portable"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_engine_takes_the_parameters_of_the_protocol(engine: str, name: str) -> None:
    assert _functions_of(engine)[name] == _wanted()[name]


def _plain(function: Callable[..., Any]) -> list[tuple[str, object, object]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_takes_the_parameters_of_the_protocol(name: str) -> None:
    method = getattr(Engine, name)
    assert _plain(getattr(wclayer, name)) == _plain(method)[1:]
    assert getattr(wclayer, name).__doc__ == method.__doc__


def test_the_functions_are_many() -> None:
    assert len(FUNCTIONS) == 24
    assert len(PUBLIC) == 21
    assert set(FUNCTIONS) <= set(portable.__all__)
