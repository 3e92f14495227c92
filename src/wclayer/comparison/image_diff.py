"""`diff_images`: all that differs between two images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from wclayer._types import StrPath
from wclayer.comparison.documents import DocumentChange, document_changes
from wclayer.comparison.history import ComparedLayer, HistoryDifference, compared_layers, history_difference
from wclayer.comparison.inventory_diff import InventoryDifference, diff_contents
from wclayer.errors import during
from wclayer.images.opening import ImageLayers, open_image
from wclayer.images.platform import Platform
from wclayer.images.store import ImageStore
from wclayer.inventory.facts.chain import ImageFacts
from wclayer.inventory.facts.layer import open_facts
from wclayer.view.diff import Difference, diff_trees
from wclayer.view.merged import MergedTree
from wclayer.view.registry import LayerHives, Registry, RegistryDifference, diff_registries


@dataclass(frozen=True, slots=True)
class DocumentDifference:
    """What differs between the documents of two images.

    Attributes:
        fields: the fields of manifest, platform and configuration that differ.
        history: the steps that differ.
        layers: the layers of both images, with what differs.
    """

    fields: tuple[DocumentChange, ...]
    history: HistoryDifference
    layers: tuple[ComparedLayer, ...]

    def __bool__(self) -> bool:
        return bool(self.fields or self.history.changes or any(layer.change for layer in self.layers))


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """All that differs between two images, or between layers over their parents. It is true if anything does.

    Attributes:
        a, b: the names of the two.
        documents: what differs between the documents; None if one of the two is a layer, which has none.
        inventory: what differs between what the images hold: updates, programs, packages; None for layers.
        files: the files that differ.
        registry: the keys and values of the registry that differ.
    """

    a: str
    b: str
    documents: DocumentDifference | None
    inventory: InventoryDifference | None
    files: tuple[Difference, ...]
    registry: tuple[RegistryDifference, ...]

    def __bool__(self) -> bool:
        return bool(self.documents or self.inventory or self.files or self.registry)


def diff_images(
    a: ImageLayers | ImageFacts | StrPath,
    b: ImageLayers | ImageFacts | StrPath,
    *,
    store: ImageStore | None = None,
    platform: Platform | None = None,
    times: bool = True,
) -> ImageDifference:
    """Returns all that differs from one image to another. Layers that are not unpacked yet are unpacked into the store.

    Args:
        a, b: two images: open (`open_image`, `open_image_facts`), or what `open_image` takes, which may be the path of
            a layer directory, too.
        store: the store; by default the user's.
        platform: which image of an index is meant.
        times: whether times are compared. A difference in access times alone is never reported.

    Raises:
        PathNotFoundError, InvalidParameterError, InvalidDataError, NotSupportedError, NotALayerError: see `open_image`.
        CorruptLayerError, InvalidDataError: a layer or a hive is damaged.
    """
    with during("compare images"), ExitStack() as stack:
        image_a, image_b = (
            each
            if isinstance(each, (ImageLayers, ImageFacts))
            else stack.enter_context(open_image(str(each), store, platform=platform))
            for each in (a, b)
        )
        sides = [each if isinstance(each, ImageFacts) else each.path for each in (image_a, image_b)]
        documents = document_difference(image_a, image_b, times=times)
        files = tuple(file_differences(*sides, times=times))
        return ImageDifference(
            image_a.name,
            image_b.name,
            documents,
            None if documents is None else diff_contents(image_a, image_b, (file.path for file in files)),
            files,
            tuple(registry_differences(*sides, times=times)),
        )


def document_difference(
    a: ImageLayers | ImageFacts, b: ImageLayers | ImageFacts, *, times: bool
) -> DocumentDifference | None:
    """Returns what differs between the documents of two images; None if one of them is a layer, which has none."""
    if a.manifest is None or a.config is None or b.manifest is None or b.config is None:
        return None
    documents_a, documents_b = (a.manifest, a.config), (b.manifest, b.config)
    return DocumentDifference(
        tuple(document_changes(documents_a, documents_b, times=times)),
        history_difference(a.config, b.config, times=times),
        tuple(compared_layers(documents_a, documents_b)),
    )


def file_differences(
    a: ImageFacts | StrPath, b: ImageFacts | StrPath, *, times: bool, alone: bool = False
) -> Iterator[Difference]:
    """Yields the files that differ between two images or layers, each over its parents or `alone`."""
    with _tree(a, alone) as tree_a, _tree(b, alone) as tree_b:
        yield from diff_trees(tree_a, tree_b, times=times)


def registry_differences(
    a: ImageFacts | StrPath, b: ImageFacts | StrPath, *, times: bool, alone: bool = False
) -> Iterator[RegistryDifference]:
    """Yields what differs between the registries of two images or layers, each over its parents or `alone`."""
    with _registry(a, alone) as registry_a, _registry(b, alone) as registry_b:
        yield from diff_registries(registry_a, registry_b, times=times)


@contextmanager
def _tree(side: ImageFacts | StrPath, alone: bool) -> Iterator[MergedTree]:
    if isinstance(side, ImageFacts):
        with open_facts(side.folders) as layers, MergedTree(layers) as tree:
            yield tree
    else:
        with MergedTree.of(side, with_parents=not alone) as tree:
            yield tree


@contextmanager
def _registry(side: ImageFacts | StrPath, alone: bool) -> Iterator[LayerHives]:
    if isinstance(side, ImageFacts):
        with open_facts(side.folders) as layers:
            yield LayerHives(layers)
    else:
        with Registry(side, alone=alone) as registry:
            yield registry
