"""The image of Windows that the tests of inventories read."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import wclayer
from tests.images import samples
from tests.inventory import windows


@dataclass(frozen=True)
class Windows:
    """A store with the images `windows.BASE` and `windows.APPLICATION`."""

    store: wclayer.ImageStore
    base: samples.Image
    application: wclayer.BuildResult

    def inventory(self, name: str, *, files: bool = True) -> wclayer.Inventory:
        with wclayer.open_image(name, self.store) as image:
            return wclayer.take_inventory(image, files=files)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    """The images; nobody changes them."""
    store = wclayer.ImageStore(tmp_path_factory.mktemp("windows") / "store")
    base = windows.base_image(store, tmp_path_factory.mktemp("base"))
    return Windows(store, base, windows.application(store, tmp_path_factory.mktemp("context")))
