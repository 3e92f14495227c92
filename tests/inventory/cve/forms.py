"""Advisories in the forms in which MSRC publishes them, made of one description."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from xml.sax.saxutils import escape, quoteattr

SERVER_2022, CORE_2022 = "11923", "11924"
NAMES = {
    SERVER_2022: "Windows Server 2022",
    CORE_2022: "Windows Server 2022 (Server Core installation)",
    "11571": "Windows Server 2019",
    "11572": "Windows Server 2019 (Server Core installation)",
    "11569": "Windows 10 Version 1809 for x64-based Systems",
    "12260": ".NET 8.0",
    "11676-11924": "Microsoft .NET Framework 3.5 AND 4.8 on Windows Server 2022 (Server Core installation)",
    "12139": "CBL Mariner 2.0 x64",
}
"""Products of MSRC by their ids."""


@dataclass(frozen=True)
class Fix:
    """A remediation: the update, the version that it makes, and what kind of update it is."""

    products: tuple[str, ...]
    kb: str = ""
    version: str = ""
    kind: str = "Security Update"
    url: str = ""


@dataclass(frozen=True)
class Case:
    """A vulnerability. It has one severity and one score for all products."""

    cve: str = "CVE-2099-0001"
    title: str = "Windows Example Remote Code Execution Vulnerability"
    affected: tuple[str, ...] = (SERVER_2022, CORE_2022)
    fixes: tuple[Fix, ...] = (Fix((SERVER_2022, CORE_2022), "5099001", "10.0.20348.2000"),)
    severity: str = "Critical"
    score: float = 9.8
    is_exploited: bool = False
    released: str = "2099-01-10T08:00:00"
    revised: str = "2099-01-10T08:00:00"


VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
_CVSS_WORDS = {"Critical": "CRITICAL", "Important": "HIGH", "Moderate": "MEDIUM", "Low": "LOW"}


def cvrf_json(*cases: Case, names: Mapping[str, str] = NAMES) -> bytes:
    """A document of a month as JSON."""
    items = [{"ProductID": key, "Value": name} for key, name in names.items()]
    document = {
        "DocumentTitle": {"Value": "January 2099 Security Updates"},
        "DocumentTracking": {
            "Identification": {"ID": {"Value": "2099-Jan"}, "Alias": {"Value": "2099-Jan"}}, "Status": 2,
            "Version": "1.0", "InitialReleaseDate": "2099-01-10T08:00:00Z",
        },
        "DocumentNotes": [{"Title": "Release Notes", "Type": 1, "Ordinal": "0", "Value": "<p>text, text</p>"}],
        "ProductTree": {
            "Branch": [{"Items": [{"Items": items, "Type": 1, "Name": "Windows"}], "Type": 0, "Name": "Microsoft"}],
            "FullProductName": items,
        },
        "Vulnerability": [_cvrf_item(case, number) for number, case in enumerate(cases)],
    }  # fmt: skip
    return json.dumps(document).encode()


def _exploit_status(case: Case) -> str:
    exploited = "Yes" if case.is_exploited else "No"
    return f"Publicly Disclosed:No;Exploited:{exploited};Latest Software Release:Exploitation Less Likely"


def _cvrf_item(case: Case, number: int) -> dict[str, Any]:
    threats = [
        ({"Description": {"Value": text}, "ProductID": [product], "Type": kind, "DateSpecified": False})
        for product in case.affected
        for kind, text in ((0, "Remote Code Execution"), (3, case.severity))
    ]
    fixes = [
        {
            "Description": {"Value": fix.kb or "Release Notes"},
            "URL": fix.url or f"https://catalog.update.microsoft.com/v7/site/Search.aspx?q=KB{fix.kb}",
            "ProductID": [*fix.products], "Type": 2, "DateSpecified": False, "AffectedFiles": [],
            "RestartRequired": {"Value": "Yes"}, "SubType": fix.kind,
        } | ({"FixedBuild": fix.version} if fix.version else {})
        for fix in case.fixes
    ]  # fmt: skip
    return {
        "Title": {"Value": case.title},
        "Notes": [{"Title": "Description", "Type": 2, "Ordinal": "0", "Value": "<p>An attacker …</p>"}],
        "DiscoveryDateSpecified": False,
        "CVE": case.cve,
        "ProductStatuses": [{"ProductID": [*case.affected], "Type": 3}],
        "Threats": [*threats, {"Description": {"Value": _exploit_status(case)}, "Type": 1}],
        "CVSSScoreSets": [
            {"BaseScore": case.score, "TemporalScore": 8.5, "Vector": VECTOR, "ProductID": [each]}
            for each in case.affected
        ],
        "Remediations": [*fixes, {"Description": {"Value": "5099001"}, "ProductID": [*case.affected], "Type": 5}],
        "Acknowledgments": [{"Name": [{"Value": "A. Finder"}], "URL": [""]}],
        "Ordinal": str(number),
        "RevisionHistory": [
            {"Number": "1.0", "Date": case.released, "Description": {"Value": "<p>Information published.</p>"}},
            {"Number": "1.1", "Date": case.revised, "Description": {"Value": "<p>Corrected.</p>"}},
        ],
    }


_HEAD = """\
<?xml version="1.0" encoding="utf-8"?>
<cvrf:cvrfdoc xmlns:vuln="http://www.icasi.org/CVRF/schema/vuln/1.1"
    xmlns:prod="http://www.icasi.org/CVRF/schema/prod/1.1" xmlns:cvrf="http://www.icasi.org/CVRF/schema/cvrf/1.1">
  <cvrf:DocumentTitle>January 2099 Security Updates</cvrf:DocumentTitle>
  <cvrf:DocumentTracking>
    <cvrf:Identification><cvrf:ID>2099-Jan</cvrf:ID></cvrf:Identification>
    <cvrf:RevisionHistory><cvrf:Revision><cvrf:Date>2099-02-02T00:00:00</cvrf:Date></cvrf:Revision></cvrf:RevisionHistory>
  </cvrf:DocumentTracking>
  <prod:ProductTree>
    <prod:Branch Type="Vendor" Name="Microsoft"><prod:Branch Type="Product Family" Name="Windows">
