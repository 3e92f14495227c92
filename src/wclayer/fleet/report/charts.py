"""The charts of a report, as SVG that stands in the page. Each has its figures in a table beside it."""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.fleet.report.figures import AgeRow
from wclayer.pages.page import html_text

_WIDTH, _HEIGHT = 440, 220
_TOP, _BOTTOM = 18, 22
"""The room over the columns and under them, for texts."""
_COLUMN = 22
_AXIS = ("<1 mo", "1–3 mo", "3–6 mo", "6–12 mo", "1–2 y", "2–3 y", "3–5 y", ">5 y")
"""The short names of the known ages, one for each of `AGES` and one for what is older."""


def age_chart(rows: Sequence[AgeRow], label: str) -> str:
    """Returns the histogram of ages: two columns for each, images and images on bases.

    Args:
        rows: the rows of known ages.
        label: what the chart shows, for those who do not see it.
    """
    highest = max((max(row.images, row.on_bases) for row in rows), default=0) or 1
    step = _WIDTH / len(rows)
    ground = _HEIGHT - _BOTTOM
    parts = [f'<line class="axis" x1="0" y1="{ground}" x2="{_WIDTH}" y2="{ground}"/>']
    for number, (row, name) in enumerate(zip(rows, _AXIS, strict=True)):
        middle = step * (number + 0.5)
        for series, count, start in (("images", row.images, middle - _COLUMN - 2), ("bases", row.on_bases, middle + 2)):
            if count:
                height = max(count / highest * (ground - _TOP), 1.0)
                top = ground - height
                parts.append(
                    f'<rect class="{series}" x="{start:.1f}" y="{top:.1f}" width="{_COLUMN}" height="{height:.1f}"/>'
                    f'<text x="{start + _COLUMN / 2:.1f}" y="{top - 4:.1f}">{_short(count)}</text>'
                )
        parts.append(f'<text class="name" x="{middle:.1f}" y="{_HEIGHT - 6}">{html_text(name)}</text>')
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html_text(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _short(count: int) -> str:
    """Returns a count in as few characters as a column is wide."""
    value = float(count)
    for unit in ("", "k", "M", "G"):
        if value < 999.5 or unit == "G":
            break
        value /= 1000
    return f"{value:.1f}{unit}" if unit and value < 9.95 else f"{value:.0f}{unit}"
