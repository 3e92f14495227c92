"""Collects the findings of an audit in bounded memory. What only inherits is counted with what it inherits from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from wclayer.inventory.collectors.guarding import told_once
from wclayer.inventory.item import Finding, SubjectLayer
from wclayer.rights.audit.expected import why_expected
from wclayer.rights.audit.judge import Grant
from wclayer.rights.audit.model import AuditedPlace, RightsFinding, RightsGrant
from wclayer.rights.kinds import ObjectKind
from wclayer.rights.principals import AccountNames

MAX_FINDINGS = 32 << 20
"""Bytes of findings that are kept in memory."""
_FINDING, _GRANT = 500, 400
"""About how many bytes a finding takes without its path, and a grant or an entry in it."""
_ORDER = {place: number for number, place in enumerate(AuditedPlace)}


@dataclass(slots=True)
class Found:
    """A finding while what lies below it is still looked at.

    Attributes:
        grants: all rights to write that people have, whether they matter at its place or not.
        below: how many things below it have the same rights by inheritance.
    """

    grants: tuple[Grant, ...]
    below: int = 0

    def covers(self, grants: Iterable[Grant]) -> bool:
        """Returns whether rights of something below are those of this finding, by inheritance."""
        mine = {grant.sid: grant.mask for grant in self.grants}
        return all(grant.is_inherited and not grant.mask & ~mine.get(grant.sid, 0) for grant in grants)


class Findings:
    """The findings of an audit, and what could not be looked at.

    Args:
        names: the names of accounts.
    """

    def __init__(self, names: AccountNames) -> None:
        self.left_out = 0
        self._problems: list[Finding] = []
        self._names = names
        self._found: list[tuple[Found, RightsFinding]] = []
        self._size = 0

    def add(self, key: str, finding: RightsFinding, mattering: Sequence[Grant], grants: tuple[Grant, ...]) -> Found:
        """Adds a finding.

        Args:
            key: what `why_expected` knows it by.
            finding: the finding, still without grants.
            mattering: who may write, with the rights that matter.
            grants: who may write, with all rights to write.
        """
        found = Found(grants)
        size = _FINDING + len(finding.path) + sum(_GRANT * (1 + len(grant.entries)) for grant in mattering)
        if self._size + size > MAX_FINDINGS:
            self.left_out += 1
            return found
        self._size += size
        told = tuple(self._told(grant, finding.kind) for grant in mattering)
        expected = why_expected(key, finding.kind, mattering)
        self._found.append((found, replace(finding, grants=told, expected=expected)))
        return found

    def add_problem(self, problem: Finding) -> None:
        """Adds what could not be looked at. Beyond the memory for that, it is only counted."""
        size = _FINDING + len(problem.place) + len(problem.text)
        if self._size + size > MAX_FINDINGS:
            self.left_out += 1
            return
        self._size += size
        self._problems.append(problem)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What could not be looked at, each told once."""
        return told_once(self._problems)

    def _told(self, grant: Grant, kind: ObjectKind) -> RightsGrant:
        who = self._names.principal(grant.sid)
        entries = tuple(entry.text for entry in grant.entries)
        return RightsGrant(who, grant.mask, kind.words(grant.mask), grant.reason, entries, grant.is_inherited)

    def in_order(self) -> list[RightsFinding]:
        """Returns the findings, what matters most first."""
        told = [replace(finding, below=found.below) for found, finding in self._found]
        return sorted(told, key=lambda finding: _ORDER[finding.place])


def new_finding(
    place: AuditedPlace, about: str, path: str, kind: ObjectKind, layer: SubjectLayer | None, *, has_descriptor: bool
) -> RightsFinding:
    """Returns a finding of which neither the grants nor the number below it are known yet."""
    return RightsFinding(place, about, path, kind, layer, (), 0, has_descriptor)


def restricted(grants: Iterable[Grant], mask: int) -> list[Grant]:
    """Returns grants with those of their rights that are in a mask; a grant without any of them is left out."""
    return [grant.within(mask) for grant in grants if grant.mask & mask]
