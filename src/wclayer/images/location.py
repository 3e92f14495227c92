"""`Location`: where a user says that an image is, or will be: a registry, a layout, an archive or the store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from wclayer.errors import InvalidParameterError


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
        return _on_disk(text, transport, rest)
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


def _on_disk(text: str, transport: Transport, rest: str) -> Location:
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
