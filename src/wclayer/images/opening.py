"""`open_image`: an image, wherever it is, as a chain of layer directories."""

from __future__ import annotations

import errno
import os
import re
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from wclayer.errors import (
    AccessDeniedError,
    InvalidParameterError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
    during,
)
from wclayer.images.config import ImageConfig
from wclayer.images.location import Location, Transport, image_location, open_source, parse_location
from wclayer.images.manifest import Manifest
from wclayer.images.on_disk import holds_images
from wclayer.images.plan import make_plan
from wclayer.images.platform import Platform
from wclayer.images.reference import parse_reference
from wclayer.images.store import ImageStore
from wclayer.images.transfer_progress import TransferCallback
from wclayer.images.transport import ImageSource
from wclayer.images.unpack import NO_IMAGE, LayerStream, UnpackedImage, read_image, unpack_image, unpack_layers
from wclayer.layers.directory import open_layer
from wclayer.layers.inputs import is_standard_input

_PATH = re.compile(r"\.|/|\\|~|[A-Za-z]:[\\/]")
"""The beginnings of texts that mean a path, whether it exists or not."""
_TRANSPORT = re.compile(
    "(?:{}):|docker://".format("|".join(kind.value for kind in Transport if kind.value != "docker"))
)


class ImageLayers:
    """The layers of an image as layer directories, a context manager.

    Until it is closed, `prune` leaves the layers in the store, whether a name keeps them or not.

    Attributes:
        name: what the user calls the image.
        layers: the layer directories, nearest first: the top layer of the image, then its parents.
        manifest: the manifest; None for a layer directory that is no image.
        config: the configuration; None for a layer directory that is no image.
        place: the layout or the archive from which it was opened; None for all others.
    """

    def __init__(
        self,
        name: str,
        layers: tuple[Path, ...],
        manifest: Manifest | None,
        config: ImageConfig | None,
        held: ExitStack,
        place: Path | None = None,
    ) -> None:
        self.name = name
        self.layers = layers
        self.manifest = manifest
        self.config = config
        self.place = place
        self._held = held

    @property
    def path(self) -> Path:
        """The top layer: what `LayerView.for_layer`, `Registry` and other functions take."""
        return self.layers[0]

    def close(self) -> None:
        """Ends the use of the layers."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def find_place(text: str, store: ImageStore) -> Location | Path:
    """Returns where an image is that a user named, or the path of a layer directory. Nothing is opened but the store.

    A path that exists is a path. Otherwise a text that begins with a transport (`oci:DIR[:TAG]`, `oci-archive:FILE`,
    `docker-archive:FILE[:REF]`, `store:NAME`) means that, and any other text is a name in the store.

    Args:
        text: what the user wrote.
        store: where names are looked up.

    Raises:
        PathNotFoundError: nothing has that name, or it is in a registry. The message says what was looked for.
        InvalidParameterError: the text may mean several images, or is no location.
    """
    if is_standard_input(text):
        raise InvalidParameterError(
            text,
            "is the standard input; docker-archive:- or oci-archive:- is an image in an archive on it, and"
            " `wclayer import FOLDER` makes a layer of a tar on it",
        )
    if (found := _on_disk(text)) is not None:
        return found
    if not text or _exists(text):
        return Path(text)
    if _TRANSPORT.match(text):
        place = parse_location(text)
        if place.transport is Transport.REGISTRY:
            raise PathNotFoundError(text, f"is in a registry; `wclayer pull {place.name}` fetches it")
        return place
    if _PATH.match(text):
        return Path(text)
    try:
        store.find(text)
    except PathNotFoundError as error:
        raise PathNotFoundError(text, f"{_NOTHING} and {error.detail}") from None
    except InvalidParameterError as error:
        if _is_reference(text):
            raise
        raise PathNotFoundError(text, f"{_NOTHING}; it is not the name of an image: {error.detail}") from None
    return Location(Transport.STORE, "", text)


def source_location(text: str) -> Location:
    """Returns where an image is whose documents are read: a path of a layout or an archive, else `image_location`.

    Raises:
        InvalidParameterError: the text is no location.
    """
    return _on_disk(text) or image_location(text)


def _on_disk(text: str) -> Location | None:
    """Returns the layout or the archive to which a path leads; None if it does not exist, or is none."""
    if not text or not _exists(text) or not holds_images(text):
        return None
    return Location(Transport.LAYOUT if os.path.isdir(text) else Transport.DOCKER_ARCHIVE, text, "")


_NOTHING = "the layer does not exist: there is no such path"


def _exists(path: str) -> bool:
    """Returns whether something is at a path. What the host does not tell is something: whoever opens it reports it."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG
    return True


