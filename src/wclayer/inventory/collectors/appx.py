r"""AppX and MSIX packages: those that the machine has in store for its users, and those whose files it has.

Source of the manifest: "App package manifest" (Windows app development).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from wclayer.errors import FormatError
from wclayer.formats.regf.model import Key
from wclayer.formats.safe_xml import MAX_SIZE, parse_xml
from wclayer.inventory.collectors.appx_name import PackageName, is_family_name, parse_full_name, publisher_id
from wclayer.inventory.collectors.guarding import Found, each_file, each_subkey, guarded
from wclayer.inventory.collectors.user_keys import UserKeys, each_user
from wclayer.inventory.item import Finding, Item, ItemKind, Origin, Property
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.readings import KnownFiles
from wclayer.inventory.subject.registry import KeySource
from wclayer.inventory.subject.subject import Subject

_STORE = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Appx\AppxAllUserStore"
_STATES = {"provisioned": "Applications", "inbox": "InboxApplications", "staged": "Staged"}
_REPOSITORY = r"Local Settings\Software\Microsoft\Windows\CurrentVersion\AppModel\Repository\Packages"
_MANIFESTS = ("Program Files/WindowsApps/*/AppxManifest.xml", "Windows/SystemApps/*/AppxManifest.xml")
READS = tuple(KnownFiles(pattern, MAX_SIZE) for pattern in _MANIFESTS)
_RESOURCE = "ms-resource:"
"""How a text begins that is the name of a resource."""
_MAX_TEXT = 1 << 13
"""Characters of a text of a manifest that are shown. Windows accepts 8,192 of a publisher."""


def collect(subject: Subject) -> Found:
    """Yields the packages. `states` says where each was found: "provisioned" for new users, "inbox", "staged",
    "registered" for the `users`, "files"."""
    packages = _Packages(subject)
    registry = subject.registry
    for state, name in _STATES.items():
        yield from each_subkey(registry, rf"{_STORE}\{name}", partial(packages.add_key, registry, state, ""))

    def user(keys: UserKeys) -> Found:
        path = rf"{keys.root}\{_REPOSITORY}"
        yield from each_subkey(keys.keys, path, partial(packages.add_key, keys.keys, "registered", keys.user))

    yield from each_user(subject, user, classes=True)
    for pattern in _MANIFESTS:
        yield from guarded(pattern, each_file, subject.files.matching(pattern), packages.add_manifest)
    yield from packages.items()


@dataclass(slots=True)
class _Package:
    """What is known of a package while packages are collected."""

    name: PackageName
    origin: Origin
    """The first place that has it."""
    states: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    publisher: str = ""
    stated: dict[str, Property] = field(default_factory=dict)
    """What its manifest states."""


class _Packages:
    """The packages of a subject, each of which may be in several places."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._found: dict[str, _Package] = {}

    def add_key(self, keys: KeySource, state: str, user: str, path: str, key: Key) -> Found:
        """Adds the package that a key has the name of, or those of the keys below it, if it is that of a family."""
        if is_family_name(key.name):
            yield from each_subkey(keys, path, partial(self._add_package, keys, state, user))
        else:
            yield from self._add_package(keys, state, user, path, key)

    def _add_package(self, keys: KeySource, state: str, user: str, path: str, key: Key) -> Iterable[Finding]:
        package = self._noted(parse_full_name(key.name), state, lambda: keys.origin(path))
        if user:
            package.users.append(user)
        return ()

    def add_manifest(self, file: SubjectFile) -> Iterable[Finding]:
        """Adds the package that a manifest describes."""
        root = parse_xml(self._subject.files.read(file, MAX_SIZE))
        identity = root.child("Identity")
        if identity is None:
            raise FormatError("a manifest without the identity of the package")
        stated = identity.attributes
        publisher = stated.get("Publisher", "")
        name = (
            stated.get("Name", ""), stated.get("Version", ""), stated.get("ProcessorArchitecture", "neutral"),
            stated.get("ResourceId", ""), publisher_id(publisher),
        )  # fmt: skip
        package = self._noted(parse_full_name("_".join(name)), "files", lambda: file.origin)
        properties = root.child("Properties")
        texts = {
            name: "" if properties is None else properties.text_of(name)[:_MAX_TEXT]
            for name in ("DisplayName", "PublisherDisplayName", "Framework")
        }
        shown = {name: text for name, text in texts.items() if text and not text.startswith(_RESOURCE)}
        package.publisher = shown.get("PublisherDisplayName") or publisher[:_MAX_TEXT]
        package.stated = {"manifest": file.windows_path, "is_framework": texts["Framework"].lower() == "true"}
        if "DisplayName" in shown:
            package.stated["display_name"] = shown["DisplayName"]
        return ()

    def _noted(self, name: PackageName, state: str, origin: Callable[[], Origin]) -> _Package:
        key = str(name).lower()
        if key not in self._found:
            self._found[key] = _Package(name, origin())
        package = self._found[key]
        if state not in package.states:
            package.states.append(state)
        return package

    def items(self) -> Iterator[Item]:
        """Yields the packages, in the order in which they were found."""
        for package in self._found.values():
            name = package.name
            properties: dict[str, Property] = {
                "full_name": str(name), "family_name": name.family, "architecture": name.architecture,
                "states": package.states,
            }  # fmt: skip
            if name.resource:
                properties["resource"] = name.resource
            if package.users:
                properties["users"] = package.users
            yield Item(
                ItemKind.APPX_PACKAGE, name.name, name.version, package.origin, package.publisher,
                properties | package.stated,
            )  # fmt: skip
