"""The one table of cmdlets and methods that scripts of PowerShell may call.

A module of cmdlets declares its rows as `CMDLETS`; they are put together here.
"""

from __future__ import annotations

from collections.abc import Mapping

from wclayer.builder.commands.powershell import environment, existence, files, locations, output, registry
from wclayer.builder.commands.powershell.cmdlet import Cmdlet
from wclayer.builder.commands.powershell.method import Method

ALL: tuple[Cmdlet, ...] = (
    *output.CMDLETS,
    locations.SET_LOCATION,
    existence.TEST_PATH,
    *files.CMDLETS,
    *registry.CMDLETS,
)
"""The cmdlets in the order in which the document lists them."""

CMDLETS: Mapping[str, Cmdlet] = {
    name.lower(): cmdlet for cmdlet in ALL for name in (*cmdlet.names, *cmdlet.windows_names)
}
"""The cmdlets by their names and aliases, in lower case."""

WINDOWS_NAMES = frozenset(name.lower() for cmdlet in ALL for name in cmdlet.windows_names)
"""The aliases that only Windows PowerShell has."""

ALL_METHODS: tuple[Method, ...] = environment.METHODS
"""The methods in the order in which the document lists them."""

CONSTANTS: Mapping[str, str] = {
    f"environmentvariabletarget::{name.lower()}": name for name in ("Machine", "User", "Process")
}
"""The constants of types that methods take, in lower case, without `System.`."""

METHODS: Mapping[str, Method] = {f"{each.kind}::{each.name}".lower(): each for each in ALL_METHODS}
"""The methods by their type and name, in lower case, without `System.`."""
