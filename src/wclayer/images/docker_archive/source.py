"""`DockerArchiveSource`: an image in an archive of `docker save`."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import BinaryIO, Self

from wclayer._types import StrPath
from wclayer.errors import (
    FormatError,
    InvalidDataError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
    boundary,
    errors_at,
)
from wclayer.images.archive.opened import ImageArchive
from wclayer.images.descriptor import Descriptor
from wclayer.images.docker_archive.made import ArchivedImage, ManifestMaker, absent_layers
from wclayer.images.docker_archive.original import OriginalManifests
from wclayer.images.docker_archive.saved import SavedImage, saved_images
from wclayer.images.layout.files import ArchiveFiles
from wclayer.images.layout.index import LayoutIndex, read_document
from wclayer.images.layout.named import NamedImage, absent, choose_named
from wclayer.images.layout.source import LayoutSource, check_blob
from wclayer.images.layout_names import INDEX_FILE
from wclayer.images.manifest import check_contents


@boundary
class DockerArchiveSource:
    """An image in an archive of `docker save`, `podman save` or `ctr images export`.

    `manifest.json` says what there is. If the archive is an OCI layout, too, and holds the manifest that an image had
    before it was saved, with all its blobs, this manifest is the image's. Otherwise one is made: it has other digests
    than the one in the registry, and the same configuration and layers. An archive without `manifest.json` is read as a
    layout.

    Args:
        file: the archive, which may be compressed; "-" for the standard input. An `ImageArchive` that is open stays
            open.
        ref: the name of the image in the archive, its digest, or "@" and its number from 0 on; None for the only one.
        name: what the user calls the source (default: "docker-archive:FILE:REF"; "oci-archive:FILE:REF" for a tar of a
            layout).

    Raises:
        PathNotFoundError, AccessDeniedError: the archive cannot be read.
        InvalidDataError, LimitExceededError: it is damaged or too large.
        NotSupportedError: Docker before 1.10 wrote it.
    """

    operation = "read image"

    def __init__(self, file: StrPath | ImageArchive, ref: str | None = None, *, name: str | None = None) -> None:
        self._ref = ref or ""
        self._owned = not isinstance(file, ImageArchive)
        self._archive = file if isinstance(file, ImageArchive) else ImageArchive(file)
        self._name = name or f"docker-archive:{self._archive.path}{f':{self._ref}' if self._ref else ''}"
        self._files = ArchiveFiles(self._archive, owned=False)
        self._lock = threading.Lock()
        self._layout: LayoutSource | None = None
        self._saved: list[SavedImage] = []
        self._index: LayoutIndex | None = None
        self._broken: list[tuple[SavedImage, LayerError]] = []
        """The images that are damaged or not whole, each with the error."""
        self._images: dict[str, tuple[NamedImage, ArchivedImage]] | None = None
        try:
            with errors_at(self._archive.path):
                saved = saved_images(self._archive)
                if saved is None:
                    if self._archive.members.file(INDEX_FILE) is None:
                        raise FormatError("has neither manifest.json nor index.json, so it is no archive of images")
                    # A tar of a layout, which can be read in place of an archive, is called what it is.
                    self._name = name or self._name.replace("docker-archive:", "oci-archive:", 1)
                    self._layout = LayoutSource(self._archive, ref, name=self._name)
                else:
                    self._saved = saved
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """What the user calls the source."""
        return self._name

    def images(self) -> list[NamedImage]:
        """Returns the images of the archive, in the order of `manifest.json`.

        Raises:
            InvalidDataError, LimitExceededError: an image in it is damaged or too large.
            PathNotFoundError: a part of an image is not in the archive, and nothing says where else it is.
        """
        if self._layout is not None:
            return self._layout.images()
        found = self._found()
        for _, error in self._broken:
            raise error
        return [named for named, _ in found.values()]

    def resolve(self) -> Descriptor:
        """Returns the descriptor of the manifest or the index that the name means.

        Raises:
            PathNotFoundError: there is no image of that name, or a part of it is not there.
            InvalidParameterError: there are several images, and none was named.
            InvalidDataError, LimitExceededError: the image is damaged or too large.
        """
        if self._layout is not None:
            return self._layout.resolve()
        # Another image may be damaged, if this one is named.
        images = [named for named, _ in self._found().values()] if self._ref else self.images()
        found = choose_named(images, self._ref, self._name)
        if found is None:
            for saved, error in self._broken:
                if choose_named([NamedImage(Descriptor("", "", 0), saved.tags)], self._ref, self._name):
                    raise error
            raise absent(images, self._ref, self._name)
        return found.descriptor

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Returns the bytes of a manifest or an index (see `ImageSource`)."""
        with errors_at(self._archive.path):
            if (image := self._found().get(descriptor.digest)) and descriptor.digest in image[1].documents:
                return check_contents(image[1].documents[descriptor.digest], descriptor)
            if self._files.blob_size(descriptor.digest) is None:
                raise PathNotFoundError(self._name, f"the archive does not have the manifest {descriptor.digest}")
            return read_document(self._files, descriptor)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        """Opens a blob for reading from a byte offset to its end (see `ImageSource`)."""
        with errors_at(self._archive.path):
            for _, image in self._found().values():
                if (member := image.blobs.get(descriptor.digest)) is not None:
                    check_blob(member.size, descriptor, self._name)
                    return self._archive.open(member, offset)
            check_blob(self._files.blob_size(descriptor.digest), descriptor, self._name)
            return self._files.open_blob(descriptor.digest, offset)

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        """Returns the manifests of the archive's layout that refer to a manifest."""
        with errors_at(self._archive.path):
            if self._archive.members.file(INDEX_FILE) is None:
                return []
            with self._lock:
                if self._index is None:
                    self._index = LayoutIndex(self._files)
                return self._index.referrers(descriptor)

    def _found(self) -> dict[str, tuple[NamedImage, ArchivedImage]]:
        """Returns the images by the digests of their manifests. They are looked for once."""
        with self._lock, errors_at(self._archive.path):
            if self._images is None:
                originals = None
                if self._saved and self._archive.members.file(INDEX_FILE) is not None:
                    originals = OriginalManifests(self._files)
                maker = ManifestMaker(self._archive)
                images: dict[str, ArchivedImage] = {}
                names: dict[str, dict[str, None]] = {}
                for saved in self._saved:
                    try:
                        with errors_at(self._archive.path):
                            image = self._image(saved, maker, originals)
                    except (InvalidDataError, PathNotFoundError, NotSupportedError) as error:
                        self._broken.append((saved, error))
                        continue
                    images.setdefault(image.descriptor.digest, image)
                    names.setdefault(image.descriptor.digest, {}).update(dict.fromkeys(saved.tags))
                self._images = {
                    digest: (NamedImage(image.descriptor, tuple(names[digest])), image)
                    for digest, image in images.items()
                }
            return self._images

    def _image(self, saved: SavedImage, maker: ManifestMaker, originals: OriginalManifests | None) -> ArchivedImage:
        """Returns an image, with the manifest that it had or one that is made of `manifest.json`. Both are first tried
        with all layers in the archive, and then with foreign layers that are elsewhere."""
        config = maker.config(saved)
        digest = config.descriptor.digest
        for without_foreign in (False, True):
            if originals and (found := originals.of(digest, saved.tags, without_foreign=without_foreign)):
                return ArchivedImage(found)
            if made := maker.image(saved, config, without_foreign=without_foreign):
                return made
        raise PathNotFoundError(
            self._name,
            f"{absent_layers(self._archive, saved)} is not in the archive, and nothing in it says where else it is;"
            " save the image anew, or take it from a registry",
        )

    def close(self) -> None:
        """Ends the use of the archive."""
        if self._owned:
            self._archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
