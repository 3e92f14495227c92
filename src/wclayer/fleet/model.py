"""What a scan of many images speaks of: the references of a source, and the images that they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class ImageStatus(StrEnum):
    """What became of a reference."""

    OK = "ok"
    ERROR = "error"
    INCOMPLETE = "incomplete"
    """A layer of the image could not be read."""
    OTHER_PLATFORM = "other-platform"
    """It means images of other systems than Windows alone, which are not read."""
    ARTIFACT = "artifact"
    """It means a signature, an SBOM or the like, which is not read."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A reference that a source lists, or why a part of the source could not be listed.

    Attributes:
        location: where the image is, as `parse_location` reads it; a worker opens it by this.
        reference: what the user calls it ("localhost:5000/app:1"): the name of its rows.
        repository: the repository without its registry ("app"); "" if the name has none.
        tag: the tag; "" if there is none.
        error: why it could not be listed; "" for a reference. `reference` is then what could not be: a repository, or a
            line of a file.
    """

    location: str
    reference: str
    repository: str = ""
    tag: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image that a reference means, or why there is none to read. An index of several images for Windows gives one
    for each.

    Attributes:
        listed: the reference.
        status: `OK` if the image can be read on; its documents are there then, and fit together.
        error: why it is not to be read; "" if it is.
        root: the digest of what the reference means: of the index, or of the image itself; "" if that is unknown.
        digest: the digest of the image's manifest; "" if that is unknown.
        media_type: the type of the manifest.
        manifest: the bytes of the manifest.
        config: the bytes of the configuration.
        created: when the image was made, in seconds since 1970; 0 if that is not stated.
    """

    listed: Listed
    status: ImageStatus = ImageStatus.OK
    error: str = ""
    root: str = ""
    digest: str = ""
    media_type: str = ""
    manifest: bytes = field(default=b"", repr=False)
    config: bytes = field(default=b"", repr=False)
    created: int = 0
