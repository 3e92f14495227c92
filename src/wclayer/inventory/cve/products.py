"""The products of MSRC's documents that an installed system is.

A product is found by its name in the document's own list. The ids help where a document uses one without naming it.
Sources: the product lists of MSRC's CVRF documents from 2016 to 2026.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wclayer.inventory.cve.system import InstalledSystem, Runtime
from wclayer.inventory.cve.versions import numbers_of, release_of


class ProductKind(enum.Enum):
    """What kind of product it is: this decides how its version is compared."""

    WINDOWS = enum.auto()
    FRAMEWORK = enum.auto()
    RUNTIME = enum.auto()


@dataclass(frozen=True, slots=True)
class InstalledProduct:
    """A product that is installed.

    Attributes:
        name: its name as MSRC writes it, or the most usual of its names.
        version: its version ("10.0.20348.2527", "4.8", "8.0.7").
        kind: what kind of product it is.
        path: where it is in the image; "" for the system.
    """

    name: str
    version: str
    kind: ProductKind
    path: str = ""


_SERVERS = {
    14393: "Windows Server 2016",
    16299: "Windows Server, version 1709",
    17134: "Windows Server, version 1803",
    17763: "Windows Server 2019",
    18362: "Windows Server, version 1903",
    18363: "Windows Server, version 1909",
    19041: "Windows Server, version 2004",
    19042: "Windows Server, version 20H2",
    20348: "Windows Server 2022",
    25398: "Windows Server 2022, 23H2 Edition",
    26100: "Windows Server 2025",
}  # fmt: skip
"""The releases of Windows Server by their builds."""
_CLIENTS = {
    10240: "Windows 10", 14393: "Windows 10 Version 1607", 15063: "Windows 10 Version 1703",
    16299: "Windows 10 Version 1709", 17134: "Windows 10 Version 1803", 17763: "Windows 10 Version 1809",
    18362: "Windows 10 Version 1903", 18363: "Windows 10 Version 1909", 19041: "Windows 10 Version 2004",
    19042: "Windows 10 Version 20H2", 19043: "Windows 10 Version 21H1", 19044: "Windows 10 Version 21H2",
    19045: "Windows 10 Version 22H2", 22000: "Windows 11 version 21H2", 22621: "Windows 11 Version 22H2",
    22631: "Windows 11 Version 23H2", 26100: "Windows 11 Version 24H2", 26200: "Windows 11 Version 25H2",
}  # fmt: skip
"""The releases of Windows for clients by their builds."""
_PROCESSORS = {"amd64": "x64-based", "arm64": "ARM64-based", "386": "32-bit"}
_CORE = "(Server Core installation)"
_CORE_TYPES = {"Server Core", "Nano Server"}
"""The installation types whose product is the Server Core installation. MSRC has no product for Nano Server. Both are
of one build and get the same updates, so the product of Server Core is taken; parts of it may not be in Nano Server."""
_IDS = {
    "Windows Server 2016": ("10816", "10855"), "Windows Server 2019": ("11571", "11572"),
    "Windows Server 2022": ("11923", "11924"), "Windows Server 2022, 23H2 Edition": ("12244", "12244"),
    "Windows Server 2025": ("12436", "12437"),
}  # fmt: skip
"""The ids of a release: of the installation with a desktop, and of Server Core."""
_FRAMEWORK = re.compile(r"(?:Microsoft )?\.NET Framework (?P<versions>.{1,100}?) on (?P<system>Windows .+)", re.ASCII)
_FRAMEWORK_VERSION = re.compile(r"\d+(?:\.\d+){1,2}", re.ASCII)
_RUNTIME = re.compile(
    r"(?P<family>ASP\.NET Core|\.NET|PowerShell)(?: Core)? (?P<release>\d+\.\d+)(?:\.\d+)?(?: installed on Windows)?",
    re.ASCII,
)


class ProductMatcher:
    """Finds the products of an installed system in documents."""

    def __init__(self, system: InstalledSystem) -> None:
        self._system = system
        self._windows, self._windows_ids = _windows_names(system)
        self._windows_keys = {_key(name) for name in self._windows}
        self._known: dict[tuple[str, str], tuple[InstalledProduct, ...]] = {}
        self.products = tuple(self._products())
        """What is installed."""

    def _products(self) -> Iterator[InstalledProduct]:
        if self._system.version.build:
            yield InstalledProduct(self._windows[0], str(self._system.version), ProductKind.WINDOWS)
        version = self._system.framework or ("3.5" if self._system.has_framework_3_5 else "")
        if version:
            yield InstalledProduct(f"Microsoft .NET Framework {version}", version, ProductKind.FRAMEWORK)
        for runtime in self._system.runtimes:
            yield InstalledProduct(_runtime_name(runtime), runtime.version, ProductKind.RUNTIME, runtime.path)

    def find(self, product_id: str, names: Mapping[str, str]) -> tuple[InstalledProduct, ...]:
        """Returns which installed products a product of a document is.

        Args:
            product_id: the id of the product.
            names: the names of the document's products by their ids.
        """
        name = names.get(product_id, "")
        known = self._known.get((product_id, name))
        if known is None:
            known = self._known[product_id, name] = tuple(
                product for product in self.products if self._is(product, product_id, name)
            )
        return known

    def _is(self, product: InstalledProduct, product_id: str, name: str) -> bool:
        if product.kind is ProductKind.WINDOWS:
            return _key(name) in self._windows_keys if name else product_id in self._windows_ids
        if product.kind is ProductKind.FRAMEWORK:
            return self._is_framework(name)
        found = _RUNTIME.fullmatch(name.strip())
        return found is not None and f"{found['family']} {found['release']}" == product.name

    def _is_framework(self, name: str) -> bool:
        """Returns whether a product is a version of .NET Framework on this system.

        A product names several versions ("3.5 AND 4.8"): those of 4 decide, and 3.5 only if there is none of 4 among
        them, since the update for both depends on the version of 4.
        """
        found = _FRAMEWORK.fullmatch(name.strip())
        if found is None or _key(found["system"]) not in self._windows_keys:
            return False
        versions = _FRAMEWORK_VERSION.findall(found["versions"])
        fours = [version for version in versions if version.startswith("4.")]
        return self._system.framework in fours if fours else "3.5" in versions and self._system.has_framework_3_5


def _windows_names(system: InstalledSystem) -> tuple[list[str], set[str]]:
    """Returns the names that documents have for a version of Windows, and its ids where they are known."""
    build = system.version.build
    if system.installation_type == "Client" or system.product_name.startswith(("Windows 10", "Windows 11")):
        if (release := _CLIENTS.get(build)) is None:
            return [system.product_name or f"Windows {system.version}"], set()
        processor = _PROCESSORS.get(system.architecture, system.architecture)
        return [f"{release} for {processor} Systems"], set()
    if (release := _SERVERS.get(build)) is None:
        return [system.product_name or f"Windows {system.version}"], set()
    is_core = system.installation_type in _CORE_TYPES or build in _ONLY_CORE
    ids = _IDS.get(release)
    return [f"{release} {_CORE}" if is_core else release], {ids[is_core]} if ids else set()


_ONLY_CORE = {16299, 17134, 18362, 18363, 19041, 19042, 25398}
"""The releases of Windows Server that have no installation with a desktop."""


def _runtime_name(runtime: Runtime) -> str:
    return f"{runtime.family} {'.'.join(str(number) for number in numbers_of(release_of(runtime.version))[:2])}"


def _key(name: str) -> str:
    """Returns a name without what differs between documents: case, spaces, and "Microsoft" before it."""
    return " ".join(name.casefold().split()).removeprefix("microsoft ")
