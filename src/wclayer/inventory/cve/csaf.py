"""Reads MSRC's advisories in CSAF 2.0: what `https://msrc.microsoft.com/csaf/advisories/2024/msrc_cve-….json` answers.

Source: the Common Security Advisory Framework 2.0 (OASIS). MSRC has one document for each vulnerability, and one id for
each range of versions of a product; here, the id of a product is its name, so that all its ranges are of one product.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

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
from wclayer.inventory.cve.json_fields import score_of

_RANGE = re.compile(r"(?:vers:\w+/)?<\s*(\S+)", re.ASCII)
_DETAILS = re.compile(r"(?P<version>\d+(?:\.\d+){1,4}):(?P<kind>[^:]*)", re.ASCII)
"""How MSRC begins the details of a fix: 10.0.20348.2700:Security Update:https://…"""


class _Product(NamedTuple):
    """A product of the tree: its name without versions, and the version before which the id stands for it, if any."""

    name: str
    fixed_version: str


def read_csaf(view: JsonView, source: str) -> AdvisoryDocument:
    """Returns what a document of CSAF says.

    Raises:
        FormatError: a field has another type than the format states. The message names its place.
    """
    document = view.view("document")
    tracking = document.view("tracking")
    products = dict(_products(view.view("product_tree")))
    names = {product.name: product.name for product in products.values()}
    severity = Severity.of(document.view("aggregate_severity").text("text"))
    advisories = []
    for item in view.views("vulnerabilities"):
        affected = item.view("product_status").texts("known_affected")
        advisories.append(
            Advisory(
                cve=checked_id(item.text("cve"), f"{item.what}: cve"),
                title=item.text("title") or document.text("title"),
                source=source,
                released=time_of(tracking.text("initial_release_date")),
                revised=time_of(tracking.text("current_release_date")),
                products=names,
                affected=frozenset(products[each].name for each in affected if each in products),
                ratings=_ratings(item, products, severity),
                remediations=tuple(_remediations(item, products, affected)),
                is_exploited=any(
                    is_exploited(threat.text("details"))
                    for threat in item.views("threats")
                    if threat.text("category") == "exploit_status"
                ),
            )
        )
    return AdvisoryDocument(source, document.text("title"), names, tuple(advisories))


def _products(tree: JsonView) -> Iterator[tuple[str, _Product]]:
    """Yields the id and the product of each leaf of the tree."""
    waiting = [(branch, "") for branch in tree.views("branches")]
    while waiting:
        branch, name = waiting.pop()
        kind, own = branch.text("category"), branch.text("name")
        name = own if kind == "product_name" else name
        if "product" in branch:
            product = branch.view("product")
            bound = _RANGE.fullmatch(own.strip()) if kind == "product_version_range" else None
            yield product.text("product_id"), _Product(name or product.text("name"), bound[1] if bound else "")
        waiting += [(below, name) for below in branch.views("branches")]
    for product in tree.views("full_product_names"):
        yield product.text("product_id"), _Product(product.text("name"), "")


def _ratings(item: JsonView, products: Mapping[str, _Product], severity: Severity) -> Mapping[str, Rating]:
    impact = next((each.text("details") for each in item.views("threats") if each.text("category") == "impact"), "")
    scores: dict[str, Score] = {}
    for entry in item.views("scores"):
        score = score_of(entry.view("cvss_v3"), "baseScore", "vectorString")
        if score is not None:
            scores |= {products[each].name: score for each in entry.texts("products") if each in products}
    return {"": Rating(severity, impact)} | {name: Rating(severity, impact, score) for name, score in scores.items()}


def _remediations(item: JsonView, products: Mapping[str, _Product], affected: tuple[str, ...]) -> Iterator[Remediation]:
    """Yields the fixes, and the ends of ranges of affected versions for which no fix is stated."""
    has_fix: set[str] = set()
    for entry in item.views("remediations"):
        if entry.text("category") != "vendor_fix":
            continue
        details, url = entry.text("details").strip(), entry.text("url").strip()
        stated = _DETAILS.match(details)
        for each in entry.texts("product_ids"):
            if each in products:
                has_fix.add(each)
                yield Remediation(
                    products=frozenset([products[each].name]),
                    kb=kb_of(url) or kb_of(details),
                    fixed_version=stated["version"] if stated else products[each].fixed_version,
                    is_hotpatch=is_hotpatch(stated["kind"] if stated else details),
                    url=url,
                )
    for each in affected:
        if each in products and each not in has_fix and products[each].fixed_version:
            yield Remediation(frozenset([products[each].name]), fixed_version=products[each].fixed_version)
