"""Bars and their keys, as SVG that stands in the page. The style of the page gives each class its colour."""

from __future__ import annotations

from collections.abc import Mapping

from wclayer.pages.page import html_text


def key(name: str) -> str:
    """Returns a square in the colour of a class."""
    return f'<svg class="key" aria-hidden="true"><rect class="{name}" width="100%" height="100%"/></svg>'


def stacked_bar(parts: Mapping[str, int], whole: int, label: str) -> str:
    """Returns a bar of several parts.

    Args:
        parts: the size of each part by its class, which gives it its colour.
        whole: the size of the whole width.
        label: what the bar shows, for those who do not see it; "" if a text beside it says the same.
    """
    shown = []
    start = 0.0
    for name, size in parts.items():
        width = 100 * size / whole if whole else 0
        if width:
            shown.append(f'<rect class="{name}" x="{start:.2f}%" width="{width:.2f}%" height="100%"/>')
        start += width
    named = f'role="img" aria-label="{html_text(label)}"' if label else 'aria-hidden="true"'
    return f'<svg class="bar" {named}>{"".join(shown)}</svg>'
