"""Packages of Node.js: those that npm, yarn and pnpm install below `node_modules`, and applications.

Sources: npm's documentation of package.json and package-lock.json, and Node.js' of `node_modules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, TypedDict

from wclayer.errors import FormatError, FormatLimitError
from wclayer.inventory.collectors.file_collector import FileCollector, folded
from wclayer.inventory.collectors.guarding import Found
from wclayer.inventory.collectors.packages.documents import as_object, read_json, text_of
from wclayer.inventory.item import Item, ItemKind, Property
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.readings import Problem, Reader, problem_of, raise_problem

_MODULES = "node_modules"
_LOCK = "package-lock.json"
_FIRST_LOCK_WITH_PACKAGES = 2
_MAX_LOCKED = 20_000


class _Package(TypedDict):
    """What a `package.json` says; "" for what it does not say."""

    name: str
    version: str
    author: str
    license: str


class _LockedPackage(TypedDict):
    """A package that a lock file names."""

    name: str
    version: str
    license: str
    is_development: bool


class _Lock(TypedDict):
    """The packages that a lock file names, and why there are not more."""

    packages: list[_LockedPackage]
    problem: Problem | None


def _read_package(opened: BinaryIO, size: int) -> _Package:
    record = read_json(opened, size)
    return {
        "name": text_of(record, "name"), "version": text_of(record, "version"), "author": _author(record),
        "license": _license(record),
    }  # fmt: skip


def _read_lock(opened: BinaryIO, size: int) -> _Lock:
    lock: _Lock = {"packages": [], "problem": None}
    record = read_json(opened, size)
    version = record.get("lockfileVersion")
    if isinstance(version, int) and version >= _FIRST_LOCK_WITH_PACKAGES:
        try:
            _add_locked(lock["packages"], as_object(record.get("packages", {}), "packages"))
        except FormatError as error:
            lock["problem"] = problem_of(error)
    return lock


def _add_locked(locked: list[_LockedPackage], packages: Mapping[str, object]) -> None:
    for count, (place, stated) in enumerate(packages.items()):
        if count == _MAX_LOCKED:
            raise FormatLimitError(f"names {len(packages)} packages; the first {_MAX_LOCKED} are read")
        # The application itself has the place "", and packages of its workspaces are not in node_modules.
        _, found, name = place.rpartition(f"{_MODULES}/")
        package = as_object(stated, "a package")
        if found and not package.get("link"):
            locked.append(
                {
                    "name": text_of(package, "name") or name, "version": text_of(package, "version"),
                    "license": _license(package), "is_development": package.get("dev") is True,
                }
            )  # fmt: skip


_PACKAGE = Reader("node-package", _Package, _read_package)
_LOCKED = Reader("node-lock", _Lock, _read_lock)


class NodePackages(FileCollector):
    """Finds installed packages by their `package.json`, applications by the one beside `node_modules` or a lock file,
    and what a lock file names if no `node_modules` is beside it."""

    names = frozenset({"package.json", _LOCK})
    readers = (_PACKAGE, _LOCKED)

    @classmethod
    def reader(cls, path: str, size: int) -> Reader[Any] | None:
        folder, _, name = path.rpartition("/")
        if name == _LOCK:
            return None if _is_below_modules(folder) else _LOCKED
        return _PACKAGE if _is_package_folder(folder) or not _is_below_modules(folder) else None

    def collect(self, file: SubjectFile) -> Found:
        if self.reader(folded(file.path), file.size) is None:
            return
        folder = file.path.rpartition("/")[0]
        if folded(file.name) == _LOCK:
            if self._sibling(folder, _MODULES) is None:
                yield from self._locked(file)
            return
        is_installed = _is_package_folder(folded(folder))
        if not is_installed and self._sibling(folder, _MODULES) is None and self._sibling(folder, _LOCK) is None:
            return
        package = self._files.reading(file, _PACKAGE)
        if package["name"] and (package["version"] or not is_installed):
            properties = _properties(package["license"])
            properties["is_application"] = not is_installed
            yield Item(
                ItemKind.NODE_PACKAGE, package["name"], package["version"], file.origin, package["author"], properties
            )

    def _sibling(self, folder: str, name: str) -> SubjectFile | None:
        return self._files.find(f"{folder}/{name}" if folder else name)

    def _locked(self, file: SubjectFile) -> Found:
        lock = self._files.reading(file, _LOCKED)
        for package in lock["packages"]:
            properties = _properties(package["license"])
            properties |= {"source": _LOCK, "is_development": package["is_development"]}
            yield Item(ItemKind.NODE_PACKAGE, package["name"], package["version"], file.origin, properties=properties)
        raise_problem(lock["problem"])


def _is_below_modules(folder: str) -> bool:
    return _MODULES in folder.split("/")


def _is_package_folder(folder: str) -> bool:
    """Tells whether a directory is `node_modules/NAME` or `node_modules/@SCOPE/NAME`."""
    *_, grand, parent, name = ("", "", "", *folder.split("/"))
    if name.startswith("@"):
        return False
    return parent == _MODULES or (grand == _MODULES and parent.startswith("@"))


def _properties(license_text: str) -> dict[str, Property]:
    return {"license": license_text} if license_text else {}


def _license(record: Mapping[str, object]) -> str:
    licensed = record.get("license")
    return text_of(licensed, "type") if isinstance(licensed, dict) else text_of(record, "license")


def _author(record: Mapping[str, object]) -> str:
    """Returns the name of the author. The field is an object, or a text `Name <mail> (address)`."""
    author = record.get("author")
    text = text_of(author, "name") if isinstance(author, dict) else text_of(record, "author")
    return text.partition("<")[0].partition("(")[0].strip()
