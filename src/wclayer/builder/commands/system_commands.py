"""The rows of the table of commands that change what is not a file: the registry, the environment, security."""

from __future__ import annotations

from wclayer.builder.commands.environment import SETX
from wclayer.builder.commands.icacls import ICACLS, TAKEOWN
from wclayer.builder.commands.registry import REG, REGEDIT

COMMANDS = (REG, REGEDIT, SETX, ICACLS, TAKEOWN)
