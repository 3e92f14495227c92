"""Packages of Java: archives (`.jar`, `.war`, `.ear`), with those that are in them.

Sources: the "JAR File Specification" of the JDK, the documentation of Maven Archiver (`pom.properties`), and of OSGi's
headers of manifests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile

from wclayer.errors import FormatError, FormatLimitError
from wclayer.formats.zip import ZipMember, ZipReader
from wclayer.inventory.collectors.file_collector import FileCollector
from wclayer.inventory.collectors.guarding import Found, guarded
from wclayer.inventory.collectors.packages.archives import each_member, member_name, read_member
from wclayer.inventory.collectors.packages.documents import parse_headers, parse_properties
from wclayer.inventory.collectors.text import kept_text
from wclayer.inventory.item import Item, ItemKind, Origin, Property, SubjectLayer
from wclayer.inventory.subject.files import SubjectFile

_SUFFIXES = frozenset({"jar", "war", "ear"})
_MANIFEST = "meta-inf/manifest.mf"
_MAVEN, _POM = "meta-inf/maven/", "/pom.properties"
_MAX_MANIFEST = 1 << 20
_MAX_POM = 8 << 10
_MAX_POMS = 1000
_MAX_NESTED = 256 << 20
"""The size of an archive in an archive, in bytes, up to which it is read."""
_UNRATED = 64 << 10
_MAX_RATIO = 4
"""An archive in an archive hardly becomes smaller by compression: beyond 64 KiB, one that does is a trap."""
_MOST_NESTED = 5000
_IN_MEMORY = 8 << 20
_VERSION_IN_NAME = re.compile(r"(.+?)-(\d[^/]*)")


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
        kept = kept_text(name)
        return _Place(f"{self.path}!/{kept}", self.layer, _stem(kept.rpartition("/")[2]))


class JavaPackages(FileCollector):
    """Finds archives of Java and the archives in them, one level deep."""

    suffixes = _SUFFIXES

    def collect(self, file: SubjectFile) -> Found:
        place = _Place(file.windows_path, file.layer, _stem(file.name))
        with self._files.open(file) as opened:
            reader = ZipReader(opened)
            described = _Described()
            yield from guarded(place.path, _packages, reader, place, described)
            left = file.size
            for count, member in enumerate(described.nested):
                left -= member.stored_size
                if left < 0 or count == _MOST_NESTED:
                    raise FormatLimitError(
                        f"has {len(described.nested)} archives in it that overlap, or more than {_MOST_NESTED}"
                    )
                inside = place.inside(member_name(member))
                yield from guarded(inside.path, _nested, reader, member, inside)


def _nested(reader: ZipReader, member: ZipMember, place: _Place) -> Found:
    """Yields the packages of an archive in an archive."""
    if member.size > min(_MAX_NESTED, _UNRATED + member.stored_size * _MAX_RATIO):
        raise FormatLimitError(f"is {member.size} bytes long, of which {member.stored_size} are stored: too many")
    with SpooledTemporaryFile(_IN_MEMORY) as copy:
        copy.writelines(reader.data(member))
        yield from _packages(ZipReader(copy), place, _Described())


@dataclass(slots=True)
class _Described:
    """What the members of an archive say of it, as far as they were read."""

    manifest: Mapping[str, str] | None = None
    poms: list[Mapping[str, str]] = field(default_factory=list)
    nested: list[ZipMember] = field(default_factory=list)
    """The archives in it."""

    def read(self, reader: ZipReader) -> None:
        for member in each_member(reader):
            name = member_name(member).lower()
            if name == _MANIFEST and self.manifest is None:
                self.manifest = {}
                self.manifest = parse_headers(read_member(reader, member, _MAX_MANIFEST), folds_words=True)
            elif name.startswith(_MAVEN) and name.endswith(_POM):
                if len(self.poms) == _MAX_POMS:
                    raise FormatLimitError(f"has more than {_MAX_POMS} descriptions of Maven")
                pom = parse_properties(read_member(reader, member, _MAX_POM))
                self.poms.append({key: pom.get(key, "") for key in ("groupId", "artifactId", "version")})
            elif name.rpartition(".")[2] in _SUFFIXES and not member.is_directory:
                self.nested.append(member)


def _packages(reader: ZipReader, place: _Place, described: _Described) -> Found:
    """Yields the package that an archive is, and those whose files were put into it; then raises what stopped that.

    Raises:
        FormatError: the archive is damaged, or exceeds a limit.
    """
    problem: FormatError | None = None
    try:
        described.read(reader)
    except FormatError as error:
        problem = error
    yield from _items(place, described.manifest or {}, described.poms)
    if problem is not None:
        raise problem


def _items(place: _Place, manifest: Mapping[str, str], poms: list[Mapping[str, str]]) -> Iterator[Item]:
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
        if pom is not own and _is_complete(pom):
            yield Item(
                ItemKind.JAVA_PACKAGE, _coordinates(pom), pom["version"], place.origin,
                properties={"is_embedded": True},
            )  # fmt: skip


def _coordinates(pom: Mapping[str, str]) -> str:
    return f"{pom['groupId']}:{pom['artifactId']}"


def _own_pom(place: _Place, poms: list[Mapping[str, str]]) -> Mapping[str, str] | None:
    """Returns the description of the archive itself: the one by whose name the archive's begins."""
    stem = place.stem.lower()
    own = [pom for pom in poms if _is_complete(pom) and (stem + "-").startswith(pom["artifactId"].lower() + "-")]
    return max(own, key=lambda pom: len(pom["artifactId"]), default=None)


def _is_complete(pom: Mapping[str, str]) -> bool:
    return all(pom.values())


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
