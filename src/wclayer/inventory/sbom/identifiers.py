"""The identifiers by which others know what an image holds: package URLs (purl) and CPE names.

References: purl-spec (package-url/purl-spec); NIST IR 7695 for CPE 2.3. There is no type of purl for Windows and its
programs, so they are `generic`. No index says which CPE name a program has: the name that is made of its publisher and
its own name is a guess.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wclayer.errors import FormatError, LayerError
from wclayer.images.descriptor import check_digest
from wclayer.images.reference import Reference, parse_reference
from wclayer.inventory.item import Inventory, Item, ItemKind
from wclayer.inventory.sbom.text import clean

MICROSOFT = "microsoft"
_LONGEST = 1000
"""Characters of the parts of a purl, together. Nobody looks for longer ones."""
_LONGEST_ATTRIBUTE = 200
_SERVERS = {
    14393: "windows_server_2016",
    17763: "windows_server_2019",
    18362: "windows_server_1903",
    18363: "windows_server_1909",
    19041: "windows_server_2004",
    19042: "windows_server_20h2",
    20348: "windows_server_2022",
    25398: "windows_server_2022_23h2",
    26100: "windows_server_2025",
}
"""The products of the CPE dictionary for the builds of Windows Server."""
_DOTNET = {
    ".NET Framework": ".net_framework",
    "Microsoft.NETCore.App": ".net",
    "Microsoft.WindowsDesktop.App": ".net",
    "Microsoft.AspNetCore.App": "asp.net_core",
    "PowerShell": "powershell",
}
"""The products of the CPE dictionary for the parts of .NET."""
_PROCESSORS = {"amd64": "x64", "arm64": "arm64", "386": "x86"}
_GUESSED = frozenset({ItemKind.PROGRAM, ItemKind.MSI_PRODUCT, ItemKind.APPX_PACKAGE})
"""Kinds whose CPE name is made of the publisher and the name."""
_WITHOUT_PURL = frozenset({ItemKind.PE_FILE, ItemKind.CERTIFICATE, ItemKind.DRIVER, ItemKind.FEATURE})
"""Kinds that no list of packages has: a file is known by its hash, a driver and a feature by the operating system."""
_COMPANY = re.compile(
    r"[\s,]+(?:\(?r\)?|inc|incorporated|corp|corporation|co|company|ltd|limited|llc|gmbh|ag|s\.?a|b\.?v|foundation|"
    r"software foundation|team|project|contributors|developers)\.?$"
)
_DECORATION = re.compile(r"\([^()]{0,100}\)|\b(?:x64|x86|amd64|arm64|32-bit|64-bit|version)\b")
_VERSION_AT_END = re.compile(r"[\s-]+v?\d+(?:\.\d+)*$")
_OUTSIDE_OF_CPE = re.compile(r"[^a-z0-9_.!\"#$%&'()*+,/:;<=>?@\[\\\]^`{|}~-]")
_ESCAPED = re.compile(r"[!\"#$%&'()*+,/:;<=>?@\[\\\]^`{|}~]")


@dataclass(frozen=True, slots=True)
class Identifiers:
    """What identifies an item.

    Attributes:
        purl: the package URL; "" if there is none.
        cpe: the CPE 2.3 name; "" if there is none.
        is_guess: True if the CPE name is made of what the item says of itself, and nobody may know it by that.
    """

    purl: str = ""
    cpe: str = ""
    is_guess: bool = False


def identifiers_of(item: Item) -> Identifiers:
    """Returns what identifies an item."""
    if item.kind is ItemKind.OPERATING_SYSTEM:
        return _of_windows(item)
    if item.kind in _WITHOUT_PURL:
        return Identifiers()
    make = _PURLS.get(item.kind, _generic)
    purl = make(item)
    if item.kind is ItemKind.DOTNET:
        known = _DOTNET.get(item.name)
        return Identifiers(purl, _cpe("a", MICROSOFT, known, item.version) if known else "")
    if item.kind in _GUESSED:
        vendor = _vendor(item.publisher)
        product = _product(item.name, vendor, item.version)
        cpe = _cpe("a", vendor, product, item.version) if vendor and product else ""
        return Identifiers(purl, cpe, is_guess=bool(cpe))
    return Identifiers(purl)


def image_name(inventory: Inventory) -> str:
    """Returns the name by which a bill knows an image: its reference, or the last part of a path, which is nobody's
    business."""
    if _reference_of(inventory.name) is not None:
        return inventory.name
    return clean(re.split(r"[\\/]", inventory.name.rstrip("\\/"))[-1])


def image_purl(inventory: Inventory) -> str:
    """Returns the package URL of an image; "" if it is no image, or its name is none of an image. The registry is only
    stated if the name does."""
    reference = _reference_of(inventory.name)
    if reference is None:
        return ""
    try:
        check_digest(inventory.digest, "the image")
    except FormatError:
        return ""
    repository = f"{reference.registry}/{reference.repository}"
    is_whole = inventory.name.startswith(f"{reference.registry}/")
    qualifiers = {"repository_url": repository if is_whole else "", "tag": reference.tag}
    return _purl("oci", "", repository.rpartition("/")[2], inventory.digest, qualifiers)


def _reference_of(name: str) -> Reference | None:
    try:
        return None if name.startswith("sha256:") else parse_reference(name)
    except LayerError:
        return None


def _of_windows(item: Item) -> Identifiers:
    product = _windows_product(item)
    architecture = _text(item, "architecture")
    purl = _purl(
        "generic", MICROSOFT, product, item.version, {"arch": architecture, "edition": _text(item, "edition").lower()}
    )
    return Identifiers(purl, _cpe("o", MICROSOFT, product, item.version, _PROCESSORS.get(architecture, "")))


def _windows_product(item: Item) -> str:
    """Returns the product by which the CPE dictionary knows a Windows: that of its build for servers, of its name and
    release for others."""
    name = clean(item.name).lower()
    build = item.version.split(".")[2:3]
    if "server" in f"{name} {_text(item, 'installation_type').lower()}":
        known = _SERVERS.get(int(build[0])) if build and re.fullmatch(r"\d{1,6}", build[0], re.ASCII) else None
        return known or _slug(name) or "windows_server"
    generation = re.match(r"windows (?:10|11)\b", name)
    release = _text(item, "display_version") or _text(item, "release_id")
    return _slug(f"{generation[0]} {release}".strip() if generation else name) or "windows"


def _text(item: Item, name: str) -> str:
    value = item.properties.get(name, "")
    return clean(value) if isinstance(value, str) else ""


# Package URLs.


def _purl(kind: str, namespace: str, name: str, version: str, qualifiers: Mapping[str, str] | None = None) -> str:
    parts = [clean(part).strip("/ ") for part in (namespace, name, version)]
    if not parts[1] or sum(map(len, parts)) > _LONGEST:
        return ""
    from packageurl import PackageURL

    stated = {key: value for key, value in (qualifiers or {}).items() if value}
    try:
        purl: str = PackageURL(kind, parts[0] or None, parts[1], parts[2] or None, stated or None).to_string()
    except ValueError:
        return ""
    return purl


def _generic(item: Item) -> str:
    return _purl("generic", _vendor(item.publisher), item.name, item.version)


def _split(kind: str, separator: str) -> Callable[[Item], str]:
    """Returns a function that makes the purl of a package whose name has its namespace before the last separator."""

    def make(item: Item) -> str:
        namespace, _, name = item.name.rpartition(separator)
        return _purl(kind, namespace, name, item.version)

    return make


_maven = _split("maven", ":")


_PURLS: Mapping[ItemKind, Callable[[Item], str]] = {
    ItemKind.PYTHON_PACKAGE: lambda item: _purl("pypi", "", item.name, item.version),
    ItemKind.NODE_PACKAGE: _split("npm", "/"),
    ItemKind.JAVA_PACKAGE: lambda item: _maven(item) if ":" in item.name else _generic(item),
    ItemKind.NUGET_PACKAGE: lambda item: _purl(
        "chocolatey" if _text(item, "source") == "chocolatey" else "nuget", "", item.name, item.version
    ),
    ItemKind.GO_MODULE: _split("golang", "/"),
    ItemKind.RUST_CRATE: lambda item: _purl("cargo", "", item.name, item.version),
}  # fmt: skip


# CPE names.


def _vendor(publisher: str) -> str:
    """Returns a publisher as CPE names write it: without the legal form."""
    text = _plain(publisher)
    while (shorter := _COMPANY.sub("", text).strip(" ,.")) != text and shorter:
        text = shorter
    return _slug(text)


def _product(name: str, vendor: str, version: str = "") -> str:
    """Returns the name of a program as CPE names write it: without the vendor, the version and the processor."""
    text = _DECORATION.sub(" ", _plain(name).replace(clean(version).lower() or "\n", " "))
    text = _VERSION_AT_END.sub("", text.strip(" -,"))
    without_vendor = text.removeprefix(f"{vendor.replace('_', ' ')} ") if vendor else text
    return _slug(without_vendor) or _slug(text)


def _plain(text: str) -> str:
    """Returns a text in lower case, without accents."""
    cut = clean(text[:_LONGEST])
    return unicodedata.normalize("NFKD", cut).encode("ascii", "ignore").decode().lower()


def _slug(text: str) -> str:
    """Returns a text as the value of an attribute of a CPE name, not escaped; "" if nothing of it can be in one."""
    value = _OUTSIDE_OF_CPE.sub("", re.sub(r"\s+", "_", _plain(text).strip()))
    return value[:_LONGEST_ATTRIBUTE].lstrip("_-*?").rstrip("_-.*?")


def _cpe(part: str, vendor: str, product: str, version: str, processor: str = "") -> str:
    """Returns a CPE 2.3 name as a formatted string (NIST IR 7695, 6.2)."""
    values = [_ESCAPED.sub(r"\\\g<0>", _slug(value)) or "*" for value in (vendor, product, version)]
    return ":".join(["cpe:2.3", part, *values, *"*****", processor or "*", "*"])
