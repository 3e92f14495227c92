"""The one table of commands that RUN carries out without Windows."""

from __future__ import annotations

from collections.abc import Mapping

from wclayer.build.commands import (
    attribute_commands,
    copies,
    directories,
    moves,
    removals,
    robocopy,
    shell_commands,
    system_commands,
    xcopy,
)
from wclayer.build.commands.cmd_language import NestedShell
from wclayer.build.commands.command import Action, Command, Invocation


def _parse_cmd(invocation: Invocation) -> Action:
    return NestedShell(invocation, COMMANDS)


CMD = Command(
    ("cmd",),
    "cmd [/S] [/D] [/Q] /C LINE",
    "Runs a line in a process of its own, with its own variables and directory. If the line begins with a"
    " quote, the first and the last quote are removed.",
    _parse_cmd,
    "Shell",
)

ALL: tuple[Command, ...] = (
    CMD,
    *shell_commands.COMMANDS,
    *directories.COMMANDS,
    *copies.COMMANDS,
    *xcopy.COMMANDS,
    *robocopy.COMMANDS,
    *moves.COMMANDS,
    *removals.COMMANDS,
    *attribute_commands.COMMANDS,
    *system_commands.COMMANDS,
)
"""The commands in the order in which the document lists them."""

COMMANDS: Mapping[str, Command] = {name: command for command in ALL for name in command.names}
"""The commands by name, in lower case and without `.exe`."""
