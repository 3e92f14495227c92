"""What differs between the documents of two images, and between what they hold, as outlines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wclayer.explore.model.details import Fact, FactKind
from wclayer.explore.model.inventory import finding_item, item_facts, kind_title
from wclayer.explore.model.marks import Mark, mark_of
from wclayer.explore.model.metadata import size_fact
from wclayer.explore.model.outline import OutlineItem
from wclayer.explore.model.sides import WAS, both_sides
from wclayer.inventory.item import ItemKind
from wclayer.win32.shown import count_text, size_text

if TYPE_CHECKING:
    from wclayer.comparison.documents import DocumentChange
    from wclayer.comparison.history import ComparedLayer, LayerPlace, StepChange
    from wclayer.comparison.image_diff import DocumentDifference
    from wclayer.comparison.inventory_diff import InventoryDifference, ItemChange

_MOST_TEXT = 2_000
"""Characters of a field that are shown; the documents themselves have the rest."""
_NO_DOCUMENTS = "no documents to compare: one of the two is a layer, not an image"


def inventory_differences(difference: InventoryDifference) -> Sequence[OutlineItem]:
    """Returns what differs between what two images hold: each kind of item, and the findings."""
    if not difference:
        return [OutlineItem("what they hold is the same")]
    found: list[OutlineItem] = []
    findings = [
        finding_item(finding, mark)
        for mark, side in ((Mark.REMOVED, difference.old_findings), (Mark.ADDED, difference.new_findings))
        for finding in side
    ]
    if findings:
        found.append(_group("Findings", findings))
    for kind in ItemKind:
        items = [_item(change) for change in difference.items if change.kind is kind]
        if items:
            found.append(_group(kind_title(kind), items))
    return found


def _group(title: str, items: list[OutlineItem]) -> OutlineItem:
    return OutlineItem(title, f"{len(items):,}", children=items, weight=len(items))


def _item(change: ItemChange) -> OutlineItem:
    old, new = change.old, change.new
    versions = [item.version for item in (old, new) if item is not None and item.version]
    item = new or old
    assert item is not None

    def tell() -> Sequence[Fact]:
        if old is None or new is None:
            return item_facts(item)
        return both_sides(item_facts(old), item_facts(new))

    text = " → ".join(dict.fromkeys(versions))
    return OutlineItem(f"{change.name}  {text}".rstrip(), "", tell, path=item.origin.place, mark=mark_of(change.change))


def documents_differences(difference: DocumentDifference | None) -> Sequence[OutlineItem]:
    """Returns what differs between the documents of two images: fields, history, layers.

    Args:
        difference: what differs; None if one of the two has no documents.
    """
    if difference is None:
        return [OutlineItem(_NO_DOCUMENTS)]
    if not difference:
        return [OutlineItem("what their documents say is the same")]
    groups = (
        ("Configuration and platform", [_field(change) for change in difference.fields]),
        (
            f"History after {count_text(difference.history.common, 'common step')}",
            [_step(change) for change in difference.history.changes],
        ),
    )
    found = [_group(title, items) for title, items in groups if items]
    if any(layer.change for layer in difference.layers):
        found.append(_group("Layers", [_layer(layer) for layer in difference.layers]))
    return found


def _field(change: DocumentChange) -> OutlineItem:
    name = " ".join(filter(None, (change.part.value, change.field, change.key)))
    texts = [_value_text(value) for value in (change.old, change.new) if value is not None]

    def tell() -> Sequence[Fact]:
        if change.new is None:
            return [Fact(texts[0], f"- {name}", FactKind.REMOVED)]
        if change.old is None:
            return [Fact(texts[0], f"+ {name}", FactKind.ADDED)]
        return [Fact(texts[1], f"~ {name}", FactKind.CHANGED), Fact(texts[0], WAS)]

    return OutlineItem(" → ".join(texts), f"{name}:", tell, path=name, mark=mark_of(change.change))


def _value_text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"


def _step(change: StepChange) -> OutlineItem:
    entry = change.new or change.old
    assert entry is not None
    text = entry.created_by or entry.comment or "-"

    def tell() -> Sequence[Fact]:
        sides = [
            [Fact(str(change.number), "step"), Fact(each.created, "created"), Fact(each.created_by, "created by")]
            for each in (change.old, change.new)
            if each is not None
        ]
        return sides[0] if len(sides) == 1 else both_sides(*sides)

    return OutlineItem(text, f"step {change.number}", tell, path=text, mark=mark_of(change.change))


def _layer(layer: ComparedLayer) -> OutlineItem:
    place = layer.b or layer.a
    assert place is not None

    def tell() -> Sequence[Fact]:
        sides = [_place_facts(each) for each in (layer.a, layer.b) if each is not None]
        return [Fact(layer.diff_id, "diffID"), *(sides[0] if len(sides) == 1 else both_sides(*sides))]

    mark = Mark.SAME if layer.change is None else mark_of(layer.change)
    return OutlineItem(
        layer.diff_id, f"layer {place.number}  {size_text(place.size)}", tell, path=layer.diff_id, mark=mark
    )


def _place_facts(place: LayerPlace) -> list[Fact]:
    return [
        Fact(str(place.number), "layer"),
        size_fact(place.size, "blob"),
        Fact(place.digest, "digest"),
        Fact(place.media_type, "type"),
    ]
