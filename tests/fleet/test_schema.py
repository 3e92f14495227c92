"""The tables have the columns that their document describes."""

from __future__ import annotations

import runpy
from pathlib import Path

from wclayer.fleet.tables.schema import TABLES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_document_is_current() -> None:
    made = runpy.run_path(str(DOCS / "fleet_schema.py"))["document"]()
    written = (DOCS / "fleet-schema.md").read_text(encoding="utf-8")
    assert written == made, "docs/fleet-schema.md is out of date: run `python docs/fleet_schema.py`"


def test_every_column_is_a_sentence() -> None:
    for table in TABLES:
        assert table.description.endswith((".", "…")), table.name
        for column in table.columns:
            assert column.description[0].isupper() or column.description[0] == "`", column.name
            assert column.description.endswith("."), column.name
            assert "|" not in column.description, column.name
