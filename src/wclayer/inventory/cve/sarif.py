"""A report in SARIF 2.1.0, which code hosts show beside their other findings.

Source: Static Analysis Results Interchange Format 2.1.0 (OASIS). What the image is vulnerable to is a result of the
kind `fail`; what cannot be told is one of the kind `review`.
"""

from __future__ import annotations

import urllib.parse
from typing import Any

from wclayer.inventory.cve.advisory import Severity
from wclayer.inventory.cve.report import Vulnerability, VulnerabilityReport, VulnerabilityState

_LEVELS = {Severity.CRITICAL: "error", Severity.IMPORTANT: "error", Severity.MODERATE: "warning"}


def to_sarif(report: VulnerabilityReport, version: str) -> dict[str, Any]:
    """Returns the report as a document of SARIF.

    Args:
        report: the report.
        version: the version of this program.
    """
    shown = [*report.of_state(VulnerabilityState.VULNERABLE), *report.of_state(VulnerabilityState.UNKNOWN)]
    rules: dict[str, Vulnerability] = {}
    for each in shown:
        rules.setdefault(each.cve, each)
    indices = {cve: number for number, cve in enumerate(rules)}
    driver = {
        "name": "wclayer", "version": version, "rules": [_rule(rule) for rule in rules.values()],
    }  # fmt: skip
    run: dict[str, Any] = {
        "tool": {"driver": driver},
        "results": [_result(report.name, each, indices[each.cve]) for each in shown],
        "columnKind": "utf16CodeUnits",
    }
    notes = [
        {"level": "warning", "message": {"text": f"{finding.place}: {finding.text}"}} for finding in report.findings
    ]
    run["invocations"] = [{"executionSuccessful": True, "toolExecutionNotifications": notes}]
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _rule(rule: Vulnerability) -> dict[str, Any]:
    properties: dict[str, Any] = {"tags": ["security", "vulnerability", *(["exploited"] if rule.is_exploited else [])]}
    if rule.score is not None:
        properties["security-severity"] = f"{rule.score:.1f}"
    return {
        "id": rule.cve,
        "shortDescription": {"text": rule.title or rule.cve},
        "helpUri": rule.page,
        "defaultConfiguration": {"level": _LEVELS.get(rule.severity, "note")},
        "properties": properties,
    }


def _result(image: str, found: Vulnerability, index: int) -> dict[str, Any]:
    is_vulnerable = found.state is VulnerabilityState.VULNERABLE
    product = found.product
    text = f"{found.title or found.cve}: {found.reason}"
    if found.kb or found.fixed_in:
        text += f". Fixed in {' by '.join(filter(None, (found.fixed_in, found.kb)))}"
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": urllib.parse.quote(image, safe="/", errors="surrogatepass")}},
    }
    if product is not None:
        location["logicalLocations"] = [
            {"name": product.name, "fullyQualifiedName": f"{product.name} {product.version}"}
        ]
    return {
        "ruleId": found.cve,
        "ruleIndex": index,
        "kind": "fail" if is_vulnerable else "review",
        "level": _LEVELS.get(found.severity, "note") if is_vulnerable else "none",
        "message": {"text": text},
        "locations": [location],
        "partialFingerprints": {"vulnerability/v1": f"{found.cve} {product.name if product else ''}".strip()},
    }
