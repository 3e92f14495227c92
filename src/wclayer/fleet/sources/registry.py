"""`list_registry` and `list_repository`: the tags of all repositories of a registry, or of one."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.errors import LayerError, OutOfMemoryError, RegistryError
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.model import Listed
from wclayer.fleet.sources.filters import Filters
from wclayer.fleet.sources.locations import listed_reference
from wclayer.images.parallel import in_order
from wclayer.images.reference import Reference, parse_reference
from wclayer.images.registry.catalogue import get_repositories
from wclayer.images.registry.documents import get_tags

_THREADS = 8
_MOST_FAILURES = 16
"""A registry that fails for so many repositories, one after the other, is not asked for the rest."""
_SHOWN = 100


def list_registry(access: ImageAccess, registry: str, filters: Filters) -> Iterator[Listed]:
    """Yields the tags of all repositories of a registry. A repository that cannot be listed is told by an item with an
    error.

    That takes one request for each thousand repositories, or for as many as the registry gives at a time, and one or
    more for the tags of each repository that is meant.

    Args:
        access: how it is reached.
        registry: its host.
        filters: which tags are meant.

    Raises:
        AccessDeniedError, PathNotFoundError, NotSupportedError: the registry gives no list of its repositories.
        RegistryError, …: the registry cannot be reached, or fails for one repository after the other.
    """
    failures = 0
    names = (name for name in get_repositories(access.client(registry)) if filters.has_repository(name))
    for found in in_order(lambda name: _tags(access, registry, name, filters), names, jobs=_THREADS, name=registry):
        if isinstance(found, list):
            failures = 0
            yield from found
            continue
        name, error = found
        failures = failures + 1 if isinstance(error, RegistryError) else 0
        if failures == _MOST_FAILURES:
            raise error
        shown = f"{registry}/{name}"
        yield Listed(shown, shown, name, error=error.detail)


def list_repository(access: ImageAccess, registry: str, repository: str, filters: Filters) -> Iterator[Listed]:
    """Yields the tags of one repository of a registry.

    Args:
        access: how it is reached.
        registry: its host.
        repository: the repository.
        filters: which tags are meant.

    Raises:
        PathNotFoundError: the registry has no such repository.
        AccessDeniedError, RegistryError, …: it cannot be listed.
    """
    found = _tags(access, registry, repository, filters)
    if isinstance(found, tuple):
        raise found[1]
    yield from found


def _tags(
    access: ImageAccess, registry: str, repository: str, filters: Filters
) -> list[Listed] | tuple[str, LayerError]:
    """Returns the tags of a repository, or its name as it may be shown and why it cannot be listed."""
    shown = ascii(repository)[1:-1][:_SHOWN]
    try:
        reference = parse_reference(f"{registry}/{repository}")
        if reference != Reference(registry, repository, "latest"):
            return shown, RegistryError(registry, "the registry lists it, and it is not the name of a repository")
        tags = get_tags(access.repository(registry, repository))
    except OutOfMemoryError:
        raise
    except LayerError as error:
        return shown, error
    return [_listed(reference, tag) for tag in dict.fromkeys(tags) if filters.has_tag(tag)]


def _listed(repository: Reference, tag: str) -> Listed:
    try:
        return listed_reference(repository.with_tag(tag))
    except LayerError as error:
        shown = f"{repository.familiar_name}:{ascii(tag)[1:-1][:_SHOWN]}"
        return Listed(
            shown, shown, repository.repository, error=f"the registry lists a tag that is none: {error.detail}"
        )
