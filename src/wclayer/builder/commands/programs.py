"""Finds the program of the table that a word of a command line names."""

from __future__ import annotations

from collections.abc import Mapping

from wclayer.builder.commands.command import Command
from wclayer.win32.names import last_component, name_key

UNKNOWN = (
    "this command or program cannot be carried out without Windows; docs/build.md has the table of those that can. "
    "COPY what it would make, or build on Windows"
)
"""What can be done about a command that is not in the table."""
_PROGRAMS_OF_WINDOWS = name_key("C:\\Windows\\System32\\")


def find_program(word: str, commands: Mapping[str, Command]) -> Command | None:
    r"""Returns the row of a program, or None if the table has none.

    A program is named by itself (`reg`, `REG.EXE`) or by its path in `C:\Windows\System32`.

    Args:
        word: the word of the command line, which may have quotes.
        commands: the table by name.
    """
    name = word.replace('"', "").replace("/", "\\")
    if "\\" in name and not name_key(name).startswith(_PROGRAMS_OF_WINDOWS):
        return None
    name = last_component(name).lower() if name.strip("\\") else ""
    command = commands.get(name.removesuffix(".exe"))
    return None if command is None or command.is_builtin else command
