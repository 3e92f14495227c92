"""What a check for known vulnerabilities finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wclayer.inventory.cve.advisory import Severity
from wclayer.inventory.cve.products import InstalledProduct
from wclayer.inventory.item import Finding


class VulnerabilityState(StrEnum):
    """What is known of a vulnerability in an image."""

    VULNERABLE = "vulnerable"
    """The fix is not installed."""
    UNKNOWN = "unknown"
    """The product is affected, and what is installed cannot be compared with a fix."""
    FIXED = "fixed"
    """The fix is installed."""
    NOT_AFFECTED = "not affected"
    """The advisory names no product that is installed."""


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """What is known of one vulnerability in one installed product.

    Attributes:
        cve: its id.
        title: its title.
        state: the result.
        reason: why the state is what it is.
        severity: how severe Microsoft rates it on the product.
        impact: what an attacker gains ("Remote Code Execution"); "" if that is not stated.
        score: the base score of CVSS; None if there is none.
        vector: the vector of CVSS; "" if there is none.
        is_exploited: whether the advisory says that it was exploited.
        product: the installed product; None if none of the products that the advisory names is installed.
        fixed_in: the first version that is not vulnerable, as the advisory writes it; "" if it states none.
        kb: the article of the update that fixes it ("KB5041160"); "" if there is none.
        url: where the fix is; "" if that is not stated.
        source: the document that says so.
        revised: when the advisory was revised last (ISO 8601, without a zone); "" if that is not stated.
    """

    cve: str
    title: str
    state: VulnerabilityState
    reason: str
    severity: Severity = Severity.UNKNOWN
    impact: str = ""
    score: float | None = None
    vector: str = ""
    is_exploited: bool = False
    product: InstalledProduct | None = None
    fixed_in: str = ""
    kb: str = ""
    url: str = ""
    source: str = ""
    revised: str = ""

    @property
    def page(self) -> str:
        """The page of the vulnerability in Microsoft's Security Update Guide."""
        return f"https://msrc.microsoft.com/update-guide/vulnerability/{self.cve}"

    def to_json(self) -> dict[str, Any]:
        """Returns it for JSON."""
        product = self.product
        return {
            "cve": self.cve, "title": self.title, "state": str(self.state), "reason": self.reason,
            "severity": self.severity.word.lower() or None, "impact": self.impact or None, "score": self.score,
            "vector": self.vector or None, "is_exploited": self.is_exploited,
            "product": product.name if product else None,
            "installed": product.version if product else None, "from": (product.path or None) if product else None,
            "fixed_in": self.fixed_in or None, "kb": self.kb or None, "url": self.url or None,
            "source": self.source, "revised": self.revised or None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class VulnerabilityReport:
    """The result of a check.

    Attributes:
        name: what the user calls the image.
        digest: the digest of its manifest; "" if it is no image.
        documents: how many documents were read.
        products: the installed products that were looked for.
        vulnerabilities: what is known of each vulnerability: the vulnerable first, then the unknown, and of those the
            most severe first.
        findings: what the user should know: products that no document mentions, damaged parts of the image.
    """

    name: str
    digest: str
    documents: int
    products: tuple[InstalledProduct, ...]
    vulnerabilities: tuple[Vulnerability, ...]
    findings: tuple[Finding, ...]

    def of_state(self, state: VulnerabilityState) -> Iterator[Vulnerability]:
        """Yields what has a state."""
        return (each for each in self.vulnerabilities if each.state is state)

    def vulnerable(self, least: Severity = Severity.UNKNOWN) -> Iterator[Vulnerability]:
        """Yields what the image is vulnerable to.

        Args:
            least: leave out what is less severe.
        """
        return (each for each in self.of_state(VulnerabilityState.VULNERABLE) if each.severity >= least)

    @property
    def counts(self) -> Mapping[VulnerabilityState, int]:
        """How many vulnerabilities have each state. One of several products counts once, with its worst state."""
        worst = {each.cve: each.state for each in reversed(self.vulnerabilities)}
        found = Counter(worst.values())
        return {state: found[state] for state in VulnerabilityState}

    def to_json(self) -> dict[str, Any]:
        """Returns the report for JSON."""
        return {
            "name": self.name, "digest": self.digest or None, "documents": self.documents,
            "products": [
                {"name": each.name, "version": each.version, "from": each.path or None} for each in self.products
            ],
            "counts": {str(state): count for state, count in self.counts.items()},
            "vulnerabilities": [each.to_json() for each in self.vulnerabilities],
            "findings": [finding.to_json() for finding in self.findings],
        }  # fmt: skip
