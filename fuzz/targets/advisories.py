"""Documents of advisories: CVRF as JSON and XML, CSAF, records of CVE; each compared with a system."""

from __future__ import annotations

import json

from fuzz.mutators.json_text import mutate_json
from fuzz.target import Target
from wclayer.errors import FormatError
from wclayer.images.windows_version import WindowsVersion
from wclayer.inventory.cve.matching import match
from wclayer.inventory.cve.parsing import parse_document
from wclayer.inventory.cve.report import VulnerabilityReport
from wclayer.inventory.cve.sarif import to_sarif
from wclayer.inventory.cve.system import InstalledSystem, Runtime
from wclayer.inventory.cve.vex import to_vex

_CORE = "Windows Server 2022 (Server Core installation)"
_SYSTEM = InstalledSystem(
    WindowsVersion(10, 0, 20348, 1999), "Windows Server 2022 Datacenter", "Server Core",
    updates=frozenset(["5030216"]), framework="4.8", framework_updates=("10.0.4739.4",), has_framework_3_5=True,
    runtimes=(Runtime(".NET", "8.0.16"), Runtime("PowerShell", "7.4.0-rc.1")),
)  # fmt: skip


def _check(data: bytes) -> None:
    """Whatever a document says, a check of it ends, says something of each vulnerability, and can be written."""
    document = parse_document(data, "document")
    matches = match(_SYSTEM, [document])
    assert {each.cve for each in matches.found} == {each.cve for each in document.advisories}
    assert len(matches.found) <= len(document.advisories) * len(matches.products)
    report = VulnerabilityReport("image", "", matches.documents, matches.products, matches.found, ())
    assert sum(report.counts.values()) == len({each.cve for each in matches.found})
    for record in (report.to_json(), to_sarif(report, "0"), to_vex(report, "0")):
        json.dumps(record, allow_nan=False)


def _cvrf() -> bytes:
    names = {
        "11924": _CORE, "12260": ".NET 8.0 installed on Windows", "12262": "PowerShell 7.4",
        "11676-11924": f"Microsoft .NET Framework 3.5 AND 4.8 on {_CORE}",
    }  # fmt: skip
    items = [{"ProductID": key, "Value": name} for key, name in names.items()]
    fixes = [
        {"Type": 2, "Description": {"Value": "5041160"}, "FixedBuild": "10.0.20348.2700", "ProductID": ["11924"],
         "SubType": "Security Update", "URL": "https://example.com/?q=KB5041160"},
        {"Type": 2, "Description": {"Value": "5041161"}, "SubType": "Security Hotpatch Update",
         "FixedBuild": "10.0.20348.2695", "ProductID": ["11924"]},
        {"Type": 2, "Description": {"Value": "5042350"}, "FixedBuild": "4.8.4739.05", "ProductID": ["11676-11924"]},
        {"Type": 2, "Description": {"Value": "Release Notes"}, "FixedBuild": "7.4.0", "ProductID": ["12262"]},
        {"Type": 2, "Description": {"Value": "5041081"}, "FixedBuild": "8.0.8", "ProductID": ["12260"]},
    ]  # fmt: skip
    return json.dumps({
        "DocumentTitle": {"Value": "August"},
        "ProductTree": {
            "Branch": [{"Type": 0, "Name": "Microsoft", "Items": [{"Type": 1, "Name": "Windows", "Items": items}]}],
            "FullProductName": items,
        },
        "Vulnerability": [{
            "Title": {"Value": "A vulnerability"}, "CVE": "CVE-2024-12345",
            "ProductStatuses": [{"Type": 3, "ProductID": list(names)}],
            "Threats": [{"Type": 3, "Description": {"Value": "Critical"}, "ProductID": ["11924"]},
                        {"Type": 0, "Description": {"Value": "Remote Code Execution"}, "ProductID": ["11924"]}],
            "CVSSScoreSets": [{"BaseScore": 9.8, "Vector": "CVSS:3.1/AV:N", "ProductID": ["11924"]}],
            "Remediations": fixes,
            "RevisionHistory": [{"Number": "1.0", "Date": "2024-08-13T07:00:00"}],
        }, {"CVE": "ADV990001"}],
    }).encode()  # fmt: skip


