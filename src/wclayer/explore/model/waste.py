"""What an image takes and wastes, as an outline: by layer, hidden files, duplicates, the largest files."""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.explore.model.details import Fact
from wclayer.explore.model.files import windows_path
from wclayer.explore.model.outline import OutlineItem
from wclayer.survey.model import DuplicateContents, HiddenFile, StoredFile, Survey
from wclayer.win32.shown import count_text, size_text


def waste_outline(survey: Survey) -> Sequence[OutlineItem]:
    """Returns what the layers take, and what of it is wasted."""
    return [
        _group("Layers", survey.total.bytes, [_layer(survey, layer.number) for layer in survey.layers]),
        _group("Replaced or removed by later layers", survey.hidden_bytes, [_hidden(each) for each in survey.hidden]),
        _group("Contents that several files have", survey.duplicate_bytes, list(map(_duplicate, survey.duplicates))),
        _group("The largest files", survey.total.visible_bytes, [_stored(each) for each in survey.largest]),
    ]


def _group(title: str, size: int, children: list[OutlineItem]) -> OutlineItem:
    return OutlineItem(title, size_text(size), children=children, weight=size)


def _layer(survey: Survey, number: int) -> OutlineItem:
    usage, step = survey.of_layer(number), survey.layers[number - 1].created_by

    def tell() -> Sequence[Fact]:
        return [
            Fact(str(number), "layer"),
            *([Fact(step, "created by")] if step else []),
            Fact(f"{usage.bytes:,} bytes", "stores"),
            Fact(f"{usage.hidden_bytes:,} bytes", "not seen"),
            Fact(f"{usage.hides_bytes:,} bytes", "hides below"),
            Fact(f"{usage.added:,} added, {usage.replaced:,} replaced, {usage.removed:,} removed", "names"),
            Fact(count_text(usage.shown_files, "file"), "seen of it"),
        ]

    return OutlineItem(f"layer {number}  {step}".rstrip(), size_text(usage.bytes), tell, weight=usage.bytes)


def _hidden(file: HiddenFile) -> OutlineItem:
    path = windows_path(file.path)

    def tell() -> Sequence[Fact]:
        facts = [Fact(path, "path"), Fact(f"{file.size:,} bytes", "size"), Fact(f"layer {file.layer}", "stored in")]
        facts.append(Fact(f"layer {file.hidden_by}", str(file.reason)))
        return [*facts, Fact("by the same contents", "replaced")] if file.is_same else facts

    return OutlineItem(path, size_text(file.size), tell, weight=file.size, path=path)


def _duplicate(found: DuplicateContents) -> OutlineItem:
    paths = [windows_path(path) for path in found.paths]

    def tell() -> Sequence[Fact]:
        facts = [Fact(f"{found.size:,} bytes", "size"), Fact(f"{found.count:,} files", "in")]
        return [*facts, Fact(f"{found.extra_bytes:,} bytes", "too many"), *(Fact(path, "path") for path in paths)]

    title = f"{paths[0]} and {count_text(found.count - 1, 'other file')}"
    return OutlineItem(title, size_text(found.extra_bytes), tell, weight=found.extra_bytes, path=paths[0])


def _stored(file: StoredFile) -> OutlineItem:
    path = windows_path(file.path)
    facts = (Fact(path, "path"), Fact(f"{file.size:,} bytes", "size"), Fact(f"layer {file.layer}", "stored in"))
    return OutlineItem(path, size_text(file.size), lambda: facts, weight=file.size, path=path)
