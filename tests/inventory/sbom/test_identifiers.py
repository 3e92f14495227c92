"""Package URLs and CPE names: those that others use where there are such, guesses that say so elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL
from spdx_tools.spdx.validation.external_package_ref_validator import CPE23TYPE_REGEX

from tests.inventory.sbom.bills import DIGEST, EXE, HOSTILE, INVENTORIES, TEXTS, WINDOWS, inventory, item
from wclayer.inventory.item import Inventory, ItemKind
from wclayer.inventory.sbom.identifiers import Identifiers, identifiers_of, image_name, image_purl

_CPE = re.compile(CPE23TYPE_REGEX)


def test_windows_has_the_names_of_the_cpe_dictionary() -> None:
    assert identifiers_of(WINDOWS) == Identifiers(
        "pkg:generic/microsoft/windows_server_2022@10.0.20348.5499?arch=amd64&edition=serverdatacenter",
        "cpe:2.3:o:microsoft:windows_server_2022:10.0.20348.5499:*:*:*:*:*:x64:*",
    )


@pytest.mark.parametrize(
    ("name", "version", "properties", "product"),
    [
        ("Windows Server 2016 Datacenter", "10.0.14393.7606", {}, "windows_server_2016"),
        ("Windows Server 2019 Datacenter", "10.0.17763.6659", {}, "windows_server_2019"),
        ("Windows Server 2025 Datacenter", "10.0.26100.1", {"installation_type": "Nano Server"}, "windows_server_2025"),
        ("Windows Server Datacenter", "10.0.25398.1", {}, "windows_server_2022_23h2"),
        ("Windows Server 2030", "10.0.99999.1", {}, "windows_server_2030"),
        ("Windows", "10.0.20348", {"installation_type": "Server"}, "windows_server_2022"),
        ("Windows 11 Enterprise", "10.0.26100.1", {"display_version": "24H2"}, "windows_11_24h2"),
        ("Windows 10 Pro", "10.0.17763.1", {"release_id": "1809"}, "windows_10_1809"),
        ("\ud800", "", {}, "windows"),
    ],
)
def test_a_windows_is_known_by_its_build_or_its_release(
    name: str, version: str, properties: dict[str, str], product: str
) -> None:
    found = identifiers_of(replace(item(ItemKind.OPERATING_SYSTEM, name, version), properties=properties))
    assert found.cpe.split(":")[4] == product
    assert PackageURL.from_string(found.purl).name == product


@pytest.mark.parametrize(
    ("kind", "name", "purl"),
    [
        (ItemKind.PYTHON_PACKAGE, "Flask_Thing", "pkg:pypi/flask-thing@1.0"),
        (ItemKind.NODE_PACKAGE, "left-pad", "pkg:npm/left-pad@1.0"),
        (ItemKind.NODE_PACKAGE, "@scope/name", "pkg:npm/%40scope/name@1.0"),
        (ItemKind.JAVA_PACKAGE, "log4j-core", "pkg:generic/log4j-core@1.0"),
        (ItemKind.JAVA_PACKAGE, "org.apache.logging.log4j:log4j-core",
         "pkg:maven/org.apache.logging.log4j/log4j-core@1.0"),
        (ItemKind.NUGET_PACKAGE, "Newtonsoft.Json", "pkg:nuget/Newtonsoft.Json@1.0"),
        (ItemKind.GO_MODULE, "github.com/pkg/errors", "pkg:golang/github.com/pkg/errors@1.0"),
        (ItemKind.GO_MODULE, "stdlib", "pkg:golang/stdlib@1.0"),
        (ItemKind.UPDATE, "KB5034613", "pkg:generic/KB5034613@1.0"),
        (ItemKind.PE_FILE, "a.exe", ""),
        (ItemKind.CERTIFICATE, "CN=x", ""),
        (ItemKind.PYTHON_PACKAGE, "x" * 30_000, ""),
        (ItemKind.NODE_PACKAGE, "@scope/", ""),
    ],
)  # fmt: skip
def test_a_package_has_the_purl_of_its_index(kind: ItemKind, name: str, purl: str) -> None:
    assert identifiers_of(item(kind, name, "1.0")) == Identifiers(purl)


@pytest.mark.parametrize(
    ("name", "publisher", "version", "cpe"),
    [
        ("7-Zip 23.01 (x64)", "Igor Pavlov", "23.01", "igor_pavlov:7-zip:23.01"),
        ("Notepad++ (64-bit x64)", "Notepad++ Team", "8.6", r"notepad\+\+:notepad\+\+:8.6"),
        ("Microsoft Visual C++ 2015-2022 Redistributable (x64) - 14.38.33135", "Microsoft Corporation", "14.38.33135.0",
         r"microsoft:visual_c\+\+_2015-2022_redistributable:14.38.33135.0"),
        ("Python 3.12.1 (64-bit)", "Python Software Foundation", "3.12.1150.0", "python:python:3.12.1150.0"),
        ("Größe", "Müller GmbH", "1 (beta)", r"muller:groe:1_\(beta\)"),
        ("Name", "", "1", ""),
        ("名前", "Foo", "1", ""),
    ],
)  # fmt: skip
def test_the_cpe_name_of_a_program_is_a_guess(name: str, publisher: str, version: str, cpe: str) -> None:
    found = identifiers_of(item(ItemKind.PROGRAM, name, version, publisher=publisher))
    assert (found.cpe, found.is_guess) == ((f"cpe:2.3:a:{cpe}:*:*:*:*:*:*:*", True) if cpe else ("", False))


def test_the_parts_of_dotnet_have_the_names_of_the_cpe_dictionary() -> None:
    framework = identifiers_of(item(ItemKind.DOTNET, ".NET Framework", "4.8.1", publisher="Microsoft Corporation"))
    assert framework.cpe == "cpe:2.3:a:microsoft:.net_framework:4.8.1:*:*:*:*:*:*:*"
    assert framework.purl == "pkg:generic/microsoft/.NET%20Framework@4.8.1"
    assert not framework.is_guess
    assert identifiers_of(item(ItemKind.DOTNET, "hostfxr", "8.0.1")).cpe == ""


def test_an_image_has_the_purl_of_its_repository() -> None:
    assert image_purl(inventory()) == f"pkg:oci/app@{DIGEST}?repository_url=localhost:5000/shop/app&tag=1"
    # Nobody knows of which registry the name is.
    assert image_purl(inventory(name="shop/app:1")) == f"pkg:oci/app@{DIGEST}?tag=1"
    for name in ("/layers/app", "oci:mirror:app", DIGEST):
        assert image_purl(inventory(name=name)) == ""
    assert image_purl(Inventory("app:1", "", "", (), (), ())) == ""


def test_the_path_of_an_image_is_not_its_name() -> None:
    assert image_name(inventory()) == "localhost:5000/shop/app:1"
    assert image_name(inventory(name="/home/alice/layers/app/")) == "app"
    assert image_name(inventory(name="C:\\Users\\alice\\app.vhdx")) == "app.vhdx"


@settings(deadline=None, max_examples=40)
@given(INVENTORIES)
def test_any_item_has_valid_identifiers_or_none(of: Inventory) -> None:
    found = [identifiers_of(each) for each in of.items]
    for purl in filter(None, [image_purl(of), *(each.purl for each in found)]):
        assert PackageURL.from_string(purl).to_string() == purl
    for cpe in filter(None, (each.cpe for each in found)):
        assert _CPE.match(cpe), cpe


@given(st.sampled_from(ItemKind), TEXTS, TEXTS, st.sampled_from(HOSTILE))
def test_hostile_names_take_no_time(kind: ItemKind, name: str, version: str, publisher: str) -> None:
    found = identifiers_of(item(kind, name * 20, version, publisher=publisher))
    assert len(found.cpe) < 2000
    assert len(found.purl) < 15_000


def test_a_file_is_known_by_its_hash_alone() -> None:
    assert identifiers_of(EXE) == Identifiers()
