r"""Optional features, roles of servers, and server levels.

- Optional features (what `dism /get-features` lists): CBS keeps their states in the values of the key `Updates` of the
  package that has them.
- Roles and features of servers (what `Get-WindowsFeature` lists): the cache of the Server Manager has a key for each.
- Server levels: which kinds of a server's installation a system has (`Server-Core`, `Server-Gui-Shell`).
"""

from __future__ import annotations

from collections.abc import Iterable

from wclayer.formats.regf.model import Key
from wclayer.formats.regf.values import integer
from wclayer.inventory.collectors.guarding import Found, each_subkey, guarded
from wclayer.inventory.collectors.key_values import KeyValues
from wclayer.inventory.collectors.updates import PACKAGES, state_text
from wclayer.inventory.item import Finding, Item, ItemKind
from wclayer.inventory.subject.subject import Subject

ROLES = r"HKLM\SOFTWARE\Microsoft\ServerManager\ServicingStorage\ServerComponentCache"
SERVER_LEVELS = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Server\ServerLevels"
_ROLE_STATES = {0: "available", 1: "installed", 5: "removed"}


def collect(subject: Subject) -> Found:
    """Yields the optional features, roles and server levels, with their states. The property `source` is
    "optional-feature", "role" or "server-level"."""
    registry = subject.registry

    def optional(path: str, package: Key) -> Iterable[Item | Finding]:
        place = f"{path}\\Updates"
        for value in KeyValues(package.subkey("Updates")):
            state = integer(value)
            if state is not None:
                yield Item(
                    ItemKind.FEATURE, value.name, package.name.rpartition("~")[2], registry.origin(place, value.name),
                    properties={"source": "optional-feature", "state": state_text(state), "package": package.name},
                )  # fmt: skip

    def role(path: str, key: Key) -> Iterable[Item | Finding]:
        values = KeyValues(key)
        state = values.number("InstallState")
        if state is not None:
            yield Item(
                ItemKind.FEATURE, key.name, "", registry.origin(path, "InstallState"),
                properties={"source": "role", "state": _ROLE_STATES.get(state, str(state))},
            )  # fmt: skip

    def levels() -> Iterable[Item | Finding]:
        for value in KeyValues(registry.find(SERVER_LEVELS)):
            if integer(value):
                yield Item(
                    ItemKind.FEATURE, value.name, "", registry.origin(SERVER_LEVELS, value.name),
                    properties={"source": "server-level", "state": "installed"},
                )  # fmt: skip

    yield from each_subkey(registry, PACKAGES, optional)
    yield from each_subkey(registry, ROLES, role)
    yield from guarded(SERVER_LEVELS, levels)
