"""`Location`: where a user says that an image is, or will be: a registry, a layout, an archive or the store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from wclayer._types import StrPath
from wclayer.errors import InvalidParameterError
from wclayer.images.reference import Reference, parse_reference
from wclayer.images.store import ImageStore
from wclayer.images.transport import ImageSource, ImageTarget

if TYPE_CHECKING:
    from wclayer.images.registry import RegistryOptions


class Transport(Enum):
    """A kind of place that holds images. The value is the word before the colon, as skopeo's users know it."""

    REGISTRY = "docker"
    LAYOUT = "oci"
    OCI_ARCHIVE = "oci-archive"
    DOCKER_ARCHIVE = "docker-archive"
    STORE = "store"


_ON_DISK = frozenset({Transport.LAYOUT, Transport.OCI_ARCHIVE, Transport.DOCKER_ARCHIVE})
_FORMS = (
    "a reference such as localhost:5000/app:1, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF] or"
    " store:NAME"
)
# A drive letter of Windows; its colon does not end the path.
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_OTHER_WORDS = re.compile(
    r"(dir|docker-daemon|containers-storage|ostree|sif|tarball|http|https|ocidir|oci-dir|file)(?::|://)[^:]*[/\\:]"
)
"""The words of other programs, before something that is no tag: a repository may have such a name, too."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where an image is.

    Attributes:
        transport: the kind of place.
        path: the folder or file; "" for a registry and the store.
        name: the reference in a registry or the store, the tag in a layout, the reference in an archive; "" if none was
            named.
    """

    transport: Transport
    path: str
    name: str

    @property
    def is_on_disk(self) -> bool:
        """True for a layout or an archive: a path of the host."""
        return self.transport in _ON_DISK

    @property
    def archive_file(self) -> str:
        """The file of an archive; "" for all other places."""
        return "" if self.transport is Transport.LAYOUT else self.path

    def __str__(self) -> str:
        if self.transport is Transport.REGISTRY:
            return self.name
        if self.transport is Transport.STORE:
            return f"store:{self.name}"
        return f"{self.transport.value}:{self.path}{f':{self.name}' if self.name else ''}"


def parse_location(text: str) -> Location:
    r"""Returns the location that a text means.

    The words before the colon are those of skopeo; a text without one is a reference to a registry. The path of a
    layout or an archive ends at its first colon, except that of a drive (`oci:C:\images\app:1`).

    Args:
        text: `REF`, `docker://REF`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:REF]` or
            `store:NAME`.

    Raises:
        InvalidParameterError: the text has none of these forms. A reference is checked when it is used.
    """
    word, colon, rest = text.partition(":")
    if colon and word in {kind.value for kind in Transport} - {Transport.REGISTRY.value}:
        transport = Transport(word)
        if transport is Transport.STORE:
            if not rest:
                raise InvalidParameterError(text, "no name after store:; write store:NAME")
            return Location(transport, "", rest)
        return _layout_or_archive(text, transport, rest)
    if text.startswith("docker://"):
        rest = text.removeprefix("docker://")
        if not rest:
            raise InvalidParameterError(text, "no reference after docker://")
        return Location(Transport.REGISTRY, "", rest)
    if _OTHER_WORDS.match(text) or _DRIVE.match(text) or text.startswith((".", "/", "\\")):
        raise InvalidParameterError(text, f"is not the place of an image; write {_FORMS}")
    if not text:
        raise InvalidParameterError(text, f"the place of an image is empty; write {_FORMS}")
    return Location(Transport.REGISTRY, "", text)


def _layout_or_archive(text: str, transport: Transport, rest: str) -> Location:
    drive = rest[:2] if _DRIVE.match(rest) else ""
    path, colon, name = rest[len(drive) :].partition(":")
    path = drive + path
    if not path:
        raise InvalidParameterError(text, f"no path after {transport.value}:; write {_FORMS}")
    if colon and not name:
        raise InvalidParameterError(
            text, "nothing after the colon that follows the path; leave out the colon, or name the image"
        )
    return Location(transport, path, name)


def parse_registry_location(text: str) -> Reference:
    """Returns the reference that a text means where only one to a registry makes sense.

    Args:
        text: `REF` or `docker://REF`.

    Raises:
        InvalidParameterError: it is another location, or no reference.
    """
    place = parse_location(text)
    if place.transport is not Transport.REGISTRY:
        raise InvalidParameterError(text, "is not in a registry; `wclayer copy` goes from any place to any other")
    return parse_reference(place.name)


def open_source(
    location: Location | str, *, store: ImageStore | None = None, registry: RegistryOptions | None = None
) -> ImageSource:
    """Opens the image at a location to be read. The caller closes it.

    Args:
        location: where it is (see `parse_location`).
        store: the store; by default the user's.
        registry: how a registry is reached.

    Raises:
        InvalidParameterError: the text is no location, or no reference.
        PathNotFoundError, InvalidDataError, …: a layout or an archive cannot be read.
    """
    place = parse_location(location) if isinstance(location, str) else location
    # Each kind of place is loaded when it is used: an image of the store needs no client of registries.
    if place.transport is Transport.REGISTRY:
        from wclayer.images.registry import RegistrySource

        return RegistrySource(parse_reference(place.name), registry)
    if place.transport is Transport.STORE:
        return (store or ImageStore()).source(place.name)
    if place.transport is Transport.DOCKER_ARCHIVE:
        from wclayer.images.docker_archive import DockerArchiveSource

        return DockerArchiveSource(place.path, place.name or None)
    from wclayer.images.layout import LayoutSource

    return LayoutSource(place.path, place.name or None)


def open_target(
    location: Location | str,
    *,
    store: ImageStore | None = None,
    registry: RegistryOptions | None = None,
    sources: Iterable[StrPath] = (),
) -> ImageTarget:
    """Opens a location for an image to be written to. The caller closes it.

    Args:
        location: where it will be (see `parse_location`).
        store: the store; by default the user's.
        registry: how a registry is reached.
        sources: the files and folders that are read for it, and must not be replaced.

    Raises:
        InvalidParameterError: the text is no location, or no reference; the file is one of the sources.
        AccessDeniedError, DiskFullError, …: the host refuses to make the file.
    """
    place = parse_location(location) if isinstance(location, str) else location
    if place.transport is Transport.REGISTRY:
        from wclayer.images.registry import RegistryTarget

        return RegistryTarget(parse_reference(place.name), registry)
    if place.transport is Transport.STORE:
        return (store or ImageStore()).target(place.name)
    if place.transport is Transport.DOCKER_ARCHIVE:
        from wclayer.images.docker_archive import DockerArchiveTarget

        return DockerArchiveTarget(place.path, place.name or None, sources=sources)
    from wclayer.images.layout import LayoutArchiveTarget, LayoutTarget

    if place.transport is Transport.OCI_ARCHIVE:
        return LayoutArchiveTarget(place.path, place.name or None, sources=sources)
    return LayoutTarget(place.path, place.name or None)


def image_location(text: str) -> Location:
    """Returns where the image is that a user names to a verb: a name alone is one in the store.

    Args:
        text: a name in the store, or what `parse_location` reads; a registry is `docker://REF`.

    Raises:
        InvalidParameterError: the text has none of these forms.
    """
    place = parse_location(text)
    if place.transport is Transport.REGISTRY and not text.startswith("docker://"):
        return Location(Transport.STORE, "", text)
    return place
