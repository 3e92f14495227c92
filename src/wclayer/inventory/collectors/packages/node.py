"""Packages of Node.js: those that npm, yarn and pnpm install below `node_modules`, and applications.

Sources: npm's documentation of package.json and package-lock.json, and Node.js' of `node_modules`.
"""

from __future__ import annotations

from collections.abc import Mapping

from wclayer.errors import FormatLimitError
from wclayer.inventory.collectors.file_collector import FileCollector
from wclayer.inventory.collectors.guarding import Found
from wclayer.inventory.collectors.packages.documents import as_object, read_json, text_of
from wclayer.inventory.item import Item, ItemKind, Property
from wclayer.inventory.subject.files import SubjectFile

_MODULES = "node_modules"
_LOCK = "package-lock.json"
_FIRST_LOCK_WITH_PACKAGES = 2
_MAX_LOCKED = 20_000


class NodePackages(FileCollector):
    """Finds installed packages by their `package.json`, applications by the one beside `node_modules` or a lock file,
    and what a lock file names if no `node_modules` is beside it."""

    names = frozenset({"package.json", _LOCK})

    def collect(self, file: SubjectFile) -> Found:
        folder = file.path.rpartition("/")[0]
        if file.name.lower() == _LOCK:
            if not _is_below_modules(folder) and self._sibling(folder, _MODULES) is None:
                yield from self._locked(file)
            return
        installed = _is_package_folder(folder)
        if not installed and (
            _is_below_modules(folder)
            or (self._sibling(folder, _MODULES) is None and self._sibling(folder, _LOCK) is None)
        ):
            return
        record = read_json(self._files, file)
        name, version = text_of(record, "name"), text_of(record, "version")
        if name and (version or not installed):
            properties = _properties(record)
            properties["is_application"] = not installed
            yield Item(ItemKind.NODE_PACKAGE, name, version, file.origin, _author(record), properties)

    def _sibling(self, folder: str, name: str) -> SubjectFile | None:
        return self._files.find(f"{folder}/{name}" if folder else name)

    def _locked(self, file: SubjectFile) -> Found:
        record = read_json(self._files, file)
        version = record.get("lockfileVersion")
        if not isinstance(version, int) or version < _FIRST_LOCK_WITH_PACKAGES:
            return
        packages = as_object(record.get("packages", {}), "packages")
        for count, (place, locked) in enumerate(packages.items()):
            if count == _MAX_LOCKED:
                raise FormatLimitError(f"names {len(packages)} packages; the first {_MAX_LOCKED} are read")
            # The application itself has the place "", and packages of its workspaces are not in node_modules.
            _, found, name = place.rpartition(f"{_MODULES}/")
            package = as_object(locked, "a package")
            if found and not package.get("link"):
                properties = _properties(package)
                properties |= {"source": _LOCK, "is_development": package.get("dev") is True}
                yield Item(
                    ItemKind.NODE_PACKAGE, text_of(package, "name") or name, text_of(package, "version"), file.origin,
                    properties=properties,
                )  # fmt: skip


def _is_below_modules(folder: str) -> bool:
    return _MODULES in folder.lower().split("/")


def _is_package_folder(folder: str) -> bool:
    """Tells whether a directory is `node_modules/NAME` or `node_modules/@SCOPE/NAME`."""
    *_, grand, parent, name = ("", "", "", *folder.lower().split("/"))
    if name.startswith("@"):
        return False
    return parent == _MODULES or (grand == _MODULES and parent.startswith("@"))


def _properties(record: Mapping[str, object]) -> dict[str, Property]:
    licensed = record.get("license")
    text = text_of(licensed, "type") if isinstance(licensed, dict) else text_of(record, "license")
    return {"license": text} if text else {}


def _author(record: Mapping[str, object]) -> str:
    """Returns the name of the author. The field is an object, or a text `Name <mail> (address)`."""
    author = record.get("author")
    text = text_of(author, "name") if isinstance(author, dict) else text_of(record, "author")
    return text.partition("<")[0].partition("(")[0].strip()
