"""The page about a fleet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from wclayer.fleet.query.session import FleetSession
from wclayer.fleet.report.charts import age_chart
from wclayer.fleet.report.detail_section import DetailSection
from wclayer.fleet.report.details import details_of
from wclayer.fleet.report.figures import AgeRow, Build, Level, Package, Problem, SharedLayer, Sharing, Totals
from wclayer.fleet.report.images import ImageTally, ListedImage, listed_images
from wclayer.fleet.report.layers import problems_of, sharing_of
from wclayer.fleet.report.listing import Listing
from wclayer.fleet.report.packages import PackageReader
from wclayer.images.config import FIRST_YEAR
from wclayer.pages.bars import key, stacked_bar
from wclayer.pages.page import PageForm, html_text
from wclayer.pages.parts import (
    digest_html,
    notes_html,
    number_html,
    percent,
    section_head,
    step_html,
    table_html,
    text_html,
    tile_html,
    time_html,
    version_html,
)
from wclayer.win32.shown import count_text, size_text

_FORM = PageForm("wclayer.fleet.report", is_report=True)
_OPEN_LEVELS = 12
"""How many levels of a build are shown before they are unfolded."""
_LEVEL_WORDS = {"newest": "newest", "one": "1 level behind", "few": "2 or 3 behind", "many": "4 or more behind"}
"""The classes of levels, each with its words in the key."""
_SECTIONS = {
    "levels": "Patch levels", "ages": "Ages", "worst": "Worst images", "sharing": "Shared layers",
    "packages": "Packages", "problems": "Errors", "images": "All images", "details": "Details",
}  # fmt: skip


def page(session: FleetSession) -> Iterator[str]:
    """Yields the page, in pieces.

    Args:
        session: the fleet.
    """
    tally, listing = ImageTally(), Listing()
    for image in listed_images(session):
        tally.add(image)
        listing.add(image)
    sharing = sharing_of(session)
    details = DetailSection(details_of(session, listing.worth_details(tally.worst)))
    packages = PackageReader(session)
    main = chain(
        _levels(tally), _ages(tally), _worst(tally.worst, details), _sharing(sharing),
        _packages(packages.frequent(), packages.in_many_versions()), _problems(tally.totals, *problems_of(session)),
        listing.html(details), details.html(tally.totals.images),
    )  # fmt: skip
    return _FORM.page("Fleet of Windows images", header=_header(tally, sharing), main=main, data=listing.data(details))


def _head(name: str) -> str:
    return section_head(name, _SECTIONS[name])


# The head.


def _header(tally: ImageTally, sharing: Sharing) -> Iterator[str]:
    totals = tally.totals
    yield '<a class="skip" href="#levels">Skip to the report</a><h1>Fleet of Windows images</h1>'
    sources = ", ".join(map(text_html, totals.sources))
    more = f" and {count_text(totals.sources_left_out, 'other place')}" if totals.sources_left_out else ""
    scanned = time_html(totals.last_scan)
    if totals.first_scan != totals.last_scan:
        scanned = f"{time_html(totals.first_scan)} to {scanned}"
    yield f'<p class="lead">{sources or "Nothing was found"}{more}. Scanned: {scanned} UTC.</p>'
    yield '<dl class="tiles">'
    repositories = count_text(totals.repositories, "repository", "repositories")
    yield tile_html("Images", f"{totals.images:,}", f"{count_text(totals.references, 'reference')} in {repositories}")
    known = tally.at_newest + tally.behind
    yield tile_html(
        "At the newest patch level", percent(tally.at_newest, known), f"{tally.behind:,} of {known:,} behind"
    )
    yield tile_html("Median age", _days(tally.median_age), f"of their bases: {_days(tally.median_base_age)}")
    stored = f"{size_text(sharing.stored)} once, {size_text(sharing.summed)} unshared"
    yield tile_html("Layers", f"{sharing.layers:,}", stored)
    is_bad = bool(totals.failed or totals.incomplete)
    note = f"and {count_text(totals.incomplete, 'image')} only in part"
    yield tile_html("References with errors", f"{totals.failed:,}", note, is_bad=is_bad)
    yield "</dl>"
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in _SECTIONS.items())
    yield f'<nav aria-label="Sections"><ul>{links}</ul></nav>'


def _days(days: int | None) -> str:
    return "unknown" if days is None else count_text(days, "day")


# Patch levels.


def _levels(tally: ImageTally) -> Iterator[str]:
    yield _head("levels")
    yield (
        "<p>A level is a revision of a build of Windows that an image of this fleet has. The newest is the highest in"
        " this fleet: Microsoft may have released later ones.</p>"
    )
    builds, (other_builds, other_images) = tally.builds
    if builds:
        keys = "".join(f"<li>{key(name)}{words}</li>" for name, words in _LEVEL_WORDS.items())
        yield f'<ul class="keys">{keys}</ul><div class="cards">'
        for build in builds:
            yield from _build(build)
        yield "</div>"
    unknown = tally.totals.images - other_images - sum(build.images for build in builds)
    yield notes_html(
        f"Left out: {count_text(other_builds, 'more build')}, with {count_text(other_images, 'image')}."
        if other_builds
        else "",
        f"Images of unknown build: {unknown:,}." if unknown else "",
    )
    yield "</section>"


def _build(build: Build) -> Iterator[str]:
    yield f'<article><h3>{text_html(build.name)} <span class="note">build {build.number}</span></h3>'
    newest = build.levels[0] if build.levels else None
    at_newest = f", {percent(newest.images, build.images)} at {build.number}.{newest.revision}" if newest else ""
    yield f"<p>{count_text(build.images, 'image')}{at_newest}</p>"
    parts = {name: sum(level.images for level in build.levels if _class(level) == name) for name in _LEVEL_WORDS}
    older_levels, older_images = build.left_out
    parts["many"] += older_images
    label = "; ".join(f"{_LEVEL_WORDS[name]}: {images:,}" for name, images in parts.items() if images)
    yield stacked_bar(parts, build.images, label)
    if newest:
        most = max(level.images for level in build.levels)
        table = table_html(
            "Revisions, the newest first",
            ("revision", "images", "levels behind", "revisions behind"),
            (_level(level, newest.revision, most) for level in build.levels),
            numbers=(1, 2, 3),
            is_wide=False,
        )
        opened = " open" if len(build.levels) <= _OPEN_LEVELS else ""
        yield f"<details{opened}><summary>{count_text(len(build.levels), 'revision')}</summary>{table}"
        left_out = f"Left out: {count_text(older_levels, 'older revision')}, with {count_text(older_images, 'image')}."
        yield notes_html(left_out if older_levels else "")
        yield "</details>"
    yield notes_html(f"Images of unknown revision: {build.unknown:,}." if build.unknown else "")
    yield "</article>"


def _class(level: Level) -> str:
    if level.newer < 2:
        return "one" if level.newer else "newest"
    return "few" if level.newer < 4 else "many"


def _level(level: Level, newest: int, most: int) -> tuple[str, ...]:
    bar = stacked_bar({_class(level): level.images}, most, "")
    return str(level.revision), f"{level.images:,}{bar}", f"{level.newer:,}", f"{newest - level.revision:,}"


# Ages.


def _ages(tally: ImageTally) -> Iterator[str]:
    yield _head("ages")
    yield (
        "<p>How many days before the last scan an image was made, and its base. A base is at least as old as the oldest"
        f" image on it, unless it is in this fleet itself. A time in the future, or one before {FIRST_YEAR}, when there"
        " were no Windows containers, counts as unknown.</p>"
    )
    yield '<div class="beside"><figure><figcaption>'
    yield f"{key('images')}images {key('bases')}images by the age of their base</figcaption>"
    rows = tally.ages
    yield age_chart(
        rows[:-1], "Histogram of the ages of images and of their bases. The table beside it has its figures."
    )
    yield "</figure>"
    yield table_html(
        "Ages in days",
        ("age", "images", "images on bases of this age", "bases"),
        ((_age(row), f"{row.images:,}", f"{row.on_bases:,}", f"{row.bases:,}") for row in rows),
        numbers=(1, 2, 3),
        is_wide=False,
    )
    yield "</div></section>"


def _age(row: AgeRow) -> str:
    if row.days is None:
        return "unknown"
    least, most = row.days
    return f"{least:,} to {most:,}" if most is not None else f"{least:,} and more"


# The worst.


def _worst(worst: Sequence[ListedImage], details: DetailSection) -> Iterator[str]:
    yield _head("worst")
    yield (
        "<p>The rule: an image is worse if more levels of its build are newer in this fleet; of equal ones, that with"
        " more findings in its inventory; of these, the older one. Images that could not be read are among the"
        " errors.</p>"
    )
    if worst:
        yield table_html(
            f"The {count_text(len(worst), 'worst image')}, equal ones by name",
            ("image", "because", "Windows", "levels behind", "findings", "days old"),
            (_worst_row(image, details) for image in worst),
            numbers=(3, 4, 5),
        )
    else:
        yield "<p>No image is behind, has a finding, or is of a known age.</p>"
    yield "</section>"


def _worst_row(image: ListedImage, details: DetailSection) -> tuple[str, ...]:
    reason = (
        count_text(image.newer, "level") + " behind"
        if image.newer
        else count_text(image.findings, "finding")
        if image.findings
        else f"{count_text(image.days or 0, 'day')} old"
    )
    return (
        details.link(image.image, image.reference), reason, version_html(image.build, image.revision),
        number_html(image.newer), number_html(image.findings), number_html(image.days),
    )  # fmt: skip


# Shared layers.


def _sharing(sharing: Sharing) -> Iterator[str]:
    yield _head("sharing")
    saved = sharing.summed - sharing.stored
    yield (
        f"<p>Of {count_text(sharing.layers, 'layer')}, {sharing.shared:,} belong to more than one image. Stored once,"
        f" all layers take <strong>{size_text(sharing.stored)}</strong>; if each image had its own, they would take"
        f" <strong>{size_text(sharing.summed)}</strong>: sharing saves {percent(saved, sharing.summed)}. Sizes are"
        " those of the compressed layers, as a registry has them.</p>"
    )
    yield '<dl class="bars">'
    for name, size in (("stored once", sharing.stored), ("unshared", sharing.summed)):
        yield f"<div><dt>{name}</dt><dd>{stacked_bar({'images': size}, sharing.summed, '')}</dd>"
        yield f'<dd class="number">{size_text(size)}</dd></div>'
    yield "</dl>"
    if sharing.most:
        columns = ("layer", "images", "size", "saved")
        rows = map(_shared_layer, sharing.most)
        yield table_html("The layers whose sharing saves most", columns, rows, numbers=(1, 2, 3))
    yield notes_html(
        f"Layers of unknown size, which no sum has: {sharing.unknown:,}." if sharing.unknown else "",
        f"Layers in the tables that none of these images has: {sharing.unused:,}." if sharing.unused else "",
    )
    yield "</section>"


def _shared_layer(layer: SharedLayer) -> tuple[str, ...]:
    note = f'<span class="note">{"base " if layer.is_base else ""}{step_html(layer.created_by)}</span>'
    return f"{digest_html(layer.digest)} {note}", f"{layer.images:,}", size_text(layer.size), size_text(layer.saved)


# Packages.


def _packages(frequent: Sequence[Package], in_many_versions: Sequence[Package]) -> Iterator[str]:
    yield _head("packages")
    yield '<div class="pair">'
    for label, packages in (
        ("What most images bring beyond their base", frequent),
        ("What is there in most versions, in bases too", in_many_versions),
    ):
        columns = ("package", "images", "versions", "most frequent versions")
        yield (
            table_html(label, columns, map(_package, packages), numbers=(1, 2))
            if packages
            else (f"<p>{label}: nothing.</p>")
        )
    yield "</div></section>"


def _package(package: Package) -> tuple[str, ...]:
    versions = ", ".join(f"{text_html(version)} in {images:,}" for version, images in package.frequent)
    name = f'{text_html(package.name)} <span class="note">{html_text(package.kind)}</span>'
    return name, f"{package.images:,}", f"{package.versions:,}", versions


# Errors.


def _problems(totals: Totals, problems: Sequence[Problem], left_out: int) -> Iterator[str]:
    yield _head("problems")
    if problems:
        yield (
            f"<p>{count_text(totals.failed, 'reference')} could not be read, and"
            f" {count_text(totals.incomplete, 'image')} only in part, because a layer is damaged. Each cause is"
            " named once.</p>"
        )
        yield table_html("Causes", ("what", "references", "why"), map(_problem, problems), numbers=(1,))
    else:
        yield "<p>Every layer and every image could be read.</p>"
    yield notes_html(
        f"Left out: {count_text(left_out, 'more cause')},"
        " which <code>wclayer fleet query --question errors</code> tells."
        if left_out
        else "",
        f"References that name no image of Windows, which were not read: {totals.others:,}." if totals.others else "",
    )
    yield "</section>"


def _problem(problem: Problem) -> tuple[str, ...]:
    layer = f'<span class="note">layer</span> {digest_html(problem.what)}'
    what = layer if problem.is_layer else text_html(problem.what)
    return what, f"{problem.references:,}", text_html(problem.text)
