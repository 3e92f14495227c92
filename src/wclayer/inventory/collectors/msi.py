r"""Products and patches of Windows Installer (MSI), from its own tables in the registry.

Windows Installer names the keys of products, patches and upgrade codes by packed GUIDs. `UserData` has the products
that are installed, below the SID of the user for whom they are: S-1-5-18 is the machine. `Classes\Installer\Products`
has the products that are installed or advertised for the machine.

Sources: "MsiEnumPatchesEx" and "MsiGetPatchInfoEx" (states of patches), "ProductVersion", "Reading the registration of
products" (Win32, Windows Installer).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from wclayer.formats.regf.model import Key, fold
from wclayer.inventory.collectors.guarding import Found, each_subkey
from wclayer.inventory.collectors.key_values import KeyValues
from wclayer.inventory.collectors.paths import path_exists, resolve_path
from wclayer.inventory.collectors.programs import UNINSTALL, UNINSTALL_32
from wclayer.inventory.item import Finding, Item, ItemKind, Property
from wclayer.inventory.subject.subject import Subject
from wclayer.win32.guid import unpack_guid

_INSTALLER = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Installer"
_USER_DATA = rf"{_INSTALLER}\UserData"
_ADVERTISED = r"HKLM\SOFTWARE\Classes\Installer\Products"
_UPGRADE_CODES = (rf"{_INSTALLER}\UpgradeCodes", r"HKLM\SOFTWARE\Classes\Installer\UpgradeCodes")
_TEXTS = {
    "install_location": "InstallLocation",
    "install_date": "InstallDate",
    "install_source": "InstallSource",
    "about_url": "URLInfoAbout",
}
_MACHINE = "S-1-5-18"
_APPLIED = 1
_PATCH_STATES = {_APPLIED: "applied", 2: "superseded", 4: "obsoleted", 8: "registered"}


class _Products:
    """What is known of all products while they are collected."""

    def __init__(self, subject: Subject, variables: Mapping[str, str]) -> None:
        self.subject = subject
        self.variables = variables
        self.upgrade_codes: dict[str, str] = {}
        """The upgrade code of each product, both as GUIDs in braces."""
        self.seen: set[str] = set()
        """The products that are installed."""

    def package(self, text: str) -> dict[str, Property]:
        """Returns where Windows Installer keeps its copy of a package, and whether it is there."""
        if not text:
            return {}
        path = resolve_path(text, self.variables)
        exists = path is not None and path_exists(self.subject.files, path)
        return {"local_package": text, "local_package_exists": exists}


def collect(subject: Subject) -> Found:
    """Yields the products with their patches, then those that are only advertised.

    A product has the property `product_code`, as has the program that it registered. `state` is "installed" or
    "advertised"; that of a patch is "applied", "superseded", "obsoleted" or "registered".
    """
    products = _Products(subject, subject.variables)
    for path in _UPGRADE_CODES:
        yield from each_subkey(subject.registry, path, partial(_add_upgrade_code, products))
    yield from each_subkey(subject.registry, _USER_DATA, partial(_of_user, products))
    yield from each_subkey(subject.registry, _ADVERTISED, partial(_advertised, products))


def version_text(number: int) -> str:
    """Returns the version that a number of Windows Installer means: 8 bits, 8 bits and 16 bits."""
    return f"{number >> 24 & 0xFF}.{number >> 16 & 0xFF}.{number & 0xFFFF}"


def _code(key: Key) -> str:
    """Returns the code, in braces, that the name of a key is.

    Raises:
        FormatError: the name is no packed GUID.
    """
    return f"{{{unpack_guid(key.name)}}}".upper()


def _add_upgrade_code(products: _Products, path: str, key: Key) -> Iterable[Finding]:
    """Adds an upgrade code: its key has a value for each product."""
    code = _code(key)
    for value in KeyValues(key):
        products.upgrade_codes[fold(value.name)] = code
    return ()


def _of_user(products: _Products, path: str, key: Key) -> Found:
    yield from each_subkey(products.subject.registry, rf"{path}\Products", partial(_product, products, key.name, path))


def _product(products: _Products, sid: str, user: str, path: str, key: Key) -> Found:
    """Yields a product and its patches. A key without `InstallProperties` is what is left of a product."""
    stated = key.subkey("InstallProperties")
    if stated is None:
        return
    registry, code, values = products.subject.registry, _code(key), KeyValues(stated)
    products.seen.add(code)
    place = rf"{path}\InstallProperties"
    properties = _properties(products, key, code, "installed")
    if sid != _MACHINE:
        properties["sid"] = sid
    properties |= {label: text for label, value in _TEXTS.items() if (text := values.text(value))}
    properties |= products.package(values.text("LocalPackage"))
    uninstall = (rf"{above}\{code}" for above in (UNINSTALL, UNINSTALL_32))
    program = next((place for place in uninstall if registry.find(place) is not None), None)
    if program is not None:
        properties["program"] = program
    number = values.number("Version")
    version = values.text("DisplayVersion") or ("" if number is None else version_text(number))
    name = values.text("DisplayName") or code
    patches = list(each_subkey(registry, rf"{path}\Patches", partial(_patch, products, user, name, code)))
    properties["patches"] = [
        each.name for each in patches if isinstance(each, Item) and each.properties["state"] == _PATCH_STATES[_APPLIED]
    ]
    yield Item(
        ItemKind.MSI_PRODUCT, name, version, registry.origin(place, "DisplayVersion"), values.text("Publisher"),
        properties,
    )  # fmt: skip
    yield from patches


def _patch(products: _Products, user: str, product: str, product_code: str, path: str, key: Key) -> Iterator[Item]:
    values, code = KeyValues(key), _code(key)
    state = values.number("State")
    properties: dict[str, Property] = {
        "patch_code": code, "product": product, "product_code": product_code,
        "state": "unknown" if state is None else _PATCH_STATES.get(state, str(state)),
    }  # fmt: skip
    texts = {"about_url": "MoreInfoURL", "install_date": "Installed"}
    properties |= {label: text for label, value in texts.items() if (text := values.text(value))}
    registry = products.subject.registry
    package = KeyValues(registry.find(rf"{user}\Patches\{key.name}")).text("LocalPackage")
    properties |= products.package(package)
    yield Item(
        ItemKind.MSI_PATCH, values.text("DisplayName") or code, "", registry.origin(path, "State"), "", properties
    )


def _advertised(products: _Products, path: str, key: Key) -> Iterator[Item]:
    """Yields a product that Windows Installer offers, and installs when it is first used."""
    code, values = _code(key), KeyValues(key)
    if code in products.seen:
        return
    number = values.number("Version")
    version = "" if number is None else version_text(number)
    origin = products.subject.registry.origin(path, "Version")
    properties = _properties(products, key, code, "advertised")
    yield Item(ItemKind.MSI_PRODUCT, values.text("ProductName") or code, version, origin, "", properties)


def _properties(products: _Products, key: Key, code: str, state: str) -> dict[str, Property]:
    """Returns what the tables of the machine know of a product."""
    properties: dict[str, Property] = {"product_code": code, "state": state}
    upgrade = products.upgrade_codes.get(fold(key.name))
    if upgrade:
        properties["upgrade_code"] = upgrade
    package = KeyValues(products.subject.registry.find(rf"{_ADVERTISED}\{key.name}")).text("PackageCode")
    if package:
        properties["package_code"] = f"{{{unpack_guid(package)}}}".upper()
    return properties
