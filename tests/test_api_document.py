"""docs/api.md is what the docstrings say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import wclayer

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made() -> str:
    text = runpy.run_path(str(ROOT / "docs" / "api.py"))["document"]()
    assert isinstance(text, str)
    return text


def test_the_document_is_current(made: str) -> None:
    written = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert written == made, "docs/api.md is out of date: run `python docs/api.py`"


def test_every_public_name_is_described(made: str) -> None:
    for name in wclayer.__all__:
        if name != "__version__":
            _, _, rest = made.partition(f"\n### {name}\n")
            described = rest.partition("\n##")[0].split("```")
            assert len(described) >= 3, name
            assert described[2].strip(), f"{name} has no docstring"
