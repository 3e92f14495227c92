"""Single images of a registry are known by facts: each layer is fetched once, for all of them."""

from __future__ import annotations

from pathlib import Path

import wclayer
from tests.fleet.registry_fleet import Expected, Fleet, FleetRegistry
from tests.images import samples
from tests.inventory.facts.chains import told
from tests.support import run


def test_images_of_a_registry_are_read_once_and_not_unpacked(
    fleet: Fleet, fleet_registry: FleetRegistry, expected: Expected, tmp_path: Path
) -> None:
    facts = tmp_path / "facts"
    chosen = [each for each in fleet.tagged if each.repository == "apps/app01"][:2]
    assert len(chosen) == 2
    fleet_registry.forget()
    options = wclayer.RegistryOptions(insecure=True)
    layers: dict[str, None] = {}
    for each in chosen:
        assert isinstance(each.item, samples.Image)
        layers |= dict.fromkeys(layer.digest for layer in each.item.layers)
        with wclayer.open_image_facts(f"docker://{fleet_registry.host}/{each.name}", facts, registry=options) as image:
            assert told(wclayer.take_inventory(image)) == told(expected.inventory(each.item.digest))
    downloads = fleet_registry.downloads()
    assert {digest: downloads[digest] for digest in layers} == dict.fromkeys(layers, 1)
    names = [f"docker://{fleet_registry.host}/{each.name}" for each in chosen]
    run("diff", "--insecure", "--summary", "--facts", facts, *names, status=1)
    assert {digest: fleet_registry.downloads()[digest] for digest in layers} == dict.fromkeys(layers, 1)
