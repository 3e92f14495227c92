"""`ImageStore`: the public face of a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from wclayer._types import StrPath
from wclayer.errors import InvalidParameterError, PathNotFoundError, boundary
from wclayer.images.descriptor import Descriptor
from wclayer.images.store.claim import claim_layer
from wclayer.images.store.folder import StoreFolder
from wclayer.images.store.ingest import Ingest, put_document
from wclayer.images.store.listing import StoredImage, list_images
from wclayer.images.store.lookup import canonical_name, find_image, find_names, likely_name
from wclayer.images.store.names import Names
from wclayer.images.store.pruning import KEEP_HOURS, PruneResult, prune_store
from wclayer.images.store.transports import StoreSource, StoreTarget
from wclayer.layers.atomic import wait_for_place
from wclayer.layers.directory.problem import Problem
from wclayer.layers.progress import ProgressCallback


@boundary
class ImageStore:
    """A folder of images: blobs by digest, unpacked layers by chainID, names in a database.

    Any number of processes may use a store at the same time. A killed one loses nothing that has a name; `prune`
    removes the rest. The folder can be moved. `docs/formats/store.md` documents it.

    Args:
        path: the folder, which is made when something is stored; by default `$WCLAYER_STORE`, or `store` in the user's
            data directory of wclayer.
    """

    operation = "image store"

    def __init__(self, path: StrPath | None = None) -> None:
        self._folder = StoreFolder(path)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    def in_use(self) -> AbstractContextManager[None]:
        """Keeps `prune` away inside a context, in all processes: what is stored and has no name yet stays.

        Raises:
            LayerBusyError: another process has been pruning the store for minutes.
        """
        return self._folder.in_use()

    def blob_path(self, digest: str) -> Path:
        """Returns the path that a blob has, or would have."""
        return self._folder.blob_path(digest)

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Returns whether a blob is in the store, whole."""
        return self._folder.has_blob(descriptor)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        """Opens a blob for reading from a byte offset to its end. The caller closes the stream.

        Raises:
            PathNotFoundError: the store does not have it.
        """
        return self._folder.open_blob(descriptor, offset)

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """Returns the contents of a manifest or a configuration, which have the size and digest of the descriptor.

        Raises:
            PathNotFoundError: the store does not have it.
            CorruptLayerError: the file in the store has other contents.
            LimitExceededError: it is larger than the limit `manifest_size`.
        """
        return self._folder.read_blob(descriptor)

    def ingest(self, descriptor: Descriptor) -> Ingest:
        """Returns the way of one blob into the store, a context manager."""
        return Ingest(self._folder, descriptor)

    def put_document(self, data: bytes, media_type: str) -> Descriptor:
        """Stores a manifest, an index or a configuration, and returns its descriptor. A copy that the disk has damaged
        is replaced. Nothing keeps it yet: the caller holds `in_use` until a name does."""
        descriptor = Descriptor.of(data, media_type)
        put_document(self._folder, descriptor, data)
        return descriptor

    def layer_path(self, chain_id: str) -> Path:
        """Returns the path that the unpacked layer with a chainID has, or would have. Its folder exists."""
        self._folder.make()
        return self._folder.layer_path(chain_id)

    def has_layer(self, chain_id: str) -> bool:
        """Returns whether the layer with a chainID is unpacked."""
        return self._folder.has_layer(chain_id)

    def claim_layer(self, chain_id: str) -> AbstractContextManager[bool]:
        """Keeps all others from unpacking a layer inside a context, and waits for one that does.

        Returns:
            A context manager of True if the layer is not unpacked; then the caller unpacks it.

        Raises:
            LayerBusyError: another process has been unpacking the layer for an hour.
        """
        return claim_layer(self._folder, chain_id)

    @contextmanager
    def hold_layers(self, chain_ids: Sequence[str]) -> Iterator[list[Path]]:
        """Keeps unpacked layers in the store inside the context, whether a name keeps them or not: `prune` leaves them.

        Returns:
            A context manager of their paths, in the order of `chain_ids`.

        Raises:
            PathNotFoundError: a layer is not unpacked.
        """
        with ExitStack() as held:
            paths = []
            for chain_id in chain_ids:
                path = self._folder.layer_path(chain_id)
                if not self.has_layer(chain_id):
                    raise PathNotFoundError(path, f"the layer {chain_id} is not unpacked in the store")
                held.callback(wait_for_place(path, shared=True).close)
                paths.append(path)
            yield paths

    def images(self) -> list[StoredImage]:
        """Returns the images, sorted by name; an empty list if there is no store.

        Raises:
            CorruptLayerError: the database of the names is damaged.
        """
        return list_images(self._folder)

    def names(self) -> list[str]:
        """Returns the names of the images, sorted, and the digests of those that are kept without a name. The images
        themselves are not read.

        Raises:
            CorruptLayerError: the database of the names is damaged.
        """
        return [name.text for name in Names(self._folder).all()]

    def digests(self) -> list[str]:
        """Returns the digests of what the names mean, sorted. The images themselves are not read.

        Raises:
            CorruptLayerError: the database of the names is damaged.
        """
        return sorted({name.descriptor.digest for name in Names(self._folder).all()})

    def find(self, text: str) -> Descriptor:
        """Returns the manifest or the index that a text means.

        Args:
            text: a name ("localhost:5000/app:1"); the end of a name from one of its "/" on ("app:1"), if no other image
                has the same; `NAME@sha256:…`; or the first 12 or more digits of a digest.

        Raises:
            PathNotFoundError: there is no such image in the store.
            InvalidParameterError: the text may mean several images, or cannot be the name of an image.
        """
        return find_image(self._folder, text)

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Gives an image a name; an image that has the name loses it.

        Args:
            name: the name ("app:1", "localhost:5000/app"); or the digest of the descriptor, which keeps it without a
                name.
            descriptor: a manifest or an index in the store.

        Raises:
            InvalidParameterError: it is not the name of an image.
            PathNotFoundError: the store does not have the manifest.
        """
        text = name if name == descriptor.digest else canonical_name(name)
        with self._folder.in_use():
            self._folder.read_blob(descriptor)
            Names(self._folder).put(text, descriptor)

    def full_name(self, text: str) -> str:
        """Returns the one name in the store that a text means.

        Args:
            text: a name, or the end of one (see `find`).

        Raises:
            PathNotFoundError: there is no such name.
            InvalidParameterError: several names end so.
        """
        names = Names(self._folder).all()
        found = [known.text for known in find_names(names, text)]
        if not self._folder.exists:
            raise PathNotFoundError(self.path, "there is no store here; `wclayer pull` makes one")
        if not found:
            raise PathNotFoundError(
                text, f"no such name in the store {self.path}; {likely_name(names, text)}`wclayer images` lists them"
            )
        if len(found) > 1:
            raise InvalidParameterError(text, f"may mean several names: {', '.join(found[:10])}; write more of it")
        return found[0]

    def untag(self, name: str) -> str:
        """Removes a name. What it means stays in the store until `prune`, or for good if another name means it, too.

        Args:
            name: a name, or the end of one (see `find`).

        Returns:
            The name that was removed.

        Raises:
            PathNotFoundError: there is no such name.
            InvalidParameterError: several names end so.
        """
        found = self.full_name(name)
        Names(self._folder).remove(found)
        return found

    def prune(self, *, keep_hours: float = KEEP_HOURS, dry_run: bool = False) -> PruneResult:
        """Removes what no name keeps: blobs, unpacked layers, begun downloads, steps of builds, and what killed
        processes left.

        A layer that is mounted or open stays.

        Args:
            keep_hours: begun downloads stay this long after the last byte, and steps of builds, with their layers,
                after their last use.
            dry_run: remove nothing, and return what would be removed.

        Raises:
            LayerBusyError: another process pulls, copies or unpacks.
            CorruptLayerError: an image cannot be read, so that nobody knows what it keeps. Nothing was removed.
        """
        return prune_store(self._folder, keep_hours=keep_hours, dry_run=dry_run)

    def check(self, *, progress: ProgressCallback | None = None) -> Iterator[Problem]:
        """Yields the problems of the store: a blob with another digest, an image that is not complete, a layer that
        disagrees with its records or has other parents than its chainID says, a file that does not belong there.

        Args:
            progress: called from time to time with the bytes of blobs and the entries of layers that are checked.
        """
        # It needs the formats of everything that a layer may have, which a look at the names of images does not.
        from wclayer.images.store.checking import check_store

        yield from check_store(self._folder, progress)

    def source(self, text: str) -> StoreSource:
        """Opens an image to be copied (see `find`)."""
        return StoreSource(self._folder, text)

    def target(self, name: str) -> StoreTarget:
        """Opens the store to copy an image into it under a name; "" keeps it by its digest.

        Raises:
            InvalidParameterError: it is not the name of an image.
        """
        return StoreTarget(self._folder, name)
