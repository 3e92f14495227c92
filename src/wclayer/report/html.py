"""The page about an image. What it tells is hostile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain

from wclayer.comparison.html import difference_members, difference_sections
from wclayer.comparison.rights_diff import RightsChange, rights_changes
from wclayer.comparison.size_diff import SizeChange, size_changes
from wclayer.comparison.summary import summarize
from wclayer.images.history import find_base
from wclayer.inventory.cve.report import VulnerabilityReport, VulnerabilityState
from wclayer.inventory.item import ItemKind, SubjectLayer
from wclayer.pages.bars import key, stacked_bar
from wclayer.pages.page import PageForm, html_text, json_text
from wclayer.pages.parts import (
    digest_html,
    notes_html,
    percent,
    section_head,
    size_html,
    step_html,
    table_html,
    text_html,
    tile_html,
    time_html,
)
from wclayer.report import contents
from wclayer.report.figures import VISIBLE_BYTES, Patches, Share, made, patches, shares
from wclayer.report.lists import ReportList
from wclayer.report.model import Comparison, Examined, ImageReport
from wclayer.report.tree import DirectoryMap
from wclayer.survey.model import Survey
from wclayer.win32.shown import count_text, size_text

_FORM = PageForm("wclayer.comparison", "wclayer.report", is_report=True)
_SIZES = 40
"""How many directories that differ in size are named."""
_RIGHTS = 200
"""How many differences of rights are named."""
_SECTIONS = {
    "what": "What it is", "patches": "Age and patch level", "size": "Size", "own": "Own and base",
    "programs": "Programs and packages", "services": "Services, drivers and tasks", "rights": "Open rights",
    "certificates": "Certificates", "vulnerabilities": "Known vulnerabilities", "findings": "Findings",
    "waste": "Waste",
}  # fmt: skip
_CHANGES = {"changes": "Differences"}
_PARTS = {"own": "own layers", "base": "base layers", "hidden": "stored and not visible"}
"""The classes of bars, each with its words in the key."""


def page(report: ImageReport) -> Iterator[str]:
    """Yields the page, in pieces."""
    image = report.image
    found = list(shares(image))
    tree = DirectoryMap(image.survey)
    main = chain(
        _what(image), _patches(image, patches(image.inventory)), _size(image, tree), _own(found), _programs(image),
        _services(image), _rights(image), _certificates(image), _vulnerabilities(report.vulnerabilities),
        _findings(report), _waste(image.survey), _changes(image, report.comparison),
    )  # fmt: skip
    return _FORM.page(f"{image.name}: report", header=_header(report, found), main=main, data=_data(report, tree))


def _head(name: str) -> str:
    return section_head(name, {**_SECTIONS, **_CHANGES}[name])


def _data(report: ImageReport, tree: DirectoryMap) -> Iterator[str]:
    at = None if report.at is None else report.at.isoformat()
    yield f'{{"at": {json_text(at)}, "tree": {tree.data()},'
    yield f' "expiries": {json_text(contents.expiries(report.image.inventory))}, "tables": ['
    separator = ""
    for each in contents.all_lists(report.image, report.vulnerabilities):
        for number, part in enumerate(each.data()):
            yield part if number else separator + part
            separator = ",\n"
    yield "], "
    if report.comparison is None:
        yield '"lists": {}'
    else:
        yield from difference_members(report.comparison.difference)
    yield "}"


# The head.


def _header(report: ImageReport, found: Sequence[Share]) -> Iterator[str]:
    image = report.image
    yield f'<a class="skip" href="#what">Skip to the report</a><h1>{text_html(image.name)}</h1>'
    yield f'<p class="lead">{_windows(image)}</p><dl class="tiles">'
    yield from _tiles(report, found)
    yield "</dl>"
    sections = _SECTIONS if report.comparison is None else {**_SECTIONS, **_CHANGES}
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in sections.items())
    yield f'<nav aria-label="Sections"><ul>{links}</ul></nav>'


def _windows(image: Examined) -> str:
    system = image.inventory.operating_system
    if system is None:
        return "The registry has no version of Windows."
    texts = [
        system.name, str(system.properties.get("display_version", "")),
        str(system.properties.get("installation_type", "")), str(system.properties.get("architecture", "")),
    ]  # fmt: skip
    return ", ".join(text_html(text) for text in texts if text)


def _tiles(report: ImageReport, found: Sequence[Share]) -> Iterator[str]:
    image, survey = report.image, report.image.survey
    system = image.inventory.operating_system
    version = "unknown" if system is None or not system.version else ".".join(system.version.split(".")[2:])
    yield tile_html("Windows build", text_html(version), "build and revision")
    moment = made(image.config)
    if moment is None:
        yield tile_html("Age", "unknown", "the image states no time at which it can have been made")
    else:
        since = f'<span id="age" data-since="{moment.isoformat()}">{moment:%Y-%m-%d}</span>'
        yield tile_html("Made", since, f'<span id="age-note">{time_html(moment)} UTC</span>')
    known = patches(image.inventory)
    updates = count_text(known.installed, "update")
    yield tile_html("Newest KB", text_html(known.newest_kb or "none"), f"{updates} installed")
    total = survey.total
    layers = f"{count_text(len(survey.layers), 'layer')}, {count_text(total.files, 'visible file')}"
    yield tile_html("Size, unpacked", size_text(total.bytes), layers)
    own = next(share.own for share in found if share.what == VISIBLE_BYTES)
    own_layers = sum(not layer.is_base for layer in survey.layers)
    yield tile_html(
        "Its own", percent(own, total.visible_bytes), f"{size_text(own)} in {count_text(own_layers, 'own layer')}"
    )
    rights = image.rights
    ours = sum(not finding.is_base for finding in rights.findings)
    yield tile_html("Open rights", f"{len(rights.findings):,}", f"{ours:,} of them its own", is_bad=ours > 0)
    count = sum(1 for _ in image.inventory.of_kind(ItemKind.CERTIFICATE))
    yield tile_html("Certificates", f"{count:,}", '<span id="expired">in the registry and in users\' files</span>')
    if report.vulnerabilities is None:
        yield tile_html("Vulnerabilities", "–", "no documents were given")
    else:
        vulnerable = report.vulnerabilities.counts[VulnerabilityState.VULNERABLE]
        documents = count_text(report.vulnerabilities.documents, "document")
        yield tile_html("Vulnerable to", f"{vulnerable:,}", f"by {documents}", is_bad=vulnerable > 0)
    waste = survey.hidden_bytes + survey.duplicate_bytes
    yield tile_html("Waste", size_text(waste), f"{percent(waste, total.bytes)} of what is stored")
    if report.comparison is not None:
        count = summarize(report.comparison.difference).total
        yield tile_html("Differences", f"{count:,}", f"from {text_html(report.comparison.before.name)}")


# What it is.


def _what(image: Examined) -> Iterator[str]:
    yield _head("what")
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _identity(image) if value)
    yield f'<dl class="facts">{rows}</dl></section>'


def _identity(image: Examined) -> Iterator[tuple[str, str]]:
    yield "name", text_html(image.name)
    if image.manifest is not None:
        yield "digest", f"<code>{html_text(image.manifest.descriptor.digest)}</code>"
    if image.config is not None:
        yield "platform", text_html(str(image.config.platform))
    system = image.inventory.operating_system
    if system is not None:
        yield "Windows", text_html(f"{system.name} {system.version}".strip())
        for name in ("edition", "installation_type", "display_version", "release_id", "build_lab", "architecture"):
            yield name.replace("_", " "), _known(system.properties.get(name))
    if image.config is None:
        return
    base = find_base(image.config, image.manifest)
    if base is not None:
        yield "base image", ", ".join(text_html(text) for text in (base.name, base.version, base.digest) if text)
    yield "made", _known(image.config.created)
    settings = image.config.view.view("config").record
    for name in ("Entrypoint", "Cmd", "User", "WorkingDir", "Healthcheck", "Labels"):
        yield name, _known(settings.get(name))
    yield "layers", f"{len(image.survey.layers):,}"


def _known(value: object) -> str:
    """Returns a value of JSON; "" for an empty one."""
    if not value:
        return ""
    return text_html(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


# Age and patch level.


def _patches(image: Examined, known: Patches) -> Iterator[str]:
    yield _head("patches")
    system = image.inventory.operating_system
    version = "unknown" if system is None or not system.version else text_html(system.version)
    yield (
        f"<p>The version of Windows is <strong>{version}</strong>; its last number, the revision, rises with each"
        f" cumulative update. {count_text(known.installed, 'update')} {'is' if known.installed == 1 else 'are'}"
        " installed."
        f" The newest KB is the one with the highest number: <strong>{text_html(known.newest_kb or 'none')}</strong>."
        " Whether Microsoft has released later ones is not in the image.</p>"
    )
    lines = [f"The last update was installed at {text_html(known.last_installed)}." if known.last_installed else ""]
    if made(image.config) is None:
        lines.append("When the image was made is not known.")
    yield notes_html(*lines)
    yield from contents.updates(image.inventory).html()
    yield "</section>"


# Size.


def _size(image: Examined, tree: DirectoryMap) -> Iterator[str]:
    yield _head("size")
    survey = image.survey
    total = survey.total
    yield (
        f"<p>The layers store <strong>{size_text(total.bytes)}</strong> unpacked, of which"
        f" {size_text(total.visible_bytes)} are visible in {count_text(total.files, 'file')}.</p>"
    )
    keys = "".join(f"<li>{key(name)}{words}</li>" for name, words in _PARTS.items())
    yield f'<ul class="keys">{keys}</ul>'
    most = max((usage.bytes for usage in total.layers), default=0)
    stored = [] if image.manifest is None else [blob.size for blob in image.manifest.layers]
    yield table_html(
        "Layers, base layer first",
        ("layer", "compressed", "unpacked", "not visible", "visible files", "added", "replaced", "removed"),
        [
            _layer_row(survey, layer, stored[place] if place < len(stored) else None, most)
            for place, layer in enumerate(survey.layers)
        ],
        numbers=range(1, 8),
    )
    yield "<h3>By directory</h3>"
    yield from tree.html()
    yield "</section>"


def _layer_row(survey: Survey, layer: SubjectLayer, stored: int | None, most: int) -> tuple[str, ...]:
    usage = survey.of_layer(layer.number)
    origin = "base" if layer.is_base else "own"
    bar = stacked_bar({origin: usage.bytes - usage.hidden_bytes, "hidden": usage.hidden_bytes}, most, "")
    digest = digest_html(layer.digest) if layer.digest else ""
    return (
        f'{layer.number} <span class="note">{origin} {digest} {step_html(layer.created_by)}</span>{bar}',
        size_html(stored), size_text(usage.bytes), size_text(usage.hidden_bytes), f"{usage.shown_files:,}",
        f"{usage.added:,}", f"{usage.replaced:,}", f"{usage.removed:,}",
    )  # fmt: skip


# Own and base.


def _own(found: Sequence[Share]) -> Iterator[str]:
    yield _head("own")
    yield (
        "<p>What the image's own layers brought, and what was in its base image already. A base image is what the"
        " history of the image shows as such; without one, the base layer alone is it.</p>"
    )
    yield table_html("How many", ("what", "own", "base", "together"), map(_share_row, found), numbers=(1, 2, 3))
    yield "</section>"


def _share_row(share: Share) -> tuple[str, ...]:
    numbers = (share.own, share.base, share.own + share.base)
    return (share.what, *(size_text(number) if share.is_size else f"{number:,}" for number in numbers))


# What it holds.


def _programs(image: Examined) -> Iterator[str]:
    yield from _list_section("programs", contents.programs(image.inventory))


def _services(image: Examined) -> Iterator[str]:
    yield from _list_section("services", contents.services(image.inventory))


def _list_section(name: str, *lists: ReportList) -> Iterator[str]:
    yield _head(name)
    for each in lists:
        yield from each.html()
    yield "</section>"


def _rights(image: Examined) -> Iterator[str]:
    rights = image.rights
    yield _head("rights")
    yield (
        "<p>What users who are no administrators can write and should not: programs, services, and what else others"
        f" trust. {rights.checked:,} files, directories and keys were looked at, as"
        " <code>wclayer acl audit</code> does.</p>"
    )
    yield from contents.rights(rights).html()
    left_out = rights.left_out
    yield notes_html(f"{count_text(left_out, 'more finding')} did not fit into memory." if left_out else "")
    if rights.expected:
        expected = count_text(len(rights.expected), "place")
        yield f"<details><summary>{expected} that users can write in every Windows</summary>"
        yield from contents.expected_rights(rights).html()
        yield "</details>"
    yield "</section>"


def _certificates(image: Examined) -> Iterator[str]:
    yield from _list_section("certificates", contents.certificates(image.inventory))


def _vulnerabilities(report: VulnerabilityReport | None) -> Iterator[str]:
    yield _head("vulnerabilities")
    if report is None:
        yield (
            "<p>Nothing is said of known vulnerabilities: no documents of the Microsoft Security Response Center were"
            " given (<code>--msrc FILE</code>).</p></section>"
        )
        return
    counts = report.counts
    yield (
        f"<p>By {count_text(report.documents, 'document')} of the Microsoft Security Response Center:"
        f" {', '.join(f'{count:,} {state}' for state, count in counts.items())}. Of several products with one"
        " vulnerability, the worst counts.</p>"
    )
    yield from contents.vulnerabilities(report).html()
    yield "</section>"


def _findings(report: ImageReport) -> Iterator[str]:
    yield from _list_section("findings", contents.findings(report.image, report.vulnerabilities))


def _waste(survey: Survey) -> Iterator[str]:
    yield _head("waste")
    yield (
        f"<p>{count_text(survey.hidden_files, 'file')} that layers store, with"
        f" <strong>{size_text(survey.hidden_bytes)}</strong>, cannot be seen, because later layers replace"
        f" or remove them. {count_text(survey.duplicate_files, 'visible file')}"
        f" {'has' if survey.duplicate_files == 1 else 'have'}"
        f" the contents of another one: <strong>{size_text(survey.duplicate_bytes)}</strong>.</p>"
    )
    left_out = survey.hidden_files - len(survey.hidden)
    yield from contents.hidden(survey).html()
    yield notes_html(f"{count_text(left_out, 'smaller file')} left out." if left_out else "")
    yield from contents.duplicates(survey).html()
    if survey.duplicate_files > sum(each.count - 1 for each in survey.duplicates):
        yield notes_html(f"Only the {len(survey.duplicates):,} that waste most are named.")
    yield "</section>"


# Differences.


def _changes(image: Examined, comparison: Comparison | None) -> Iterator[str]:
    if comparison is None:
        return
    before = comparison.before
    yield _head("changes")
    yield f"<p>What differs from {text_html(before.name)} to {text_html(image.name)}.</p>"
    sizes = size_changes(before.survey, image.survey, _SIZES)
    if sizes:
        columns = ("directory", "before", "now", "growth")
        most = count_text(len(sizes), "directory", "directories")
        label = f"Sizes of visible files: the {most} near the top that differ most"
        yield table_html(label, columns, map(_size_row, sizes), numbers=(1, 2, 3))
    else:
        yield "<p>No directory near the top differs in size.</p>"
    rights = list(rights_changes(before.rights, image.rights))
    if rights:
        yield table_html(
            "Open rights", ("path", "change", "place", "before", "now"), map(_rights_row, rights[:_RIGHTS])
        )
        yield notes_html(f"{len(rights) - _RIGHTS:,} more are not in this page." if len(rights) > _RIGHTS else "")
    elif before.rights.left_out or image.rights.left_out:
        yield "<p>The open rights that were compared are the same.</p>"
    else:
        yield "<p>The open rights are the same.</p>"
    yield notes_html(*map(_left_out, (before, image)))
    yield "</section>"
    yield from difference_sections(comparison.difference, "Differences: ")


def _size_row(change: SizeChange) -> tuple[str, ...]:
    sign = "+" if change.growth > 0 else "−"
    path = text_html(change.path) if change.path else "all of it"
    return path, size_text(change.old), size_text(change.new), f"{sign}{size_text(abs(change.growth))}"


def _left_out(image: Examined) -> str:
    """Returns what a comparison of rights does not know, as a sentence; "" if it knows all."""
    left_out = image.rights.left_out
    if not left_out:
        return ""
    return (
        f"{count_text(left_out, 'finding')} of {text_html(image.name)} did not fit into memory, and were not compared."
    )


def _rights_row(change: RightsChange) -> tuple[str, ...]:
    sides = ("–" if side is None else text_html(contents.grants_text(side)) for side in (change.old, change.new))
    word = change.change.value
    told = f'<span class="{word}">{word if change.is_certain else f"perhaps {word}"}</span>'
    return text_html(change.finding.path), told, str(change.finding.place), *sides
