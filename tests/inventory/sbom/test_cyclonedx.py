"""Bills of materials in CycloneDX: valid for cyclonedx-python-lib, the same each time, and written piece by piece."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given, settings

from tests.inventory.conftest import Windows
from tests.inventory.sbom import bills
from tests.inventory.sbom.bills import (
    BASE,
    DIGEST,
    EXE,
    HOSTILE,
    INVENTORIES,
    WINDOWS,
    cyclonedx,
    cyclonedx_bytes,
    item,
)
from tests.inventory.windows import APPLICATION, UPDATED
from wclayer.inventory.item import Finding, FindingKind, Inventory, ItemKind
from wclayer.inventory.sbom.cyclonedx import write_cyclonedx
from wclayer.inventory.sbom.forms import FORMS, LEFT_OUT, SETTINGS
from wclayer.inventory.sbom.spdx import write_spdx


def test_an_operating_system_and_a_file_are_components_with_their_places() -> None:
    record = cyclonedx(bills.inventory(WINDOWS, EXE))
    layer = {"1": f"layer 1 ({BASE.digest}), base image", "2": f"layer 2 ({bills.OWN.digest}), own"}
    assert record["components"] == [
        {
            "type": "operating-system",
            "bom-ref": "operating-system-1",
            "publisher": "Microsoft Corporation",
            "name": "Windows Server 2022 Datacenter",
            "version": "10.0.20348.5499",
            "cpe": "cpe:2.3:o:microsoft:windows_server_2022:10.0.20348.5499:*:*:*:*:*:x64:*",
            "purl": "pkg:generic/microsoft/windows_server_2022@10.0.20348.5499?arch=amd64&edition=serverdatacenter",
            "evidence": {"occurrences": [{"location": r"HKLM\SOFTWARE\Key", "additionalContext": layer["1"]}]},
            "properties": [
                {"name": "wclayer:kind", "value": "operating-system"},
                {"name": "wclayer:layer", "value": "1"},
                {"name": "wclayer:layer:digest", "value": BASE.digest},
                {"name": "wclayer:layer:origin", "value": "base"},
                {"name": "wclayer:architecture", "value": "amd64"},
                {"name": "wclayer:edition", "value": "ServerDatacenter"},
                {"name": "wclayer:installation_type", "value": "Server Core"},
            ],
        },
        {
            "type": "file",
            "bom-ref": "pe-file-1",
            "publisher": "Foo (UK)",
            "name": "a.exe",
            "version": "1.2.3.4",
            "hashes": [{"alg": "SHA-256", "content": "a" * 64}],
            "evidence": {
                "occurrences": [
                    {"location": "C:\\a.exe", "additionalContext": layer["2"]},
                    {"location": "C:\\b.exe", "additionalContext": layer["2"]},
                ]
            },
            "properties": [
                {"name": "wclayer:kind", "value": "pe-file"},
                {"name": "wclayer:layer", "value": "2"},
                {"name": "wclayer:layer:digest", "value": bills.OWN.digest},
                {"name": "wclayer:layer:origin", "value": "own"},
                {"name": "wclayer:is_dll", "value": "false"},
                {"name": "wclayer:size", "value": "12"},
            ],
        },
    ]
    assert record["dependencies"] == [
        {"ref": "image", "dependsOn": ["operating-system-1", "pe-file-1"]},
        {"ref": "operating-system-1", "dependsOn": []},
    ]


def test_the_bill_is_about_the_image_and_tells_its_layers_and_findings() -> None:
    finding = Finding(FindingKind.DAMAGED, r"HKLM\SYSTEM", "the hive ends early")
    service = item(ItemKind.SERVICE, "Spooler", path="spoolsv.exe")
    record = cyclonedx(bills.inventory(service, findings=(finding,)))
    assert record["metadata"]["timestamp"] == "2026-08-09T02:33:18Z"
    assert record["metadata"]["component"] == {
        "type": "container",
        "bom-ref": "image",
        "name": "localhost:5000/shop/app:1",
        "version": DIGEST,
        "hashes": [{"alg": "SHA-256", "content": "9" * 64}],
        "purl": f"pkg:oci/app@{DIGEST}?repository_url=localhost:5000/shop/app&tag=1",
        "properties": [
            {
                "name": "wclayer:layer:1",
                "value": f"layer 1 ({BASE.digest}), base image, {BASE.diff_id}, Apply image 10.0.20348.5499",
            },
            {
                "name": "wclayer:layer:2",
                "value": f"layer 2 ({bills.OWN.digest}), own, {bills.OWN.diff_id}, COPY app C:\\app",
            },
            {"name": "wclayer:finding:damaged", "value": r"HKLM\SYSTEM: the hive ends early"},
            {"name": "wclayer:service", "value": "Spooler; path=spoolsv.exe"},
        ],
    }
    assert record["components"] == []


def test_a_superseded_update_is_optional_and_an_absent_one_is_not_there() -> None:
    states = ("installed", "superseded", "staged", "absent")
    updates = [item(ItemKind.UPDATE, f"KB{n}", state=state) for n, state in enumerate(states)]
    found = {each["name"]: each.get("scope") for each in cyclonedx(bills.inventory(*updates))["components"]}
    assert found == {"KB0": None, "KB1": "optional", "KB2": "optional"}


def test_every_kind_is_a_component_or_a_setting_or_left_out_on_purpose() -> None:
    kinds = [*FORMS, *SETTINGS, *LEFT_OUT]
    assert sorted(kinds) == sorted(ItemKind)


def test_users_variables_and_host_paths_are_in_no_bill() -> None:
    secrets = [item(ItemKind.USER, "alice"), item(ItemKind.ENVIRONMENT_VARIABLE, "TOKEN", value="hunter2")]
    of = bills.inventory(WINDOWS, *secrets)
    for data in (cyclonedx_bytes(of), bills.spdx_bytes(of)):
        for secret in (b"alice", b"TOKEN", b"hunter2", b"/store/"):
            assert secret not in data


def test_a_guessed_cpe_name_has_a_low_confidence() -> None:
    program = item(ItemKind.PROGRAM, "7-Zip", "23.01", publisher="Igor Pavlov")
    (component,) = cyclonedx(bills.inventory(program))["components"]
    (identity,) = component["evidence"]["identity"]
    assert (identity["field"], identity["confidence"]) == ("cpe", 0.3)


def test_the_model_of_others_has_what_was_written() -> None:
    program = item(ItemKind.PROGRAM, "7-Zip", "23.01", publisher="Igor Pavlov")
    bom = bills.check_cyclonedx(cyclonedx_bytes(bills.inventory(WINDOWS, program, EXE)))
    assert bom.metadata.component is not None
    assert bom.metadata.component.name == "localhost:5000/shop/app:1"
    found = {each.name: each for each in bom.components}
    assert str(found["7-Zip"].purl) == "pkg:generic/igor_pavlov/7-Zip@23.01"
    assert found["7-Zip"].cpe == "cpe:2.3:a:igor_pavlov:7-zip:23.01:*:*:*:*:*:*:*"
    assert [each.content for each in found["a.exe"].hashes] == ["a" * 64]
    assert found["a.exe"].evidence is not None
    assert sorted(each.location or "" for each in found["a.exe"].evidence.occurrences) == ["C:\\a.exe", "C:\\b.exe"]


def test_the_bytes_depend_on_the_inventory_alone() -> None:
    of = bills.inventory(WINDOWS, EXE)
    assert cyclonedx_bytes(of) == cyclonedx_bytes(of)
    serials = {
        cyclonedx(each, epoch=epoch)["serialNumber"]
        for each in (of, bills.inventory(WINDOWS), replace(of, digest=f"sha256:{'8' * 64}"))
        for epoch in (None, 86400)
    }
    assert len(serials) == 6
    assert cyclonedx(of, epoch=86400)["metadata"]["timestamp"] == "1970-01-02T00:00:00Z"
    assert cyclonedx(replace(of, created=""))["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("kind", ItemKind)
def test_hostile_texts_give_valid_bills(kind: ItemKind) -> None:
    items = [
        item(kind, text, text, text, publisher=text, state=text, sha256=text, names=[text, text], edition=text)
        for text in HOSTILE
    ]
    data = cyclonedx_bytes(bills.inventory(*items, name=HOSTILE[6]))
    bills.check_cyclonedx(data)
    assert not any(0xD800 <= ord(letter) < 0xE000 for letter in str(json.loads(data)))


@settings(deadline=None, max_examples=40)
@given(INVENTORIES)
def test_any_inventory_gives_a_valid_bill(of: Inventory) -> None:
    cyclonedx(of)


def test_the_bill_of_an_image_tells_what_was_put_in(machine: Windows) -> None:
    record = cyclonedx(machine.inventory(APPLICATION, files=False))
    by_type: dict[str, list[dict[str, Any]]] = {}
    for each in record["components"]:
        by_type.setdefault(each["type"], []).append(each)
    (system,) = by_type["operating-system"]
    assert (system["name"], system["version"]) == ("Windows Server 2022 Datacenter", UPDATED)
    assert "KB5034613" in {each["name"] for each in by_type["application"]}


class _Counter:
    """A stream that counts what comes, and forgets it."""

    size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)


@pytest.mark.parametrize("write", [write_cyclonedx, write_spdx])
def test_a_bill_is_never_whole_in_memory(write: Any) -> None:
    files = tuple(replace(EXE, name=f"{number}.exe") for number in range(1000))
    of = bills.inventory(WINDOWS, *files)
    counter = _Counter()
    write(of, cast(Any, counter))
    tracemalloc.start()
    try:
        write(of, cast(Any, counter))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert counter.size > 2 * 500_000
    assert peak < 200_000
