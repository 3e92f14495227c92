"""docs/fleet-queries.md says what can be asked."""

from __future__ import annotations

import runpy

from tests.source import ROOT


def test_the_document_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs/fleet_queries.py"))
    assert (ROOT / "docs/fleet-queries.md").read_text() == made["document"](), "run python docs/fleet_queries.py"
