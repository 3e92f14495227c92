"""`get_shared_base_images`: the base images in the store, or those of the engine's own central store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import wclayer
from tests.images import samples
from tests.images.stores import fill, unpack
from wclayer.engines.base_image import BaseImage
from wclayer.engines.portable import engine as portable
from wclayer.images.store import ImageStore
from wclayer.layers.json_file import JsonFileError

RECORD = {"Name": "a", "Version": "1", "Path": os.path.abspath("a"), "Size": 1, "CreatedTime": "2024-01-01T00:00:00Z"}


def test_the_base_images_of_the_store_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    assert wclayer.get_shared_base_images() == []
    store = ImageStore()
    assert store.path == tmp_path / "store"
    fill(store, "nano:1", samples.nanoserver())
    fill(store, "core:1", samples.servercore())
    fill(store, "app:1", samples.small_child())
    fill(store, "classic:1", samples.classic())
    core, nano = wclayer.get_shared_base_images()
    assert list(core.to_record()) == ["Name", "Version", "Path", "Size", "CreatedTime"]
    assert (core.name, core.version, core.path) == ("core:1", "10.0.20348.5499", "")
    assert (nano.name, nano.version) == ("nano:1", "10.0.26100.33438")
    assert core.created is not None
    assert core.created.year == 2026
    top = unpack(store, samples.servercore())[-1]
    core, _ = wclayer.get_shared_base_images(store.path)
    assert core.path == str(top)
    assert core.size > 5_000_000


def test_an_engine_with_a_central_store_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [BaseImage.from_record(RECORD | {"Path": str(tmp_path)})]
    wclayer.use_engine("portable")
    monkeypatch.setattr(portable, "system_base_images", lambda: told)
    fill(ImageStore(tmp_path / "store"), "nano:1", samples.small())
    assert wclayer.get_shared_base_images() == told
    assert [image.name for image in wclayer.get_shared_base_images(tmp_path / "store")] == ["nano:1"]


@pytest.mark.parametrize(
    "changes", [{"Name": 1}, {"Name": None}, {"Path": "relative"}, {"Path": 5}, {"Size": "1"}, {"Size": True}]
)
def test_a_record_that_is_none_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(JsonFileError, match="not the record of an image"):
        BaseImage.from_record(RECORD | changes)
