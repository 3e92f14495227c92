"""`open_image_facts`: an image by the facts of its layers. What is missing of them is made while layers are read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import InvalidParameterError, NotSupportedError, during
from wclayer.images.config import ImageConfig
from wclayer.images.descriptor import Descriptor
from wclayer.images.inspection import inspect_image
from wclayer.images.location import open_source
from wclayer.images.manifest import Manifest
from wclayer.images.opening import source_location
from wclayer.images.platform import Platform
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transport import ImageSource
from wclayer.inventory.facts.cache import FactsCache
from wclayer.inventory.facts.chain import ImageFacts
from wclayer.inventory.facts.reading import make_facts
from wclayer.inventory.facts.store import FactsStore
from wclayer.layers.object_folder import ObjectFolder
from wclayer.layers.progress import ProgressCallback

_SCAN, _FACTS_OF_SCAN = "fleet.json", "facts"
"""The file by which the result of a scan of a fleet is known, and the folder of the facts in it."""

_TEMPORARY = "wclayer-facts-"
_ANY_SIZE = 1 << 62
"""The facts of one image are all held at the same time."""


@contextmanager
def open_image_facts(
    image: str,
    facts: StrPath,
    *,
    store: ImageStore | None = None,
    platform: Platform | None = None,
    registry: RegistryOptions | None = None,
    progress: ProgressCallback | None = None,
) -> Iterator[ImageFacts]:
    """A context manager that gives an image by the facts of its layers, which are never unpacked.

    Each layer of which there are no facts yet is read once, and its facts are kept.

    Args:
        image: where the image is: what `inspect` takes, such as the name of an image in the store, or `docker://REF`.
        facts: where facts are kept: a folder, which is made if it is missing, or a URL that fsspec knows. It may be the
            result of a scan of a fleet, too.
        store: the store; by default the user's.
        platform: which image of an index is meant.
        registry: how a registry is reached.
        progress: called from time to time while layers are read.

    Raises:
        PathNotFoundError, InvalidParameterError: there is no such image, or the text may mean several.
        InvalidDataError: a document, a layer or its facts are damaged.
        NotSupportedError: it is no image, or a newer wclayer made the facts.
    """
    with ExitStack() as held:
        with during("open facts"):
            kept = _facts_store(facts)
            with open_source(source_location(image), store=store, registry=registry) as source:
                name, (manifest, config) = source.name, _documents(source, platform)
                for descriptor in {layer.digest: layer for layer in manifest.layers}.values():
                    if not kept.has(descriptor.digest):
                        _make(kept, source, descriptor, progress)
            digests = [layer.digest for layer in reversed(manifest.layers)]
            folder = held.enter_context(tempfile.TemporaryDirectory(prefix=_TEMPORARY))
            folders = held.enter_context(FactsCache(kept, folder, _ANY_SIZE).hold(digests))
        yield ImageFacts(name, tuple(folders), tuple(map(kept.place, digests)), manifest, config)


def _documents(source: ImageSource, platform: Platform | None) -> tuple[Manifest, ImageConfig]:
    found = inspect_image(source, platform)
    if found.manifest is None:
        raise InvalidParameterError(source.name, "is an index of several images; name one of them with --platform")
    if found.config is None:
        raise NotSupportedError(source.name, "is an artifact, not an image")
    return found.manifest, found.config


def _facts_store(place: StrPath) -> FactsStore:
    folder = ObjectFolder(place)
    return FactsStore(folder.place(_FACTS_OF_SCAN) if folder.exists(_SCAN) else place)


def _make(kept: FactsStore, source: ImageSource, descriptor: Descriptor, progress: ProgressCallback | None) -> None:
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY) as folder:
        file = Path(folder, "facts")
        make_facts(partial(source.open_blob, descriptor), descriptor, file, progress=progress)
        kept.put(descriptor.digest, file)
