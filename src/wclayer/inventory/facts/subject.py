"""`inventory_of_facts`: the inventory of an image from the facts of its layers, without the layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wclayer._types import StrPath
from wclayer.errors import during
from wclayer.images.config import ImageConfig
from wclayer.images.manifest import Manifest
from wclayer.inventory.collecting import COLLECTORS, inventory_of, of_files
from wclayer.inventory.collectors.guarding import Found, guarded
from wclayer.inventory.facts.chain import open_chain
from wclayer.inventory.facts.layer import FactsLayer
from wclayer.inventory.facts.memory import ChainMemory
from wclayer.inventory.item import Inventory, Item, ItemKind
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.subject import Subject
from wclayer.win32.names import path_key, sorted_paths

_ROOT = "Files/"
_MEMORY = ChainMemory()


@during("take inventory", takes_over=True)
def inventory_of_facts(
    folders: Sequence[StrPath],
    name: str,
    manifest: Manifest,
    config: ImageConfig,
    *,
    pe_files: bool = False,
) -> Inventory:
    """Returns what an image holds: the same as `take_inventory` over its unpacked layers.

    Args:
        folders: the unpacked facts of the layers, nearest first.
        name: what the user calls the image.
        manifest, config: its documents.
        pe_files: whether PE files are items. Without them, only files are looked at that hold packages or are damaged.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: the facts of a layer cannot be opened.
        LayerError: the facts do not say what they must.
    """
    subject, layers = open_chain(folders, name, manifest, config)
    with subject:

        def found() -> Found:
            digests = [layer.digest for layer in manifest.layers]
            known = _MEMORY.find(list(reversed(layers)), digests, subject.layers)
            for collector, remembered in zip(COLLECTORS, known, strict=True):
                if collector.uses_config:
                    yield from guarded(collector.what, collector.collect, subject)
                else:
                    yield from remembered
            if pe_files:
                yield from of_files(subject, subject.files.walk())
                return
            for each in of_files(subject, _looked_at(layers, subject)):
                if not isinstance(each, Item) or each.kind is not ItemKind.PE_FILE:
                    yield each

        return inventory_of(subject, found())


def _looked_at(layers: Sequence[FactsLayer], subject: Subject) -> Iterator[SubjectFile]:
    """Yields the files of an image that hold packages or are damaged, in the order of a walk."""
    paths = {path_key(path[len(_ROOT) :]) for layer in layers for path in layer.looked_at() if path.startswith(_ROOT)}
    for path in sorted_paths(paths):
        found = subject.files.find(path)
        if found is not None:
            yield found
