"""Finds out which format a document has, and has it parsed: CVRF as XML or JSON, CSAF, or a record of CVE."""

from __future__ import annotations

import codecs

from wclayer.errors import FormatError
from wclayer.images.json_view import JsonView, parse_json
from wclayer.inventory.cve.advisory import AdvisoryDocument
from wclayer.inventory.cve.csaf import read_csaf
from wclayer.inventory.cve.cve_json import read_cve
from wclayer.inventory.cve.cvrf_json import read_cvrf
from wclayer.inventory.cve.cvrf_xml import record_of

_VALUES = 500_000
"""How many values and members a JSON document may have. MSRC's documents of a month have up to 150,000."""


def parse_document(data: bytes, source: str) -> AdvisoryDocument:
    """Returns what a document says, whichever of the formats it has.

    Args:
        data: the contents.
        source: what the user calls the document.

    Raises:
        FormatError: it has none of the formats, or is damaged. The message names the place.
    """
    data = _utf8(data)
    if data.lstrip()[:1] == b"<":
        return read_cvrf(JsonView(record_of(data), "document"), source)
    if data.lstrip()[:1] != b"{":
        raise FormatError("is no document of MSRC: neither XML nor a JSON object")
    if sum(map(data.count, (b",", b"[", b"{"))) > _VALUES:
        raise FormatError(f"it has more than {_VALUES} values")
    view = parse_json(data, "document")
    if view.record.get("dataType") == "CVE_RECORD":
        return read_cve(view, source)
    if isinstance(inner := view.record.get("document"), dict) and "csaf_version" in inner:
        return read_csaf(view, source)
    if "ProductTree" in view.record or "DocumentTracking" in view.record:
        return read_cvrf(view, source)
    raise FormatError("is JSON, but neither CVRF, nor CSAF, nor a record of CVE")


def _utf8(data: bytes) -> bytes:
    """Returns a document in UTF-8 without a mark. PowerShell writes files in UTF-16, or with a mark."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16").encode()
        except ValueError as error:
            raise FormatError(f"is not UTF-16: {error}") from None
    return data.removeprefix(codecs.BOM_UTF8)
