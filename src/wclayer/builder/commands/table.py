"""The one table of commands that RUN carries out without Windows."""

from __future__ import annotations

from collections.abc import Mapping

from wclayer.builder.commands import (
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
from wclayer.builder.commands.cmd_language import NestedShell
from wclayer.builder.commands.command import Action, Command, Invocation
from wclayer.builder.commands.powershell.command_line import parse_powershell
from wclayer.builder.commands.powershell.scope import Edition


def _parse_cmd(invocation: Invocation) -> Action:
    return NestedShell(invocation, COMMANDS)


def _parse_powershell(invocation: Invocation) -> Action:
    return parse_powershell(invocation, Edition.WINDOWS, COMMANDS)


def _parse_pwsh(invocation: Invocation) -> Action:
    return parse_powershell(invocation, Edition.CORE, COMMANDS)


CMD = Command(
    ("cmd",),
    "cmd [/S] [/D] [/Q] /C LINE",
    "Runs a line in a process of its own, with its own variables and directory. If the line begins with a"
    " quote, the first and the last quote are removed.",
    _parse_cmd,
    "Shell",
    keeps_files=True,
)

POWERSHELL = Command(
    ("powershell",),
    "powershell [-NoProfile] [-NoLogo] [-NonInteractive] [-ExecutionPolicy POLICY] [[-Command] SCRIPT]\n"
    "powershell [OPTIONS] -EncodedCommand BASE64",
    "Runs a script of Windows PowerShell 5.1 in a process of its own. `-File` is refused.",
    _parse_powershell,
    "Shell",
)
PWSH = Command(
    ("pwsh",),
    "pwsh [-NoProfile] [-NoLogo] [-NonInteractive] [-ExecutionPolicy POLICY] -Command SCRIPT\n"
    "pwsh [OPTIONS] -EncodedCommand BASE64",
    "Runs a script of PowerShell 7 in the same way.",
    _parse_pwsh,
    "Shell",
)

ALL: tuple[Command, ...] = (
    CMD,
    POWERSHELL,
    PWSH,
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
