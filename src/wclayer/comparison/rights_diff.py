"""Compares who can write what they should not in two images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wclayer.rights.audit.model import AuditedPlace, RightsAudit, RightsFinding
from wclayer.rights.kinds import ObjectKind
from wclayer.view.diff import Change
from wclayer.win32.names import path_key

_Key = tuple[AuditedPlace, ObjectKind, str]


@dataclass(frozen=True, slots=True)
class RightsChange:
    """Something that people can write in one of two images alone, or in both with other rights.

    Attributes:
        change: whether only the second image has the finding, only the first one, or both with other rights.
        old, new: the finding of the first and the second image.
        is_certain: False if one image alone has the finding, and the audit of the other one has left findings out: this
            one may be among them.
    """

    change: Change
    old: RightsFinding | None
    new: RightsFinding | None
    is_certain: bool

    @property
    def finding(self) -> RightsFinding:
        """The finding of the second image, or of the first one if the second has none."""
        found = self.new or self.old
        assert found is not None
        return found


def rights_changes(a: RightsAudit, b: RightsAudit) -> Iterator[RightsChange]:
    """Yields what differs between two audits, without what is expected in every Windows: first what the second image
    has, in its order, then what only the first one has.

    Args:
        a, b: the audits of the two images.
    """
    others = {_key(finding): finding for finding in a.findings}
    for finding in b.findings:
        old = others.pop(_key(finding), None)
        if old is None:
            yield RightsChange(Change.ADDED, None, finding, not a.left_out)
        elif _rights(old) != _rights(finding):
            yield RightsChange(Change.CHANGED, old, finding, is_certain=True)
    for finding in others.values():
        yield RightsChange(Change.REMOVED, finding, None, not b.left_out)


def _key(finding: RightsFinding) -> _Key:
    return finding.place, finding.kind, path_key(finding.path)


def _rights(finding: RightsFinding) -> set[tuple[str, int]]:
    return {(grant.who.sid, grant.mask) for grant in finding.grants}
