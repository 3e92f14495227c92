"""Compares what two images hold: what was added, removed, or has another version."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from wclayer._types import StrPath
from wclayer.images.opening import ImageLayers
from wclayer.inventory.collecting import take_inventory
from wclayer.inventory.facts.chain import ImageFacts
from wclayer.inventory.item import KIND_ORDER, Finding, Inventory, Item, ItemKind
from wclayer.layers.progress import ProgressCallback
from wclayer.view.diff import Change

_FILES = "Files/"
_TOLD_BY_FILES = frozenset({"names", "sha256", "size"})
"""Properties of an item that say what the differences of files say."""


@dataclass(frozen=True, slots=True)
class ItemChange:
    """A thing that differs.

    Attributes:
        change: whether only the second image holds it, only the first one, or both in another version or state.
        kind: what it is.
        name: its name.
        fields: the old and the new value of each field and property that differs; empty for what was added or removed.
        old, new: the item of the first and the second image.
    """

    change: Change
    kind: ItemKind
    name: str
    fields: dict[str, tuple[object, object]]
    old: Item | None
    new: Item | None


@dataclass(frozen=True, slots=True)
class InventoryDifference:
    """What differs between the inventories of two images.

    Attributes:
        items: the things that differ, in the order of `ItemKind`.
        old_findings, new_findings: what is wrong with the first or the second image alone, or could not be read there.
    """

    items: tuple[ItemChange, ...]
    old_findings: tuple[Finding, ...]
    new_findings: tuple[Finding, ...]

    def __bool__(self) -> bool:
        return bool(self.items or self.old_findings or self.new_findings)


def diff_contents(
    a: ImageLayers | ImageFacts | StrPath,
    b: ImageLayers | ImageFacts | StrPath,
    files: Iterable[str],
    progress: ProgressCallback | None = None,
) -> InventoryDifference:
    """Returns what differs between what two images hold.

    Args:
        a, b: the images, or the paths of two layer directories.
        files: the paths of the files that differ between them. No other files are looked into.
        progress: called for each file that was looked at.

    Returns:
        The differences. What only the configuration says, such as its variables and ports, is left out: the documents
        tell it.
    """
    paths = [path.removeprefix(_FILES) for path in files if path.startswith(_FILES)]
    inventories = (take_inventory(image, paths=paths, progress=progress) for image in (a, b))
    return diff_inventories(
        *(each.with_items(item for item in each.items if item.origin.layer is not None) for each in inventories)
    )


def diff_inventories(a: Inventory, b: Inventory) -> InventoryDifference:
    """Returns what differs between two inventories.

    Things of the same kind and name are the same thing. If there are several, those at the same place are, then those
    of the same version.
    """
    items_a, items_b = _by_name(a), _by_name(b)
    changes = [
        change
        for key in sorted(items_a.keys() | items_b.keys(), key=lambda key: (KIND_ORDER[key[0]], key[1]))
        for pair in _pairs(items_a.get(key, []), items_b.get(key, []))
        if (change := _change(*pair)) is not None
    ]
    return InventoryDifference(
        tuple(changes),
        _without(a.findings, b.findings),
        _without(b.findings, a.findings),
    )


def _without(findings: Iterable[Finding], others: Iterable[Finding]) -> tuple[Finding, ...]:
    known = {*others}
    return tuple(finding for finding in findings if finding not in known)


def _by_name(inventory: Inventory) -> dict[tuple[ItemKind, str], list[Item]]:
    found: dict[tuple[ItemKind, str], list[Item]] = defaultdict(list)
    for item in inventory.items:
        found[item.kind, item.name.casefold()].append(item)
    return found


def _pairs(a: list[Item], b: list[Item]) -> Iterator[tuple[Item | None, Item | None]]:
    """Yields the items of one name as pairs; None stands for a missing one."""
    if len(a) == len(b) == 1:
        yield a[0], b[0]
        return
    yield from _matched(a, b, lambda item: item.origin.place.casefold())
    yield from _matched(a, b, lambda item: item.version)
    yield from zip_longest(a, b)


def _matched(a: list[Item], b: list[Item], key: Callable[[Item], str]) -> Iterator[tuple[Item, Item]]:
    """Takes out of two lists the items that have the same key, and yields them as pairs."""
    others: dict[str, list[Item]] = defaultdict(list)
    for item in reversed(b):
        others[key(item)].append(item)
    rest = []
    for item in a:
        if others[key(item)]:
            yield item, others[key(item)].pop()
        else:
            rest.append(item)
    a[:] = rest
    left = {id(item) for items in others.values() for item in items}
    b[:] = [item for item in b if id(item) in left]


def _change(old: Item | None, new: Item | None) -> ItemChange | None:
    item = new or old
    assert item is not None
    if old is None or new is None:
        return ItemChange(Change.ADDED if old is None else Change.REMOVED, item.kind, item.name, {}, old, new)
    values_a, values_b = _values(old), _values(new)
    fields = {
        name: (values_a.get(name), values_b.get(name))
        for name in [*values_a, *(name for name in values_b if name not in values_a)]
        if values_a.get(name) != values_b.get(name)
    }
    return ItemChange(Change.CHANGED, item.kind, item.name, fields, old, new) if fields else None


def _values(item: Item) -> dict[str, object]:
    properties = {name: value for name, value in item.properties.items() if name not in _TOLD_BY_FILES}
    return {"version": item.version or None, "publisher": item.publisher or None, **properties}
