"""Packages of NuGet and Chocolatey, and those that applications of .NET list.

Sources: Microsoft's documentation of `.nuspec` and of package folders, .NET's of `.deps.json`, and Chocolatey's of its
folders.
"""

from __future__ import annotations

from typing import Any, BinaryIO, TypedDict

from wclayer.errors import FormatError, FormatLimitError
from wclayer.formats.safe_xml import MAX_SIZE, parse_xml
from wclayer.formats.zip import ZipReader
from wclayer.inventory.collectors.file_collector import FileCollector, folded
from wclayer.inventory.collectors.guarding import Found
from wclayer.inventory.collectors.packages.archives import each_member, member_name, read_member
from wclayer.inventory.collectors.packages.documents import as_object, read_json, text_of
from wclayer.inventory.collectors.text import kept_text
from wclayer.inventory.item import Item, ItemKind, Property
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.readings import Problem, Reader, problem_of, raise_problem, read_whole

NUGET, CHOCOLATEY, DEPENDENCIES = "nuget", "chocolatey", "deps.json"
"""Values of the property `source`."""
_PLACEHOLDER = "$"
"""In the manifest of a package that is not built yet."""
_MANIFEST_SUFFIX, _ARCHIVE_SUFFIX, _LIBRARIES_SUFFIX = ".nuspec", ".nupkg", ".deps.json"
_MAX_LIBRARIES = 20_000
_RUNTIME_PACK = "runtimepack"


class _Manifest(TypedDict):
    """What a manifest says of its package; an empty `name` if it describes none."""

    name: str
    version: str
    license: str
    publisher: str


class _Archive(TypedDict):
    """The manifest that is in an archive: its name, "" if there is none, and what it says, or what is wrong with it."""

    name: str
    manifest: _Manifest | None
    problem: Problem | None


class _Library(TypedDict):
    """A package that an application of .NET uses."""

    name: str
    version: str


class _Libraries(TypedDict):
    """The packages that an application of .NET uses, and why there are not more."""

    libraries: list[_Library]
    problem: Problem | None


def _read_manifest(opened: BinaryIO, size: int) -> _Manifest:
    return _parse_manifest(read_whole(opened, size, MAX_SIZE))


def _parse_manifest(data: bytes) -> _Manifest:
    metadata = parse_xml(data).child("metadata")
    manifest: _Manifest = {"name": "", "version": "", "license": "", "publisher": ""}
    if metadata is None:
        return manifest
    name, version = kept_text(metadata.text_of("id")), kept_text(metadata.text_of("version"))
    if name and version and _PLACEHOLDER not in name + version:
        licensed = metadata.text_of("license") or metadata.text_of("licenseUrl")
        manifest |= {
            "name": name, "version": version, "license": kept_text(licensed),
            "publisher": kept_text(metadata.text_of("authors")),
        }  # fmt: skip
    return manifest


def _read_archive(opened: BinaryIO, size: int) -> _Archive:
    archive: _Archive = {"name": "", "manifest": None, "problem": None}
    reader = ZipReader(opened)
    for member in each_member(reader):
        name = member_name(member)
        if name.lower().endswith(_MANIFEST_SUFFIX) and "/" not in name and "\\" not in name:
            archive["name"] = name
            try:
                archive["manifest"] = _parse_manifest(read_member(reader, member, MAX_SIZE))
            except FormatError as error:
                archive["problem"] = problem_of(error)
            break
    return archive


def _read_libraries(opened: BinaryIO, size: int) -> _Libraries:
    found: _Libraries = {"libraries": [], "problem": None}
    record = read_json(opened, size)
    try:
        libraries = as_object(record.get("libraries", {}), "libraries")
        for count, (identity, library) in enumerate(libraries.items()):
            if count == _MAX_LIBRARIES:
                raise FormatLimitError(f"has {len(libraries)} libraries; the first {_MAX_LIBRARIES} are read")
            name, _, version = identity.partition("/")
            kind = text_of(as_object(library, "a library"), "type")
            # The others are the application's own projects, and files that belong to no package.
            if name and version and kind in ("package", _RUNTIME_PACK):
                used: _Library = {
                    "name": kept_text(name.removeprefix(f"{_RUNTIME_PACK}.")), "version": kept_text(version),
                }  # fmt: skip
                found["libraries"].append(used)
    except FormatError as error:
        found["problem"] = problem_of(error)
    return found


_MANIFEST = Reader("nuget-manifest", _Manifest, _read_manifest)
_ARCHIVE = Reader("nuget-archive", _Archive, _read_archive)
_LIBRARIES = Reader("nuget-libraries", _Libraries, _read_libraries)


class NugetPackages(FileCollector):
    """Finds packages by their `.nuspec`, by a `.nupkg` that is not unpacked beside it, and in `*.deps.json`."""

    suffixes = frozenset({"nuspec", "nupkg", "json"})
    readers = (_MANIFEST, _ARCHIVE, _LIBRARIES)

    @classmethod
    def reader(cls, path: str, size: int) -> Reader[Any] | None:
        if path.endswith(_MANIFEST_SUFFIX):
            return _MANIFEST
        if path.endswith(_ARCHIVE_SUFFIX):
            return _ARCHIVE
        return _LIBRARIES if path.endswith(_LIBRARIES_SUFFIX) else None

    def collect(self, file: SubjectFile) -> Found:
        reader = self.reader(folded(file.path), file.size)
        if reader is _MANIFEST:
            yield from _described(file, self._files.reading(file, _MANIFEST))
        elif reader is _ARCHIVE:
            yield from self._packed(file)
        elif reader is _LIBRARIES:
            yield from self._dependencies(file)

    def _packed(self, file: SubjectFile) -> Found:
        archive = self._files.reading(file, _ARCHIVE)
        folder, _, _ = file.path.rpartition("/")
        name = archive["name"]
        if name and self._files.find(f"{folder}/{name}" if folder else name) is None:
            raise_problem(archive["problem"])
            if archive["manifest"] is not None:
                yield from _described(file, archive["manifest"])

    def _dependencies(self, file: SubjectFile) -> Found:
        found = self._files.reading(file, _LIBRARIES)
        for library in found["libraries"]:
            yield Item(
                ItemKind.NUGET_PACKAGE, library["name"], library["version"], file.origin,
                properties={"source": DEPENDENCIES},
            )  # fmt: skip
        raise_problem(found["problem"])


def _described(file: SubjectFile, manifest: _Manifest) -> Found:
    """Yields the package that a manifest describes, if it does."""
    if manifest["name"]:
        properties: dict[str, Property] = {"source": _source(file)}
        if manifest["license"]:
            properties["license"] = manifest["license"]
        yield Item(
            ItemKind.NUGET_PACKAGE, manifest["name"], manifest["version"], file.origin, manifest["publisher"],
            properties,
        )  # fmt: skip


def _source(file: SubjectFile) -> str:
    return CHOCOLATEY if "/chocolatey/lib/" in f"/{file.path.lower()}" else NUGET
