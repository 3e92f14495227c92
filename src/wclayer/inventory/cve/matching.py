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


@dataclass(frozen=True, slots=True)
class Matches:
    """The results of all documents.

    Attributes:
        documents: how many they are.
        products: what is installed.
        found: the results: the worst first, and of those the most severe first.
        unmentioned: the installed products that no document mentions: nothing is known of them.
    """

    documents: int
    products: tuple[InstalledProduct, ...]
    found: tuple[Vulnerability, ...]
    unmentioned: tuple[InstalledProduct, ...]


class _Concern(NamedTuple):
    """What an advisory says of one installed product."""

    product: InstalledProduct
    rating: Rating
    fixes: tuple[Remediation, ...]


class _Verdict(NamedTuple):
    """Whether a fix is installed, None if that cannot be told, and why."""

    is_fixed: bool | None
    reason: str


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
    count = 0
    for document in documents:
        count += 1
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
        count,
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
            _with_hotpatches(product, [each for each in advisory.remediations if not each.products.isdisjoint(ids)]),
        )
        for product, ids in named.items()
    )
    worst = max(advisory.ratings.values(), key=lambda rating: rating.severity, default=Rating())
    rest = replace(advisory, products={}, affected=frozenset(), ratings={}, remediations=())
    return _Matched(rest, worst, concerns)


def _with_hotpatches(product: InstalledProduct, fixes: list[Remediation]) -> tuple[Remediation, ...]:
    """Returns the fixes of a product, of which each but the newest of a build of Windows is a hotpatch.

    An ordinary update has the highest revision of its day. Documents name some hotpatches as other updates.
    """
    if product.kind is not ProductKind.WINDOWS:
        return tuple(fixes)
    newest: dict[tuple[int, ...], int] = {}
    for fix in fixes:
        numbers = numbers_of(fix.fixed_version)
        if len(numbers) == 4 and not fix.is_hotpatch:
            release = _release(numbers)
            newest[release] = max(newest.get(release, 0), numbers[3])
    return tuple(
        replace(fix, is_hotpatch=True)
        if len(numbers := numbers_of(fix.fixed_version)) == 4 and numbers[3] < newest.get(_release(numbers), 0)
        else fix
        for fix in fixes
    )


