"""Packages of Python: what pip, setuptools and others record beside the modules that they install.

Sources: "Recording installed projects", "Core metadata specifications", "Direct URL" and "Name format" of PyPA's
specifications; setuptools' description of eggs for `.egg-info` and `.egg-link`.
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO, TypedDict

from wclayer.inventory.collectors.file_collector import FileCollector, folded
from wclayer.inventory.collectors.guarding import Found
from wclayer.inventory.collectors.packages.documents import as_object, read_headers, read_json, text_of
from wclayer.inventory.collectors.text import kept_text
from wclayer.inventory.item import Item, ItemKind, Property
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.readings import Reader

_SEPARATORS = re.compile(r"[-_.]+")
_MAX_NAME = 256
_METADATA_FILE = "metadata"
_INSTALLED, _EGG = ".dist-info", "egg-info"
"""The end of the name of a directory that pip makes, and the name or suffix of what setuptools makes."""


class _Metadata(TypedDict):
    """What the metadata of a package say; "" for what they do not say."""

    name: str
    version: str
    license: str
    publisher: str


class _Installer(TypedDict):
    """The name of the program that installed a package."""

    name: str


class _DirectUrl(TypedDict):
    """Where a package was installed from; `url` is "" if it does not say that."""

    is_editable: bool
    url: str


def _read_metadata(opened: BinaryIO, size: int) -> _Metadata:
    headers = read_headers(opened)
    return {
        "name": headers.get("name", ""),
        "version": headers.get("version", ""),
        "license": headers.get("license-expression") or headers.get("license", ""),
        "publisher": headers.get("author") or headers.get("author-email", ""),
    }


def _read_installer(opened: BinaryIO, size: int) -> _Installer:
    return {"name": kept_text(opened.read(_MAX_NAME).decode("utf-8", "replace"))}


def _read_direct_url(opened: BinaryIO, size: int) -> _DirectUrl:
    record = read_json(opened, size)
    of_directory = as_object(record.get("dir_info", {}), "dir_info")
    return {"is_editable": of_directory.get("editable") is True, "url": text_of(record, "url")}


_METADATA = Reader("python-metadata", _Metadata, _read_metadata)
_INSTALLER = Reader("python-installer", _Installer, _read_installer)
_DIRECT_URL = Reader("python-direct-url", _DirectUrl, _read_direct_url)
_READ_IN_INSTALLED: dict[str, Reader[Any]] = {
    _METADATA_FILE: _METADATA, "installer": _INSTALLER, "direct_url.json": _DIRECT_URL,
}  # fmt: skip


class PythonPackages(FileCollector):
    """Finds packages by their metadata: `*.dist-info/METADATA`, `*.egg-info/PKG-INFO`, `EGG-INFO/PKG-INFO`, and files
    `*.egg-info`."""

    names = frozenset({_METADATA_FILE, "pkg-info"})
    suffixes = frozenset({_EGG})
    beside = frozenset(_READ_IN_INSTALLED) - names
    readers = (_METADATA, _INSTALLER, _DIRECT_URL)

    @classmethod
    def reader(cls, path: str, size: int) -> Reader[Any] | None:
        *_, parent, name = ("", *path.split("/"))
        if parent.endswith(_INSTALLED) and name in _READ_IN_INSTALLED:
            return _READ_IN_INSTALLED[name]
        is_in_egg = name == "pkg-info" and (parent == _EGG or parent.endswith(f".{_EGG}"))
        return _METADATA if is_in_egg or name.endswith(f".{_EGG}") else None

    def collect(self, file: SubjectFile) -> Found:
        if self.reader(folded(file.path), file.size) is None:
            return
        metadata = self._files.reading(file, _METADATA)
        name, version = metadata["name"], metadata["version"]
        if not name or not version:
            return
        properties: dict[str, Property] = {"normalized_name": normalized(name)}
        if metadata["license"]:
            properties["license"] = metadata["license"]
        if folded(file.name) == _METADATA_FILE:
            properties |= self._record_of_installation(file.path.rpartition("/")[0])
        yield Item(ItemKind.PYTHON_PACKAGE, name, version, file.origin, metadata["publisher"], properties)

    def _record_of_installation(self, folder: str) -> dict[str, Property]:
        """Returns what the program that installed a package has noted beside the metadata."""
        properties: dict[str, Property] = {}
        installer = self._files.find(f"{folder}/INSTALLER")
        if installer is not None and not installer.is_directory:
            name = self._files.reading(installer, _INSTALLER)["name"]
            if name:
                properties["installer"] = name
        direct = self._files.find(f"{folder}/direct_url.json")
        if direct is not None and not direct.is_directory:
            stated = self._files.reading(direct, _DIRECT_URL)
            properties["is_editable"] = stated["is_editable"]
            if stated["url"]:
                properties["url"] = stated["url"]
        return properties


def normalized(name: str) -> str:
    """Returns the name by which indexes know a package: lower case, and `-` for each run of `-`, `_` and `.`."""
    return _SEPARATORS.sub("-", name).lower()
