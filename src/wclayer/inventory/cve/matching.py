"""Compares an installed system with advisories: what it is vulnerable to, what is fixed, and what cannot be told.

The rule for Windows: the updates of a release are cumulative, so a fix is there if the revision of the build (UBR) is
not below that of `FixedBuild`. No chain of superseded updates is followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from wclayer.inventory.cve.advisory import Advisory, AdvisoryDocument, Rating, Remediation
from wclayer.inventory.cve.products import InstalledProduct, ProductKind, ProductMatcher
from wclayer.inventory.cve.report import Vulnerability, VulnerabilityState
from wclayer.inventory.cve.system import InstalledSystem
from wclayer.inventory.cve.versions import numbers_of, release_of

_SAME_UPDATES = (
    {18362, 18363}, {19041, 19042, 19043, 19044, 19045}, {22621, 22631}, {26100, 26200},
)  # fmt: skip
"""Builds that differ in what is switched on, and get the same updates: the revisions of one hold for the others."""
_FRAMEWORK_4_8_1 = 9000
"""The first build of updates of .NET Framework 4.8.1; those of 4.8 and before have lower numbers."""
_FIRST_WINDOWS_10 = 10240


@dataclass(frozen=True, slots=True)
class Matches:
    """The results of all documents.

    Attributes:
        products: what is installed.
        found: the results: the worst first, and of those the most severe first.
        unmentioned: the installed products that no document mentions: nothing is known of them.
    """

    products: tuple[InstalledProduct, ...]
    found: tuple[Vulnerability, ...]
    unmentioned: tuple[InstalledProduct, ...]


class _Concern(NamedTuple):
    """What an advisory says of one installed product."""

    product: InstalledProduct
    rating: Rating
    fixes: tuple[Remediation, ...]


@dataclass(frozen=True, slots=True)
class _Matched:
    """An advisory, of which only what concerns the system is kept."""

    advisory: Advisory
    worst: Rating
    """The worst rating of all products."""
    concerns: tuple[_Concern, ...]


def match(system: InstalledSystem, documents: Iterable[AdvisoryDocument]) -> Matches:
    """Compares a system with documents. Of a vulnerability that several mention, the newest revision counts.

    Args:
        system: the system.
        documents: the documents, which are taken one at a time.
    """
    matcher = ProductMatcher(system)
    newest: dict[str, _Matched] = {}
    mentioned: set[InstalledProduct] = set()
    for document in documents:
        for product_id in document.products:
            mentioned.update(matcher.find(product_id, document.products))
        for advisory in document.advisories:
            known = newest.get(advisory.cve)
            if known is None or known.advisory.revised < advisory.revised:
                newest[advisory.cve] = matched = _matched(advisory, matcher)
                mentioned.update(concern.product for concern in matched.concerns)
    judge = _Judge(system, newest.values())
    found = [result for matched in newest.values() for result in judge.results(matched)]
    return Matches(
        matcher.products,
        tuple(sorted(found, key=_order)),
        tuple(product for product in matcher.products if product not in mentioned),
    )


def _matched(advisory: Advisory, matcher: ProductMatcher) -> _Matched:
    named: dict[InstalledProduct, list[str]] = {}
    for product_id in sorted(advisory.affected):
        for product in matcher.find(product_id, advisory.products):
            named.setdefault(product, []).append(product_id)
    concerns = tuple(
        _Concern(
            product,
            max((advisory.rating(each) for each in ids), key=lambda rating: rating.severity),
            tuple(each for each in advisory.remediations if not each.products.isdisjoint(ids)),
        )
        for product, ids in named.items()
    )
    worst = max(advisory.ratings.values(), key=lambda rating: rating.severity, default=Rating())
    rest = replace(advisory, products={}, affected=frozenset(), ratings={}, remediations=())
    return _Matched(rest, worst, concerns)


_STATES = [*VulnerabilityState]


def _order(found: Vulnerability) -> tuple[int, int, float, str, str]:
    score = -1.0 if found.score is None else found.score
    return _STATES.index(found.state), -found.severity, -score, found.cve, found.product.name if found.product else ""


class _Judge:
    """Decides about each advisory."""

    def __init__(self, system: InstalledSystem, advisories: Iterable[_Matched]) -> None:
        self._system = system
        self._updated = max((each.advisory.released for each in advisories if self._has_update_of(each)), default="")
        """The newest time at which a cumulative update of Windows was released that is known to be installed."""

    def _has_update_of(self, matched: _Matched) -> bool:
        return any(
            self._compare_windows(numbers_of(fix.fixed_version), fix.fixed_version)[0]
            for concern in matched.concerns
            if concern.product.kind is ProductKind.WINDOWS
            for fix in concern.fixes
            if not fix.is_hotpatch
        )

    def results(self, matched: _Matched) -> Iterator[Vulnerability]:
        """Yields a result for each installed product that an advisory names, or one that says that it names none."""
        advisory = matched.advisory
        for concern in matched.concerns:
            state, fix, reason = self._decide(concern, advisory)
            yield _vulnerability(advisory, state, reason, concern.rating, concern.product, fix)
        if not matched.concerns:
            reason = "it affects no product that is installed"
            yield _vulnerability(advisory, VulnerabilityState.NOT_AFFECTED, reason, matched.worst)

    def _decide(self, concern: _Concern, advisory: Advisory) -> tuple[VulnerabilityState, Remediation | None, str]:
        """Returns the state of a product, the fix that decides, and why. Any fix that is installed is enough."""
        if not concern.fixes:
            return VulnerabilityState.UNKNOWN, None, "the document names no fix for this product"
        # An ordinary update is told before a hotpatch.
        fixes = sorted(concern.fixes, key=lambda fix: fix.is_hotpatch)
        judged = [(fix, *self._is_fixed(concern.product, fix, advisory)) for fix in fixes]
        for wanted, state in ((True, VulnerabilityState.FIXED), (False, VulnerabilityState.VULNERABLE)):
            for fix, fixed, reason in judged:
                if fixed is wanted:
                    return state, fix, reason
        return VulnerabilityState.UNKNOWN, fixes[0], "; ".join(dict.fromkeys(reason for *_, reason in judged))

    def _is_fixed(self, product: InstalledProduct, fix: Remediation, advisory: Advisory) -> tuple[bool | None, str]:
        """Returns whether a fix is installed, None if that cannot be told, and why."""
        if fix.kb and fix.kb in self._system.updates:
            return True, f"KB{fix.kb} is installed"
        if product.kind is ProductKind.RUNTIME:
            return _compare_runtime(product, fix)
        if fix.fixed_version and not fix.is_hotpatch:
            return self._compare_version(product, fix.fixed_version)
        is_older = bool(advisory.revised) and advisory.revised <= self._updated
        if product.kind is ProductKind.WINDOWS and is_older and self._system.version.build >= _FIRST_WINDOWS_10:
            return True, "a later cumulative update is installed"
        if not fix.kb:
            return None, "the document states neither a version that is fixed nor an update"
        if not self._system.updates:
            return None, f"the image lists no updates, so KB{fix.kb} cannot be looked for"
        return False, f"KB{fix.kb} is not installed"

    def _compare_version(self, product: InstalledProduct, fixed_version: str) -> tuple[bool | None, str]:
        numbers = numbers_of(fixed_version)
        # An update of .NET Framework has the version of Windows if it is a part of the update of Windows.
        if product.kind is ProductKind.FRAMEWORK and numbers and not (numbers[0] >= 10 and numbers[2:3] >= (10_000,)):
            return self._compare_framework(product, numbers, fixed_version)
        return self._compare_windows(numbers, fixed_version)

    def _compare_windows(self, numbers: tuple[int, ...], fixed_version: str) -> tuple[bool | None, str]:
        installed = self._system.version
        builds = next((group for group in _SAME_UPDATES if installed.build in group), {installed.build})
        if len(numbers) != 4 or numbers[:2] != installed.release[:2] or numbers[2] not in builds:
            return None, f"the fixed version {fixed_version[:60]!r} is none of build {installed.build}"
        if installed.revision < 0:
            return None, f"the revision (UBR) of build {installed.build} is not known"
        is_fixed = installed.revision >= numbers[3]
        return is_fixed, f"{installed} is {'not ' if is_fixed else ''}before {fixed_version}"

    def _compare_framework(
        self, product: InstalledProduct, numbers: tuple[int, ...], fixed_version: str
    ) -> tuple[bool | None, str]:
        """Compares the last two numbers: 4.8.4739.04 is that of the update 10.0.4739.4."""
        is_4_8_1 = product.version == "4.8.1"
        installed = [
            each
            for text in self._system.framework_updates
            if len(each := numbers_of(text)) == 4 and (each[2] >= _FRAMEWORK_4_8_1) == is_4_8_1
        ]
        if not installed:
            return None, f"the image lists no cumulative update of .NET Framework {product.version} with a version"
        newest = max(installed, key=lambda each: each[2:])
        is_fixed = newest[2:] >= numbers[-2:]
        text = ".".join(map(str, newest))
        return is_fixed, f"the update {text} is {'not ' if is_fixed else ''}before {fixed_version}"


def _compare_runtime(product: InstalledProduct, fix: Remediation) -> tuple[bool | None, str]:
    release = release_of(product.version)
    installed, fixed = numbers_of(release), numbers_of(fix.fixed_version)
    if not fix.fixed_version:
        return None, "the document states no version that is fixed"
    if not fixed or installed[:2] != fixed[:2]:
        return None, f"the fixed version {fix.fixed_version[:60]!r} is none of {product.name}"
    # A preview is before its release.
    is_fixed = installed > fixed or (installed == fixed and release == product.version)
    return is_fixed, f"{product.version} is {'not ' if is_fixed else ''}before {fix.fixed_version}"


def _vulnerability(
    advisory: Advisory,
    state: VulnerabilityState,
    reason: str,
    rating: Rating,
    product: InstalledProduct | None = None,
    fix: Remediation | None = None,
) -> Vulnerability:
    score = rating.score
    return Vulnerability(
        cve=advisory.cve,
        title=advisory.title,
        state=state,
        reason=reason,
        severity=rating.severity,
        impact=rating.impact,
        score=None if score is None else score.base,
        vector="" if score is None else score.vector,
        product=product,
        fixed_in=fix.fixed_version if fix else "",
        kb=f"KB{fix.kb}" if fix and fix.kb else "",
        url=fix.url if fix else "",
        source=advisory.source,
        revised=advisory.revised,
    )
