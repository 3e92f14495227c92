"""The fleet that other tests read is what they believe it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.fleet.registry_fleet import IMAGES, LAYERS, Expected, Fleet, FleetRegistry
from tests.fleet.windows_layers import DAMAGED_PACKAGE
from tests.images import forms, samples
from tests.support import run
from wclayer import ItemKind


def test_it_has_200_images_over_60_layers(fleet: Fleet) -> None:
    assert len(fleet.images) == IMAGES
    used = {layer.digest for image in fleet.images.values() for layer in image.layers}
    assert used == {layer.digest for layer in fleet.layers.all}
    assert len(used) == LAYERS
    tags = Counter(each.repository for each in fleet.tagged)
    assert min(tags.values()) == 1
    assert tags["windows/servercore"] == 12
    assert len(fleet.tagged) == IMAGES - 2 + 1 + 1 + 1 + 1


def test_the_registry_serves_it_and_counts(fleet: Fleet, fleet_registry: FleetRegistry, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    fleet_registry.forget()
    # Of two tags with the same image, the second needs none of its blobs.
    for name in ("windows/servercore:ltsc2022", "windows/servercore:10.0.20348.2322"):
        run("pull", "-q", "--no-unpack", "--store", store, f"{fleet_registry.host}/{name}")
    served = fleet_registry.served()
    assert {layer.digest: len(layer.data) for layer in fleet.twice.layers}.items() <= served.items()
    assert set(fleet_registry.downloads().values()) == {1}
    assert any("/manifests/ltsc2022" in request for request in fleet_registry.requests())
    url, media_type = f"http://{fleet_registry.host}", samples.INDEX["oci"]
    assert forms.get_manifest(url, "apps/app00", "latest", media_type) == fleet.index.manifest


def test_a_damaged_layer_is_served_with_its_length(fleet: Fleet, tmp_path: Path) -> None:
    layer = fleet.layers.runtimes["java-11"]
    with FleetRegistry(tmp_path / "registry", fleet.tagged) as registry:
        registry.damage(layer.digest)
        base = f"http://{registry.host}"
        data = forms.get_blob(base, "runtimes/java", layer.digest)
        assert data is not None
        assert len(data) == len(layer.data)
        assert samples.sha256(data) != layer.digest
        registry.repair(layer.digest, layer.data)
        assert forms.get_blob(base, "runtimes/java", layer.digest) == layer.data
        assert registry.downloads()[layer.digest] == 2


def test_the_inventories_show_what_the_layers_brought_and_took_away(fleet: Fleet, expected: Expected) -> None:
    assert _items(fleet, expected, "windows/servercore:10.0.17763.4974", ItemKind.OPERATING_SYSTEM) == {
        ("Windows Server 2019 Datacenter", "10.0.17763.4974")
    }
    # The layers below, whose keys and files the image's own layers leave alone, are still there.
    mended = _name(fleet, "apps/app22")
    assert ("Dnscache", "") in _items(fleet, expected, mended, ItemKind.SERVICE)
    assert ("Old Tool", "0.9") in _items(fleet, expected, mended, ItemKind.PROGRAM)
    java = {_name(fleet, name): ItemKind.JAVA_PACKAGE for name in ("runtimes/java", "apps/app04", "apps/app22")}
    found = [_items(fleet, expected, name, kind) for name, kind in java.items()]
    log4j = [{version for name, version in items if name.endswith(":log4j-core")} for items in found]
    assert log4j == [{"2.14.1"}, {"2.14.1", "2.15.0"}, {"2.23.0"}]
    tools = _name(fleet, "runtimes/tools")
    assert _items(fleet, expected, tools, ItemKind.PROGRAM) == {("Git", "2.44.0")}
    damaged = _name(fleet, f"apps/app{DAMAGED_PACKAGE}")
    (finding,) = expected.inventory(_image(fleet, damaged).digest).findings
    assert finding.place.endswith("package.json")


def _name(fleet: Fleet, repository: str) -> str:
    """The first name of a repository."""
    return next(each.name for each in fleet.tagged if each.repository == repository)


def _image(fleet: Fleet, name: str) -> samples.Image:
    item = fleet.tag(name)
    assert isinstance(item, samples.Image)
    return item


def _items(fleet: Fleet, expected: Expected, name: str, kind: ItemKind) -> set[tuple[str, str]]:
    """The names and versions of what an image holds."""
    return {(item.name, item.version) for item in expected.inventory(_image(fleet, name).digest).of_kind(kind)}
