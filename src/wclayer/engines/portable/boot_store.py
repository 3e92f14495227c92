"""`read_boot_store`: the boot configuration of a layer's utility VM."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer._types import StrPath
from wclayer.errors import InvalidDataError, PathNotFoundError, during
from wclayer.formats.bcd import BcdObject, read_store
from wclayer.formats.regf.model import RegfError
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.hives import open_hive
from wclayer.layers.directory.utility_vm import BOOT_STORE


@during("boot store")
def read_boot_store(path: StrPath) -> Iterator[BcdObject]:
    """The objects of the boot configuration store of the utility VM of the layer at `path`.

    Raises:
        PathNotFoundError: there is no layer, or it has no utility VM with a boot store.
        InvalidDataError: the store is no sound one.
    """
    with open_layer(path) as layer:
        hive = open_hive(layer, BOOT_STORE)
        if hive is None:
            raise PathNotFoundError(layer.path, f"the layer has no {BOOT_STORE}", code=2)
        try:
            yield from read_store(hive.root())
        except RegfError as error:
            raise InvalidDataError(layer.path / BOOT_STORE, str(error)) from None
