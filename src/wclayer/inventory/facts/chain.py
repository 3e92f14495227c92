"""Images whose layers are facts, as subjects of an inventory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import InvalidDataError, InvalidParameterError
from wclayer.images.config import ImageConfig
from wclayer.images.manifest import Manifest
from wclayer.inventory.facts.files import FactsFiles
from wclayer.inventory.facts.layer import FactsLayer, open_facts
from wclayer.inventory.subject.layers import subject_layers
from wclayer.inventory.subject.registry import SubjectRegistry
from wclayer.inventory.subject.subject import Subject
from wclayer.view.merged import MergedTree
from wclayer.view.registry import LayerHives


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image whose layers are facts, as long as the context of `open_image_facts` is open.

    Attributes:
        name: what the user calls the image.
        folders: the unpacked facts of the layers, nearest first.
        places: where the facts are kept, nearest first: paths, or URLs.
        manifest, config: the documents of the image.
    """

    name: str
    folders: tuple[Path, ...]
    places: tuple[str, ...]
    manifest: Manifest
    config: ImageConfig


def open_chain(
    folders: Sequence[StrPath],
    name: str,
    manifest: Manifest,
    config: ImageConfig,
    places: Sequence[StrPath] | None = None,
) -> tuple[Subject, list[FactsLayer]]:
    """Returns an image as a subject, and its layers, nearest first. The caller closes the subject, which closes them.

    Args:
        folders: the unpacked facts of the layers, nearest first.
        name: what the user calls the image.
        manifest, config: its documents.
        places: where the facts are kept, nearest first, for the origins of items; by default the folders.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: the facts of a layer cannot be opened.
        InvalidDataError: a layer has another diffID than the configuration says.
    """
    if len(folders) != len(manifest.layers):
        raise InvalidParameterError(name, f"has {len(manifest.layers)} layers, and facts of {len(folders)} were named")
    with ExitStack() as stack:
        layers = stack.enter_context(open_facts(folders))
        _check_diff_ids(layers, name, config)
        named = subject_layers(list(reversed(places or folders)), manifest, config)
        files = FactsFiles(MergedTree(layers, remember=False), named)
        registry = SubjectRegistry(LayerHives(layers), files, named, list(reversed(layers)))
        return Subject(name, named, files, registry, stack.pop_all(), manifest, config), layers


def _check_diff_ids(layers: Sequence[FactsLayer], name: str, config: ImageConfig) -> None:
    """Checks that each layer is the one that the configuration means, as an import does.

    Raises:
        InvalidDataError: it is another one.
    """
    for number, (layer, stated) in enumerate(zip(reversed(layers), config.diff_ids, strict=True), 1):
        found = layer.diff_id()
        if found != stated:
            raise InvalidDataError(
                name,
                f"layer {number} of {len(layers)} has the diffID {found}, and the configuration says {stated}: the"
                " image was put together wrongly, or changed; push it again",
            )
