"""Reads MSRC's CVRF documents as JSON: what `https://api.msrc.microsoft.com/cvrf/v3.0/cvrf/2024-Aug` answers.

Sources: the Common Vulnerability Reporting Framework 1.1 (ICASI), whose elements MSRC writes as JSON with numbers for
the types, and MSRC's own fields `FixedBuild` and `SubType`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from wclayer.images.json_view import JsonView
from wclayer.inventory.cve.advisory import (
    Advisory,
    AdvisoryDocument,
    Rating,
    Remediation,
    Score,
    Severity,
    checked_id,
    is_exploited,
    is_hotpatch,
    kb_of,
    time_of,
)
from wclayer.inventory.cve.json_fields import score_of, value_of

KNOWN_AFFECTED = 3
"""The type of a product status."""
IMPACT, EXPLOIT_STATUS, SEVERITY = 0, 1, 3
"""Types of threats."""
VENDOR_FIX = 2
"""The type of a remediation."""


def read_cvrf(view: JsonView, source: str) -> AdvisoryDocument:
    """Returns what a CVRF document says.

    Raises:
        FormatError: a field has another type than MSRC writes. The message names its place.
    """
    products = _products(view.view("ProductTree"))
    advisories = tuple(
        advisory for item in view.views("Vulnerability") if (advisory := _advisory(item, products, source)) is not None
    )
    return AdvisoryDocument(source, value_of(view, "DocumentTitle"), products, advisories)


def _products(tree: JsonView) -> Mapping[str, str]:
    """Returns the names of all products by their ids: those of the list, and those of the branches only."""
    names: dict[str, str] = {}
    branches = list(tree.views("Branch"))
    while branches:
        branch = branches.pop()
        for item in branch.views("Items"):
            if "ProductID" in item:
                names[item.text("ProductID")] = item.text("Value")
            else:
                branches.append(item)
    return names | {item.text("ProductID"): item.text("Value") for item in tree.views("FullProductName")}


def _advisory(item: JsonView, products: Mapping[str, str], source: str) -> Advisory | None:
    cve = item.text("CVE").strip()
    if cve.startswith("ADV"):
        return None  # an advisory about a configuration, or news of another vendor: it is no vulnerability
    times = sorted(filter(None, (time_of(entry.text("Date")) for entry in item.views("RevisionHistory"))))
    return Advisory(
        cve=checked_id(cve, f"{item.what}: CVE"),
        title=value_of(item, "Title"),
        source=source,
        released=times[0] if times else "",
        revised=times[-1] if times else "",
        products=products,
        affected=frozenset(
            product
            for status in item.views("ProductStatuses")
            if status.number("Type", -1) == KNOWN_AFFECTED
            for product in status.texts("ProductID")
        ),
        ratings=_ratings(item),
        remediations=tuple(_remediations(item)),
        is_exploited=any(
            is_exploited(value_of(threat, "Description"))
            for threat in item.views("Threats")
            if threat.number("Type", -1) == EXPLOIT_STATUS
        ),
    )


def _ratings(item: JsonView) -> Mapping[str, Rating]:
    severities: defaultdict[str, Severity] = defaultdict(lambda: Severity.UNKNOWN)
    impacts: dict[str, str] = {}
    scores: dict[str, Score] = {}
    for threat in item.views("Threats"):
        kind, text = threat.number("Type", -1), value_of(threat, "Description")
        for product in threat.texts("ProductID") or ("",):
            if kind == SEVERITY:
                severities[product] = max(severities[product], Severity.of(text))
            elif kind == IMPACT:
                impacts.setdefault(product, text)
    for entry in item.views("CVSSScoreSets"):
        score = score_of(entry, "BaseScore", "Vector")
        for product in entry.texts("ProductID") or ("",):
            if score is not None:
                scores[product] = score
    everywhere = {**dict.fromkeys(severities), **dict.fromkeys(impacts), **dict.fromkeys(scores)}
    return {
        product: Rating(severities[product], impacts.get(product, ""), scores.get(product, scores.get("")))
        for product in everywhere
    }


def _remediations(item: JsonView) -> Iterator[Remediation]:
    for entry in item.views("Remediations"):
        if entry.number("Type", -1) == VENDOR_FIX:
            yield Remediation(
                products=frozenset(entry.texts("ProductID")),
                kb=kb_of(value_of(entry, "Description")),
                fixed_version=entry.text("FixedBuild").strip(),
                is_hotpatch=is_hotpatch(entry.text("SubType")),
                url=entry.text("URL").strip(),
            )
