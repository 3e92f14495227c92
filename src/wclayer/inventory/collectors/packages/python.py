"""Packages of Python: what pip, setuptools and others record beside the modules that they install.

Sources: "Recording installed projects", "Core metadata specifications", "Direct URL" and "Name format" of PyPA's
specifications; setuptools' description of eggs for `.egg-info` and `.egg-link`.
"""

from __future__ import annotations

import re

from wclayer.inventory.collectors.file_collector import FileCollector
from wclayer.inventory.collectors.guarding import Found
from wclayer.inventory.collectors.packages.documents import as_object, read_headers, read_json
from wclayer.inventory.collectors.text import kept_text
from wclayer.inventory.item import Item, ItemKind, Property
from wclayer.inventory.subject.files import SubjectFile, SubjectFiles

_SEPARATORS = re.compile(r"[-_.]+")
_MAX_NAME = 256


class PythonPackages(FileCollector):
    """Finds packages by their metadata: `*.dist-info/METADATA`, `*.egg-info/PKG-INFO`, `EGG-INFO/PKG-INFO`, and files
    `*.egg-info`."""

    names = frozenset({"metadata", "pkg-info"})
    suffixes = frozenset({"egg-info"})

    def collect(self, file: SubjectFile) -> Found:
        folder = _folder(file)
        if not folder:
            return
        headers = read_headers(self._files, file)
        name, version = headers.get("name", ""), headers.get("version", "")
        if not name or not version:
            return
        properties: dict[str, Property] = {"normalized_name": normalized(name)}
        license_text = headers.get("license-expression") or headers.get("license", "")
        if license_text:
            properties["license"] = license_text
        if folder.endswith(".dist-info"):
            properties |= _record_of_installation(self._files, file.path.rpartition("/")[0])
        publisher = headers.get("author") or headers.get("author-email", "")
        yield Item(ItemKind.PYTHON_PACKAGE, name, version, file.origin, publisher, properties)


def normalized(name: str) -> str:
    """Returns the name by which indexes know a package: lower case, and `-` for each run of `-`, `_` and `.`."""
    return _SEPARATORS.sub("-", name).lower()


def _folder(file: SubjectFile) -> str:
    """Returns the name of the directory or file that marks a package, in lower case; "" if the file is another one."""
    *_, parent, name = ("", "", *file.path.lower().split("/"))
    if name.endswith(".egg-info"):
        return name
    if name == "metadata":
        return parent if parent.endswith(".dist-info") else ""
    return parent if parent.endswith(".egg-info") or parent == "egg-info" else ""


def _record_of_installation(files: SubjectFiles, folder: str) -> dict[str, Property]:
    """Returns what the program that installed a package has noted beside the metadata."""
    properties: dict[str, Property] = {}
    installer = files.find(f"{folder}/INSTALLER")
    if installer is not None and not installer.is_directory:
        with files.open(installer) as opened:
            text = kept_text(opened.read(_MAX_NAME).decode("utf-8", "replace"))
        if text:
            properties["installer"] = text
    direct = files.find(f"{folder}/direct_url.json")
    if direct is not None and not direct.is_directory:
        record = read_json(files, direct)
        of_directory = as_object(record.get("dir_info", {}), "dir_info")
        properties["is_editable"] = of_directory.get("editable") is True
        url = record.get("url")
        if isinstance(url, str):
            properties["url"] = kept_text(url)
    return properties