def _is_reference(text: str) -> bool:
    try:
        parse_reference(text)
    except LayerError:
        return False
    return True


def open_image(
    text: str,
    store: ImageStore | None = None,
    *,
    platform: Platform | None = None,
    keep: bool = False,
    progress: TransferCallback | None = None,
) -> ImageLayers:
    """Opens an image as a chain of layer directories. Layers that are not unpacked yet are unpacked into the store.

    Args:
        text: a name in the store; a layout or an archive (`oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
            `docker-archive:FILE[:REF]`, or its path alone); or the path of a layer directory.
        store: the store; by default the user's.
        platform: which image of an index is meant.
        keep: keep the image in the store, by its digest: `prune` leaves its layers, even if its name goes, until the
            digest is untagged. For layers that others refer to as parents. An image in a store that the user may only
            read is used as it is.
        progress: called for each layer that is unpacked.

    Raises:
        PathNotFoundError: nothing has that name, or no image of the index has the platform.
        InvalidParameterError: the text may mean several images, or the platform several of an index.
        InvalidDataError: a layer does not have its digest or diffID, or the layout or archive is damaged.
        NotSupportedError: the image is not for Windows.
        NotALayerError: the path is neither a layer directory nor a layout or an archive of images.
    """
    with during("open image", text):
        place = store or ImageStore()
        found = find_place(os.fspath(text), place)
        if isinstance(found, Path):
            with open_layer(found) as layer:
                return ImageLayers(text, (layer.path, *layer.parents_in_place()), None, None, ExitStack())
        with ExitStack() as held:
            # What was just unpacked is not pruned before it is held.
            with place.in_use():
                unpacked = _unpacked(text, found, place, platform, keep, progress)
                if not keep:
                    held.enter_context(place.hold_layers(unpacked.config.chain_ids))
            origin = Path(found.path) if found.is_on_disk else None
            return ImageLayers(text, unpacked.layers[::-1], unpacked.manifest, unpacked.config, held.pop_all(), origin)


def _unpacked(
    text: str,
    location: Location,
    store: ImageStore,
    platform: Platform | None,
    keep: bool,
    progress: TransferCallback | None,
) -> UnpackedImage:
    if location.transport is Transport.STORE:
        image = unpack_image(store, store.find(location.name), platform=platform, name=text, progress=progress)
        if keep:
            # Who may only read the store cannot keep it from being pruned by its owner.
            with suppress(AccessDeniedError):
                store.tag(image.manifest.descriptor.digest, image.manifest.descriptor)
        return image
    with open_source(location, store=store) as source:
        if keep:
            # Loaded when it is needed: it brings the client of registries.
            from wclayer.images.pull import store_image

            (image,) = store_image(source, store, "", platform=platform, progress=progress).images
            return image
        return _from_source(text, source, store, platform, progress)


def _from_source(
    text: str,
    source: ImageSource,
    store: ImageStore,
    platform: Platform | None,
    progress: TransferCallback | None,
) -> UnpackedImage:
    """Unpacks an image of a layout or an archive. Its blobs are not stored."""
    plan = make_plan(source, platform=platform)
    if not plan.images:
        raise NotSupportedError(text, NO_IMAGE)
    ((manifest, config),) = plan.images
    return unpack_layers(
        store, manifest, config, lambda blob: LayerStream(source.open_blob(blob.descriptor)), name=text,
        progress=progress,
    )  # fmt: skip


def unpacked_layers(text: str, store: ImageStore, *, platform: Platform | None = None) -> list[Path]:
    """Returns the layer directories of an image in a store, nearest first, for a look at what is there. Nothing is
    unpacked, and nothing keeps `prune` from removing them.

    Args:
        text: a name in the store.
        store: the store.
        platform: which image of an index is meant.

    Raises:
        PathNotFoundError: the store has no such image, or not all of its layers are unpacked.
        InvalidParameterError: the text may mean several images, or the platform several of an index.
        NotSupportedError: it is an artifact that is no image, or in an archive or a layout.
    """
    place = find_place(text, store)
    if not isinstance(place, Location) or place.transport is not Transport.STORE:
        raise NotSupportedError(text, "is not in the store")
    _, config = read_image(store, store.find(place.name), platform, text)
    for chain_id in config.chain_ids:
        if not store.has_layer(chain_id):
            raise PathNotFoundError(text, f"the layer {chain_id} is not unpacked in the store")
    return [store.layer_path(chain_id) for chain_id in reversed(config.chain_ids)]
