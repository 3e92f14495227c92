"""`find_vulnerabilities`: what MSRC's documents, which the user hands over, say of an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wclayer._types import StrPath
from wclayer.errors import during
from wclayer.inventory.cve.documents import read_documents
from wclayer.inventory.cve.installed import installed_system
from wclayer.inventory.cve.matching import Matches, match
from wclayer.inventory.cve.products import ProductKind
from wclayer.inventory.cve.report import VulnerabilityReport
from wclayer.inventory.item import Finding, FindingKind, Inventory


@during("check vulnerabilities", takes_over=True)
def find_vulnerabilities(inventory: Inventory, advisories: Iterable[StrPath]) -> VulnerabilityReport:
    """Returns which known vulnerabilities an image has. Nothing is downloaded.

    Args:
        inventory: what the image holds (`take_inventory`).
        advisories: documents of the Microsoft Security Response Center: CVRF as XML or JSON, CSAF 2.0, records of the
            CVE program; or folders and zip archives of them.

    Returns:
        What is known of each vulnerability that the documents mention. An installed product that no document mentions
        is a finding.

    Raises:
        PathNotFoundError, AccessDeniedError: a document cannot be read.
        InvalidDataError: a file is no document of advisories. The message names the place in it.
        LimitExceededError: a document is larger than the limit `advisory_size`, or an archive has more members than
            `archive_members`.
        InvalidParameterError: there is no document in a folder or an archive.
    """
    matches = match(installed_system(inventory), read_documents(advisories))
    return VulnerabilityReport(
        inventory.name,
        inventory.digest,
        matches.documents,
        matches.products,
        matches.found,
        (*inventory.findings, *_findings(inventory, matches)),
    )


def _findings(inventory: Inventory, matches: Matches) -> Iterator[Finding]:
    if not any(product.kind is ProductKind.WINDOWS for product in matches.products):
        yield Finding(
            FindingKind.LIMITED,
            inventory.name,
            "the registry has no version of Windows: nothing is known of its vulnerabilities",
        )
    for product in matches.unmentioned:
        yield Finding(
            FindingKind.LIMITED,
            f"{product.name} {product.version}",
            "no document mentions this product: nothing is known of its vulnerabilities",
        )
