"""The rows of the table of commands that change what is not a file: the registry, the environment, security."""

from __future__ import annotations

from wclayer.build.commands.environment import SETX
from wclayer.build.commands.icacls import ICACLS, TAKEOWN
from wclayer.build.commands.registry import REG, REGEDIT

COMMANDS = (REG, REGEDIT, SETX, ICACLS, TAKEOWN)
