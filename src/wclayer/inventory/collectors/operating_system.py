r"""The operating system: what `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion` says, beside the configuration.

The names of the values are those that Windows documents for `winver` and `Get-ComputerInfo`. `ProductName` says
"Windows 10" on every client since Windows 10; the build number tells which it is.
"""

from __future__ import annotations

from wclayer.inventory.collectors.guarding import Found, attempt
from wclayer.inventory.collectors.key_values import KeyValues
from wclayer.inventory.item import Finding, FindingKind, Item, ItemKind, Property
from wclayer.inventory.subject.subject import Subject

KEY = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
_ARCHITECTURE_KEY = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
_TEXTS = {
    "edition": "EditionID",
    "installation_type": "InstallationType",
    "display_version": "DisplayVersion",
    "release_id": "ReleaseId",
    "build_lab": "BuildLabEx",
}
_FIRST_WINDOWS_10 = 10240
_FIRST_WINDOWS_11 = 22000
_ARCHITECTURES = {"AMD64": "amd64", "ARM64": "arm64", "X86": "386"}
"""The names of processors in the registry, and in the configuration of an image."""


def collect(subject: Subject) -> Found:
    """Yields the operating system, and a finding for each contradiction to the configuration."""
    key = subject.registry.find(KEY)
    if key is None:
        return
    values = KeyValues(key)
    version = _version(values)
    properties: dict[str, Property] = {name: text for name, value in _TEXTS.items() if (text := values.text(value))}
    architecture, damage = attempt(_ARCHITECTURE_KEY, lambda: _architecture(subject))
    yield from damage
    if architecture:
        properties["architecture"] = architecture
    named = "UBR" if "UBR" in values else "CurrentBuildNumber"
    origin = subject.registry.origin(KEY, named)
    if version or values.text("ProductName"):
        yield Item(ItemKind.OPERATING_SYSTEM, _product(values), version, origin, "Microsoft Corporation", properties)
    yield from _contradictions(subject, version, architecture)


def _version(values: KeyValues) -> str:
    """Returns the version with four numbers, as `os.version` has it; "" if the build number is missing."""
    build = values.text("CurrentBuildNumber") or values.text("CurrentBuild")
    if not build:
        return ""
    major, minor = values.number("CurrentMajorVersionNumber"), values.number("CurrentMinorVersionNumber")
    if major is not None:
        start = f"{major}.{minor or 0}"
    elif (values.number("CurrentBuildNumber") or values.number("CurrentBuild") or 0) >= _FIRST_WINDOWS_10:
        start = "10.0"
    else:
        # Windows before 10 has one text for both.
        start = values.text("CurrentVersion") or "0.0"
    ubr = values.number("UBR")
    return f"{start}.{build}" if ubr is None else f"{start}.{build}.{ubr}"


def _product(values: KeyValues) -> str:
    name = values.text("ProductName") or "Windows"
    build = values.number("CurrentBuildNumber")
    if name.startswith("Windows 10") and build is not None and build >= _FIRST_WINDOWS_11:
        return "Windows 11" + name.removeprefix("Windows 10")
    return name


def _architecture(subject: Subject) -> str:
    text = KeyValues(subject.registry.find(_ARCHITECTURE_KEY)).text("PROCESSOR_ARCHITECTURE")
    return _ARCHITECTURES.get(text.upper(), text.lower())


def _contradictions(subject: Subject, version: str, architecture: str | None) -> Found:
    if subject.config is None:
        return
    platform = subject.config.platform
    if version and platform.os_version and platform.os_version != version:
        yield Finding(
            FindingKind.MISMATCH,
            "config: os.version",
            f"says {platform.os_version}, but the registry of the image says {version}",
        )
    if architecture and platform.architecture and platform.architecture != architecture:
        yield Finding(
            FindingKind.MISMATCH,
            "config: architecture",
            f"says {platform.architecture}, but the registry of the image says {architecture}",
        )
