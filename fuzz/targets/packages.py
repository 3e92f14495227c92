"""What the inventory reads of packages: their metadata in several formats, each as the only file of a subject."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from fuzz.target import Target
from tests.formats.pe import craft_go
from tests.formats.pe.craft import FIRST_RVA, Pe, Section
from wclayer.formats.safe_xml import parse_xml
from wclayer.inventory.collectors.file_collector import FileCollector
from wclayer.inventory.collectors.guarding import guarded
from wclayer.inventory.collectors.packages.java import JavaPackages
from wclayer.inventory.collectors.packages.node import NodePackages
from wclayer.inventory.collectors.packages.nuget import NugetPackages
from wclayer.inventory.collectors.packages.python import PythonPackages
from wclayer.inventory.collectors.pe_files import PeFiles
from wclayer.inventory.item import Item, SubjectLayer
from wclayer.inventory.subject.files import SubjectFile, SubjectFiles

_LAYER = SubjectLayer(1, "", "", "", False, "layer")


class _Files(SubjectFiles):
    """Files with the same contents wherever one is looked for: a collector reads each at the place that it expects."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def root(self) -> SubjectFile:
        return SubjectFile("", 0, True, False, _LAYER, None)

    def child(self, directory: SubjectFile, name: str) -> SubjectFile | None:
        # Packages are looked for beside a `package-lock.json` that is alone, and a `.nupkg` that is not unpacked.
        if name in ("node_modules",) or name.endswith(".nuspec"):
            return None
        return self.file(f"{directory.path}/{name}".strip("/"), is_directory="." not in name and name != "INSTALLER")

    def file(self, path: str, *, is_directory: bool = False) -> SubjectFile:
        return SubjectFile(path, len(self._data), is_directory, False, _LAYER, None)

    def children(self, directory: SubjectFile) -> Iterator[SubjectFile]:
        return iter(())

    def open(self, file: SubjectFile) -> BinaryIO:
        return cast("BinaryIO", io.BytesIO(self._data))

    def identity(self, file: SubjectFile) -> str:
        return file.path

    def sha256(self, file: SubjectFile) -> str:
        return ""

    def security(self, file: SubjectFile) -> bytes | None:
        return None

    def close(self) -> None:
        pass


class _Subject:
    """What a collector needs of a subject."""

    def __init__(self, files: SubjectFiles) -> None:
        self.files = files


def _collect(kind: type[FileCollector], path: str, data: bytes) -> None:
    """Whatever a file holds, there are items and findings of texts that JSON and UTF-8 can hold, and no error."""
    files = _Files(data)
    collector = kind(_Subject(files))  # type: ignore[arg-type]
    for found in (*guarded(path, collector.collect, files.file(path)), *collector.finish()):
        json.dumps(found.to_json(), ensure_ascii=False).encode()
        assert not isinstance(found, Item) or max(len(found.name), len(found.version), len(found.publisher)) <= 1000


def _python(data: bytes) -> None:
    for path in ("a.dist-info/METADATA", "a.egg-info/PKG-INFO", "a.egg-info"):
        _collect(PythonPackages, path, data)


def _node(data: bytes) -> None:
    for path in ("node_modules/@a/b/package.json", "app/package.json", "app/package-lock.json"):
        _collect(NodePackages, path, data)


def _java(data: bytes) -> None:
    _collect(JavaPackages, "a-1.jar", data)


def _nuget(data: bytes) -> None:
    for path in ("a.nuspec", "a.nupkg", "a.deps.json"):
        _collect(NugetPackages, path, data)


def _programs(data: bytes) -> None:
    _collect(PeFiles, "a.exe", data)


def _xml(data: bytes) -> None:
    """A document that is accepted has the tree that Python's own parser makes of it, which looks at namespaces, too."""
    root = parse_xml(data)
    try:
        waiting = [(root, ET.fromstring(data))]
    except ET.ParseError:
        return
    while waiting:
        mine, other = waiting.pop()
        assert len(mine.attributes) <= len(other.attrib) + data.count(b"xmlns")
        assert mine.text == (other.text or "").strip() or len(other)
        waiting += zip(mine.children, other, strict=True)


_METADATA = b"Metadata-Version: 2.1\r\nName: A_b\r\nVersion: 1.0\r\nLicense: a\r\n b\r\nAuthor: x\r\n\r\nName: no\r\n"
_PACKAGE = b'{"name": "@a/b", "version": "1.0", "license": {"type": "MIT"}, "author": "A <a@b> (c)"}'
_LOCK = (
    b'{"lockfileVersion": 3, "packages": {"": {}, "node_modules/a": {"version": "1", "dev": true}, '
    b'"node_modules/b": {"link": true}}}'
)
_NUSPEC = (
    b'<?xml version="1.0"?><package xmlns="urn:x"><metadata><id>A</id><version>1</version><authors>B</authors>'
    b"<license>MIT</license></metadata></package>"
)
_DEPENDENCIES = (
    b'{"libraries": {"A/1": {"type": "package"}, "b/1": {"type": "project"}, '
    b'"runtimepack.C/1": {"type": "runtimepack"}}}'
)


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def _jars() -> list[bytes]:
    pom = {"META-INF/maven/g/a/pom.properties": b"groupId=g\nartifactId=a\nversion=1\n"}
    inner = _zip(pom)
    manifest = {"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\nImplementation-Ver\r\n sion: 2\r\n"}
    return [_zip(pom | manifest), _zip(manifest | {"lib/b.jar": inner}), _zip({"b.jar": inner}, zipfile.ZIP_DEFLATED)]


def _program_seeds() -> list[bytes]:
    crates = zlib.compress(b'{"packages": [{"name": "a", "version": "1", "source": "x", "root": true}]}')
    rust = Pe(sections=[Section(FIRST_RVA, crates, b".dep-v0")])
    return [pe.encode() for pe in (craft_go.program(craft_go.inline()), craft_go.program(craft_go.pointers()), rust)]


_JSON_WORDS = (b'"version"', b'"name"', b"null", b"{}", b"[]", b'"\\ud800"', b"1e999", b'"link"', b'"type"')

TARGETS = {
    "python_package": Target(_python, lambda: [_METADATA, b'{"url": "x", "dir_info": {"editable": true}}']),
    "node_package": Target(_node, lambda: [_PACKAGE, _LOCK], words=_JSON_WORDS, max_size=2048),
    "java_package": Target(
        _java, _jars, words=(b"PK\1\2", b"PK\3\4", b"PK\5\6", b"META-INF/MANIFEST.MF", b".jar"), max_size=4096
    ),
    "nuget_package": Target(
        _nuget, lambda: [_NUSPEC, _DEPENDENCIES, _zip({"a.nuspec": _NUSPEC})], words=_JSON_WORDS, max_size=2048
    ),
    "program": Target(_programs, _program_seeds, words=(craft_go.MAGIC, b".dep-v0"), max_size=4096),
    "xml": Target(
        _xml,
        lambda: [b'<?xml version="1.0"?><p xmlns="urn:x"><m a="b"><id>A&amp;B</id><![CDATA[<x>]]></m> t </p>'],
        words=(
            b"<!DOCTYPE a [", b"<!ENTITY x 'y'>", b"]>", b"&x;", b"<![CDATA[", b"]]>", b"<?", b"?>", b"xmlns:a=",
            b' encoding="utf-16"', b' encoding="cp437"',
        ),
        max_size=2048,
    ),
}  # fmt: skip
