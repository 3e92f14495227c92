r"""Updates and other packages of Component Based Servicing (CBS), with their states.

CBS has a key for each package that it knows, below `Component Based Servicing\Packages`. The key's name is the
identity of the package: name, public key token, architecture, language and version, with `~` between them.
`CurrentState` says how far its installation is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wclayer.formats.regf.model import Key
from wclayer.inventory.collectors.guarding import Found, each_subkey
from wclayer.inventory.collectors.key_values import KeyValues
from wclayer.inventory.item import Finding, Item, ItemKind, Property
from wclayer.inventory.subject.subject import Subject
from wclayer.win32 import filetime

PACKAGES = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
INSTALLED = "installed"
SUPERSEDED = "superseded"
_STATES = {
    0x00: "absent",
    0x05: "uninstall pending",
    0x10: "resolving",
    0x20: "resolved",
    0x30: "staging",
    0x40: "staged",
    0x50: SUPERSEDED,
    0x60: "install pending",
    0x65: "partially installed",
    0x70: INSTALLED,
    0x80: "permanent",
}
_KB = re.compile(r"(?:^|_)(KB\d{5,8})(?:[_~.]|$)", re.ASCII | re.IGNORECASE)
_UPDATES = re.compile(
    r"Package(?:_\d+)?_for_(?:KB\d+|RollupFix|ServicingStack|\w*Rollup|SafeOSDU|OasisAsset)",
    re.ASCII | re.IGNORECASE,
)
"""The beginnings of names of updates. The other packages are parts of Windows: see `features`."""
_WRAPPED = re.compile(r"Package_\d+_for_", re.ASCII | re.IGNORECASE)
"""The packages inside of an update have numbers."""


def collect(subject: Subject) -> Found:
    """Yields the updates that CBS knows, with their states. The property `is_part` marks packages inside an update."""

    def update(path: str, key: Key) -> Iterable[Item | Finding]:
        if not _UPDATES.match(key.name):
            return ()
        return (_update(subject, path, key),)

    yield from each_subkey(subject.registry, PACKAGES, update)


def _update(subject: Subject, path: str, key: Key) -> Item:
    values = KeyValues(key)
    name, _, architecture, language, version = (*key.name.split("~"), "", "", "", "")[:5]
    found = _KB.search(name)
    properties: dict[str, Property] = {"package": key.name, "state": state_text(values.number("CurrentState"))}
    if found:
        properties["kb"] = found[1].upper()
    properties["is_superseded"] = properties["state"] == SUPERSEDED
    properties["is_part"] = bool(_WRAPPED.match(name))
    visibility = values.number("Visibility")
    if visibility is not None:
        properties["is_shown"] = visibility == 1
    texts = {
        "architecture": architecture, "language": language, "install_client": values.text("InstallClient"),
        "install_name": values.text("InstallName"), "installed": _time(values),
    }  # fmt: skip
    properties |= {label: text for label, text in texts.items() if text}
    origin = subject.registry.origin(path, "CurrentState")
    return Item(
        ItemKind.UPDATE, found[1].upper() if found else name, version, origin, "Microsoft Corporation", properties
    )


def state_text(state: int | None) -> str:
    """Returns the name of a state of CBS, or its number if it has none; "unknown" for None."""
    if state is None:
        return "unknown"
    return _STATES.get(state, f"{state:#x}")


def _time(values: KeyValues) -> str:
    high, low = values.number("InstallTimeHigh"), values.number("InstallTimeLow")
    if high is None or low is None or not (high or low):
        return ""
    return filetime.to_iso(high << 32 | low)
