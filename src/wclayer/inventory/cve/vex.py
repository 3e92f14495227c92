"""A report as a VEX document of CycloneDX 1.6: for each vulnerability, whether the image is affected.

Source: the CycloneDX 1.6 specification (ECMA-424), `vulnerabilities`. It has neither a serial number nor a time: the
same image and the same documents give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wclayer.inventory.cve.advisory import Severity
from wclayer.inventory.cve.products import InstalledProduct, ProductKind
from wclayer.inventory.cve.report import Vulnerability, VulnerabilityReport, VulnerabilityState

_IMAGE = "image"
"""The reference of the image itself."""
_SEVERITIES = {
    Severity.CRITICAL: "critical", Severity.IMPORTANT: "high", Severity.MODERATE: "medium", Severity.LOW: "low",
}  # fmt: skip
_STATES = {
    VulnerabilityState.VULNERABLE: ("exploitable", "affected"),
    VulnerabilityState.UNKNOWN: ("in_triage", "unknown"),
    VulnerabilityState.FIXED: ("resolved", "unaffected"),
    VulnerabilityState.NOT_AFFECTED: ("not_affected", "unaffected"),
}
"""The state of the analysis, and that of the affected version."""
_METHODS = {"CVSS:3.1": "CVSSv31", "CVSS:3.0": "CVSSv3", "CVSS:4.0": "CVSSv4"}
_SOURCE = "MSRC"


def to_vex(report: VulnerabilityReport, version: str) -> dict[str, Any]:
    """Returns the report as a document of CycloneDX.

    Args:
        report: the report.
        version: the version of this program.
    """
    references = {product: f"product-{number}" for number, product in enumerate(report.products, 1)}
    image = {"type": "container", "bom-ref": _IMAGE, "name": report.name}
    if report.digest:
        image["version"] = report.digest
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "wclayer", "version": version}]},
            "component": image,
        },
        "components": [_component(product, reference) for product, reference in references.items()],
        "vulnerabilities": [_vulnerability(each, references) for each in report.vulnerabilities],
    }


def _component(product: InstalledProduct, reference: str) -> dict[str, Any]:
    return {
        "type": "operating-system" if product.kind is ProductKind.WINDOWS else "framework",
        "bom-ref": reference,
        "publisher": "Microsoft Corporation",
        "name": product.name,
        "version": product.version,
    }


def _vulnerability(found: Vulnerability, references: Mapping[InstalledProduct, str]) -> dict[str, Any]:
    state, status = _STATES[found.state]
    analysis: dict[str, Any] = {"state": state, "detail": found.reason}
    affects: dict[str, Any] = {"ref": references[found.product] if found.product else _IMAGE}
    if found.product is not None:
        affects["versions"] = [{"version": found.product.version, "status": status}]
    if found.state is VulnerabilityState.VULNERABLE:
        analysis["response"] = ["update"]
    if found.state is VulnerabilityState.NOT_AFFECTED:
        analysis["justification"] = "code_not_present"
    record: dict[str, Any] = {
        "bom-ref": " ".join([found.cve, affects["ref"]]),
        "id": found.cve,
        "source": {"name": _SOURCE, "url": found.page},
        "ratings": _ratings(found),
        "description": found.title or found.cve,
        "analysis": analysis,
        "affects": [affects],
    }
    if found.kb or found.fixed_in:
        record["recommendation"] = "Update to " + " by ".join(filter(None, (found.fixed_in, found.kb)))
    return record


def _ratings(found: Vulnerability) -> list[dict[str, Any]]:
    rating: dict[str, Any] = {"source": {"name": _SOURCE}, "severity": _SEVERITIES.get(found.severity, "unknown")}
    if found.score is not None:
        rating["score"] = found.score
    if found.vector:
        rating |= {"method": _METHODS.get(found.vector[:8], "other"), "vector": found.vector}
    return [rating]
