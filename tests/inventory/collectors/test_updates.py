"""Updates: what the name of a package says of the article (KB) that it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

import wclayer
from tests.inventory.subjects import base, rows
from wclayer.inventory.collectors.updates import PACKAGES

_KELVIN = "\u212a"
"""It is K without regard to case, and a letter of its own for Windows."""


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Package_for_KB5030216", [("KB5030216", "KB5030216")]),
        ("Package_for_kb5030216", [("KB5030216", "KB5030216")]),
        ("Package_for_RollupFix_KB5030216", [("KB5030216", "KB5030216")]),
        (f"Package_for_RollupFix_{_KELVIN}B5030216", [(f"Package_for_RollupFix_{_KELVIN}B5030216", None)]),
        ("Package_for_RollupFix_KB٥٠٣٠٢١٦", [("Package_for_RollupFix_KB٥٠٣٠٢١٦", None)]),
        (f"Package_for_{_KELVIN}B5030216", []),
        ("Microsoft-Windows-ServerCore-Package", []),
    ],
)
def test_the_article_is_that_of_the_name(name: str, found: list[tuple[str, str | None]], tmp_path: Path) -> None:
    path = rf"{PACKAGES}\{name}~31bf3856ad364e35~amd64~~20348.1.1.1"
    inventory = wclayer.take_inventory(base(tmp_path, {path: {"CurrentState": 0x70}}), files=False)
    assert [(row[0], row[3]) for row in rows(inventory, "update", "kb")] == found
    assert inventory.findings == ()
