"""`attach_file` and `attached_files`: files about an image (an SBOM, a report) that refer to it, beside it.

Such a file is the layer of a manifest of its own, whose subject is the manifest of the image (OCI image-spec,
manifest.md, "Guidelines for Artifact Usage"). The image does not change.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import BinaryIO, Self, cast

from wclayer._types import StrPath
from wclayer.errors import InvalidParameterError, NotSupportedError, PathNotFoundError, during, errors_at
from wclayer.images.choice import check_platform
from wclayer.images.descriptor import OCI_MANIFEST, Descriptor
from wclayer.images.document_types import media_type_of
from wclayer.images.inspection import image_of, read_config, read_root
from wclayer.images.layout.entries import encoded
from wclayer.images.layout.named import CONTAINERD_NAME, REF_NAME
from wclayer.images.location import Location, Transport, open_source, open_target
from wclayer.images.manifest import check_manifest_size
from wclayer.images.opening import source_location
from wclayer.images.plan import make_plan
from wclayer.images.platform import Platform
from wclayer.images.reference import parse_reference
from wclayer.images.registry import RegistryOptions, RegistryTarget
from wclayer.images.store import ImageStore
from wclayer.images.transfer import carry_out
from wclayer.images.transfer_progress import TransferCallback
from wclayer.images.transport import ImageSource, ImageTarget
from wclayer.layers.inputs import open_any_place

TITLE = "org.opencontainers.image.title"
"""The annotation with the name of a file (OCI image-spec, annotations.md)."""
_EMPTY = b"{}"
_EMPTY_CONFIG = Descriptor.of(_EMPTY, "application/vnd.oci.empty.v1+json")
_PIECE = 1 << 20
# RFC 6838, 4.2.
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_NAMES = frozenset({REF_NAME, CONTAINERD_NAME})


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file that is attached to an image.

    Attributes:
        subject: the manifest, or the index, to which it is attached.
        descriptor: the manifest that refers to the subject.
        file: the file itself: its media type, digest and size.
        was_attached: True if it was attached before, and nothing was written.
    """

    subject: Descriptor
    descriptor: Descriptor
    file: Descriptor
    was_attached: bool


def attach_file(
    image: str,
    file: StrPath,
    store: ImageStore | None = None,
    *,
    media_type: str = "",
    annotations: Mapping[str, str] | None = None,
    platform: Platform | None = None,
    registry: RegistryOptions | None = None,
    progress: TransferCallback | None = None,
) -> AttachedFile:
    """Attaches a file to an image: a manifest that refers to the image names it. The image does not change.

    The same file with the same annotations has the same digest each time, and is attached once.

    In a registry without the API of referrers, the manifest is entered into the index of the tag `sha256-HEX`. Others
    may change that index at the same time; so it is read again afterwards, and the manifest is entered again if it is
    gone. A client that is much slower than this one may still take it out later, which no client can prevent.

    Args:
        image: where the image is: `docker://REF`, a layout (`oci:DIR[:TAG]`, or its path), or a name in the store.
        file: the file, which can be read at any offset.
        store: the store; by default the user's.
        media_type: what the file is; "" tells it from the contents (see docs/images.md).
        annotations: annotations of the manifest.
        platform: the image of an index to which it is attached. None attaches it to what the name means: a file
            attached to an index is about all its images.
        registry: how a registry is reached.
        progress: called while the file is copied.

    Raises:
        PathNotFoundError: there is no such image, or no such file.
        InvalidParameterError: the contents do not tell what the file is, and no type is given; the type or an
            annotation is not possible; `platform` may mean several images.
        InvalidDataError: the documents of the image have other digests, or the file changed meanwhile.
        LimitExceededError: the annotations, or the index of the tag, are larger than the limit `manifest_size`.
        NotSupportedError: the image is in an archive, which is not changed.
        AccessDeniedError, RegistryError: the registry refuses, or cannot be reached.
    """
    with during("attach file", image, takes_over=True):
        with errors_at(file):
            opened = open_any_place(file)
        with opened as stream:
            return attach_stream(
                image, stream, os.fspath(file), store, media_type=media_type, annotations=annotations,
                platform=platform, registry=registry, progress=progress,
            )  # fmt: skip


def attach_stream(
    image: str,
    stream: BinaryIO,
    name: str,
    store: ImageStore | None = None,
    *,
    media_type: str = "",
    annotations: Mapping[str, str] | None = None,
    platform: Platform | None = None,
    registry: RegistryOptions | None = None,
    progress: TransferCallback | None = None,
) -> AttachedFile:
    """Attaches an open file, as `attach_file` does.

    Args:
        image, store, media_type, annotations, platform, registry, progress: see `attach_file`.
        stream: the file, which can be positioned. It stays open.
        name: its path, or its name alone, whose last part is its title.
    """
    place = source_location(image)
    if place.transport in (Transport.OCI_ARCHIVE, Transport.DOCKER_ARCHIVE):
        raise NotSupportedError(
            image, "is an archive, which is not changed; `wclayer copy` copies it to a layout (oci:DIR) or elsewhere"
        )
    with errors_at(name), ExitStack() as opened:
        found = _described(stream, name, media_type)
        source = opened.enter_context(open_source(place, store=store, registry=registry))
        subject = _subject(source, place, platform)
        artifact = _Artifact(stream, name, found, _manifest(name, found, subject, annotations or {}))
        descriptor = artifact.resolve()
        if any(known.digest == descriptor.digest for known in source.referrers(subject)):
            return AttachedFile(subject, descriptor, found, was_attached=True)
        target = opened.enter_context(_beside(place, store, registry))
        carry_out(make_plan(artifact), artifact, target, progress=progress)
        return AttachedFile(subject, descriptor, found, was_attached=False)


