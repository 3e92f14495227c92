"""`read_boot_store`: the boot configuration of a layer's utility VM."""

from __future__ import annotations

from collections.abc import Generator

from wclayer._types import StrPath
from wclayer.errors import PathNotFoundError, during, errors_at
from wclayer.formats.bcd import BcdObject, read_store
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.layers.directory.hives import open_hive
from wclayer.layers.directory.utility_vm import BOOT_STORE
from wclayer.layers.open_iterator import OpenIterator


def read_boot_store(path: StrPath) -> OpenIterator[BcdObject]:
    """Reads the boot configuration store of the utility VM of the layer at `path`.

    Returns:
        An iterator of the store's objects. The layer stays open until the iterator is exhausted or closed.

    Raises:
        PathNotFoundError: there is no layer, or it has no utility VM with a boot store.
        InvalidDataError: the store is damaged.
    """
    return OpenIterator(during("boot store", path), lambda: open_layer(path), _objects)


def _objects(layer: LayerDirectory) -> Generator[BcdObject, None, None]:
    hive = open_hive(layer, BOOT_STORE)
    if hive is None:
        raise PathNotFoundError(layer.path, f"the layer has no {BOOT_STORE}", code=2)

    def read() -> Generator[BcdObject, None, None]:
        with errors_at(layer.path / BOOT_STORE):
            yield from read_store(hive.root())

    return read()