"""


def cvrf_xml(*cases: Case, names: Mapping[str, str] = NAMES) -> bytes:
    """A document of a month as XML."""
    products = "".join(
        f"      <prod:FullProductName ProductID={quoteattr(key)}>{escape(name)}</prod:FullProductName>\n"
        for key, name in names.items()
    )
    items = "".join(_xml_item(case) for case in cases)
    return (
        f"{_HEAD}{products}    </prod:Branch></prod:Branch>\n{products}  </prod:ProductTree>\n{items}</cvrf:cvrfdoc>\n"
    ).encode()


def _xml_item(case: Case) -> str:
    affected = _xml_ids(case.affected)
    threats = "".join(
        f'<vuln:Threat Type="{kind}"><vuln:Description>{text}</vuln:Description>{_xml_ids((each,))}</vuln:Threat>'
        for each in case.affected
        for kind, text in (("Impact", "Remote Code Execution"), ("Severity", case.severity))
    )
    scores = "".join(
        f"<vuln:ScoreSet><vuln:BaseScore>{case.score}</vuln:BaseScore><vuln:TemporalScore>8.5</vuln:TemporalScore>"
        f"<vuln:Vector>{VECTOR}</vuln:Vector>{_xml_ids((each,))}</vuln:ScoreSet>"
        for each in case.affected
    )
    fixes = "".join(
        f'<vuln:Remediation Type="Vendor Fix"><vuln:Description>{fix.kb or "Release Notes"}</vuln:Description>'
        f"<vuln:URL>{fix.url or 'https://catalog.update.microsoft.com/v7/site/Search.aspx?q=KB' + fix.kb}</vuln:URL>"
        f"{_xml_ids(fix.products)}<vuln:AffectedFiles /><vuln:SubType>{fix.kind}</vuln:SubType>"
        + (f"<vuln:FixedBuild>{fix.version}</vuln:FixedBuild>" if fix.version else "")
        + "</vuln:Remediation>"
        for fix in case.fixes
    )
    return f"""\
  <vuln:Vulnerability Ordinal="0">
    <vuln:Title>{escape(case.title)}</vuln:Title>
    <vuln:Notes><vuln:Note Title="FAQ" Type="FAQ">&lt;p&gt;An attacker …&lt;/p&gt;</vuln:Note></vuln:Notes>
    <vuln:CVE>{case.cve}</vuln:CVE>
    <vuln:ProductStatuses><vuln:Status Type="Known Affected">{affected}</vuln:Status></vuln:ProductStatuses>
    <vuln:Threats>{threats}
      <vuln:Threat Type="Exploit Status"><vuln:Description>{_exploit_status(case)}</vuln:Description></vuln:Threat>
    </vuln:Threats>
    <vuln:CVSSScoreSets>{scores}</vuln:CVSSScoreSets>
    <vuln:Remediations>{fixes}
      <vuln:Remediation Type="Known Issue"><vuln:Description>5099001</vuln:Description>{affected}</vuln:Remediation>
    </vuln:Remediations>
    <vuln:Acknowledgments><vuln:Acknowledgment><vuln:Name /></vuln:Acknowledgment></vuln:Acknowledgments>
    <vuln:RevisionHistory>
      <vuln:Revision><cvrf:Number>1.0</cvrf:Number><cvrf:Date>{case.released}</cvrf:Date></vuln:Revision>
      <vuln:Revision><cvrf:Number>1.1</cvrf:Number><cvrf:Date>{case.revised}</cvrf:Date></vuln:Revision>
    </vuln:RevisionHistory>
  </vuln:Vulnerability>
