"""Programs, libraries, drivers and other PE files, with the versions, publishers and hashes that they have.

A file that has several names, as thousands of Windows' own have, is one item with all of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, TypedDict

from wclayer.errors import FormatError, FormatLimitError, LimitExceededError, detail_of
from wclayer.formats.pe.errors import NotPeError
from wclayer.formats.pe.facts import PeFacts, VersionResource, read_facts
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.source import FileSource
from wclayer.formats.pe.structs import DOS_HEADER, Subsystem
from wclayer.formats.pe.version import Version
from wclayer.inventory.collectors.file_collector import FileCollector
from wclayer.inventory.collectors.guarding import Found
from wclayer.inventory.collectors.packages.embedded import EmbeddedPackage, go_modules, package_item, rust_crates
from wclayer.inventory.collectors.text import kept_text
from wclayer.inventory.item import Finding, FindingKind, Item, ItemKind, Property
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.readings import Problem, Reader, problem_of
from wclayer.inventory.subject.subject import Subject

_SUFFIXES = """
acm ax com cpl dll drv efi exe fll fon ifs ime mui mun msstyles node ocx olb pyd rll rs scr sys tlb tsp vxd winmd xll
"""
"""Suffixes of files that are looked into: programs, libraries, drivers, and files of resources in the form of a PE."""
_MOST = 50_000
"""PE files that are kept in memory, with some KiB of texts each."""
_MOST_PACKAGES, _MOST_PACKAGES_OF_ALL = 10_000, 50_000
"""Packages that one program lists, and that all programs do."""
_STORE = "windows/winsxs/"
_TEXTS = {
    "file_version": "FileVersion",
    "product_name": "ProductName",
    "product_version": "ProductVersion",
    "original_filename": "OriginalFilename",
    "description": "FileDescription",
}
"""Properties, and the names of the texts that they are."""


class PeContents(TypedDict):
    """What the contents of a PE file say.

    Attributes:
        version, publisher: those of the item; "" if there is none.
        properties: those of the item that do not depend on the name.
        packages: what it says that it was made of.
        problems: what is damaged in it, or too much.
    """

    version: str
    publisher: str
    properties: dict[str, Property]
    packages: list[EmbeddedPackage]
    problems: list[Problem]


class _Contents(TypedDict):
    """What the contents of a file say; None if it is no PE file."""

    pe: PeContents | None


def _read(opened: BinaryIO, size: int) -> _Contents:
    try:
        image = PeImage(FileSource(opened))
    except NotPeError:
        return {"pe": None}
    return {"pe": _contents(image, read_facts(image))}


READER = Reader("pe", _Contents, _read)


def _contents(image: PeImage, facts: PeFacts) -> PeContents:
    properties: dict[str, Property] = {
        "machine": facts.processor, "is_dll": facts.is_dll, "is_driver": facts.is_kernel_mode,
        "subsystem": _subsystem(facts.subsystem), "is_signed": facts.is_signed,
    }  # fmt: skip
    if facts.clr is not None:
        properties |= {"clr_version": kept_text(facts.clr.metadata_version), "is_il_only": facts.clr.is_il_only}
    version = publisher = ""
    if facts.versions:
        resource = facts.versions[0]
        version, publisher = _version(resource), _text(resource, "CompanyName")
        properties |= dict(_version_properties(resource))
    packages: list[EmbeddedPackage] = []
    problems = [problem_of(FormatError(problem)) for problem in facts.problems]
    for find in (go_modules, rust_crates):
        try:
            found = find(image)
            packages += islice(found, _MOST_PACKAGES)
            if next(found, None) is not None:
                raise FormatLimitError(f"it lists more than {_MOST_PACKAGES} packages; the others are left out")
        except FormatError as error:
            problems.append(problem_of(error))
    return {
        "version": version, "publisher": publisher, "properties": properties, "packages": packages,
        "problems": problems,
    }  # fmt: skip


def _version_properties(resource: VersionResource) -> Iterator[tuple[str, Property]]:
    for name, key in _TEXTS.items():
        text = _text(resource, key)
        if text:
            yield name, text
    fixed = resource.info.fixed
    if fixed is not None:
        yield "fixed_file_version", _numbers(fixed.file_version)
        yield "fixed_product_version", _numbers(fixed.product_version)
    if isinstance(resource.language, int) and resource.language:
        yield "language", f"{resource.language:#06x}"


def _version(resource: VersionResource) -> str:
    """Returns the version that Explorer shows: the numbers. If they are all 0, or there are none, the text."""
    fixed = resource.info.fixed
    if fixed is not None and any(fixed.file_version):
        return _numbers(fixed.file_version)
    return _text(resource, "FileVersion") or ("" if fixed is None else _numbers(fixed.file_version))


def _numbers(version: Version) -> str:
    return ".".join(map(str, version))


def _text(resource: VersionResource, name: str) -> str:
    return kept_text(resource.info.get(name) or "")


def _subsystem(number: int) -> str:
    try:
        return Subsystem(number).name.lower().replace("_", "-")
    except ValueError:
        return str(number)


@dataclass(slots=True)
class _Known:
    """A file whose contents were read, and its names so far."""

    first: SubjectFile
    sha256: str
    contents: PeContents
    names: list[str] = field(default_factory=list)

    def add(self, file: SubjectFile) -> None:
        """Adds a name. The first one counts, but names in the store of components only if there is no other."""
        if _is_in_store(self.first) and not _is_in_store(file):
            self.first = file
        self.names.append(file.windows_path)

    def items(self) -> Iterator[Item]:
        """Yields the file, and the packages that it says it was made of."""
        properties = {**self.contents["properties"], "size": self.first.size}
        if self.sha256:
            properties["sha256"] = self.sha256
        if len(self.names) > 1:
            properties["names"] = self.names
        yield Item(
            ItemKind.PE_FILE, self.first.name, self.contents["version"], self.first.origin, self.contents["publisher"],
            properties,
        )  # fmt: skip
        for package in self.contents["packages"]:
            yield package_item(package, self.first.origin)


class PeFiles(FileCollector):
    """Finds PE files by their suffix, and those of unknown suffixes by their first bytes."""

    suffixes = frozenset(_SUFFIXES.split())
    takes_unknown = True
    readers = (READER,)

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self._known: dict[Hashable, _Known] = {}
        self._packages = 0
        self._hashes = True

    @classmethod
    def reader(cls, path: str, size: int) -> Reader[Any] | None:
        return None if size < DOS_HEADER.size else READER

    def collect(self, file: SubjectFile) -> Found:
        if file.size < DOS_HEADER.size:
            return
        identity = self._files.identity(file)
        known = self._known.get(identity)
        if known is None:
            yield from self._read(file, identity)
        else:
            known.add(file)

    def finish(self) -> Found:
        for known in self._known.values():
            yield from known.items()

    def _read(self, file: SubjectFile, identity: Hashable) -> Found:
        if len(self._known) == _MOST:
            raise FormatLimitError(f"is not looked into: more than {_MOST} PE files")
        contents = self._files.reading(file, READER)["pe"]
        if contents is None:
            return
        for problem in contents["problems"]:
            kind = FindingKind.LIMITED if problem["is_limit"] else FindingKind.DAMAGED
            yield Finding(kind, file.windows_path, problem["text"])
        if self._packages + len(contents["packages"]) > _MOST_PACKAGES_OF_ALL:
            contents = {**contents, "packages": []}
            yield Finding(
                FindingKind.LIMITED, file.windows_path,
                f"its packages are left out: programs list more than {_MOST_PACKAGES_OF_ALL}",
            )  # fmt: skip
        self._packages += len(contents["packages"])
        sha256 = ""
        if self._hashes:
            try:
                sha256 = self._files.sha256(file)
            except LimitExceededError as error:
                self._hashes = False
                yield Finding(FindingKind.LIMITED, file.windows_path, f"{detail_of(error)}; no more files are hashed")
        known = self._known[identity] = _Known(file, sha256, contents)
        known.add(file)


def _is_in_store(file: SubjectFile) -> bool:
    return file.path.lower().startswith(_STORE)
