"""The list of all references: some of them to be read without JavaScript, and all of them as data of the script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from wclayer.fleet.model import ImageStatus
from wclayer.fleet.report.detail_section import MOST as DETAILED
from wclayer.fleet.report.detail_section import DetailSection
from wclayer.fleet.report.images import ListedImage
from wclayer.pages.page import json_text, visible
from wclayer.pages.parts import (
    LONGEST,
    number_html,
    section_head,
    size_html,
    table_html,
    text_html,
    version_html,
)

_LISTED = 200
"""How many references are shown without JavaScript."""
_MAX_TEXT = 64 << 20
"""How many characters of references a page holds. A browser cannot show much more."""
_STATUS_WORDS = {
    str(ImageStatus.OK): "complete", str(ImageStatus.INCOMPLETE): "incomplete", str(ImageStatus.ERROR): "error",
    str(ImageStatus.OTHER_PLATFORM): "not Windows", str(ImageStatus.ARTIFACT): "no image",
}  # fmt: skip

_COLUMNS: dict[str, Callable[[ListedImage], str]] = {
    "Windows": lambda image: version_html(image.build, image.revision),
    "levels behind": lambda image: number_html(image.newer),
    "days": lambda image: number_html(image.days),
    "size": lambda image: size_html(image.size),
    "own": lambda image: size_html(image.own_size),
    "layers": lambda image: number_html(image.layers),
    "findings": lambda image: number_html(image.findings),
    "status": lambda image: f'<span class="{image.status}">{_STATUS_WORDS[image.status]}</span>',
}
"""The columns after the reference."""
_NUMBERS = range(2, 8)


class Listing:
    """Takes references while they are read, in the order of their names, and makes the list of them."""

    def __init__(self) -> None:
        self._first: list[ListedImage] = []
        self._data: list[str] = []
        self._room = _MAX_TEXT
        self._count = 0
        self._incomplete: list[str] = []
        self._by_name: list[str] = []

    def add(self, image: ListedImage) -> None:
        """Takes a reference."""
        self._count += 1
        if len(self._first) < _LISTED:
            self._first.append(image)
        for images, wanted in ((self._by_name, True), (self._incomplete, image.status == ImageStatus.INCOMPLETE)):
            if image.counts and wanted and len(images) < DETAILED:
                images.append(image.image)
        if self._room >= 0:
            text = _json(image)
            self._room -= len(text)
            if self._room >= 0:
                self._data.append(text)

    def worth_details(self, worst: Sequence[ListedImage]) -> list[str]:
        """Returns the images that get details: the worst, then those with a damaged layer, then the first by name."""
        images = dict.fromkeys([*(image.image for image in worst), *self._incomplete, *self._by_name])
        return list(images)[:DETAILED]

    def html(self, details: DetailSection) -> Iterator[str]:
        """Yields the section that JavaScript replaces."""
        yield section_head("images", "All images")
        yield (
            "<p>Every reference, with the image that it names. Sizes are those of the compressed layers; own layers are"
            " those that the base image does not have.</p>"
        )
        yield '<div class="listed">'
        rows = ((_reference(image, details), *(cell(image) for cell in _COLUMNS.values())) for image in self._first)
        yield table_html("Images", ("reference", *_COLUMNS), rows, numbers=_NUMBERS)
        if self._count > _LISTED:
            yield (
                f"<p>The first {_LISTED:,} of {self._count:,} are shown. With JavaScript, this page shows all, and can"
                " search and sort them.</p>"
            )
        yield "</div></section>"

    def data(self, details: DetailSection) -> Iterator[str]:
        """Yields JSON for the script: as many references as fit, and how many do not."""
        yield f'{{"status": {json_text(_STATUS_WORDS)}, "left": {self._count - len(self._data)},'
        yield f' "details": {json_text(list(details.numbers.items()))}, "images": ['
        for number, text in enumerate(self._data):
            yield f"{',' if number else ''}\n{text}"
        yield "]}"


def _reference(image: ListedImage, details: DetailSection) -> str:
    error = f'<div class="note">{text_html(image.error)}</div>' if image.error else ""
    return details.link(image.image, image.reference) + error


def _json(image: ListedImage) -> str:
    return json_text([
        visible(image.reference), image.image, image.build, image.revision, image.newer, image.days, image.size,
        image.own_size, image.layers, image.findings, image.status, visible(image.error[:LONGEST]),
    ])  # fmt: skip
