"""Who does the functions: how it is said, and that each goes to whom was chosen."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wclayer
from tests.support import run
from wclayer.engines import selection

BY_ENGINE = sorted(
    name
    for name, function in inspect.getmembers(wclayer, inspect.isfunction)
    if function.__module__ == "wclayer.engines.api" != inspect.unwrap(function).__module__
)


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    yield
    wclayer.use_engine("portable")


def test_an_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wclayer.use_engine("portable")
    assert wclayer.engine_name() == "portable"
    with pytest.raises(wclayer.InvalidParameterError, match="no such engine"):
        wclayer.use_engine("docker")
    assert wclayer.engine_name() == "portable"
    monkeypatch.setattr(selection, "_chosen", None)
    monkeypatch.setenv("WCLAYER_ENGINE", "docker")
    with pytest.raises(wclayer.InvalidParameterError, match="docker"):
        wclayer.layer_exists("x")
    monkeypatch.setenv("WCLAYER_ENGINE", "portable")
    assert wclayer.layer_exists("x") is False
    assert wclayer.engine_name() == "portable"


@pytest.mark.parametrize("name", BY_ENGINE)
def test_a_function_is_done_by_the_engine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    seen: list[Any] = []
    answer = object()

    def function(*arguments: object, **options: object) -> object:
        seen.append((arguments, options))
        return answer

    monkeypatch.setattr(selection, "_chosen", SimpleNamespace(**{name: function}))
    assert getattr(wclayer, name)("a", "b", c=1) is answer
    assert seen == [(("a", "b"), {"c": 1})]


def _arguments(engine: str, name: str) -> list[tuple[str, str]]:
    """The arguments of an engine's function, read from its source, as Windows' engine cannot be loaded elsewhere."""
    modules = (Path(selection.__file__).parent / engine).glob("*.py")
    found = [
        function.args
        for module in modules
        for function in ast.parse(module.read_text()).body
        if isinstance(function, ast.FunctionDef) and function.name == name
    ]
    assert len(found) == 1, name
    given = found[0]
    defaults = [None] * (len(given.args) - len(given.defaults)) + given.defaults
    pairs = [*zip(given.args, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    names = [(argument.arg, "" if default is None else ast.unparse(default)) for argument, default in pairs]
    names.insert(len(given.args), ("*", ""))
    return names


@pytest.mark.parametrize("name", BY_ENGINE)
def test_both_engines_take_the_same_arguments(name: str) -> None:
    assert _arguments("hcs", name) == _arguments("portable", name)


@pytest.mark.parametrize("name", BY_ENGINE)
def test_it_says_what_it_raises(name: str) -> None:
    document = getattr(wclayer, name).__doc__
    assert "Raises:" in document or name == "layer_exists"


def test_readers_and_writers_are_the_engine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SimpleNamespace(
        new_layer_reader=lambda *_: "reader", new_layer_writer=lambda *_: "writer",
        open_export=lambda *_: SimpleNamespace(next=lambda: "entry", close=lambda: None),
        open_import=lambda *_: SimpleNamespace(write=len, close=lambda: None),
    )  # fmt: skip
    monkeypatch.setattr(selection, "_chosen", engine)
    found: list[object] = [wclayer.new_layer_reader("x"), wclayer.new_layer_writer("x")]
    with wclayer.FilterLayerReader("x") as source, wclayer.FilterLayerWriter("y") as target:
        found += [source.next(), target.write(b"abc")]
    assert found == ["reader", "writer", "entry", 3]


def test_the_functions_of_both_are_the_same() -> None:
    """Where Windows is, the hcs engine is loaded; elsewhere, what it has can only be counted."""
    assert len(BY_ENGINE) == 20
    if sys.platform == "win32":
        from wclayer.engines import hcs

        assert set(BY_ENGINE) <= set(hcs.__all__)
    else:
        with pytest.raises(wclayer.NotSupportedError, match="another system"):
            wclayer.use_engine("hcs")
        wclayer.use_engine(None)
        assert wclayer.engine_name() == "portable"


def test_the_command_says_what_it_cannot() -> None:
    assert "docker" in run("--engine", "docker", "ls", "x", status=64).stderr.decode()
    if sys.platform != "win32":
        said = run("--engine", "hcs", "ls", "x", status=10).stderr.decode()
        assert said == "wclayer: choose engine: hcs: it calls Windows, and this is another system\n"
