"""`ImageSource` and `ImageTarget`: where images come from and go to.

A registry, a layout, an archive and the store each have one or both, and every copy is `copy_image(source, target)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Protocol, Self, runtime_checkable

from wclayer.images.descriptor import Descriptor

BytesDone = Callable[[int], None]
"""A callback that a copy of a blob calls from time to time with the number of bytes of the blob that are done."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a registry.

    Attributes:
        host: the host of the registry's API, with its port if one is stated.
        name: the repository ("library/nanoserver").
    """

    host: str
    name: str


class ImageSource(Protocol):
    """Where one image, or the index of several, is read from.

    Several threads may call the methods at the same time.
    """

    @property
    def name(self) -> str:
        """What the user calls the source, for messages ("localhost:5000/app:1", "oci:folder:1")."""

    def resolve(self) -> Descriptor:
        """Returns the descriptor of the manifest or the index that the name means.

        Raises:
            PathNotFoundError: there is no image of that name.
        """

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Returns the bytes of a manifest or an index. Their size and digest are those of the descriptor.

        Raises:
            PathNotFoundError: the source does not have it.
            InvalidDataError: the bytes have another digest or size.
            LimitExceededError: it is larger than the limit `manifest_size`.
        """

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        """Opens a blob for reading from a byte offset to its end. The caller closes the stream.

        The bytes are not verified, and the stream may end early: the caller compares size and digest.

        Raises:
            PathNotFoundError: the source does not have the blob.
        """

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        """Returns the manifests that refer to a manifest (signatures, SBOMs); an empty list if there are none."""

    def close(self) -> None:
        """Ends the use of the source."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...


class ImageTarget(Protocol):
    """Where one image, or the index of several, is written to.

    A caller puts the blobs of an image, then its manifest, then perhaps an index, then calls `finish`. Until then the
    image has no name in the target. Leaving the context without `finish` discards what the target can discard.

    Several threads may call `has` and `put_blob` at the same time.
    """

    @property
    def name(self) -> str:
        """What the user calls the target, for messages."""

    def has(self, descriptor: Descriptor) -> bool:
        """Returns whether the blob or the manifest is in the target already, whole."""

    def put_blob(self, descriptor: Descriptor, source: ImageSource, done: BytesDone | None = None) -> None:
        """Copies a blob from a source. Nothing has the blob's name before its size and digest are verified.

        A copy that an earlier call began is continued if the target can do that. A source and a target of the same kind
        may take a shorter way (a registry mounts the blob).

        Raises:
            InvalidDataError: the source's bytes have another digest or size.
        """

    def put_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Stores a manifest or an index. Everything that it refers to and that will be there was put before."""

    def finish(self, root: Descriptor) -> None:
        """Gives the image its name, and makes it safe on the disk. `root` was put before.

        A target without a name of its own keeps the image by its digest.
        """

    def close(self) -> None:
        """Ends the use of the target. Without `finish`, the image is discarded where that is possible."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...


@runtime_checkable
class DigestTagSource(Protocol):
    """A source that also has what cosign keeps beside an image: manifests under tags made of the image's digest."""

    def digest_tags(self, descriptor: Descriptor) -> dict[str, Descriptor]:
        """Returns the tags that cosign makes for a manifest (`sha256-HEX.sig`, `.att`, `.sbom`), and what they mean."""


@runtime_checkable
class PlacesSource(Protocol):
    """A source that has a blob in several places: a foreign layer in the registry and at its `urls`."""

    def places_left(self, descriptor: Descriptor) -> int:
        """Returns how many places have not given bytes with another digest yet. `open_blob` asks those."""


@runtime_checkable
class RepositorySource(Protocol):
    """A source that knows from which repositories a blob can be had: a target in the same registry mounts it."""

    def repositories_of(self, descriptor: Descriptor) -> Sequence[Repository]:
        """Returns repositories that have a blob, as far as they are known."""


@runtime_checkable
class RepositoryTarget(Protocol):
    """A target that remembers from which repositories its blobs came."""

    def note_repositories(self, found: Mapping[str, Sequence[Repository]]) -> None:
        """Records the repositories that have blobs, by the digest of the blob. `finish` comes after it."""


@runtime_checkable
class TagTarget(Protocol):
    """A target that gives a name to more than one manifest."""

    def put_tag(self, tag: str, root: Descriptor) -> None:
        """Gives a manifest that was put a name beside that of the image. `finish` comes after it.

        Raises:
            NotSupportedError: the target cannot hold such a manifest.
        """
