"""The names that a layout gives to its images, and the choice of one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wclayer._types import StrPath
from wclayer.errors import FormatError, InvalidParameterError, PathNotFoundError
from wclayer.images.descriptor import Descriptor
from wclayer.images.reference import Reference, parse_reference

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation with the name of an image in a layout (OCI image-spec, annotations.md): a tag, or a whole name."""
CONTAINERD_NAME = "io.containerd.image.name"
"""The annotation with the whole name, as containerd and Docker write it beside the other one."""
_MOST_SHOWN = 12
_LONGEST_NAME = 1024
_REFERRERS_TAG = re.compile(r"sha256-[0-9a-f]{64}(\.[a-z]+)?\Z")


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image in a layout or an archive.

    Attributes:
        descriptor: the descriptor of its manifest or index.
        names: its names there; empty if it has none.
    """

    descriptor: Descriptor
    names: tuple[str, ...] = ()


def names_of(descriptor: Descriptor) -> tuple[str, ...]:
    """Returns the names that an entry of an index has: the whole one first."""
    found = (descriptor.annotations.get(CONTAINERD_NAME), descriptor.annotations.get(REF_NAME))
    return tuple(dict.fromkeys(name for name in found if name))


def is_digest_tag(name: str, digest: str) -> bool:
    """Returns whether a name is a tag that cosign makes for the manifest of a digest."""
    return name.startswith(f"{digest.replace(':', '-')}.") and _REFERRERS_TAG.match(name) is not None


def images_among(entries: Iterable[Descriptor]) -> list[NamedImage]:
    """Returns the images among the entries of an index, those with the same manifest together.

    What refers to an image (a signature, an SBOM) is not one: its entry has an artifact type, or no name but that of
    the image's digest. If there is nothing else, these entries are returned.
    """
    entries = list(entries)
    return together([entry for entry in entries if not _is_referrer(entry)] or entries)


def together(entries: Iterable[Descriptor]) -> list[NamedImage]:
    """Returns entries of an index, those with the same manifest together."""
    images: dict[str, Descriptor] = {}
    names: dict[str, dict[str, None]] = {}
    for entry in entries:
        images.setdefault(entry.digest, entry)
        names.setdefault(entry.digest, {}).update(dict.fromkeys(names_of(entry)))
    return [NamedImage(entry, tuple(names[digest])) for digest, entry in images.items()]


def _is_referrer(entry: Descriptor) -> bool:
    names = names_of(entry)
    return (not names and entry.artifact_type != "") or (
        names != () and all(_REFERRERS_TAG.match(name) for name in names)
    )


def choose_named(images: Sequence[NamedImage], wanted: str, where: StrPath) -> NamedImage | None:
    """Returns the image that a user means.

    Args:
        images: what there is.
        wanted: a name as it is written there, a name that means the same ("nanoserver:ltsc2022" and
            "docker.io/library/nanoserver:ltsc2022"), the tag of one, a digest, or "@" and the number of the image from
            0 on; "" for the only image.
        where: what the user called the layout or archive, for messages.

    Returns:
        The image; None if none is meant.

    Raises:
        InvalidParameterError: several are meant.
    """
    for meant in (_all, _by_name, _by_digest, _by_number, _by_reference, _by_tag):
        found = [image for number, image in enumerate(images) if meant(image, number, wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            what = f"several images are called {wanted!r}" if wanted else f"there are {len(found)} images"
            raise InvalidParameterError(where, f"{what} ({shown(found)}); name one of them")
    return None


def absent(images: Sequence[NamedImage], wanted: str, where: StrPath) -> PathNotFoundError:
    """Returns the error for a name that none of the images has."""
    there = f"there is {shown(images)}" if images else "there is none"
    return PathNotFoundError(where, f"no image {wanted!r}; {there}" if wanted else "holds no image")


def shown(images: Sequence[NamedImage]) -> str:
    """Returns a list of images for a message: their names, or digests."""
    texts = [name for image in images for name in (image.names or (image.descriptor.digest,))]
    more = f" and {len(texts) - _MOST_SHOWN} more" if len(texts) > _MOST_SHOWN else ""
    return ", ".join(text[:200] for text in texts[:_MOST_SHOWN]) + more


def _all(_: NamedImage, __: int, wanted: str) -> bool:
    return not wanted


def _by_name(image: NamedImage, _: int, wanted: str) -> bool:
    return wanted in image.names


def _by_digest(image: NamedImage, _: int, wanted: str) -> bool:
    return image.descriptor.digest == wanted.removeprefix("@")


def _by_number(_: NamedImage, number: int, wanted: str) -> bool:
    return wanted == f"@{number}"


def _by_reference(image: NamedImage, _: int, wanted: str) -> bool:
    meant = reference_of(wanted)
    return meant is not None and any(is_whole_name(name) and reference_of(name) == meant for name in image.names)


def _by_tag(image: NamedImage, _: int, wanted: str) -> bool:
    found = (reference_of(name) for name in image.names if is_whole_name(name))
    return any(reference is not None and reference.tag == wanted for reference in found)


def is_whole_name(name: str) -> bool:
    """Tells whether a name has a repository: a bare tag ("latest") would be read as one."""
    return ":" in name or "/" in name


def reference_of(name: str) -> Reference | None:
    """Returns the reference that a name means; None if it is not a reference."""
    if len(name) > _LONGEST_NAME:
        return None
    try:
        return parse_reference(name)
    except (InvalidParameterError, FormatError):
        return None
