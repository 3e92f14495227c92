"""The table of commands, and the document that lists it."""

from __future__ import annotations

import runpy

import pytest

from tests.source import ROOT
from wclayer.build.commands.table import ALL, COMMANDS


def test_the_document_lists_the_table() -> None:
    written = (ROOT / "docs" / "build.md").read_text(encoding="utf-8")
    made = runpy.run_path(str(ROOT / "docs" / "build.py"))["document"](written)
    assert made == written, "docs/build.md is out of date: run `python docs/build.py`"


def test_no_two_commands_have_one_name() -> None:
    assert len(COMMANDS) == sum(len(command.names) for command in ALL)
    assert all(name == name.lower() for name in COMMANDS)


@pytest.mark.parametrize("name", [name for command in ALL for name in command.names])
def test_each_row_says_what_it_supports(name: str) -> None:
    command = COMMANDS[name]
    assert command.usage
    assert command.summary.endswith(".")
