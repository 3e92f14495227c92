"""An image that is made: nothing of the base is lost, and history, layers and configuration agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builder.images import BASE, store_with_base
from tests.images import samples
from wclayer.builder.image import BuiltImage, Step
from wclayer.builder.workspace import NewLayer, Workspace
from wclayer.errors import NotSupportedError
from wclayer.formats.compression import Compression
from wclayer.images.edit import ConfigChanges
from wclayer.images.location import open_target, parse_location
from wclayer.images.opening import open_image
from wclayer.images.platform import Platform
from wclayer.images.store import ImageStore
from wclayer.images.transfer import copy_image

WHEN = "2026-11-29T06:00:00Z"


def _layer(store: ImageStore, chain_ids: tuple[str, ...], compression: Compression = Compression.GZIP) -> NewLayer:
    with Workspace(store, chain_ids) as workspace:
        workspace.view.mkdir("C:/tool")
        layer = workspace.commit(compression)
        assert layer is not None
        return layer


def _config(image: BuiltImage) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(image.config)
    return record


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_a_layer_and_a_change_on_a_base(tmp_path: Path, kind: samples.Kind) -> None:
    store, base, _ = store_with_base(tmp_path / "store", samples.servercore(kind))
    with store.in_use():
        with store.source(BASE) as source:
            image = BuiltImage.on(source, name="mcr.example.com/windows/servercore:ltsc2022")
        image = image.with_layer(_layer(store, image.chain_ids), Step("mkdir C:\\tool", WHEN, comment="a test"))
        image, warnings = image.with_config(ConfigChanges(env={"MODE": "1"}), Step("ENV MODE=1", WHEN))
        assert warnings == []
        store.tag("app:1", image.put(store))
    manifest = json.loads(image.manifest.data)
    assert manifest["mediaType"] == samples.MANIFEST[kind]
    assert manifest["config"]["mediaType"] == samples.CONFIG[kind]
    assert manifest["layers"][:2] == [layer.descriptor for layer in base.layers]
    assert manifest["layers"][2]["mediaType"] == samples.LAYER[kind]
    assert manifest.get("annotations", {}) == (
        {}
        if kind == "docker"
        else {
            "org.opencontainers.image.base.name": "mcr.example.com/windows/servercore:ltsc2022",
            "org.opencontainers.image.base.digest": base.digest,
        }
    )
    record = _config(image)
    assert record["rootfs"]["diff_ids"][:2] == base.diff_ids
    assert record["history"][:-2] == base.record["history"]
    assert record["history"][-2:] == [
        {"created": WHEN, "created_by": "mkdir C:\\tool", "comment": "a test"},
        {"created": WHEN, "created_by": "ENV MODE=1", "empty_layer": True},
    ]
    assert record["created"] == WHEN
    assert "MODE=1" in record["config"]["Env"]
    assert {key: record[key] for key in ("os", "os.version", "architecture")} == {
        key: base.record[key] for key in ("os", "os.version", "architecture")
    }
    with open_image("app:1", store) as opened:
        assert len(opened.layers) == 3
    assert list(store.check()) == []


def test_an_image_is_copied_with_the_layers_of_its_base(tmp_path: Path) -> None:
    """The store has the new layer alone; the base's blobs come from elsewhere."""
    store, _base, _ = store_with_base(tmp_path / "store")
    other = ImageStore(tmp_path / "other")
    with store.source(BASE) as source:
        image = BuiltImage.on(source)
        with store.in_use():
            image = image.with_layer(_layer(store, image.chain_ids), Step("RUN", WHEN))
            with image.as_source(store, source) as made, other.target("app:1") as target:
                copy_image(made, target)
    assert other.find("app:1").digest == image.manifest.descriptor.digest
    with image.as_source(store) as made, open_target(parse_location(f"oci:{tmp_path / 'layout'}:1")) as layout:
        copy_image(made, layout)
    assert list(other.check()) == []


def test_an_image_without_a_base(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    image = BuiltImage.empty(Platform("windows", "amd64", "10.0.20348.5499"))
    with store.in_use():
        image = image.with_layer(_layer(store, ()), Step("COPY", WHEN))
        store.tag("app:1", image.put(store))
    assert image.parsed.platform == Platform("windows", "amd64", "10.0.20348.5499")
    assert len(image.chain_ids) == 1
    assert list(store.check()) == []


def test_docker_has_no_zstd(tmp_path: Path) -> None:
    store, _base, _ = store_with_base(tmp_path / "store")
    with store.in_use(), store.source(BASE) as source:
        image = BuiltImage.on(source)
        layer = _layer(store, image.chain_ids, Compression.ZSTD)
        with pytest.raises(NotSupportedError, match="gzip"):
            image.with_layer(layer, Step("RUN", WHEN))
