r""".NET: the Framework that is part of Windows, runtimes and SDKs of .NET, and PowerShell.

Sources: "Determine which .NET Framework versions are installed" (the table of `Release`), "Install location search
path" and the layout of .NET's folders (docs/project/dotnet-host of dotnet/runtime).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, TypedDict

from wclayer.formats.pe.facts import read_facts
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.source import FileSource
from wclayer.inventory.collectors.guarding import Found, each_file, guarded
from wclayer.inventory.collectors.key_values import KeyValues
from wclayer.inventory.item import Item, ItemKind, Property
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.readings import KnownFiles, Reader
from wclayer.inventory.subject.subject import Subject

_PUBLISHER = "Microsoft Corporation"
_NDP = r"Microsoft\NET Framework Setup\NDP"
_VIEWS = (("64", r"HKLM\SOFTWARE"), ("32", r"HKLM\SOFTWARE\Wow6432Node"))
_RELEASES = (
    (378389, "4.5"), (378675, "4.5.1"), (379893, "4.5.2"), (393295, "4.6"), (394254, "4.6.1"), (394802, "4.6.2"),
    (460798, "4.7"), (461308, "4.7.1"), (461808, "4.7.2"), (528040, "4.8"), (533320, "4.8.1"),
)  # fmt: skip
"""The lowest `Release` of each version of the Framework."""
_OLD = ("v2.0.50727", "v3.0", "v3.5")
_POWERSHELL = r"HKLM\SOFTWARE\Microsoft\PowerShell\3\PowerShellEngine"
_POWERSHELL_FILES = ("Program Files/PowerShell/pwsh.dll", "Program Files/PowerShell/*/pwsh.dll")
_VERSION = re.compile(r"\d{1,9}(?:\.\d{1,9}){1,3}(?:-[0-9A-Za-z.-]{1,64})?(?:\+[0-9A-Za-z.-]{1,64})?")
_FOLDERS = ("Program Files/dotnet", "Program Files (x86)/dotnet", "dotnet")


class _PowerShell(TypedDict):
    """The version of the PowerShell whose program a file is: its version resource states it, and the commit."""

    version: str


def _read_powershell(opened: BinaryIO, size: int) -> _PowerShell:
    version = read_facts(PeImage(FileSource(opened))).version
    words = "" if version is None else (version.get("ProductVersion") or "")
    return {"version": words.partition(" ")[0]}


_READER = Reader("powershell", _PowerShell, _read_powershell)
READS = tuple(KnownFiles(pattern, reader=_READER) for pattern in _POWERSHELL_FILES)


def collect(subject: Subject) -> Found:
    """Yields the Framework, then runtimes and SDKs, then PowerShell. The property `part` is "framework", "runtime",
    "sdk", "host" or "powershell"."""
    yield from _framework(subject)
    for folder in _FOLDERS:
        yield from _versions(subject, f"{folder}/shared/*/*", "runtime")
        yield from _versions(subject, f"{folder}/host/fxr/*", "host", "Microsoft.NETCore.DotNetHostResolver")
        yield from _versions(subject, f"{folder}/sdk/*", "sdk", "Microsoft.NET.Sdk")
    yield from guarded(_POWERSHELL, _windows_powershell, subject)
    for pattern in _POWERSHELL_FILES:
        yield from guarded(pattern, each_file, subject.files.matching(pattern), partial(_powershell, subject))


def _framework(subject: Subject) -> Found:
    seen: set[tuple[str, str]] = set()
    for view, root in _VIEWS:
        for name, path in (("v4", rf"{root}\{_NDP}\v4\Full"), *((old, rf"{root}\{_NDP}\{old}") for old in _OLD)):
            for item in guarded(path, _framework_version, subject, view, name, path):
                # Both views have the same versions: the second one is shown where it differs.
                key = (item.version, str(item.properties["full_version"])) if isinstance(item, Item) else (path, "")
                if key not in seen:
                    seen.add(key)
                    yield item


def _framework_version(subject: Subject, view: str, name: str, path: str) -> Iterator[Item]:
    values = KeyValues(subject.registry.find(path))
    full, release = values.text("Version"), values.number("Release")
    if values.number("Install") != 1 or not full:
        return
    properties: dict[str, Property] = {"part": "framework", "view": view, "full_version": full}
    version = name.removeprefix("v")
    if release is not None:
        properties["release"] = release
        version = framework_version(release)
    elif name == "v4":
        version = "4.0"
    pack = values.number("SP")
    if pack:
        properties["service_pack"] = pack
    origin = subject.registry.origin(path, "Version" if release is None else "Release")
    yield Item(ItemKind.DOTNET, ".NET Framework", version, origin, _PUBLISHER, properties)


def framework_version(release: int) -> str:
    """Returns the version of the .NET Framework that a value `Release` means: the highest one that it reaches."""
    found = bisect_right(_RELEASES, (release, "~"))
    return _RELEASES[found - 1][1] if found else "4.0"


def _versions(subject: Subject, pattern: str, part: str, name: str = "") -> Found:
    def version(folder: SubjectFile) -> Iterator[Item]:
        if _VERSION.fullmatch(folder.name) is None or next(iter(subject.files.children(folder)), None) is None:
            return
        what = name or folder.path.split("/")[-2]
        yield Item(
            ItemKind.DOTNET, what, folder.name, folder.origin, _PUBLISHER if what.startswith("Microsoft.") else "",
            {"part": part},
        )  # fmt: skip

    yield from guarded(pattern, each_file, subject.files.matching(pattern), version)


def _windows_powershell(subject: Subject) -> Iterator[Item]:
    version = KeyValues(subject.registry.find(_POWERSHELL)).text("PowerShellVersion")
    if version:
        origin = subject.registry.origin(_POWERSHELL, "PowerShellVersion")
        yield Item(ItemKind.DOTNET, "Windows PowerShell", version, origin, _PUBLISHER, {"part": "powershell"})


def _powershell(subject: Subject, file: SubjectFile) -> Iterator[Item]:
    version = subject.files.reading(file, _READER)["version"]
    yield Item(ItemKind.DOTNET, "PowerShell", version, file.origin, _PUBLISHER, {"part": "powershell"})
