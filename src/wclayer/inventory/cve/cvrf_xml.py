"""Reads MSRC's CVRF documents as XML, and makes of them the JSON form of the same document.

Source: the Common Vulnerability Reporting Framework 1.1 (ICASI) and 1.2 (OASIS). The names of elements are the same in
both; namespaces are not compared.
"""

from __future__ import annotations

from typing import Any

from wclayer.errors import FormatError
from wclayer.formats.safe_xml import walk_xml
from wclayer.inventory.cve.cvrf_json import EXPLOIT_STATUS, IMPACT, KNOWN_AFFECTED, SEVERITY, VENDOR_FIX

_ELEMENTS = 250_000
"""How many elements a document may have. MSRC's documents of a month have up to 70,000."""
_ROOT = "cvrfdoc"
_PARTS = {
    ("ProductStatuses", "Status"): {"ProductID"},
    ("Threats", "Threat"): {"ProductID", "Description"},
    ("CVSSScoreSets", "ScoreSet"): {"ProductID", "BaseScore", "Vector"},
    ("Remediations", "Remediation"): {"ProductID", "Description", "URL", "SubType", "FixedBuild"},
    ("RevisionHistory", "Revision"): {"Date"},
}
"""The lists of a vulnerability, what their items are called, and which elements of an item are read."""
_TYPES = {
    "Known Affected": KNOWN_AFFECTED, "Impact": IMPACT, "Exploit Status": EXPLOIT_STATUS,
    "Severity": SEVERITY, "Vendor Fix": VENDOR_FIX,
}  # fmt: skip


def record_of(data: bytes) -> dict[str, Any]:
    """Returns the JSON form of a CVRF document in XML, with the parts that `read_cvrf` reads.

    Raises:
        FormatError: it is not XML, has a document type, or is another document. The message names the line.
    """
    converter = _Converter()
    walk_xml(data, converter, most_elements=_ELEMENTS, encoding="utf-8")
    return converter.document


class _Converter:
    """Makes the record while the parser walks through the document: a tree of it would take too much memory."""

    def __init__(self) -> None:
        self._products: list[dict[str, str]] = []
        self._vulnerabilities: list[dict[str, Any]] = []
        self.document: dict[str, Any] = {
            "ProductTree": {"FullProductName": self._products}, "Vulnerability": self._vulnerabilities,
        }  # fmt: skip
        self._path: list[str] = []
        self._text: list[str] | None = None
        """The text of the element in which the parser is, if it is read."""
        self._part: dict[str, Any] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._path and name != _ROOT:
            raise FormatError(f"the document is {name[:60]!r}, not {_ROOT!r}")
        self._path.append(name)
        path = tuple(self._path[1:])
        self._text = None
        if path[:1] == ("ProductTree",) and name == "FullProductName":
            self._products.append({"ProductID": attributes.get("ProductID", "")})
            self._text = []
        elif path == ("DocumentTitle",):
            self._text = []
        elif path[:1] == ("Vulnerability",):
            self._start_in_vulnerability(path[1:], attributes)

    def _start_in_vulnerability(self, path: tuple[str, ...], attributes: dict[str, str]) -> None:
        if not path:
            self._vulnerabilities.append({})
        elif path in {("Title",), ("CVE",)}:
            self._text = []
        elif path in _PARTS:
            self._part = {"Type": _TYPES.get(attributes.get("Type", ""), -1)}
            self._vulnerabilities[-1].setdefault(path[0], []).append(self._part)
        elif path[:2] in _PARTS and len(path) == 3 and path[2] in _PARTS[path[0], path[1]]:
            self._text = []

    def text(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self) -> None:
        name = self._path[-1]
        if self._text is not None:
            self._store(name, "".join(self._text).strip())
        self._text = None
        self._path.pop()

    def _store(self, name: str, text: str) -> None:
        if name == "FullProductName":
            self._products[-1]["Value"] = text
        elif name == "DocumentTitle":
            self.document[name] = {"Value": text}
        elif len(self._path) == 3:
            self._vulnerabilities[-1][name] = {"Value": text} if name == "Title" else text
        elif name == "ProductID":
            self._part.setdefault(name, []).append(text)
        elif name == "Description":
            self._part[name] = {"Value": text}
        elif name == "BaseScore":
            if text:
                self._part[name] = _number(text)
        else:
            self._part[name] = text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FormatError(f"the score {text[:60]!r} is not a number") from None
