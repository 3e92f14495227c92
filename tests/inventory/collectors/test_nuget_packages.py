"""Packages of NuGet and Chocolatey, and what applications of .NET list."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from tests.inventory.trees import NUSPEC, inventory_of, items
from tests.packages import Wheel, wheel_files
from wclayer.inventory.item import FindingKind, ItemKind
from wclayer.inventory.sbom.identifiers import identifiers_of

DOTNETCORE = Wheel("dotnetcore2", "3.1.23", "e2528813677d7a080522336cb530442408d1e2aea76fa8657018fb532c03c252")


def nupkg(nuspec: bytes, name: str = "Newtonsoft.Json.nuspec") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in (("_rels/.rels", b""), ("content/other.nuspec", b""), (name, nuspec)):
            archive.writestr(zipfile.ZipInfo(member), data, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def test_unpacked_and_packed_packages_are_found_once(tmp_path: Path) -> None:
    files = {
        "packages/newtonsoft.json/13.0.1/newtonsoft.json.nuspec": NUSPEC,
        "packages/newtonsoft.json/13.0.1/newtonsoft.json.13.0.1.nupkg": nupkg(NUSPEC),
        "library-packs/Newtonsoft.Json.13.0.1.nupkg": nupkg(NUSPEC),
        "ProgramData/chocolatey/lib/7zip/7zip.nuspec": b"<package><metadata><id>7zip</id><version>22.1</version>"
        b"<licenseUrl>http://x</licenseUrl></metadata></package>",
    }
    found = items(inventory_of(tmp_path / "a", files), ItemKind.NUGET_PACKAGE)
    json_package = ("Newtonsoft.Json", "13.0.1", "James Newton-King", {"source": "nuget", "license": "MIT"})
    assert {place: (item.name, item.version, item.publisher, item.properties) for place, item in found.items()} == {
        r"C:\packages\newtonsoft.json\13.0.1\newtonsoft.json.nuspec": json_package,
        r"C:\library-packs\Newtonsoft.Json.13.0.1.nupkg": json_package,
        r"C:\ProgramData\chocolatey\lib\7zip\7zip.nuspec": (
            "7zip", "22.1", "", {"source": "chocolatey", "license": "http://x"},
        ),
    }  # fmt: skip


def test_a_package_of_chocolatey_is_not_taken_for_one_of_nuget(tmp_path: Path) -> None:
    files = {"a/a.nuspec": NUSPEC, "ProgramData/chocolatey/lib/a/a.nuspec": NUSPEC}
    found = inventory_of(tmp_path / "a", files).of_kind(ItemKind.NUGET_PACKAGE)
    assert {identifiers_of(item).purl for item in found} == {
        "pkg:nuget/Newtonsoft.Json@13.0.1", "pkg:chocolatey/Newtonsoft.Json@13.0.1",
    }  # fmt: skip


def test_an_application_lists_its_packages(tmp_path: Path) -> None:
    record = {
        "runtimeTarget": {"name": ".NETCoreApp,Version=v8.0/win-x64"},
        "libraries": {
            "app/1.0.0": {"type": "project"},
            "Serilog/3.1.1": {"type": "package", "serviceable": True, "sha512": "sha512-x"},
            "runtimepack.Microsoft.NETCore.App.Runtime.win-x64/8.0.1": {"type": "runtimepack"},
            "Old/1.0.0.0": {"type": "reference"}, "odd": {"type": "package"}, "none/": {"type": "package"},
        },
    }  # fmt: skip
    files = {"app/app.deps.json": json.dumps(record).encode(), "app/other.json": b"{"}
    taken = inventory_of(tmp_path / "a", files)
    assert [(item.name, item.version) for item in taken.of_kind(ItemKind.NUGET_PACKAGE)] == [
        ("Serilog", "3.1.1"), ("Microsoft.NETCore.App.Runtime.win-x64", "8.0.1"),
    ]  # fmt: skip
    assert not taken.findings


def test_the_list_of_a_real_runtime_is_read(tmp_path: Path) -> None:
    name = "dotnetcore2/bin/shared/Microsoft.NETCore.App/3.1.23/Microsoft.NETCore.App.deps.json"
    data = dict(wheel_files(DOTNETCORE))[name]
    found = list(inventory_of(tmp_path / "a", {name: data}).of_kind(ItemKind.NUGET_PACKAGE))
    listed = json.loads(data)["libraries"]
    assert {f"{item.name}/{item.version}" for item in found} == {
        key for key, each in listed.items() if each["type"] == "package"
    }
    assert found


@pytest.mark.parametrize(
    "nuspec",
    [
        b"<package/>", b"<package><metadata/></package>",
        b"<package><metadata><id>$id$</id><version>$version$</version></metadata></package>",
        b"<package><metadata><id>a</id></metadata></package>",
    ],
)  # fmt: skip
def test_a_manifest_without_name_and_version_is_no_package(tmp_path: Path, nuspec: bytes) -> None:
    taken = inventory_of(tmp_path / "a", {"a.nuspec": nuspec, "b.nupkg": nupkg(nuspec)})
    assert not list(taken.of_kind(ItemKind.NUGET_PACKAGE))
    assert not taken.findings


BOMB = nupkg(b"<package>" + b" " * (5 << 20) + b"</package>")


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.nuspec", b"<!DOCTYPE p [<!ENTITY a 'b'>]><package>&a;</package>", FindingKind.DAMAGED),
        ("a.nuspec", b"<a>" * 100, FindingKind.LIMITED),
        ("a.nuspec", b" " * (5 << 20), FindingKind.LIMITED),
        ("a.nupkg", b"no archive", FindingKind.DAMAGED),
        ("a.nupkg", BOMB, FindingKind.LIMITED),
        ("a.deps.json", b'{"libraries": []}', FindingKind.DAMAGED),
        ("a.deps.json", b'{"libraries": {"a/1": 1}}', FindingKind.DAMAGED),
        ("a.deps.json", b"[" * 1_000_000, FindingKind.LIMITED),
    ],
)
def test_what_is_damaged_or_too_large_is_a_finding(tmp_path: Path, name: str, data: bytes, kind: FindingKind) -> None:
    taken = inventory_of(tmp_path / "a", {name: data, "b.nuspec": NUSPEC})
    assert [item.name for item in taken.of_kind(ItemKind.NUGET_PACKAGE)] == ["Newtonsoft.Json"]
    assert [(finding.kind, finding.place) for finding in taken.findings] == [(kind, rf"C:\{name}")]
