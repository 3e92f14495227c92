"""What differs between two audits of rights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.made_report import examined, survey
from wclayer.comparison.rights_diff import rights_changes
from wclayer.rights.audit.model import RightsAudit
from wclayer.view.diff import Change


def _audit(*names: str, left_out: int = 0) -> RightsAudit:
    return replace(examined(survey({}, []), list(names)).rights, left_out=left_out)


@pytest.mark.parametrize(("before", "now"), [(0, 0), (3, 0), (0, 1), (2, 2)])
def test_what_was_left_out_of_one_audit_is_not_said_to_be_missing(before: int, now: int) -> None:
    found = rights_changes(_audit("both", "old", left_out=before), _audit("both", "new", left_out=now))
    assert [(change.change, change.finding.about, change.is_certain) for change in found] == [
        (Change.ADDED, "new", not before), (Change.REMOVED, "old", not now),
    ]  # fmt: skip