def _release(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the release of a version of Windows: that of the first of the builds that get the same updates."""
    return *numbers[:2], min(next((group for group in _SAME_UPDATES if numbers[2] in group), {numbers[2]}))


_STATES = [*VulnerabilityState]


def _order(found: Vulnerability) -> tuple[int, int, float, str, str]:
    score = -1.0 if found.score is None else found.score
    return _STATES.index(found.state), -found.severity, -score, found.cve, found.product.name if found.product else ""


class _Judge:
    """Decides about each advisory."""

    def __init__(self, system: InstalledSystem, advisories: Iterable[_Matched]) -> None:
        self._system = system
        self._updated = self._last_update(advisories)
        """Cumulative updates of Windows that were released until then are known to be installed."""

    def _last_update(self, advisories: Iterable[_Matched]) -> str:
        """Returns the newest time at which an update was released that is installed, before any that is not.

        A vulnerability may be published long after its fix, so an update that is installed alone says little. Before
        Windows 10, updates were not cumulative.
        """
        if self._system.version.major < 10:
            return ""
        installed: list[str] = []
        missing: list[str] = []
        for matched in advisories:
            for concern in matched.concerns:
                if concern.product.kind is ProductKind.WINDOWS:
                    for fix in concern.fixes:
                        if not fix.is_hotpatch:
                            verdict = self._compare_windows(numbers_of(fix.fixed_version), fix.fixed_version)
                            if verdict.is_fixed:
                                installed.append(matched.advisory.released)
                            elif verdict.is_fixed is False:
                                missing.append(matched.advisory.revised)
        first = min(missing, default="~")
        return max((time for time in installed if time < first), default="")

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
        judged = [(fix, self._judge(concern.product, fix, advisory)) for fix in fixes]
        for is_fixed, state in ((True, VulnerabilityState.FIXED), (False, VulnerabilityState.VULNERABLE)):
            for fix, verdict in judged:
                if verdict.is_fixed is is_fixed:
                    return state, fix, verdict.reason
        reasons = dict.fromkeys(verdict.reason for _, verdict in judged)
        return VulnerabilityState.UNKNOWN, fixes[0], "; ".join(reasons)

    def _judge(self, product: InstalledProduct, fix: Remediation, advisory: Advisory) -> _Verdict:
        """Returns whether a fix is installed."""
        if fix.kb and fix.kb in self._system.updates:
            return _Verdict(True, f"KB{fix.kb} is installed")
        if product.kind is ProductKind.RUNTIME:
            return _compare_runtime(product, fix)
        version = "" if fix.is_hotpatch else fix.fixed_version
        by_version = self._compare_version(product, version) if version else None
        is_older = bool(advisory.revised) and advisory.revised <= self._updated
        is_told = by_version is not None and by_version.is_fixed is not None
        if not is_told and is_older and product.kind is ProductKind.WINDOWS:
            return _Verdict(True, "a later cumulative update is installed")
        return by_version or self._has_article(fix)

    def _has_article(self, fix: Remediation) -> _Verdict:
        if not fix.kb:
            return _Verdict(None, "the document states neither a version that is fixed nor an update")
        if not self._system.updates:
            return _Verdict(None, f"the image lists no updates, so KB{fix.kb} cannot be looked for")
        return _Verdict(False, f"KB{fix.kb} is not installed")

    def _compare_version(self, product: InstalledProduct, fixed_version: str) -> _Verdict:
        numbers = numbers_of(fixed_version)
        # An update of .NET Framework has the version of Windows if it is a part of the update of Windows.
        if product.kind is ProductKind.FRAMEWORK and numbers and not (numbers[0] >= 10 and numbers[2:3] >= (10_000,)):
            return self._compare_framework(product, numbers, fixed_version)
        return self._compare_windows(numbers, fixed_version)

    def _compare_windows(self, numbers: tuple[int, ...], fixed_version: str) -> _Verdict:
        installed = self._system.version
        if len(numbers) != 4 or _release(numbers) != _release(installed.release):
            return _Verdict(None, f"the fixed version {fixed_version[:60]!r} is none of build {installed.build}")
        if installed.revision < 0:
            return _Verdict(None, f"the revision (UBR) of build {installed.build} is not known")
        is_fixed = installed.revision >= numbers[3]
        return _Verdict(is_fixed, f"{installed} is {'not ' if is_fixed else ''}before {fixed_version}")

    def _compare_framework(self, product: InstalledProduct, numbers: tuple[int, ...], fixed_version: str) -> _Verdict:
        """Compares the last two numbers: 4.8.4739.04 is that of the update 10.0.4739.4."""
        is_4_8_1 = product.version == "4.8.1"
        installed = [
            each
            for text in self._system.framework_updates
            if len(each := numbers_of(text)) == 4 and (each[2] >= _FRAMEWORK_4_8_1) == is_4_8_1
        ]
        if not installed:
            return _Verdict(
                None, f"the image lists no cumulative update of .NET Framework {product.version} with a version"
            )
        newest = max(installed, key=lambda each: each[2:])
        is_fixed = newest[2:] >= numbers[-2:]
        text = ".".join(map(str, newest))
        return _Verdict(is_fixed, f"the update {text} is {'not ' if is_fixed else ''}before {fixed_version}")


def _compare_runtime(product: InstalledProduct, fix: Remediation) -> _Verdict:
    release = release_of(product.version)
    installed, fixed = numbers_of(release), numbers_of(fix.fixed_version)
    if not fix.fixed_version:
        return _Verdict(None, "the document states no version that is fixed")
    if not fixed or installed[:2] != fixed[:2]:
        return _Verdict(None, f"the fixed version {fix.fixed_version[:60]!r} is none of {product.name}")
    # A preview is before its release.
    is_fixed = installed > fixed or (installed == fixed and release == product.version)
    return _Verdict(is_fixed, f"{product.version} is {'not ' if is_fixed else ''}before {fix.fixed_version}")


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
        is_exploited=advisory.is_exploited,
        product=product,
        fixed_in=fix.fixed_version if fix else "",
        kb=f"KB{fix.kb}" if fix and fix.kb else "",
        url=fix.url if fix else "",
        source=advisory.source,
        revised=advisory.revised,
    )
