"""An inventory as an outline: each kind of item with its items, and the findings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from wclayer.explore.model.details import Fact, heading, warning
from wclayer.explore.model.marks import Mark
from wclayer.explore.model.outline import OutlineItem
from wclayer.inventory.item import KIND_WORDS, Finding, Inventory, Item, ItemKind


def kind_title(kind: ItemKind) -> str:
    """Returns the title of the items of a kind."""
    words = KIND_WORDS[kind]
    return words[:1].upper() + words[1:]


def inventory_outline(inventory: Inventory) -> Sequence[OutlineItem]:
    """Returns an inventory as an outline. Items of the image's own layers have a mark."""
    found: list[OutlineItem] = []
    if inventory.findings:
        findings = [finding_item(each) for each in inventory.findings]
        found.append(OutlineItem("Findings", f"{len(findings):,}", children=findings, weight=len(findings)))
    for kind in ItemKind:
        items = [_item(each) for each in inventory.of_kind(kind)]
        if items:
            found.append(OutlineItem(kind_title(kind), f"{len(items):,}", children=items, weight=len(items)))
    return found


def _item(item: Item) -> OutlineItem:
    layer = item.origin.layer
    title = f"{item.name}  {item.version}" if item.version else item.name
    return OutlineItem(
        title, "-" if layer is None else f"{layer.number}", partial(item_facts, item), path=item.origin.place
    )


def item_facts(item: Item) -> Sequence[Fact]:
    """Returns what is known of an item."""
    layer = item.origin.layer
    facts = [Fact(item.name, "name")]
    facts += [Fact(item.version, "version")] if item.version else []
    facts += [Fact(item.publisher, "publisher")] if item.publisher else []
    facts.append(Fact(item.origin.place, "place"))
    if layer is not None:
        facts.append(Fact(f"{layer.number} ({'base image' if layer.is_base else 'own layer'})", "layer"))
    if item.properties:
        facts.append(heading("Properties"))
    for name, value in item.properties.items():
        texts = value if isinstance(value, list) else [str(value)]
        facts += [Fact(text, name.replace("_", " ")) for text in texts]
    return facts


def finding_item(finding: Finding, mark: Mark = Mark.SAME) -> OutlineItem:
    """Returns a finding as an item of an outline."""
    return OutlineItem(
        f"{finding.place}: {finding.text}",
        str(finding.kind),
        lambda: [warning(str(finding.kind)), Fact(finding.place, "place"), Fact(finding.text, "found")],
        path=finding.place,
        mark=mark,
    )
