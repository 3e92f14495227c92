"""Writes the plots of the benchmarks as SVG: lines over a logarithmic axis, and what threads do over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Of Okabe and Ito: told apart by all eyes."""
RUNS, WAITS, DISK = _COLOURS[0], _COLOURS[5], "#999999"
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 40, 150, 50
_FONT = 'font-family="sans-serif" font-size="12"'


@dataclass(frozen=True, slots=True)
class Share:
    """What a thread does in one span of time: the parts of it in which it runs, waits for a core, waits for a disk."""

    runs: float
    waits: float
    disk: float


def _svg(width: float, height: float, parts: Iterable[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" {_FONT}>'
    return "\n".join([head, f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>', *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _line(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}"/>'


def _key(names: Iterable[tuple[str, str]], x: float, y: float) -> list[str]:
    """What the colours mean: (name, colour), one below another."""
    parts = []
    for index, (name, colour) in enumerate(names):
        top = y + index * 18
        parts += [
            f'<rect x="{x:g}" y="{top:g}" width="12" height="12" fill="{colour}"/>',
            _text(x + 18, top + 10, name, "start"),
        ]
    return parts


def _steps(largest: float) -> list[float]:
    """Round numbers from zero to at least the largest value."""
    rough = largest / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [step * number for number in range(math.ceil(largest / step) + 1)]


def lines(title: str, x_name: str, y_name: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """A plot of several series. The x axis is logarithmic, and has a mark at each x; the y axis begins at zero."""
    width, height = 480, 260
    xs = sorted({x for points in series.values() for x, _ in points})
    steps = _steps(max(y for points in series.values() for _, y in points))
    low, span = math.log10(xs[0]), math.log10(xs[-1] / xs[0]) or 1

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (math.log10(x) - low) / span * width, _TOP + height - y / steps[-1] * height

    parts = [_text(_LEFT + width / 2, 20, title, more=' font-weight="bold"')]
    for step in steps:
        _, y = place(xs[0], step)
        parts += [_line(_LEFT, y, _LEFT + width, y, "#dddddd"), _text(_LEFT - 8, y + 4, f"{step:g}", "end")]
    for x in xs:
        at, _ = place(x, 0)
        parts += [_line(at, _TOP, at, _TOP + height, "#eeeeee"), _text(at, _TOP + height + 18, f"{x:,.0f}")]
    parts.append(_text(_LEFT + width / 2, _TOP + height + 40, x_name))
    turned = f' transform="rotate(-90 18 {_TOP + height / 2:g})"'
    parts.append(_text(18, _TOP + height / 2, y_name, more=turned))
    for points, colour in zip(series.values(), _COLOURS, strict=False):
        places = [place(x, y) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    parts += _key(zip(series, _COLOURS, strict=False), _LEFT + width + 14, _TOP)
    return _svg(_LEFT + width + _RIGHT, _TOP + height + _BOTTOM, parts)


def occupancy(title: str, seconds: float, rows: Sequence[tuple[str, Sequence[Share]]]) -> str:
    """A plot of what threads do: one row for each, in which the height of a colour is a part of the time.

    Args:
        title: stands above it.
        seconds: the time from the left edge to the right one.
        rows: the name of each thread, and its shares, all of equal length in time.
    """
    left, width, row_height, gap = 250, 640, 34, 8
    bottom = _TOP + len(rows) * (row_height + gap)
    parts = [_text(left + width / 2, 20, title, more=' font-weight="bold"')]
    for second in _steps(seconds):
        if second <= seconds:
            x = left + second / seconds * width
            parts += [_line(x, _TOP, x, bottom, "#dddddd"), _text(x, bottom + 18, f"{second:g}")]
    parts.append(_text(left + width / 2, bottom + 38, "seconds"))
    for number, (name, shares) in enumerate(rows):
        floor = _TOP + number * (row_height + gap) + row_height
        parts += [
            _text(left - 8, floor - row_height / 2 + 4, name, "end"),
            _line(left, floor, left + width, floor, "#888888"),
        ]
        step = width / max(len(shares), 1)
        for index, share in enumerate(shares):
            top = float(floor)
            for part, colour in ((share.runs, RUNS), (share.waits, WAITS), (share.disk, DISK)):
                height = min(part, 1) * row_height
                if height >= 0.5:
                    top -= height
                    parts.append(
                        f'<rect x="{left + index * step:.1f}" y="{top:.1f}" width="{step:.1f}" height="{height:.1f}"'
                        f' fill="{colour}"/>'
                    )
    parts += _key((("runs", RUNS), ("waits for a core", WAITS), ("waits for a disk", DISK)), left + width + 14, _TOP)
    return _svg(left + width + _RIGHT, bottom + _BOTTOM, parts)
