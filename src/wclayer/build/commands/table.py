"""The one table of commands that RUN carries out without Windows."""

from __future__ import annotations

from collections.abc import Mapping

from wclayer.build.commands.command import Command

ALL: tuple[Command, ...] = ()
"""The commands in the order in which the document lists them."""

COMMANDS: Mapping[str, Command] = {name: command for command in ALL for name in command.names}
"""The commands by name, in lower case and without `.exe`."""
