"""`LayoutSource`: an image of an OCI image layout, which is a directory or a tar."""

from __future__ import annotations

import os
from functools import cached_property
from types import TracebackType
from typing import BinaryIO, Self

from wclayer._types import StrPath
from wclayer.errors import InvalidDataError, NotALayerError, PathNotFoundError, boundary, errors_at
from wclayer.images.archive.opened import ImageArchive
from wclayer.images.descriptor import Descriptor
from wclayer.images.layout.files import ArchiveFiles, DirectoryFiles, LayoutFiles
from wclayer.images.layout.index import LayoutIndex, read_document
from wclayer.images.layout.named import (
    NamedImage,
    absent,
    choose_named,
    images_among,
    is_digest_tag,
    names_of,
    together,
)
from wclayer.images.layout_names import MARKER_FILE
from wclayer.layers.inputs import is_standard_input


@boundary
class LayoutSource:
    """An image of an OCI image layout.

    Args:
        path: the directory, or the tar of one (`oci-archive`), which may be compressed; "-" for a tar from the standard
            input. An `ImageArchive` that is open stays open.
        tag: the name of the image in the layout, or its digest; None for the only one.
        shared_blobs: a directory `D` with blobs of several layouts, each at `D/sha256/HEX`, for a layout that is a
            directory.
        name: what the user calls the source (default: "oci:PATH:TAG").

    Raises:
        PathNotFoundError, AccessDeniedError: the layout cannot be read.
        NotALayerError: the directory is not a layout.
        InvalidDataError, LimitExceededError: its index, or the tar, is damaged or too large.
    """

    operation = "read image"

    def __init__(
        self,
        path: StrPath | ImageArchive,
        tag: str | None = None,
        *,
        shared_blobs: StrPath | None = None,
        name: str | None = None,
    ) -> None:
        self._tag = tag or ""
        self._place = place = path.path if isinstance(path, ImageArchive) else os.fspath(path)
        is_directory = not isinstance(path, ImageArchive) and not is_standard_input(place) and os.path.isdir(place)
        kind = "oci" if is_directory else "oci-archive"
        self._name = name or f"{kind}:{place}{f':{self._tag}' if self._tag else ''}"
        self._files: LayoutFiles
        with errors_at(place):
            if isinstance(path, ImageArchive):
                self._files = ArchiveFiles(path, owned=False)
            elif is_directory:
                self._files = DirectoryFiles(place, shared_blobs)
            else:
                self._files = ArchiveFiles(ImageArchive(path))
        try:
            with errors_at(
                place, damage=NotALayerError if is_directory and not _has_marker(place) else InvalidDataError
            ):
                self._index = LayoutIndex(self._files)
        except BaseException:
            self._files.close()
            raise

    @property
    def name(self) -> str:
        """What the user calls the source."""
        return self._name

    def images(self) -> list[NamedImage]:
        """Returns the images of the layout, in the order of its index. Indexes are not opened."""
        return list(self._images)

    @cached_property
    def _images(self) -> list[NamedImage]:
        return images_among(self._index.entries)

    def resolve(self) -> Descriptor:
        """Returns the descriptor of the manifest or the index that the tag means.

        Raises:
            PathNotFoundError: there is no image of that name.
            InvalidParameterError: there are several images, and none was named.
            InvalidDataError, LimitExceededError: an index in the layout is damaged or too large.
        """
        return self.find(self._tag)

    def find(self, tag: str) -> Descriptor:
        """Returns the descriptor of the manifest or the index that a name in the layout means.

        Args:
            tag: the name, as for the layout itself; "" for the only one.

        Raises:
            PathNotFoundError, InvalidParameterError, …: see `resolve`.
        """
        images = self._images
        found = choose_named(images, tag, self._name)
        if found is None and tag:
            with errors_at(self._place):
                further = together([*self._index.entries, *self._index.nested()])
                found = choose_named(further, tag, self._name)
        if found is None:
            raise absent(images, tag, self._name)
        return found.descriptor

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Returns the bytes of a manifest or an index (see `ImageSource`)."""
        with errors_at(self._place):
            if self._files.blob_size(descriptor.digest) is None:
                raise PathNotFoundError(self._name, f"the layout does not have the manifest {descriptor.digest}")
            return read_document(self._files, descriptor)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        """Opens a blob for reading from a byte offset to its end (see `ImageSource`)."""
        with errors_at(self._place):
            check_blob(self._files.blob_size(descriptor.digest), descriptor, self._name)
            return self._files.open_blob(descriptor.digest, offset)

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        """Returns the manifests of the layout that refer to a manifest."""
        with errors_at(self._place):
            return self._index.referrers(descriptor)

    def digest_tags(self, descriptor: Descriptor) -> dict[str, Descriptor]:
        """Returns the names that cosign makes for a manifest (see `DigestTagSource`)."""
        return {
            name: entry
            for entry in self._index.entries
            for name in names_of(entry)
            if is_digest_tag(name, descriptor.digest)
        }

    def close(self) -> None:
        """Ends the use of the layout."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def check_blob(size: int | None, descriptor: Descriptor, where: str) -> None:
    """Checks that a blob is there and has its size.

    Args:
        size: the size of what is there; None if nothing is.
        descriptor: what is expected.
        where: what the user calls the source.

    Raises:
        PathNotFoundError: it is not there. For a foreign layer, the message says where else it may be.
        InvalidDataError: it has another size.
    """
    if size is None:
        if descriptor.urls:
            raise PathNotFoundError(
                where,
                f"does not hold the foreign layer {descriptor.digest}, only its address ({descriptor.urls[0][:200]});"
                " take the image from a registry; copy and load can leave the layer out (--foreign keep)",
            )
        raise PathNotFoundError(where, f"does not hold the blob {descriptor.digest}, which its manifest names")
    if size != descriptor.size:
        raise InvalidDataError(
            where, f"{descriptor.digest}: {size} bytes are there, where {descriptor.size} were expected"
        )


def _has_marker(place: str) -> bool:
    return os.path.lexists(os.path.join(place, MARKER_FILE))
