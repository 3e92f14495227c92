"""Finds an image in a store by what a user writes: a name, the end of a name, or a digest."""

from __future__ import annotations

import re

from wclayer._nearest import nearest
from wclayer.errors import InvalidParameterError, LayerError, PathNotFoundError
from wclayer.images.descriptor import Descriptor
from wclayer.images.reference import Reference, parse_reference
from wclayer.images.store.folder import StoreFolder
from wclayer.images.store.graph import manifests_of
from wclayer.images.store.names import Name, Names

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})\Z")
_SHOWN = 10


def canonical_name(text: str) -> str:
    """Returns a name in familiar form, as the store records it.

    Raises:
        InvalidParameterError: it is not the name of an image.
    """
    return str(parse_reference(text))


def find_image(folder: StoreFolder, text: str) -> Descriptor:
    """Returns the manifest or the index that a text means.

    Args:
        folder: the folder of the store.
        text: a name; the end of a name from one of its "/" on, if no other image has the same; `NAME@sha256:…`; or the
            first 12 or more digits of a digest.

    Raises:
        PathNotFoundError: there is no such image in the store.
        InvalidParameterError: the text may mean several images, or cannot be the name of an image.
    """
    names = Names(folder).all()
    if named := find_names(names, text):
        return _only({name.descriptor for name in named}, [name.text for name in named], text)
    if (found := _by_digest(folder, names, text)) is not None:
        return found
    if not _DIGEST.match(text):
        canonical_name(text)
    fetches = "" if _DIGEST.match(text) else f"`wclayer pull {text}` fetches the image, "
    raise PathNotFoundError(
        text,
        f"no such image in the store {folder.path}; {likely_name(names, text)}{fetches}`wclayer images` lists those"
        " that are there",
    )


def likely_name(names: list[Name], text: str) -> str:
    """Returns the part of a message that tells which name is most like a text that means none; "" if none is."""
    ends: dict[str, str] = {}
    for name in names:
        if name.text != name.descriptor.digest:
            parts = name.text.split("/")
            for number in range(len(parts)):
                ends.setdefault("/".join(parts[number:]), name.text)
    found = nearest(text, ends)
    return "" if found is None else f"did you mean {ends[found]}? "


def find_names(names: list[Name], text: str) -> list[Name]:
    """Returns the names that a text means: the name itself, all that end with it, or the digests that begin with it."""
    try:
        wanted = parse_reference(text)
    except LayerError:
        return _kept_by_digest(names, text)
    if exact := [name for name in names if name.text in (str(wanted), text)]:
        return exact
    return [name for name in names if _ends_with(name, wanted)] or _kept_by_digest(names, text)


def _kept_by_digest(names: list[Name], text: str) -> list[Name]:
    """Returns the names that are digests, and begin with the 12 or more digits of the text."""
    found = _DIGEST.match(text)
    if found is None:
        return []
    prefix = f"sha256:{found[1]}"
    return [name for name in names if name.text == name.descriptor.digest and name.text.startswith(prefix)]


def _ends_with(name: Name, wanted: Reference) -> bool:
    if name.text == name.descriptor.digest:
        return False
    known = parse_reference(name.text)
    if not f"/{known.registry}/{known.repository}".endswith(f"/{wanted.familiar_name}"):
        return False
    return name.descriptor.digest == wanted.digest if wanted.digest else known.tag == wanted.tag


def _by_digest(folder: StoreFolder, names: list[Name], text: str) -> Descriptor | None:
    """Returns the only manifest or index, named or below a named index, whose digest begins as the text says."""
    name, at, digest = text.rpartition("@")
    found = _DIGEST.match(digest if at else text)
    if found is None:
        return None
    if at:
        names = [known for known in names if known.text.startswith((f"{name}:", f"{name}@")) or known.text == name]
    matching = {
        descriptor.digest: descriptor
        for known in names
        for descriptor, _ in manifests_of(folder, known.descriptor)
        if descriptor.digest.startswith(f"sha256:{found[1]}")
    }
    return _only(set(matching.values()), list(matching), text) if matching else None


def _only(found: set[Descriptor], candidates: list[str], text: str) -> Descriptor:
    if len({descriptor.digest for descriptor in found}) > 1:
        shown = ", ".join(sorted(candidates)[:_SHOWN])
        raise InvalidParameterError(text, f"may mean several images: {shown}; write more of the name")
    return next(iter(found))
