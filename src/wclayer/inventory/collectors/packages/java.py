"""Packages of Java: archives (`.jar`, `.war`, `.ear`), with those that are in them.

Sources: the "JAR File Specification" of the JDK, the documentation of Maven Archiver (`pom.properties`), and of OSGi's
headers of manifests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, TypedDict

from wclayer.errors import FormatError, FormatLimitError
from wclayer.formats.zip import ZipMember, ZipReader
from wclayer.inventory.collectors.file_collector import FileCollector
from wclayer.inventory.collectors.guarding import Found, guarded
from wclayer.inventory.collectors.packages.archives import each_member, member_name, read_member
from wclayer.inventory.collectors.packages.documents import parse_headers, parse_properties
from wclayer.inventory.collectors.text import kept_text
from wclayer.inventory.item import Item, ItemKind, Origin, Property, SubjectLayer
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.readings import Problem, Reader, problem_of, raise_problem

_SUFFIXES = frozenset({"jar", "war", "ear"})
_MANIFEST = "meta-inf/manifest.mf"
_MAVEN, _POM = "meta-inf/maven/", "/pom.properties"
_HEADERS = frozenset({
    "automatic-module-name", "bundle-license", "bundle-name", "bundle-symbolicname", "bundle-vendor", "bundle-version",
    "implementation-title", "implementation-vendor", "implementation-vendor-id", "implementation-version",
    "specification-version",
})  # fmt: skip
"""The headers of a manifest that are read."""
_MAX_MANIFEST = 1 << 20
_MAX_POM = 8 << 10
_MAX_POMS, _MAX_POMS_OF_ALL = 1000, 10_000
"""Descriptions of Maven that are kept of an archive, and of an archive with those in it."""
_MAX_NESTED = 256 << 20
"""The size of an archive in an archive, in bytes, up to which it is read."""
_UNRATED = 64 << 10
_MAX_RATIO = 4
"""An archive in an archive hardly becomes smaller by compression: beyond 64 KiB, one that does is a trap."""
_MOST_NESTED = 5000
_IN_MEMORY = 8 << 20
_VERSION_IN_NAME = re.compile(r"(.+?)-(\d[^/]*)")


class _Described(TypedDict):
    """What the members of an archive say of it, as far as they were read.

    Attributes:
        manifest: the headers of its manifest.
        poms: the `groupId`, `artifactId` and `version` of the packages whose files were put into it.
        problem: what stopped the reading.
    """

    manifest: dict[str, str]
    poms: list[dict[str, str]]
    problem: Problem | None


class _Nested(TypedDict):
    """An archive in an archive: its name, and what it says of itself, or why it was not opened."""

    name: str
    described: _Described | None
    problem: Problem | None


class _Archive(TypedDict):
    """What an archive says of itself, the archives in it, and why there are not more of these."""

    described: _Described
    nested: list[_Nested]
    problem: Problem | None


class _ArchiveReader:
    """Reads an archive and the archives in it."""

    def __init__(self) -> None:
        self._poms = 0

    def read(self, opened: BinaryIO, size: int) -> _Archive:
        """Returns what the archive says."""
        reader = ZipReader(opened)
        members: list[ZipMember] = []
        archive: _Archive = {"described": self._describe(reader, members), "nested": [], "problem": None}
        left = size
        for count, member in enumerate(members):
            left -= member.stored_size
            if left < 0 or count == _MOST_NESTED:
                error = FormatLimitError(f"has {len(members)} archives in it that overlap, or more than {_MOST_NESTED}")
                archive["problem"] = problem_of(error)
                break
            archive["nested"].append(self._nested(reader, member))
        return archive

    def _nested(self, reader: ZipReader, member: ZipMember) -> _Nested:
        nested: _Nested = {"name": kept_text(member_name(member)), "described": None, "problem": None}
        try:
            if member.size > min(_MAX_NESTED, _UNRATED + member.stored_size * _MAX_RATIO):
                raise FormatLimitError(
                    f"is {member.size} bytes long, of which {member.stored_size} are stored: too many"
                )
            with SpooledTemporaryFile(_IN_MEMORY) as copy:
                copy.writelines(reader.data(member))
                nested["described"] = self._describe(ZipReader(copy), [])
        except FormatError as error:
            nested["problem"] = problem_of(error)
        return nested

    def _describe(self, reader: ZipReader, nested: list[ZipMember]) -> _Described:
        """Returns what the members of an archive say of it, and adds the archives in it to a list."""
        described: _Described = {"manifest": {}, "poms": [], "problem": None}
        try:
            self._read_members(reader, described, nested)
        except FormatError as error:
            described["problem"] = problem_of(error)
        return described

    def _read_members(self, reader: ZipReader, described: _Described, nested: list[ZipMember]) -> None:
        has_manifest = False
        poms = 0
        for member in each_member(reader):
            name = member_name(member).lower()
            if name == _MANIFEST and not has_manifest:
                has_manifest = True
                headers = parse_headers(read_member(reader, member, _MAX_MANIFEST), folds_words=True)
                described["manifest"] = {name: text for name, text in headers.items() if name in _HEADERS}
            elif name.startswith(_MAVEN) and name.endswith(_POM):
                if poms == _MAX_POMS or self._poms == _MAX_POMS_OF_ALL:
                    raise FormatLimitError(
                        f"has more than {_MAX_POMS} descriptions of Maven, or with others more than {_MAX_POMS_OF_ALL}"
                    )
                poms += 1
                self._poms += 1
                stated = parse_properties(read_member(reader, member, _MAX_POM))
                pom = {key: stated.get(key, "") for key in ("groupId", "artifactId", "version")}
                if all(pom.values()):
                    described["poms"].append(pom)
            elif name.rpartition(".")[2] in _SUFFIXES and not member.is_directory:
                nested.append(member)


def _read_archive(opened: BinaryIO, size: int) -> _Archive:
    return _ArchiveReader().read(opened, size)


_READER = Reader("java-archive", _Archive, _read_archive)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an archive is: its origin, and its file name without the suffix."""

    path: str
    layer: SubjectLayer
    stem: str

    @property
    def origin(self) -> Origin:
        return Origin(self.path, self.layer)

    def inside(self, name: str) -> _Place:
        """Returns the place of an archive in this one."""
        return _Place(f"{self.path}!/{name}", self.layer, _stem(name.rpartition("/")[2]))


