"""Makes an `InstalledSystem` of an inventory."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wclayer.images.windows_version import WindowsVersion
from wclayer.inventory.collectors.updates import INSTALLED, SUPERSEDED
from wclayer.inventory.cve.system import InstalledSystem, Runtime
from wclayer.inventory.item import Inventory, Item, ItemKind

_NO_VERSION = WindowsVersion(0, 0, 0)
_FRAMEWORK_UPDATE = re.compile(r"10\.0\.[3-9]\d{3}\.\d{1,9}", re.ASCII)
"""The versions of updates of .NET Framework (`Package_for_DotNetRollup`, `Package_for_KB…`). Those of updates of
Windows begin with the build, or have it as the third number; it has five digits."""
_FAMILIES = {
    "microsoft.netcore.app": ".NET", "microsoft.aspnetcore.app": "ASP.NET Core", "powershell": "PowerShell",
}  # fmt: skip


def installed_system(inventory: Inventory) -> InstalledSystem:
    """Returns what is installed, as far as advisories speak of it."""
    system = inventory.operating_system
    properties = system.properties if system else {}
    updates = [item for item in inventory.of_kind(ItemKind.UPDATE) if _is_there(item)]
    frameworks = [item.version for item in inventory.of_kind(ItemKind.DOTNET) if item.name == ".NET Framework"]
    return InstalledSystem(
        version=(system and WindowsVersion.parse(system.version)) or _NO_VERSION,
        product_name=system.name if system else "",
        installation_type=str(properties.get("installation_type", "")),
        architecture=str(properties.get("architecture", "amd64")),
        updates=frozenset(
            kb.upper().removeprefix("KB") for item in updates if (kb := str(item.properties.get("kb", "")))
        ),
        framework=next((version for version in frameworks if version.startswith("4.")), ""),
        framework_updates=tuple(item.version for item in updates if _FRAMEWORK_UPDATE.fullmatch(item.version)),
        has_framework_3_5=any(version.startswith("3.5") for version in frameworks),
        runtimes=tuple(_runtimes(inventory)),
    )


def _is_there(item: Item) -> bool:
    """Returns whether an update is installed, or was, and a later one that contains it replaced it."""
    return item.properties.get("state") in (INSTALLED, SUPERSEDED, "permanent")


def _runtimes(inventory: Inventory) -> Iterator[Runtime]:
    for item in inventory.of_kind(ItemKind.DOTNET):
        family = _FAMILIES.get(item.name.lower())
        if family is not None and item.version:
            # What follows "+" names the commit.
            yield Runtime(family, item.version.partition("+")[0], item.origin.place)