def attached_files(
    image: str,
    store: ImageStore | None = None,
    *,
    platform: Platform | None = None,
    registry: RegistryOptions | None = None,
) -> list[Descriptor]:
    """Returns the manifests that refer to an image: SBOMs, signatures and other files that are attached to it.

    Each descriptor has the type of the artifact, and the annotations of the manifest.

    Args:
        image: where the image is: `docker://REF`, a layout or an archive (see `attach_file`), or a name in the store.
        store: the store; by default the user's.
        platform: the image of an index that is meant; None for what the name means, which may be the index.
        registry: how a registry is reached.

    Raises:
        PathNotFoundError: there is no such image.
        InvalidParameterError: `platform` may mean several images.
        InvalidDataError, LimitExceededError: the list is damaged, or too long.
        AccessDeniedError, RegistryError: the registry refuses, or cannot be reached.
    """
    with during("list attached files", image, takes_over=True):
        place = source_location(image)
        with open_source(place, store=store, registry=registry) as source:
            return source.referrers(_subject(source, place, platform))


def _subject(source: ImageSource, place: Location, platform: Platform | None) -> Descriptor:
    """Returns the manifest or the index to which a file is attached."""
    try:
        root, item = found = read_root(source)
    except PathNotFoundError as error:
        if place.transport is Transport.STORE:
            error.detail += f"; docker://{place.name} is the image in its registry"
        raise
    if platform is None:
        return Descriptor(item.media_type, root.digest, root.size)
    manifest = image_of(source, found, platform)
    check_platform(manifest.descriptor, read_config(source, manifest).platform, platform, source.name)
    return manifest.descriptor


def _described(stream: BinaryIO, name: str, media_type: str) -> Descriptor:
    """Returns the descriptor of a file."""
    if media_type and not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidParameterError(media_type[:100], "is not a media type such as application/spdx+json")
    stream.seek(0)
    media_type = media_type or media_type_of(stream)
    if not media_type:
        raise InvalidParameterError(
            name,
            "the contents do not tell what it is; name its media type (--type application/vnd.example.x+json)",
        )
    stream.seek(0)
    digest, size = hashlib.sha256(), 0
    while piece := stream.read(_PIECE):
        digest.update(piece)
        size += len(piece)
    return Descriptor(media_type, f"sha256:{digest.hexdigest()}", size)


def _manifest(file: str, found: Descriptor, subject: Descriptor, annotations: Mapping[str, str]) -> bytes:
    """Returns the manifest of a file. It has no time, so that it is the same each time."""
    for name, value in annotations.items():
        if name in _NAMES:
            raise InvalidParameterError(name, "is the annotation by which a layout names images; choose another one")
        try:
            (name + value).encode()
        except UnicodeEncodeError:
            raise InvalidParameterError(name[:100], "an annotation is text in UTF-8; its bytes are none") from None
    title = os.fsencode(os.path.basename(file)).decode("utf-8", "replace")
    data = encoded({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": found.media_type,
        "config": _EMPTY_CONFIG.to_json(),
        "layers": [replace(found, annotations={TITLE: title}).to_json()],
        "subject": subject.to_json(),
        "annotations": {TITLE: title, **annotations},
    })  # fmt: skip
    check_manifest_size(len(data))
    return data


def _beside(place: Location, store: ImageStore | None, registry: RegistryOptions | None) -> ImageTarget:
    """Opens the place of an image for something that has no name there but its digest."""
    if place.transport is Transport.REGISTRY:
        return RegistryTarget(replace(parse_reference(place.name), tag="", digest=""), registry)
    return open_target(replace(place, name=""), store=store, registry=registry)


class _Lent(io.RawIOBase):
    """A file that stays open when whoever reads it closes it."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)


class _Artifact:
    """An `ImageSource` of the manifest of a file, and the file.

    Args:
        stream: the file. It is read by one at a time.
        name: its path.
        found: its descriptor.
        data: the manifest.
    """

    def __init__(self, stream: BinaryIO, name: str, found: Descriptor, data: bytes) -> None:
        self._stream = stream
        self.name = name
        self._found = found
        self._data = data

    def resolve(self) -> Descriptor:
        """See `ImageSource`."""
        return Descriptor.of(self._data, OCI_MANIFEST)

    def manifest(self, descriptor: Descriptor) -> bytes:
        """See `ImageSource`."""
        return self._data

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        """See `ImageSource`."""
        if descriptor.digest == _EMPTY_CONFIG.digest:
            return io.BytesIO(_EMPTY[offset:])
        if descriptor.digest != self._found.digest:
            raise PathNotFoundError(self.name, f"it is not {descriptor.digest}")
        self._stream.seek(offset)
        return cast(BinaryIO, _Lent(self._stream))

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        """See `ImageSource`. Nothing refers to the manifest yet."""
        return []

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
