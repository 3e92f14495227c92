"""axe-core in a page: what keeps people from using it who do not see it, or have no mouse."""

from __future__ import annotations

import functools
from typing import Any

from tests.packages import AXE, wheel_files
from tests.pages.browser import Page

_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@functools.cache
def _source() -> str:
    (data,) = [data for name, data in wheel_files(AXE) if name.endswith("/axe.min.js")]
    return data.decode()


def violations(page: Page) -> list[tuple[str, str, list[str]]]:
    """The rules that a page breaks, each with what it means and the elements; the rules that were tried are many."""
    page.value(f"{_source()};0")
    found: dict[str, Any] = page.value(
        f"axe.run(document, {{runOnly: {{type: 'tag', values: {_TAGS}}}, resultTypes: ['violations']}})"
        ".then(({violations, passes}) => ({passes: passes.length, violations: violations.map("
        "each => [each.id, each.help, each.nodes.slice(0, 5).map(node => node.html.slice(0, 200))])}))"
    )
    assert found["passes"] > 20
    return [(rule, text, nodes) for rule, text, nodes in found["violations"]]
