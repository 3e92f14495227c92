"""`resolve_images`: from references to the images for Windows that they mean, each with its documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from wclayer.errors import (
    FOREIGN_ERRORS,
    FormatError,
    FormatLimitError,
    OutOfMemoryError,
    limit_hint,
    translated,
)
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.model import ImageStatus, Listed, ResolvedImage
from wclayer.images.blobs import read_blob
from wclayer.images.choice import MOST_NESTED, is_attestation
from wclayer.images.config import ImageConfig, parse_config, seconds_of
from wclayer.images.descriptor import Descriptor
from wclayer.images.layout import LayoutSource
from wclayer.images.location import Transport, parse_location
from wclayer.images.manifest import Index, Manifest, parse_manifest
from wclayer.images.plan import check_image
from wclayer.images.platform import WINDOWS
from wclayer.images.transport import ImageSource
from wclayer.model import limits_in_use

_MOST_IMAGES = 256
"""The images of one index that are read: each costs two requests."""
_DOCUMENTS = 4
"""All documents of one reference may be as large as so many of the largest one: they are in memory."""
_MOST_BYTES = (1 << 63) - 1
"""The bytes of all layers of an image: what a column of a table can say."""
_MOST_SHOWN = 10
_LONGEST = 100


def resolve_images(
    listed: Sequence[Listed], access: ImageAccess, known: Mapping[str, ResolvedImage] | None = None
) -> list[ResolvedImage]:
    """Returns the images for Windows that references mean, in the order of the references.

    A manifest and a configuration are two requests, an index is one more. Layers are not asked for. What fails is told
    as an image with an error, and stops nothing. A reference that means no image for Windows gives one that says so.

    Args:
        listed: the references, and what could not be listed.
        access: how they are reached.
        known: what an earlier call returned, by the digests of images. It is returned for these digests again, and
            nothing more is asked: one request for each reference.
    """
    found: list[ResolvedImage] = []
    with ExitStack() as opened:
        layouts: dict[str, LayoutSource] = {}

        def layout(path: str) -> LayoutSource:
            if path not in layouts:
                layouts[path] = opened.enter_context(LayoutSource(path))
            return layouts[path]

        for item in listed:
            try:
                found += _resolved(item, access, layout, known or {})
            except FOREIGN_ERRORS as error:
                found.append(_failed(item, error))
    return found


def _resolved(
    item: Listed, access: ImageAccess, layout: Callable[[str], LayoutSource], known: Mapping[str, ResolvedImage]
) -> list[ResolvedImage]:
    if item.error:
        return [ResolvedImage(item, ImageStatus.ERROR, item.error)]
    place = parse_location(item.location)
    if place.transport is Transport.LAYOUT:
        # Its index is read once for all images of a batch.
        source = layout(place.path)
        return _Resolution(item, source, known).images(source.find(place.name))
    with access.open(place) as opened:
        return _Resolution(item, opened, known).images(opened.resolve())


def _failed(item: Listed, error: BaseException) -> ResolvedImage:
    """Returns what tells an error of one image.

    Raises:
        OutOfMemoryError: it is one of this machine, not of the image.
    """
    told = translated(item.reference, error)
    if told is None or isinstance(told, OutOfMemoryError):
        raise error
    is_named = item.location.startswith(told.path) or told.path == item.reference
    return ResolvedImage(item, ImageStatus.ERROR, told.detail if is_named else f"{told.path}: {told.detail}")


class _Resolution:
    """The images of one reference.

    Args:
        item: the reference.
        source: where it is.
        known: images that need not be read.
    """

    def __init__(self, item: Listed, source: ImageSource, known: Mapping[str, ResolvedImage]) -> None:
        self._item = item
        self._source = source
        self._known = known
        self._size = 0

    def images(self, root: Descriptor) -> list[ResolvedImage]:
        """Returns the images for Windows, or one that says that there is none.

        Raises:
            LayerError, FormatError: what the reference means cannot be read.
        """
        if root.digest in self._known:
            found = [self._known[root.digest]]
        else:
            item = self._document(root)
            found = [self._image(item)] if isinstance(item, Manifest) else self._images_of(item)
        return [replace(image, listed=self._item, root=root.digest) for image in found]

    def _images_of(self, index: Index) -> list[ResolvedImage]:
        found: dict[str, ResolvedImage] = {}
        others: dict[str, None] = {}
        for child in self._below(index):
            system = child.platform.normalized().os if child.platform else ""
            if is_attestation(child) or child.digest in found:
                continue
            if system not in ("", WINDOWS):
                others[str(child.platform)[:_LONGEST]] = None
                continue
            if len(found) >= _MOST_IMAGES:
                raise FormatError(f"an index of more than {_MOST_IMAGES} images; name them by their digests")
            if child.digest in self._known:
                found[child.digest] = self._known[child.digest]
                continue
            try:
                item = self._document(child)
                if isinstance(item, Index):
                    raise FormatError(f"{child.digest} is an index, and its entry does not say so")
                found[child.digest] = self._image(item)
            except FOREIGN_ERRORS as error:
                found[child.digest] = replace(_failed(self._item, error), digest=child.digest)
        read = [image for image in found.values() if image.status in (ImageStatus.OK, ImageStatus.ERROR)]
        if read:
            return read
        is_image = others or any(image.status is ImageStatus.OTHER_PLATFORM for image in found.values())
        others |= dict.fromkeys(image.error for image in found.values())
        if not others:
            return [ResolvedImage(self._item, ImageStatus.ARTIFACT, "an index without images")]
        more = len(others) - _MOST_SHOWN
        shown = ", ".join([*others][:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
        status = ImageStatus.OTHER_PLATFORM if is_image else ImageStatus.ARTIFACT
        return [ResolvedImage(self._item, status, f"an index of: {shown}")]

    def _below(self, index: Index) -> Iterator[Descriptor]:
        """Yields the entries of an index that are none themselves, and those of the indexes in it."""
        level = [index]
        seen: set[str] = set()
        for _ in range(MOST_NESTED):
            below: list[Descriptor] = []
            for each in level:
                yield from (entry for entry in each.manifests if not entry.is_index)
                below += [entry for entry in each.manifests if entry.is_index and entry.digest not in seen]
                seen |= {entry.digest for entry in below}
            if not below:
                return
            level = [item for item in map(self._document, below) if isinstance(item, Index)]
        raise FormatError(f"an index in an index, more than {MOST_NESTED} times")

    def _image(self, manifest: Manifest) -> ResolvedImage:
        found = ResolvedImage(self._item, digest=manifest.descriptor.digest, media_type=manifest.media_type)
        if not manifest.has_file_system:
            kind = (manifest.artifact_type or manifest.config.media_type)[:_LONGEST]
            return replace(found, status=ImageStatus.ARTIFACT, error=f"an artifact of the type {kind!r}")
        try:
            config = self._config(manifest)
            if config.platform.normalized().os != WINDOWS:
                told = (
                    f"an image for {str(config.platform)[:_LONGEST]}" if config.platform.os else "no system is stated"
                )
                return replace(found, status=ImageStatus.OTHER_PLATFORM, error=told)
            check_image(manifest, config)
            if not manifest.layers:
                raise FormatError("an image for Windows without layers: nothing can be read of it")
            if (size := sum(layer.size for layer in manifest.layers)) > _MOST_BYTES:
                raise FormatError(f"layers of {size} bytes together; no registry has so many")
        except FOREIGN_ERRORS as error:
            return replace(found, status=ImageStatus.ERROR, error=_failed(self._item, error).error)
        return replace(found, manifest=manifest.data, config=config.data, created=seconds_of(config.created))

    def _config(self, manifest: Manifest) -> ImageConfig:
        self._count(manifest.config)
        return parse_config(read_blob(self._source, manifest.config))

    def _document(self, descriptor: Descriptor) -> Manifest | Index:
        self._count(descriptor)
        return parse_manifest(self._source.manifest(descriptor), descriptor.media_type)

    def _count(self, descriptor: Descriptor) -> None:
        """Counts the bytes of a document before it is read.

        Raises:
            FormatLimitError: all of the reference together are too large.
        """
        self._size += descriptor.size
        most = _DOCUMENTS * limits_in_use().manifest_size
        if self._size > most:
            raise FormatLimitError(f"its documents have more than {most} bytes {limit_hint('manifest_size')}")