def _csaf() -> bytes:
    leaves = [
        {"category": "product_version_range", "name": "<10.0.20348.2700", "product": {"name": "x", "product_id": "1"}},
        {"category": "product_version", "name": "10.0.20348.2700", "product": {"name": "y", "product_id": "11924"}},
    ]
    branch = {"category": "product_name", "name": _CORE, "branches": leaves}
    return json.dumps({
        "document": {
            "csaf_version": "2.0", "title": "A vulnerability", "aggregate_severity": {"text": "Important"},
            "tracking": {"initial_release_date": "2024-08-13T07:00:00.000Z", "current_release_date": "2024-08-14"},
        },
        "product_tree": {
            "branches": [{"category": "vendor", "name": "Microsoft", "branches": [branch]}],
            "full_product_names": [{"name": ".NET 8.0", "product_id": "2"}],
        },
        "vulnerabilities": [{
            "cve": "CVE-2024-12346", "product_status": {"known_affected": ["1", "2"], "fixed": ["11924"]},
            "remediations": [{"category": "vendor_fix", "product_ids": ["1"],
                              "details": "10.0.20348.2700:Security Update:https://example.com/help/5041160",
                              "url": "https://example.com/help/5041160"}],
            "scores": [{"cvss_v3": {"baseScore": 7.8, "vectorString": "CVSS:3.1/AV:L"}, "products": ["1"]}],
            "threats": [{"category": "impact", "details": "Elevation of Privilege"}],
        }],
    }).encode()  # fmt: skip


def _cve() -> bytes:
    version = {"version": "10.0.20348.0", "lessThan": "10.0.20348.2700", "status": "affected"}
    affected = [
        {"vendor": "Microsoft", "product": "Windows Server 2022", "platforms": ["x64-based Systems"],
         "versions": [version]},
        {"vendor": "Microsoft", "product": "Windows Server 2019 (Server Core installation)", "versions": [version]},
        {"vendor": "Microsoft", "product": "Windows 10 Version 1809", "platforms": ["32-bit Systems"]},
        {"vendor": "Microsoft", "product": "Microsoft .NET Framework 4.8", "platforms": [_CORE],
         "versions": [{"version": "4.8.0", "lessThan": "4.8.4739.04"}, {"lessThan": "4.8.04739.02"}]},
    ]  # fmt: skip
    return json.dumps({
        "dataType": "CVE_RECORD",
        "cveMetadata": {"cveId": "CVE-2024-12347", "state": "PUBLISHED", "dateUpdated": "2024-08-14T01:02:03.456Z"},
        "containers": {"cna": {
            "title": "A vulnerability", "affected": affected,
            "metrics": [{"cvssV3_1": {"baseScore": 5, "baseSeverity": "MEDIUM", "vectorString": "CVSS:3.1/AV:N"}}],
        }},
    }).encode()  # fmt: skip


_XML = f"""<cvrf:cvrfdoc xmlns:vuln="http://www.icasi.org/CVRF/schema/vuln/1.1" xmlns:cvrf="urn:c" xmlns:prod="urn:p">
<cvrf:DocumentTitle>August &amp; more</cvrf:DocumentTitle>
<prod:ProductTree><prod:Branch Type="Vendor"><prod:FullProductName ProductID="11924">{_CORE}</prod:FullProductName>
</prod:Branch></prod:ProductTree>
<vuln:Vulnerability><vuln:Title>A vulnerability</vuln:Title><vuln:CVE>CVE-2024-12345</vuln:CVE>
<vuln:ProductStatuses><vuln:Status Type="Known Affected"><vuln:ProductID>11924</vuln:ProductID></vuln:Status>
</vuln:ProductStatuses>
<vuln:Threats><vuln:Threat Type="Severity"><vuln:Description>Low</vuln:Description></vuln:Threat></vuln:Threats>
<vuln:CVSSScoreSets><vuln:ScoreSet><vuln:BaseScore>9.8</vuln:BaseScore></vuln:ScoreSet></vuln:CVSSScoreSets>
<vuln:Remediations><vuln:Remediation Type="Vendor Fix"><vuln:Description>5041160</vuln:Description>
<vuln:ProductID>11924</vuln:ProductID><vuln:FixedBuild>10.0.20348.2700</vuln:FixedBuild></vuln:Remediation>
</vuln:Remediations>
<vuln:RevisionHistory><vuln:Revision><cvrf:Date>2024-08-13T07:00:00</cvrf:Date></vuln:Revision></vuln:RevisionHistory>
</vuln:Vulnerability></cvrf:cvrfdoc>"""


TARGETS = {
    "advisories": Target(
        _check, lambda: [_cvrf(), _csaf(), _cve(), _XML.encode()], (FormatError,), mutator=mutate_json,
        words=(b'"FixedBuild":"10.0.20348.', b'"Type":2', b'"ProductID":["', b'"CVE":"CVE-', b'"BaseScore":1e999',
               b"<!DOCTYPE", b"<vuln:Vulnerability>", b"</vuln:Remediation>", b"&amp;", b"<![CDATA[", b"\xff\xfe",
               b"\xef\xbb\xbf", b'"lessThan":"', b"8.0.17", b"4.8.4739.04", b"hotpatch"),
    ),
}  # fmt: skip
