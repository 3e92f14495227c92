"""Images of chains of layers: unpacked, and as facts, with the inventories of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import wclayer
from tests.images import samples, stores
from wclayer.images.config import ImageConfig
from wclayer.images.manifest import Manifest
from wclayer.inventory.facts.archive import unpack_facts
from wclayer.inventory.facts.reading import make_facts
from wclayer.inventory.facts.subject import inventory_of_facts
from wclayer.inventory.item import Finding, Inventory, Item, ItemKind

NAME = "image:1"


class Chain:
    """An image in a store, and the facts of its layers.

    Args:
        folder: a folder of the test; chains in one folder share the facts of the layers that they share.
        tars: the layers, base layer first.
        config: the object `config` of the configuration.
        history: its history; None for one that shows only the base layer as the base image's.
    """

    def __init__(
        self,
        folder: Path,
        tars: Sequence[bytes],
        config: Mapping[str, object] | None = None,
        history: list[dict[str, object]] | None = None,
    ) -> None:
        self.store = wclayer.ImageStore(folder / "store")
        steps = [samples.step(f"step {number}") for number in range(len(tars))] if history is None else history
        image = samples.image(
            "oci", [samples.layer(tar) for tar in tars], steps, dict(config or {}), os_version="10.0.20348.1"
        )
        stores.fill(self.store, NAME, image)
        stores.unpack(self.store, image)
        self.folder, self.name = folder, NAME

    def of_layers(self) -> Inventory:
        """The inventory of the unpacked layers."""
        with wclayer.open_image(NAME, self.store) as image:
            return wclayer.take_inventory(image)

    def facts(self) -> tuple[list[Path], Manifest, ImageConfig]:
        """The unpacked facts of the layers, nearest first, and the documents."""
        return facts_of_image(self.store, NAME, self.folder)

    def of_facts(self, *, pe_files: bool) -> Inventory:
        """The inventory of the facts."""
        folders, manifest, config = self.facts()
        return inventory_of_facts(folders, NAME, manifest, config, pe_files=pe_files)


def facts_of_image(store: wclayer.ImageStore, name: str, folder: Path) -> tuple[list[Path], Manifest, ImageConfig]:
    """The unpacked facts of the layers of an image in a store, nearest first, and its documents."""
    with wclayer.open_image(name, store) as image:
        manifest, config = image.manifest, image.config
    assert manifest is not None
    assert config is not None
    folders: list[Path] = []
    for descriptor in manifest.layers:
        place = folder / "facts" / descriptor.digest.rpartition(":")[2]
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            make_facts(partial(store.open_blob, descriptor), descriptor, place.with_suffix(".tar"))
            unpack_facts(place.with_suffix(".tar"), place)
        folders.insert(0, place)
    return folders, manifest, config


def _without_path(item: Item) -> Item:
    layer = item.origin.layer
    if layer is None:
        return item
    return replace(item, origin=replace(item.origin, layer=replace(layer, path="")))


def told(inventory: Inventory, *, pe_files: bool = True) -> tuple[list[Item], list[Finding]]:
    """All that an inventory says but where its layers are on this machine."""
    items = [_without_path(item) for item in inventory.items if pe_files or item.kind is not ItemKind.PE_FILE]
    return items, list(inventory.findings)


def check(chain: Chain) -> Inventory:
    """Checks that facts say what the layers say, and returns the inventory of the layers."""
    expected = chain.of_layers()
    everything, quick = chain.of_facts(pe_files=True), chain.of_facts(pe_files=False)
    assert told(everything) == told(expected)
    assert told(quick) == told(expected, pe_files=False)
    for found in (everything, quick):
        assert (found.name, found.digest, found.created) == (expected.name, expected.digest, expected.created)
        assert [replace(layer, path="") for layer in found.layers] == [
            replace(layer, path="") for layer in expected.layers
        ]
    return expected
