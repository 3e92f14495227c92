"""The selection of the engine, and that each function is done by the selected one."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

import wclayer
from tests.support import run
from wclayer.engines import selection
from wclayer.engines.engine import Engine

BY_ENGINE = sorted(
    name
    for name, function in inspect.getmembers(wclayer, inspect.isfunction)
    if function.__module__ == "wclayer.engines.api" and hasattr(Engine, name)
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
    """Each argument reaches the engine's parameter of that name, and the engine's result the caller."""
    seen: list[inspect.BoundArguments] = []
    answer = object()
    asked = inspect.signature(getattr(Engine, name))

    def function(*arguments: object, **options: object) -> object:
        seen.append(asked.bind(None, *arguments, **options))
        return answer

    monkeypatch.setattr(selection, "_chosen", SimpleNamespace(**{name: function}))
    given: dict[str, object] = {parameter: object() for parameter in list(asked.parameters)[1:]}
    result = getattr(wclayer, name)(**given)
    assert result is (None if asked.return_annotation == "None" else answer)
    assert [found.arguments for found in seen] == [{"self": None, **given}]


def test_an_engine_is_an_object() -> None:
    """An engine is asked by name, and what was chosen stays so."""
    engine = wclayer.engine("portable")
    assert engine.name == "portable"
    assert engine.layer_exists("x") is False
    with pytest.raises(wclayer.InvalidParameterError, match="no such engine"):
        wclayer.engine("docker")
    if sys.platform == "win32":
        assert wclayer.engine("hcs").name == "hcs"
        assert wclayer.engine_name() == "portable"
    else:
        with pytest.raises(wclayer.NotSupportedError, match="only available on Windows"):
            wclayer.engine("hcs")
    assert wclayer.engine().name == "portable"


@pytest.mark.parametrize("name", BY_ENGINE)
def test_it_says_what_it_raises(name: str) -> None:
    document = getattr(wclayer, name).__doc__
    assert "Raises:" in document or name == "layer_exists"


def test_readers_and_writers_are_the_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = SimpleNamespace(
        new_layer_reader=lambda *_: "reader", new_layer_writer=lambda *_: "writer",
        open_export=lambda *_: SimpleNamespace(next=lambda: "entry", close=lambda: None),
        open_import=lambda *_: SimpleNamespace(write=len, close=lambda: None),
    )  # fmt: skip
    monkeypatch.setattr(selection, "_chosen", chosen)
    found: list[object] = [wclayer.new_layer_reader("x"), wclayer.new_layer_writer("x")]
    with wclayer.FilterLayerReader("x") as source, wclayer.FilterLayerWriter("y") as target:
        found += [source.next(), target.write(b"abc")]
    assert found == ["reader", "writer", "entry", 3]


def test_the_functions_of_both_are_the_same() -> None:
    """Where Windows is, the hcs engine is loaded; elsewhere, what it has can only be counted."""
    assert len(BY_ENGINE) == 21
    if sys.platform == "win32":
        from wclayer.engines import hcs

        assert set(BY_ENGINE) <= set(hcs.__all__)
    else:
        with pytest.raises(wclayer.NotSupportedError, match="only available on Windows"):
            wclayer.use_engine("hcs")
        wclayer.use_engine(None)
        assert wclayer.engine_name() == "portable"


def test_the_command_says_what_it_cannot() -> None:
    assert "docker" in run("--engine", "docker", "ls", "x", status=64).stderr.decode()
    if sys.platform != "win32":
        said = run("--engine", "hcs", "ls", "x", status=10).stderr.decode()
        assert said == (
            "wclayer: choose engine: hcs: the hcs engine is only available on Windows; use portable, or name none\n"
        )
