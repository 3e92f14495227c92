"""Small parts of pages that report, as HTML. Every text that they are given is hostile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from wclayer.pages.page import html_text, visible
from wclayer.win32.shown import size_text

LONGEST = 1000
"""How many characters of one text are shown."""
_STEP = 120
_DIGEST = len("sha256:0123456789ab")
"""The characters of a digest that tell it from others."""


def text_html(text: str) -> str:
    """Returns a text. It cannot change the order of what stands beside it. A long one is cut, with the
    number of the characters that are left out."""
    return f"<bdi>{html_text(text[:LONGEST])}</bdi>{_rest(text)}"


def step_html(created_by: str) -> str:
    """Returns the step that made a layer, cut where it is long."""
    return f"<bdi>{html_text(created_by[:_STEP])}</bdi>{'…' if len(created_by) > _STEP else ''}" if created_by else ""


def digest_html(digest: str) -> str:
    """Returns the beginning of a digest, which has the whole one as its title."""
    return f'<code title="{html_text(digest)}">{html_text(digest[:_DIGEST])}</code>'


def time_html(moment: datetime | None) -> str:
    """Returns a time in UTC, by minutes."""
    if moment is None:
        return "unknown"
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%Y-%m-%d %H:%M}</time>'


def number_html(value: int | None) -> str:
    """Returns a number, or a dash if it is not known."""
    return "–" if value is None else f"{value:,}"


def size_html(size: int | None) -> str:
    """Returns a size, or a dash if it is not known."""
    return "–" if size is None else size_text(size)


def version_html(build: int | None, revision: int | None) -> str:
    """Returns a version of Windows by its build and revision, or a dash if it is not known."""
    return ".".join(str(number) for number in (build, revision) if number is not None) or "–"


def percent(part: int, whole: int) -> str:
    """Returns a share, which is 0 % or 100 % only if it is exactly that."""
    if not whole:
        return "–"
    share = 100 * part / whole
    return f"{min(max(share, 0.1), 99.9) if 0 < part < whole else share:.1f} %".replace(".0 %", " %")


def notes_html(*notes: str) -> str:
    """Returns a paragraph of the sentences that are not empty."""
    text = " ".join(filter(None, notes))
    return f'<p class="note">{text}</p>' if text else ""


def section_head(name: str, title: str) -> str:
    """Returns the start of a section, with its heading."""
    return f'<section id="{name}" aria-labelledby="h-{name}"><h2 id="h-{name}">{title}</h2>'


def table_html(
    label: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = (),
    is_wide: bool = True,
) -> str:  # fmt: skip
    """Returns a table.

    Args:
        label: its caption, as HTML.
        columns: the heads, plain words.
        rows: the cells, as HTML. The first of each row is its head.
        numbers: the columns of numbers, from 0.
        is_wide: whether a row becomes a block of lines in a narrow window. For that, each element states its role, and
            each cell the name of its column.
    """
    kinds = [' class="number"' if number in set(numbers) else "" for number in range(len(columns))]
    head = "".join(
        f'<th scope="col" role="columnheader"{kind}>{name}</th>' for kind, name in zip(kinds, columns, strict=True)
    )
    cells = [f'<td role="cell"{kind} data-name="{name}">' for kind, name in zip(kinds, columns, strict=True)]
    body = "".join(
        f'<tr role="row"><th scope="row" role="rowheader">{first}</th>'
        + "".join(f"{start}{cell}</td>" for start, cell in zip(cells[1:], rest, strict=True))
        + "</tr>"
        for first, *rest in rows
    )
    kind = ' class="wide"' if is_wide else ""
    return (
        f'<table role="table"{kind}><caption>{label}</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )


def tile_html(name: str, value: str, note: str, *, is_bad: bool = False) -> str:
    """Returns a tile of the list at the top of a report (`<dl class="tiles">`).

    Args:
        name: what its figure is, as HTML.
        value: the figure, as HTML.
        note: what is said under it, as HTML.
        is_bad: whether the figure stands out as bad.
    """
    kind = ' class="bad"' if is_bad else ""
    return f'<div{kind}><dt>{name}</dt><dd class="figure">{value}</dd><dd class="note">{note}</dd></div>'


def cut_text(text: str) -> str:
    """Returns what `text_html` shows of a text, as a plain text: for the data that a script shows."""
    return visible(text[:LONGEST]) + _rest(text)


def _rest(text: str) -> str:
    return f" … and {len(text) - LONGEST:,} more characters" if len(text) > LONGEST else ""
