"""Archives of Java: the package that each is, those that were put into it, and the archives in it."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from pathlib import Path

import pytest

from tests.inventory.jars import jar, pom
from tests.inventory.trees import inventory_of
from tests.packages import Wheel, wheel_files
from wclayer.inventory.item import FindingKind, Inventory, ItemKind
from wclayer.inventory.sbom.identifiers import identifiers_of

CLOSURE = Wheel(
    "closure", "20190417", "fa2eb1f4e3186475bc24c7dccc071b8ab75cad8ed093bb64341e8c529ec5ac0b", platform="any"
)
"""A program of Java that was put together of the classes of eleven packages."""
MANIFEST = "META-INF/MANIFEST.MF"
Row = tuple[str, str, str, object]


def rows(taken: Inventory) -> list[Row]:
    return [
        (item.origin.place, item.name, item.version, item.properties["is_embedded"])
        for item in taken.of_kind(ItemKind.JAVA_PACKAGE)
    ]


def test_the_description_of_maven_names_an_archive_and_what_was_put_into_it(tmp_path: Path) -> None:
    members = {
        MANIFEST: "Manifest-Version: 1.0\r\nImplementation-Version: 9\r\n", **pom("org.example", "tool-core", "2.1"),
        **pom("org.example", "tool", "2.0"), **pom("com.other", "shaded", "0.9"), **pom("", "no-group", "1"),
    }  # fmt: skip
    taken = inventory_of(tmp_path / "a", {"lib/tool-core-2.1.jar": jar(members)})
    place = r"C:\lib\tool-core-2.1.jar"
    assert rows(taken) == [
        (place, "org.example:tool-core", "2.1", False), (place, "org.example:tool", "2.0", True),
        (place, "com.other:shaded", "0.9", True),
    ]  # fmt: skip
    assert not taken.findings


def test_an_archive_that_maven_described_is_known_by_its_coordinates(tmp_path: Path) -> None:
    taken = inventory_of(tmp_path / "a", {"tool-2.1.jar": jar(pom("org.example", "tool", "2.1"))})
    assert [identifiers_of(item).purl for item in taken.of_kind(ItemKind.JAVA_PACKAGE)] == [
        "pkg:maven/org.example/tool@2.1"
    ]


@pytest.mark.parametrize(
    ("file", "manifest", "name", "version"),
    [
        ("guava-31.1-jre.jar", "Bundle-Version: 31.1.0.jre\n", "guava", "31.1-jre"),
        ("log4j-1.2-api-2.17.1.jar", "Implementation-Version: 2.17.1\n", "log4j-1.2-api", "2.17.1"),
        ("commons-io-2.11.0.jar", "", "commons-io", "2.11.0"),
        ("tools.jar", "Specification-Version: 1.8\n", "tools", "1.8"),
        ("tools.jar", "Specification-Version: 1.8\nBundle-Version: 3\n", "tools", "3"),
        ("app.war", "", "app", ""),
    ],
)
def test_without_maven_the_manifest_and_the_name_of_the_file_tell(
    tmp_path: Path, file: str, manifest: str, name: str, version: str
) -> None:
    taken = inventory_of(tmp_path / "a", {file: jar({MANIFEST: f"Manifest-Version: 1.0\n{manifest}"})})
    assert rows(taken) == [(rf"C:\{file}", name, version, False)]


def test_a_manifest_has_lines_of_72_bytes_and_only_its_main_part_counts(tmp_path: Path) -> None:
    manifest = (
        "Manifest-Version: 1.0\r\nBundle-SymbolicName: org.exam\r\n ple.x;single\r\n ton:=true\r\n"
        "Implementation-Vendor: The Example F\r\n oundation\r\nAutomatic-Module-Name: org.example\r\n\r\n"
        "Name: a/b\r\nImplementation-Title: other\r\n"
    )
    (item,) = inventory_of(tmp_path / "a", {"x-1.jar": jar({MANIFEST: manifest})}).of_kind(ItemKind.JAVA_PACKAGE)
    assert item.publisher == "The Example Foundation"
    assert item.properties == {"symbolic_name": "org.example.x", "module": "org.example", "is_embedded": False}


def test_of_several_manifests_the_first_one_counts(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in ("", "Implementation-Version: 2\n", "Implementation-Version: 3\n"):
            archive.writestr(zipfile.ZipInfo(MANIFEST), text)
    assert [row[2] for row in rows(inventory_of(tmp_path / "a", {"a-1.jar": file.getvalue()}))] == ["1"]


def test_what_is_damaged_in_an_archive_hides_nothing_else_of_it(tmp_path: Path) -> None:
    inner = jar(pom("g", "inner", "1"))
    war = jar({"lib/inner-1.jar": inner, **pom("g", "shaded", "2"), MANIFEST: b"\n" * (2 << 20)})
    taken = inventory_of(tmp_path / "a", {"app.war": war})
    assert [row[1] for row in rows(taken)] == ["app", "g:shaded", "g:inner"]
    assert [finding.kind for finding in taken.findings] == [FindingKind.LIMITED]


def test_archives_in_archives_are_looked_into_one_level_deep(tmp_path: Path) -> None:
    deepest = jar(pom("g", "deepest", "1"))
    inner = jar({**pom("org.example", "inner", "3.0"), "lib/deepest-1.jar": deepest})
    war = jar({"WEB-INF/lib/inner-3.0.jar": inner, "WEB-INF/lib/none/": b"", MANIFEST: ""}, zipfile.ZIP_STORED)
    taken = inventory_of(tmp_path / "a", {"app.war": war})
    assert rows(taken) == [
        (r"C:\app.war", "app", "", False),
        (r"C:\app.war!/WEB-INF/lib/inner-3.0.jar", "org.example:inner", "3.0", False),
    ]
    assert not taken.findings


def test_zipfile_finds_the_same_descriptions_in_a_real_archive(tmp_path: Path) -> None:
    data = dict(wheel_files(CLOSURE))["closure/closure.jar"]
    found = rows(inventory_of(tmp_path / "a", {"lib/closure-compiler.jar": data}))
    described = set()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.endswith("/pom.properties"):
                pairs = dict(re.findall(r"^(\w+)=(.*?)\r?$", archive.read(name).decode(), re.MULTILINE))
                described.add((f"{pairs['groupId']}:{pairs['artifactId']}", pairs["version"]))
    assert {row[1:3] for row in found} == described
    assert [row[1] for row in found if not row[3]] == ["com.google.javascript:closure-compiler"]
    assert ("com.google.guava:guava", "25.1-jre") in described


def _many(count: int) -> bytes:
    return jar({f"a{number}": b"" for number in range(count)}, zipfile.ZIP_STORED)


BOMB = jar({"b.jar": jar({"x": bytes(3 << 20)}, zipfile.ZIP_STORED)})


@pytest.mark.parametrize(
    ("data", "kind", "place"),
    [
        (b"", FindingKind.DAMAGED, "a.jar"),
        (b"no archive", FindingKind.DAMAGED, "a.jar"),
        (jar({"x": b"y"})[:-9], FindingKind.DAMAGED, "a.jar"),
        (jar({MANIFEST: b"\n" * (2 << 20)}), FindingKind.LIMITED, "a.jar"),
        (jar({"META-INF/maven/g/a/pom.properties": b"\n" * (1 << 20)}), FindingKind.LIMITED, "a.jar"),
        (jar({"b.jar": b"no archive"}), FindingKind.DAMAGED, "a.jar!/b.jar"),
        (BOMB, FindingKind.LIMITED, "a.jar!/b.jar"),
    ],
    ids=["empty", "no archive", "cut", "manifest", "description", "inner damage", "inner bomb"],
)
def test_damage_and_bombs_are_findings(tmp_path: Path, data: bytes, kind: FindingKind, place: str) -> None:
    taken = inventory_of(tmp_path / "a", {"a.jar": data, "good-1.jar": jar({})})
    assert ("good", "1") in {row[1:3] for row in rows(taken)}
    assert [(finding.kind, finding.place) for finding in taken.findings] == [(kind, rf"C:\{place}")]


def test_the_number_of_members_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.inventory.collectors.packages.archives._MAX_MEMBERS", 100)
    taken = inventory_of(tmp_path / "a", {"a.jar": _many(101), "b.jar": _many(100)})
    assert [(finding.kind, finding.place) for finding in taken.findings] == [(FindingKind.LIMITED, r"C:\a.jar")]
    assert [row[1] for row in rows(taken)] == ["a", "b"]


def test_archives_that_share_their_bytes_are_not_read_over_and_over(tmp_path: Path) -> None:
    once = jar({"b.jar": jar(pom("g", "b", "1"))}, zipfile.ZIP_STORED)
    with zipfile.ZipFile(io.BytesIO(once)) as archive:
        (info,) = archive.infolist()
        start = archive.start_dir
    entry = once[start : start + 46 + len(info.filename)]
    count = 60
    end = once[start + len(entry) :]
    directory = entry * count
    patched = end[:8] + count.to_bytes(2, "little") * 2 + len(directory).to_bytes(4, "little") + end[16:]
    taken = inventory_of(tmp_path / "a", {"a.jar": once[:start] + directory + patched})
    assert len([row for row in rows(taken) if row[1] == "g:b"]) < 15
    assert [finding.kind for finding in taken.findings] == [FindingKind.LIMITED]
