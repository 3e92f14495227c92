"""`StoreSource` and `StoreTarget`: the store as one end of a copy (see `images/transport.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import BinaryIO, Self

from wclayer.errors import InvalidDataError, PathNotFoundError, boundary
from wclayer.images.descriptor import DOCKER_CONFIG, OCI_CONFIG, Descriptor
from wclayer.images.manifest import Manifest, check_contents, parse_manifest, referrer_of
from wclayer.images.reference import parse_reference
from wclayer.images.store.folder import StoreFolder
from wclayer.images.store.graph import manifests_of
from wclayer.images.store.ingest import PIECE, Ingest, put_document
from wclayer.images.store.lookup import canonical_name, find_image
from wclayer.images.store.names import Names
from wclayer.images.store.repositories import Repositories
from wclayer.images.transport import BytesDone, ImageSource, Repository


class _End:
    """One end of a copy, which keeps `prune` away until it is closed."""

    def __init__(self, folder: StoreFolder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._held = ExitStack()

    @property
    def name(self) -> str:
        """What the user calls it, for messages."""
        return self._name

    def close(self) -> None:
        """Ends the use of the store."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


@boundary
class StoreSource(_End):
    """An image in a store, to be read.

    Args:
        folder: the folder of the store.
        name: the image (see `ImageStore.find`).
    """

    operation = "read image"

    def __init__(self, folder: StoreFolder, name: str) -> None:
        super().__init__(folder, name)
        if folder.exists:
            self._held.enter_context(folder.in_use())

    def resolve(self) -> Descriptor:
        """Returns the descriptor of the manifest or the index that the name means.

        Raises:
            PathNotFoundError: there is no image of that name.
        """
        return find_image(self._folder, self.name)

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Returns the bytes of a manifest or an index, verified."""
        return self._folder.read_blob(descriptor)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        """Opens a blob for reading from a byte offset to its end. The caller closes the stream."""
        return self._folder.open_blob(descriptor, offset)

    def repositories_of(self, descriptor: Descriptor) -> list[Repository]:
        """Returns the repositories from which a blob came (see `RepositorySource`)."""
        return Repositories(self._folder).of(descriptor.digest)

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        """Returns the named manifests that refer to a manifest (signatures, SBOMs), with their types."""
        found: dict[str, Descriptor] = {}
        for name in Names(self._folder).all():
            for place, item in manifests_of(self._folder, name.descriptor):
                if isinstance(item, Manifest) and item.subject and item.subject.digest == descriptor.digest:
                    found[place.digest] = referrer_of(item)
        return list(found.values())

    def digest_tags(self, descriptor: Descriptor) -> dict[str, Descriptor]:
        """Returns the tags that cosign makes for a manifest (see `DigestTagSource`), in any repository of the store."""
        prefix = f"{descriptor.digest.replace(':', '-')}."
        names = ((name.text.rpartition(":")[2], name.descriptor) for name in Names(self._folder).all())
        return {tag: root for tag, root in names if tag.startswith(prefix)}


@boundary
class StoreTarget(_End):
    """An image on its way into a store.

    Args:
        folder: the folder of the store, which is made if it does not exist.
        name: the name that the image gets; "" keeps it by its digest.
    """

    operation = "store image"

    def __init__(self, folder: StoreFolder, name: str) -> None:
        super().__init__(folder, name or str(folder.path))
        self._wanted = canonical_name(name) if name else ""
        self._referrers: list[Descriptor] = []
        folder.check_writable()
        self._held.enter_context(folder.in_use())

    def has(self, descriptor: Descriptor) -> bool:
        """Returns whether the blob or the manifest is in the store, whole. A configuration is read: if the disk has
        damaged it, it is removed, and stored anew."""
        if descriptor.media_type in (OCI_CONFIG, DOCKER_CONFIG):
            self._folder.remove_damaged(descriptor)
        return self._folder.has_blob(descriptor)

    def put_blob(
        self,
        descriptor: Descriptor,
        source: ImageSource,
        done: BytesDone | None = None,
        arriving: Callable[[Ingest], None] | None = None,
    ) -> None:
        """Copies a blob from a source, and continues a copy that an earlier call began.

        Args:
            descriptor: the blob.
            source: where it comes from.
            done: called with the number of bytes that are there.
            arriving: called before the first byte with the blob, which other threads may follow from then on. It is
                not called for a blob that is whole, or whose first bytes an earlier call left: they may be damaged.

        Raises:
            InvalidDataError: the source's bytes have another digest or size.
        """
        with Ingest(self._folder, descriptor) as ingest:
            begun = ingest.offset
            if arriving is not None and not begun and not ingest.is_whole:
                arriving(ingest)
            try:
                _copy(ingest, source, done)
            except InvalidDataError:
                if not begun or ingest.is_whole:
                    raise
            else:
                return
        # What an interrupted call left may be damaged (a power cut): the source decides whether it is.
        with Ingest(self._folder, descriptor) as ingest:
            if not ingest.is_whole:
                ingest.restart()
            _copy(ingest, source, done)

    def put_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Stores a manifest or an index.

        Raises:
            InvalidDataError: the bytes have another digest or size, or are no manifest.
        """
        item = parse_manifest(check_contents(data, descriptor), descriptor.media_type)
        if isinstance(item, Manifest) and item.subject is not None:
            self._referrers.append(descriptor)
        put_document(self._folder, descriptor, data)

    def put_tag(self, tag: str, root: Descriptor) -> None:
        """Gives a manifest that was put a further tag of the image's repository. Without a name, it is kept by its
        digest."""
        text = str(parse_reference(self._wanted).with_tag(tag)) if self._wanted else root.digest
        Names(self._folder).put(text, root)

    def note_repositories(self, found: Mapping[str, Sequence[Repository]]) -> None:
        """Records from which repositories blobs came (see `RepositoryTarget`)."""
        Repositories(self._folder).put(found)

    def finish(self, root: Descriptor) -> None:
        """Gives the image its name. Without a name, the image is kept by its digest, and so is what refers to it."""
        for referrer in self._referrers:
            if referrer.digest != root.digest:
                Names(self._folder).put(referrer.digest, referrer)
        if not self._folder.has_blob(root):
            raise PathNotFoundError(self.name, f"{root.digest} was not stored")
        Names(self._folder).put(self._wanted or root.digest, root)


def _copy(ingest: Ingest, source: ImageSource, done: BytesDone | None) -> None:
    """Copies the rest of a blob from a source."""
    if not ingest.is_whole:
        if ingest.offset < ingest.descriptor.size:
            with source.open_blob(ingest.descriptor, ingest.offset) as stream:
                while chunk := stream.read(PIECE):
                    ingest.write(chunk)
                    if done is not None:
                        done(ingest.offset)
        ingest.commit()
    if done is not None:
        done(ingest.descriptor.size)
