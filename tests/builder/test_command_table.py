"""The table of commands, and the document that lists it."""

from __future__ import annotations

import runpy

import pytest

from tests.source import ROOT
from wclayer.builder.commands.powershell import table as powershell
from wclayer.builder.commands.powershell.cmdlet import Cmdlet
from wclayer.builder.commands.table import ALL, COMMANDS


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


def test_no_two_cmdlets_have_one_name() -> None:
    assert len(powershell.CMDLETS) == sum(len((*each.names, *each.windows_names)) for each in powershell.ALL)
    assert len(powershell.METHODS) == len(powershell.ALL_METHODS)


@pytest.mark.parametrize("cmdlet", powershell.ALL, ids=lambda cmdlet: cmdlet.names[0])
def test_each_cmdlet_says_what_it_supports_and_no_name_of_a_parameter_is_twice_there(cmdlet: Cmdlet) -> None:
    assert cmdlet.usage
    assert cmdlet.summary.endswith(".")
    names = [name.lower() for each in cmdlet.parameters for name in (each.name, *each.aliases)]
    assert len(set(names)) == len(names)
    positions = [each.position for each in cmdlet.parameters if each.position is not None]
    assert sorted(positions) == list(range(len(positions)))
    assert not cmdlet.pipeline or cmdlet.pipeline in {each.name for each in cmdlet.parameters}
