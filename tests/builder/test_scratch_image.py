"""An image without a base begins with the layer that Windows needs, and its registry can be changed."""

from __future__ import annotations

from pathlib import Path

from wclayer.builder.image import Step
from wclayer.builder.scratch_base import scratch_base
from wclayer.builder.workspace import Workspace
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.images.opening import open_image
from wclayer.images.platform import Platform
from wclayer.images.store import ImageStore
from wclayer.layers.hives import LAYER_HIVES
from wclayer.view.layer_view import LayerView
from wclayer.view.registry import Registry

_PLATFORM = Platform("windows", "arm64")


def test_an_image_from_scratch(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        store = ImageStore(tmp_path / name)
        with store.in_use():
            image = scratch_base(store, _PLATFORM)
            with Workspace(store, image.chain_ids, time=0) as workspace:
                workspace.view.mkdir("C:/app")
                with workspace.registry() as registry:
                    value = encode_string("1")
                    registry.set_value(r"HKLM\SOFTWARE\App", "Version", int(ValueType.REG_SZ), value)
                layer = workspace.commit()
                assert layer is not None
            store.tag("app:1", image.with_layer(layer, Step("RUN", "2026-11-29T06:00:00Z")).put(store))
        made.append(store.find("app:1").digest)
        assert list(store.check()) == []
        store.prune(keep_hours=0)
        with open_image("app:1", store) as opened, LayerView.for_layer(opened.path) as view:
            assert view.listdir("C:/") == ["app", "Windows"]
            for hive in LAYER_HIVES:
                assert view.exists(hive.config.removeprefix("Files/"))
            with Registry(opened.path) as keys, keys.reading():
                assert keys.find(r"HKLM\SOFTWARE\App") is not None
    assert made[0] == made[1]
    assert [step.created_by for step in image.parsed.history] == ["FROM scratch"]
    assert image.parsed.platform == _PLATFORM
