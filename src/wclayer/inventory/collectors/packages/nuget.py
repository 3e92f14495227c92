"""Packages of NuGet and Chocolatey, and those that applications of .NET list.

Sources: Microsoft's documentation of `.nuspec` and of package folders, .NET's of `.deps.json`, and Chocolatey's of its
folders.
"""

from __future__ import annotations

from wclayer.errors import FormatLimitError
from wclayer.formats.safe_xml import MAX_SIZE, parse_xml
from wclayer.formats.zip import ZipReader
from wclayer.inventory.collectors.file_collector import FileCollector
from wclayer.inventory.collectors.guarding import Found
from wclayer.inventory.collectors.packages.archives import each_member, member_name, read_member
from wclayer.inventory.collectors.packages.documents import as_object, read_json, text_of
from wclayer.inventory.collectors.text import kept_text
from wclayer.inventory.item import Item, ItemKind, Property
from wclayer.inventory.subject.files import SubjectFile

NUGET, CHOCOLATEY, DEPENDENCIES = "nuget", "chocolatey", "deps.json"
"""Values of the property `source`."""
_PLACEHOLDER = "$"
"""In the manifest of a package that is not built yet."""
_MAX_LIBRARIES = 20_000
_RUNTIME_PACK = "runtimepack"


class NugetPackages(FileCollector):
    """Finds packages by their `.nuspec`, by a `.nupkg` that is not unpacked beside it, and in `*.deps.json`."""

    suffixes = frozenset({"nuspec", "nupkg", "json"})

    def collect(self, file: SubjectFile) -> Found:
        name = file.name.lower()
        if name.endswith(".nuspec"):
            yield from _described(file, self._files.read(file, MAX_SIZE))
        elif name.endswith(".nupkg"):
            yield from self._packed(file)
        elif name.endswith(".deps.json"):
            yield from self._dependencies(file)

    def _packed(self, file: SubjectFile) -> Found:
        folder = file.path.rpartition("/")[0]
        with self._files.open(file) as opened:
            reader = ZipReader(opened)
            for member in each_member(reader):
                name = member_name(member)
                if name.lower().endswith(".nuspec") and "/" not in name and "\\" not in name:
                    if self._files.find(f"{folder}/{name}" if folder else name) is None:
                        yield from _described(file, read_member(reader, member, MAX_SIZE))
                    return

    def _dependencies(self, file: SubjectFile) -> Found:
        libraries = as_object(read_json(self._files, file).get("libraries", {}), "libraries")
        for count, (identity, library) in enumerate(libraries.items()):
            if count == _MAX_LIBRARIES:
                raise FormatLimitError(f"has {len(libraries)} libraries; the first {_MAX_LIBRARIES} are read")
            name, _, version = identity.partition("/")
            kind = text_of(as_object(library, "a library"), "type")
            # The others are the application's own projects, and files that belong to no package.
            if name and version and kind in ("package", _RUNTIME_PACK):
                yield Item(
                    ItemKind.NUGET_PACKAGE, kept_text(name.removeprefix(f"{_RUNTIME_PACK}.")), kept_text(version),
                    file.origin, properties={"source": DEPENDENCIES},
                )  # fmt: skip


def _described(file: SubjectFile, nuspec: bytes) -> Found:
    """Yields the package that a manifest describes."""
    metadata = parse_xml(nuspec).child("metadata")
    if metadata is None:
        return
    name, version = kept_text(metadata.text_of("id")), kept_text(metadata.text_of("version"))
    if not name or not version or _PLACEHOLDER in name + version:
        return
    properties: dict[str, Property] = {"source": _source(file)}
    licensed = kept_text(metadata.text_of("license") or metadata.text_of("licenseUrl"))
    if licensed:
        properties["license"] = licensed
    publisher = kept_text(metadata.text_of("authors"))
    yield Item(ItemKind.NUGET_PACKAGE, name, version, file.origin, publisher, properties)


def _source(file: SubjectFile) -> str:
    return CHOCOLATEY if "/chocolatey/lib/" in f"/{file.path.lower()}" else NUGET
