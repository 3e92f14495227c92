"""`list_images`: the references that a user means by one text."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from wclayer.errors import InvalidParameterError, LayerError
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.model import Listed
from wclayer.fleet.sources.file import list_file
from wclayer.fleet.sources.filters import Filters
from wclayer.fleet.sources.layout import list_layout
from wclayer.fleet.sources.locations import listed_at, listed_reference
from wclayer.fleet.sources.registry import list_registry, list_repository
from wclayer.fleet.sources.stored import list_store
from wclayer.images.location import Transport, parse_location
from wclayer.images.reference import DOCKER_IO, parse_reference
from wclayer.layers.inputs import is_standard_input

_STORE = "store"
_DOCKER = "docker://"
_ADDRESS = re.compile(r"\A(?:docker|https?)://")
_LOCATIONS = tuple(f"{kind.value}:" for kind in Transport if kind is not Transport.REGISTRY)
_FORMS = (
    "write the host of a registry (registry.example.com, localhost:5000), HOST/REPOSITORY, a file with one reference in"
    " each line ('-' for the standard input), oci:DIR, or store"
)


def list_images(
    text: str, access: ImageAccess, *, names: Sequence[str] = (), tags: Sequence[str] = ()
) -> Iterator[Listed]:
    """Yields the references that a source has, each once. What cannot be listed is told by an item with an error.

    Args:
        text: the host of a registry, which is asked for all its repositories; `HOST/REPOSITORY` for all tags of one of
            them; a file with one location in each line (see `parse_location`), "-" for the standard input; `oci:DIR`
            for all images of a layout; `store` for those of the store; or the location of one image. Of a file and a
            host of the same name, the file is meant; `docker://HOST` is always a registry.
        access: how registries and the store are reached.
        names: patterns of repositories (see `Filters`).
        tags: patterns of tags.

    Raises:
        InvalidParameterError: the text is no source, or a pattern is not possible.
        PathNotFoundError, AccessDeniedError, RegistryError, …: the source as a whole cannot be listed.
    """
    filters = Filters(names, tags)
    if text == _STORE:
        return list_store(access.store, filters)
    if is_standard_input(text) or _is_file(text):
        return list_file(text, filters)
    if text.startswith(_LOCATIONS):
        place = parse_location(text)
        if place.transport in (Transport.LAYOUT, Transport.OCI_ARCHIVE) and not place.name:
            return list_layout(place, filters)
        return _alone(listed_at(text), filters)
    host, slash, repository = _ADDRESS.sub("", text, count=1).removesuffix("/").partition("/")
    try:
        known = parse_reference(f"{host}/{repository if slash else 'all'}")
    except LayerError:
        known = None
    if known is None or (known.registry == DOCKER_IO != host):
        folder = "a folder; a layout is oci:DIR" if os.path.isdir(text) else "no source of images, and no file"
        raise InvalidParameterError(text[:200] or "''", f"is {folder}: {_FORMS}")
    if not slash:
        return list_registry(access, known.registry, filters)
    if "@" in repository or ":" in repository:
        return _alone(listed_reference(known), filters)
    return list_repository(access, known.registry, known.repository, filters)


def _alone(item: Listed, filters: Filters) -> Iterator[Listed]:
    if filters.has(item.repository, item.tag):
        yield item


def _is_file(text: str) -> bool:
    return not text.startswith(_DOCKER) and os.path.exists(text) and not os.path.isdir(text)
