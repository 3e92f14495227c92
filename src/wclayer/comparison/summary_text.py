"""A screenful of text about what differs: the most important changes first, then numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from wclayer.comparison.documents import DocumentPart
from wclayer.comparison.image_diff import DocumentDifference, ImageDifference
from wclayer.comparison.inventory_diff import ItemChange
from wclayer.comparison.records import document_record, item_record
from wclayer.comparison.summary import Counts, Summary, summarize
from wclayer.comparison.texts import MARKS, item_line, sides_text
from wclayer.inventory.item import ItemKind
from wclayer.view.diff import Change
from wclayer.win32.shown import size_text

_LINES = 8
"""How many lines of one kind are shown."""
_WIDTH = 110
"""How many characters of a line are shown."""


def summary_lines(difference: ImageDifference) -> Iterator[str]:
    """Yields the lines of a summary. There are at most some dozens, whatever differs."""
    summary = summarize(difference)
    yield f"{difference.a} -> {difference.b}"
    if not difference:
        yield "no difference"
        return
    if difference.documents is not None:
        yield from _document_lines(difference.documents)
    yield from _inventory_lines(difference)
    yield from _file_lines(summary)
    yield from _placed("registry", _counts_text(summary.registry), summary.keys)


def _document_lines(documents: DocumentDifference) -> Iterator[str]:
    for part in (DocumentPart.PLATFORM, DocumentPart.CONFIG, DocumentPart.MANIFEST, DocumentPart.IMAGE):
        changes = [document_record(each) for each in documents.fields if each.part is part]
        lines = [
            f"{MARKS[each['change']]} {' '.join(filter(None, (each['field'], each['key'])))}: "
            + sides_text("", each["old"], each["new"])
            for each in changes
        ]
        yield from _block(part.value, _shortened(lines, "other fields"))
    history = documents.history
    if history.changes:
        counts = Counts(each.change for each in history.changes)
        yield _line("history", f"{history.common} common, then {_counts_text(counts)}")
    if any(layer.change for layer in documents.layers):
        yield _line("layers", _layers_text(documents))


def _layers_text(documents: DocumentDifference) -> str:
    texts = []
    for change in (None, *Change):
        places = [each.b or each.a for each in documents.layers if each.change is change]
        sizes = [place.size for place in places if place is not None]
        if sizes:
            texts.append(f"{len(sizes)} {'shared' if change is None else change.value} ({size_text(sum(sizes))})")
    return ", ".join(texts)


_IMPORTANT = (
    ItemKind.OPERATING_SYSTEM, ItemKind.UPDATE, ItemKind.FEATURE, ItemKind.PROGRAM, ItemKind.MSI_PRODUCT,
    ItemKind.APPX_PACKAGE, ItemKind.DOTNET, ItemKind.SERVICE, ItemKind.DRIVER, ItemKind.TASK, ItemKind.USER,
    ItemKind.CERTIFICATE,
)  # fmt: skip
"""The kinds of things of which single ones are shown; of the others, only how many."""


def _inventory_lines(difference: ImageDifference) -> Iterator[str]:
    if difference.inventory is None:
        return
    by_kind: dict[ItemKind, list[ItemChange]] = defaultdict(list)
    for item in difference.inventory.items:
        by_kind[item.kind].append(item)
    lines: list[str] = []
    for kind, items in by_kind.items():
        if kind in _IMPORTANT:
            lines += _shortened([item_line(item_record(each)) for each in items], f"other changes of the kind {kind}")
        else:
            lines.append(f"{kind}: {_counts_text(Counts(each.change for each in items))}")
    findings = [f"! {finding.place}: {finding.text}" for finding in difference.inventory.new_findings]
    yield from _block("inventory", [*lines, *_shortened(findings, "other findings")])


def _file_lines(summary: Summary) -> Iterator[str]:
    text = _counts_text(summary.files)
    sizes = [f"{size_text(size)} {change.value}" for change, size in summary.file_sizes.items() if size]
    kinds = [f"{count} {kind}" for kind, count in summary.file_kinds.items()]
    yield from _placed(
        "files", "; ".join(filter(None, (text, ", ".join(sizes), ", ".join(kinds)))), summary.directories
    )


def _placed(name: str, text: str, places: Mapping[str, Counts]) -> Iterator[str]:
    if not places:
        return
    yield _line(name, text)
    for place, counts in islice(places.items(), _LINES):
        yield _line("", f"  {place}: {_counts_text(counts)}")
    if len(places) > _LINES:
        yield _line("", f"  and {len(places) - _LINES} other places")


def _counts_text(counts: Counts) -> str:
    return ", ".join(f"{counts[change]} {change.value}" for change in Change if counts[change])


def _shortened(lines: list[str], rest: str) -> list[str]:
    """Returns the first lines, and how many others there are."""
    return lines if len(lines) <= _LINES else [*lines[:_LINES], f"and {len(lines) - _LINES} {rest}"]


def _block(name: str, lines: Iterable[str]) -> Iterator[str]:
    """Yields lines with a name before the first one."""
    for number, line in enumerate(lines):
        yield _line("" if number else name, line)


def _line(name: str, text: str) -> str:
    return f"{name:9} {text if len(text) <= _WIDTH else text[:_WIDTH] + '…'}"
