"""Bills of materials in SPDX: valid for spdx-tools, and the same each time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from spdx_tools.spdx.model.package import PackagePurpose
from spdx_tools.spdx.model.relationship import RelationshipType

from tests.inventory.conftest import Windows
from tests.inventory.sbom import bills
from tests.inventory.sbom.bills import (
    BASE,
    DIGEST,
    EXE,
    HOSTILE,
    INVENTORIES,
    OWN,
    WINDOWS,
    check_spdx,
    item,
    spdx,
    spdx_bytes,
)
from tests.inventory.windows import APPLICATION, UPDATED
from wclayer.inventory.item import Finding, FindingKind, Inventory, ItemKind


def test_an_operating_system_and_a_file_are_packages_with_their_places() -> None:
    record = spdx(bills.inventory(WINDOWS, EXE))
    tool = record["creationInfo"]["creators"][0]
    assert tool.startswith("Tool: wclayer-")
    common = {"annotationDate": "2026-08-09T02:33:18Z", "annotationType": "OTHER", "annotator": tool}
    assert record["packages"][1:] == [
        {
            "SPDXID": "SPDXRef-operating-system-1",
            "name": "Windows Server 2022 Datacenter",
            "versionInfo": "10.0.20348.5499",
            "supplier": "Organization: Microsoft Corporation ()",
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "externalRefs": [
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": "pkg:generic/microsoft/windows_server_2022@10.0.20348.5499"
                    "?arch=amd64&edition=serverdatacenter",
                },
                {
                    "referenceCategory": "SECURITY",
                    "referenceType": "cpe23Type",
                    "referenceLocator": "cpe:2.3:o:microsoft:windows_server_2022:10.0.20348.5499:*:*:*:*:*:x64:*",
                },
            ],
            "primaryPackagePurpose": "OPERATING-SYSTEM",
            "annotations": [
                {
                    **common,
                    "comment": rf"operating-system; HKLM\SOFTWARE\Key; layer 1 ({BASE.digest}), base image;"
                    " architecture=amd64; edition=ServerDatacenter; installation_type=Server Core",
                }
            ],
        },
        {
            "SPDXID": "SPDXRef-pe-file-1",
            "name": "a.exe",
            "versionInfo": "1.2.3.4",
            "packageFileName": "C:\\a.exe",
            "supplier": "Organization: Foo (UK) ()",
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "checksums": [{"algorithm": "SHA256", "checksumValue": "a" * 64}],
            "primaryPackagePurpose": "FILE",
            "annotations": [
                {
                    **common,
                    "comment": f"pe-file; C:\\a.exe; C:\\b.exe; layer 2 ({OWN.digest}), own; is_dll=false; size=12",
                }
            ],
        },
    ]
    assert [tuple(each.values()) for each in record["relationships"]] == [
        ("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image"),
        ("SPDXRef-image", "CONTAINS", "SPDXRef-operating-system-1"),
        ("SPDXRef-image", "CONTAINS", "SPDXRef-pe-file-1"),
    ]


def test_the_document_describes_the_image_with_its_layers_and_findings() -> None:
    finding = Finding(FindingKind.DAMAGED, r"HKLM\SYSTEM", "the hive ends early")
    image = spdx(bills.inventory(findings=(finding,)))["packages"][0]
    assert image["name"] == "localhost:5000/shop/app:1"
    assert image["checksums"] == [{"algorithm": "SHA256", "checksumValue": "9" * 64}]
    (reference,) = image["externalRefs"]
    assert reference["referenceLocator"] == f"pkg:oci/app@{DIGEST}?repository_url=localhost:5000/shop/app&tag=1"
    assert [each["comment"] for each in image["annotations"]] == [
        f"layer 1 ({BASE.digest}), base image, {BASE.diff_id}, Apply image 10.0.20348.5499",
        f"layer 2 ({OWN.digest}), own, {OWN.diff_id}, COPY app C:\\app",
        r"finding (damaged): HKLM\SYSTEM: the hive ends early",
    ]


def test_the_model_of_others_has_what_was_written() -> None:
    updates = [item(ItemKind.UPDATE, "KB1", state=state, layer=BASE) for state in ("installed", "superseded", "absent")]
    document = check_spdx(spdx_bytes(bills.inventory(WINDOWS, *updates, EXE)))
    assert [(each.name, each.primary_package_purpose) for each in document.packages[1:]] == [
        ("Windows Server 2022 Datacenter", PackagePurpose.OPERATING_SYSTEM),
        ("KB1", PackagePurpose.OTHER),
        ("KB1", PackagePurpose.OTHER),
        ("a.exe", PackagePurpose.FILE),
    ]
    supplier = document.packages[-1].supplier
    assert getattr(supplier, "name", "") == "Foo (UK)"
    assert getattr(supplier, "email", "") is None
    patches = [each for each in document.relationships if each.relationship_type is RelationshipType.PATCH_FOR]
    assert [each.related_spdx_element_id for each in patches] == ["SPDXRef-operating-system-1"] * 2


def test_the_bytes_depend_on_the_inventory_alone() -> None:
    of = bills.inventory(WINDOWS, EXE)
    assert spdx_bytes(of) == spdx_bytes(of)
    names = {
        spdx(each, epoch=epoch)["documentNamespace"]
        for each in (of, bills.inventory(WINDOWS), replace(of, digest=f"sha256:{'8' * 64}"))
        for epoch in (None, 86400)
    }
    assert len(names) == 6
    assert spdx(of, epoch=86400)["creationInfo"]["created"] == "1970-01-02T00:00:00Z"


@pytest.mark.parametrize("kind", ItemKind)
def test_hostile_texts_give_valid_bills(kind: ItemKind) -> None:
    items = [
        item(kind, text, text, text, publisher=text, state=text, sha256=text, names=[text, text], edition=text)
        for text in HOSTILE
    ]
    check_spdx(spdx_bytes(bills.inventory(*items, name=HOSTILE[6])))


@settings(deadline=None, max_examples=40)
@given(INVENTORIES)
@example(Inventory("", "\ud800", "", (), (), ()))
def test_any_inventory_gives_a_valid_bill(of: Inventory) -> None:
    spdx(of)


def test_the_bill_of_an_image_tells_what_was_put_in(machine: Windows) -> None:
    packages = {each["name"]: each for each in spdx(machine.inventory(APPLICATION, files=False))["packages"]}
    assert packages["Windows Server 2022 Datacenter"]["versionInfo"] == UPDATED
    assert "KB5034613" in packages
