"""The details of those images that have some in the page: as many as keep it small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wclayer.fleet.report.figures import Details, FirstTexts
from wclayer.pages.page import html_text
from wclayer.pages.parts import (
    digest_html,
    notes_html,
    section_head,
    size_html,
    step_html,
    table_html,
    text_html,
    time_html,
)
from wclayer.win32.shown import count_text

MOST = 50
"""How many images have details at most."""
_MAX_TEXT = 2 << 20
"""How many characters the details have at most."""


class DetailSection:
    """The details of images, and the links to them.

    Args:
        details: the images, those first whose details are of most use.
    """

    def __init__(self, details: Iterable[Details]) -> None:
        self._html: list[str] = []
        self.numbers: dict[str, int] = {}
        """The numbers of the images that have details, by their digests, from 1."""
        room = _MAX_TEXT
        for number, each in enumerate(details, 1):
            text = _detail(number, each)
            room -= len(text)
            if room < 0:
                break
            self._html.append(text)
            self.numbers[each.image] = number

    def link(self, image: str, reference: str) -> str:
        """Returns the name of an image, as a link if it has details."""
        number = self.numbers.get(image)
        return f'<a href="#image-{number}">{text_html(reference)}</a>' if number else text_html(reference)

    def html(self, images: int) -> Iterator[str]:
        """Yields the section.

        Args:
            images: how many images there are.
        """
        yield section_head("details", "Details")
        if len(self._html) < images:
            yield (
                f"<p>{len(self._html):,} of {images:,} images have details in this page: the worst ones, then those"
                " with a damaged layer, then the first by name. <code>wclayer fleet query</code> tells of all.</p>"
            )
        elif not images:
            yield "<p>There are no images.</p>"
        yield from self._html
        yield "</section>"


def _detail(number: int, details: Details) -> str:
    first, *others = details.references.texts
    names = FirstTexts(tuple(others), details.references.count - 1)
    lines = [
        ("image", f"<code>{html_text(details.image)}</code>"),
        ("also named", _texts(names, "<br>")),
        ("Windows", text_html(details.windows) if details.windows else "unknown"),
        ("made", time_html(details.created)),
        ("updates", _texts(details.updates, ", ")),
        ("own packages", _texts(details.packages, "<br>")),
        ("findings", _texts(details.findings, "<br>")),
    ]
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in lines if value)
    layers = (
        (
            digest_html(layer.digest) + (' <span class="note">base</span>' if layer.is_base else ""),
            size_html(layer.size), f"{layer.images:,}", step_html(layer.created_by),
        )
        for layer in details.layers
    )  # fmt: skip
    table = table_html("Layers, base layer first", ("layer", "size", "images", "made by"), layers, numbers=(1, 2))
    left_out = details.layer_count - len(details.layers)
    note = notes_html(f"{count_text(left_out, 'more layer')} left out.") if left_out else ""
    return (
        f'<details><summary>{text_html(first)}</summary><div id="image-{number}" class="detail">'
        f"<dl>{listed}</dl>{table}{note}</div></details>"
    )


def _texts(texts: FirstTexts, separator: str) -> str:
    left_out = texts.count - len(texts.texts)
    return separator.join([*map(text_html, texts.texts), *([f"and {left_out:,} more"] if left_out else [])])
