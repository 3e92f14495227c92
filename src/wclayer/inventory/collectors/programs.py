r"""Installed programs: what installers have registered below the keys `Uninstall`, for all users and for each user.

A subkey is what "Apps & features" of Windows may show: if it has a `DisplayName`, is no part of another program
(`ParentKeyName`), and is not hidden (`SystemComponent`).

Source: "Uninstall Registry Key" (Windows Installer).
"""

from __future__ import annotations

import re
from functools import partial

from wclayer.formats.regf.model import Key
from wclayer.inventory.collectors.guarding import Found, each_subkey
from wclayer.inventory.collectors.key_values import KeyValues
from wclayer.inventory.collectors.user_keys import UserKeys, each_user
from wclayer.inventory.item import Item, ItemKind, Property
from wclayer.inventory.subject.registry import KeySource
from wclayer.inventory.subject.subject import Subject

_UNINSTALL = r"Microsoft\Windows\CurrentVersion\Uninstall"
UNINSTALL = rf"HKLM\SOFTWARE\{_UNINSTALL}"
UNINSTALL_32 = rf"HKLM\SOFTWARE\Wow6432Node\{_UNINSTALL}"
_TEXTS = {
    "install_location": "InstallLocation",
    "install_date": "InstallDate",
    "install_source": "InstallSource",
    "uninstall_command": "UninstallString",
    "parent": "ParentKeyName",
    "release_type": "ReleaseType",
    "about_url": "URLInfoAbout",
}
_TELLING = ("DisplayVersion", "UninstallString", "QuietUninstallString", "InstallLocation")
"""Values that make a key without a name worth an item. The others are empty keys that old parts of Windows made."""
_GUID = re.compile(r"\{[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\}", re.IGNORECASE)


def collect(subject: Subject) -> Found:
    """Yields the programs of both views of the registry, then those of each user.

    The property `view` is "64", "32" or "user". `is_named` is False for a program without a name: it has that of its
    key.
    """
    registry = subject.registry
    yield from each_subkey(registry, UNINSTALL, partial(_program, registry, {"view": "64"}))
    yield from each_subkey(registry, UNINSTALL_32, partial(_program, registry, {"view": "32"}))
    yield from each_user(subject, _of_user)


def _of_user(user: UserKeys) -> Found:
    about: dict[str, Property] = {"view": "user", "user": user.user}
    yield from each_subkey(user.keys, rf"{user.root}\Software\{_UNINSTALL}", partial(_program, user.keys, about))


def _program(keys: KeySource, about: dict[str, Property], path: str, key: Key) -> Found:
    values = KeyValues(key)
    name = values.text("DisplayName")
    if not name and not any(values.text(telling) for telling in _TELLING):
        return
    properties: dict[str, Property] = {"key": key.name, **about}
    properties |= {label: text for label, value in _TEXTS.items() if (text := values.text(value))}
    size = values.number("EstimatedSize")
    if size is not None:
        properties["estimated_kib"] = size
    properties["is_named"] = bool(name)
    properties["is_update"] = "parent" in properties
    properties["is_system_component"] = values.number("SystemComponent") == 1
    properties["is_windows_installer"] = values.number("WindowsInstaller") == 1
    if properties["is_windows_installer"] and _GUID.fullmatch(key.name):
        properties["product_code"] = key.name.upper()
    yield Item(
        ItemKind.PROGRAM,
        name or key.name,
        _version(values),
        keys.origin(path, "DisplayVersion"),
        values.text("Publisher"),
        properties,
    )


def _version(values: KeyValues) -> str:
    major, minor = values.number("VersionMajor"), values.number("VersionMinor")
    return values.text("DisplayVersion") or ("" if major is None else f"{major}.{minor or 0}")