"""


def _xml_ids(products: tuple[str, ...]) -> str:
    return "".join(f"<vuln:ProductID>{each}</vuln:ProductID>" for each in products)


def csaf(case: Case, names: Mapping[str, str] = NAMES) -> bytes:
    """A document of one vulnerability in CSAF: each range of versions of a product has an id of its own."""
    branches: list[dict[str, Any]] = []
    known_affected: list[str] = []
    fixed: list[str] = []
    remediations: list[dict[str, Any]] = []
    for product in case.affected:
        leaves: list[dict[str, Any]] = []
        ends: list[Fix | None] = [fix for fix in case.fixes if product in fix.products]
        for fix in ends or [None]:
            number = str(len(known_affected) + 1)
            known_affected.append(number)
            name = names[product]
            if fix is not None and fix.version:
                fixed.append(f"{product}-{number}")
                leaves += [
                    _leaf("product_version_range", f"<{fix.version}", f"{name} <{fix.version}", number),
                    _leaf("product_version", fix.version, f"{name} {fix.version}", fixed[-1]),
                ]
            else:
                leaves.append(_leaf("product_version_range", "vers:all/*", name, number))
            if fix is not None:
                url = fix.url or f"https://support.microsoft.com/help/{fix.kb}"
                remediations.append(
                    {
                        "category": "vendor_fix", "date": f"{case.released}.000Z",
                        "details": f"{fix.version}:{fix.kind}:{url}" if fix.version else f"{fix.kind}:{url}",
                        "product_ids": [number], "url": url,
                    }
                )  # fmt: skip
        branches.append({"category": "product_name", "name": names[product], "branches": leaves})
    document = {
        "document": {
            "category": "csaf_security_advisory", "csaf_version": "2.0", "title": case.title,
            "aggregate_severity": {
                "namespace": "https://www.microsoft.com/en-us/msrc/security-update-severity-rating-system",
                "text": case.severity,
            },
            "publisher": {"category": "vendor", "name": "Microsoft Security Response Center"},
            "tracking": {
                "id": f"msrc_{case.cve}", "status": "final", "version": "2",
                "initial_release_date": f"{case.released}.000Z", "current_release_date": f"{case.revised}.000Z",
                "revision_history": [{"date": f"{case.released}.000Z", "number": "1", "summary": "Published."}],
            },
        },
        "product_tree": {"branches": [{"category": "vendor", "name": "Microsoft", "branches": branches}]},
        "vulnerabilities": [
            {
                "cve": case.cve, "title": case.title, "notes": [{"category": "general", "text": "Microsoft"}],
                "product_status": {"known_affected": known_affected, "fixed": fixed},
                "remediations": remediations,
                "scores": [
                    {
                        "cvss_v3": {"version": "3.1", "baseScore": case.score, "vectorString": VECTOR,
                                    "baseSeverity": _CVSS_WORDS[case.severity]},
                        "products": known_affected,
                    }
                ],
                "threats": [
                    {"category": "impact", "details": "Remote Code Execution"},
                    {"category": "exploit_status", "details": _exploit_status(case)},
                ],
            }
        ],
    }  # fmt: skip
    return json.dumps(document).encode()


def _leaf(category: str, name: str, full_name: str, product_id: str) -> dict[str, Any]:
    return {"category": category, "name": name, "product": {"name": full_name, "product_id": product_id}}


def cve(case: Case, names: Mapping[str, str] = NAMES) -> bytes:
    """A record of the CVE program. It has no articles of updates."""
    affected = []
    for product in case.affected:
        name, on, system = names[product].partition(" on Windows ")
        platforms = [f"Windows {system}"] if on else ["x64-based Systems"]
        affected.append(
            {
                "vendor": "Microsoft", "product": name.removesuffix(" for x64-based Systems"), "platforms": platforms,
                "versions": [
                    {"version": "10.0.0", "lessThan": fix.version, "versionType": "custom", "status": "affected"}
                    for fix in case.fixes
                    if product in fix.products
                ],
            }
        )  # fmt: skip
    record = {
        "dataType": "CVE_RECORD", "dataVersion": "5.1",
        "cveMetadata": {
            "cveId": case.cve, "assignerShortName": "microsoft", "state": "PUBLISHED",
            "datePublished": f"{case.released}.123Z", "dateUpdated": f"{case.revised}.123Z",
        },
        "containers": {
            "cna": {
                "title": case.title, "affected": affected, "descriptions": [{"lang": "en-US", "value": "An attacker"}],
                "metrics": [
                    {
                        "format": "CVSS", "scenarios": [{"lang": "en-US", "value": "GENERAL"}],
                        "cvssV3_1": {"version": "3.1", "baseScore": case.score, "vectorString": VECTOR,
                                     "baseSeverity": _CVSS_WORDS[case.severity]},
                    }
                ],
            }
        },
    }  # fmt: skip
    return json.dumps(record).encode()


FORMS: Mapping[str, Callable[[Case], bytes]] = {
    "CVRF as JSON": cvrf_json,
    "CVRF as XML": cvrf_xml,
    "CSAF": csaf,
    "CVE": cve,
}
"""How each form is written."""


def with_fixes(*fixes: Fix, **changes: Any) -> Case:
    """The case with other fixes, for the products that they name, and with other changes."""
    return replace(Case(), fixes=fixes, affected=tuple({each for fix in fixes for each in fix.products}), **changes)