class JavaPackages(FileCollector):
    """Finds archives of Java and the archives in them, one level deep."""

    suffixes = _SUFFIXES
    readers = (_READER,)

    @classmethod
    def reader(cls, path: str, size: int) -> Reader[Any] | None:
        return _READER

    def collect(self, file: SubjectFile) -> Found:
        place = _Place(file.windows_path, file.layer, _stem(file.name))
        archive = self._files.reading(file, _READER)
        yield from guarded(place.path, _packages, place, archive["described"], None)
        for nested in archive["nested"]:
            inside = place.inside(nested["name"])
            yield from guarded(inside.path, _packages, inside, nested["described"], nested["problem"])
        raise_problem(archive["problem"])


def _packages(place: _Place, described: _Described | None, problem: Problem | None) -> Found:
    """Yields the package that an archive is, and those whose files were put into it; then raises what stopped that.

    Args:
        place: the archive.
        described: what it says of itself; None if it was not opened.
        problem: why it was not opened.

    Raises:
        FormatError: the archive is damaged, or exceeds a limit.
    """
    raise_problem(problem)
    if described is not None:
        yield from _items(place, described["manifest"], described["poms"])
        raise_problem(described["problem"])


def _items(place: _Place, manifest: Mapping[str, str], poms: list[dict[str, str]]) -> Iterator[Item]:
    own = _own_pom(place, poms)
    publisher = manifest.get("implementation-vendor") or manifest.get("bundle-vendor", "")
    properties = dict(_manifest_properties(manifest))
    if own is None:
        name, version = _name_and_version(place.stem, manifest)
    else:
        name, version = _coordinates(own), own["version"]
    properties["is_embedded"] = False
    yield Item(ItemKind.JAVA_PACKAGE, name, version, place.origin, publisher, properties)
    for pom in poms:
        if pom is not own:
            yield Item(
                ItemKind.JAVA_PACKAGE, _coordinates(pom), pom["version"], place.origin,
                properties={"is_embedded": True},
            )  # fmt: skip


def _coordinates(pom: Mapping[str, str]) -> str:
    return f"{pom['groupId']}:{pom['artifactId']}"


def _own_pom(place: _Place, poms: list[dict[str, str]]) -> dict[str, str] | None:
    """Returns the description of the archive itself: the one by whose name the archive's begins."""
    stem = place.stem.lower()
    own = [pom for pom in poms if (stem + "-").startswith(pom["artifactId"].lower() + "-")]
    return max(own, key=lambda pom: len(pom["artifactId"]), default=None)


def _name_and_version(stem: str, manifest: Mapping[str, str]) -> tuple[str, str]:
    """Returns what the manifest says; what it does not say is taken from the name of the file."""
    stated = manifest.get("implementation-version", "")
    if stated and stem.endswith(f"-{stated}"):
        return stem.removesuffix(f"-{stated}"), stated
    found = _VERSION_IN_NAME.fullmatch(stem)
    name, in_name = (stem, "") if found is None else (found[1], found[2])
    return name, stated or in_name or manifest.get("bundle-version") or manifest.get("specification-version", "")


def _manifest_properties(manifest: Mapping[str, str]) -> Iterator[tuple[str, Property]]:
    symbolic_name = manifest.get("bundle-symbolicname", "").partition(";")[0].strip()
    texts = {
        "title": manifest.get("implementation-title") or manifest.get("bundle-name", ""),
        "symbolic_name": symbolic_name, "module": manifest.get("automatic-module-name", ""),
        "vendor_id": manifest.get("implementation-vendor-id", ""), "license": manifest.get("bundle-license", ""),
    }  # fmt: skip
    return ((name, text) for name, text in texts.items() if text)


def _stem(name: str) -> str:
    return name.rpartition(".")[0]
