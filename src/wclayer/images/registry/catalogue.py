"""The catalogue of a registry: the names of its repositories (distribution, "Listing Repositories").

The OCI specification has no such list, and many registries give it to administrators alone, or to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.errors import (
    AccessDeniedError,
    InvalidDataError,
    LimitExceededError,
    NotSupportedError,
    PathNotFoundError,
    RegistryError,
    during,
    errors_at,
    limit_hint,
)
from wclayer.images.reference import parse_registry
from wclayer.images.registry.client import RegistryClient
from wclayer.images.registry.documents import LONGEST_NAME, pages
from wclayer.images.registry.failures import AT_FAULT
from wclayer.images.registry.options import RegistryOptions
from wclayer.model import limits_in_use

_SCOPE = "registry:catalog:*"
_PAGE = 1000
"""The names that one request asks for. A registry that gives fewer at a time refuses that, or gives fewer."""
_WHAT = "the list of its repositories"
_INSTEAD = (
    "many registries give this list to administrators alone, or to nobody: name one repository, or a file with one"
    " reference in each line"
)


def list_repositories(registry: str, options: RegistryOptions | None = None) -> list[str]:
    """Returns the names of the repositories of a registry, as it lists them.

    Many registries give this list to administrators alone, or to nobody. `RegistrySource.tags` returns the tags of one
    repository, which all registries list.

    Args:
        registry: the host, with its port if one is needed ("localhost:5000").
        options: how the registry is reached.

    Raises:
        InvalidParameterError: it is not the host of a registry.
        AccessDeniedError, PathNotFoundError, NotSupportedError: the registry does not give the list to this user.
        InvalidDataError: what it gives is not such a list.
        LimitExceededError: it has more repositories than the limit `archive_members`, or a page is larger than
            `manifest_size`.
        RegistryError: the registry cannot be reached, or its pages do not end.
    """
    with during("list repositories", registry):
        host = parse_registry(registry)
        with RegistryClient(host, host, "", "", options) as client:
            return list(get_repositories(client))


def get_repositories(client: RegistryClient) -> Iterator[str]:
    """Yields what a registry lists as its repositories, each once. It may be no name of a repository; of each, the
    first 256 characters are returned.

    Args:
        client: the registry as a whole.

    Raises:
        AccessDeniedError, PathNotFoundError, NotSupportedError: the registry does not give the list to this user.
        InvalidDataError: what it gives is not such a list.
        LimitExceededError: it has more repositories than the limit `archive_members`, or a page is larger than
            `manifest_size`.
        RegistryError: the registry cannot be reached, or its pages do not end.
    """
    try:
        yield from _repositories(client)
    except LimitExceededError:
        raise
    except (AccessDeniedError, PathNotFoundError, NotSupportedError, InvalidDataError) as error:
        error.detail += f"; {_INSTEAD}"
        raise


def _repositories(client: RegistryClient) -> Iterator[str]:
    most = limits_in_use().archive_members
    seen: set[str] = set()
    query = {"n": str(_PAGE)}
    while True:
        accepted = (200, 400) if query else (200,)
        names: list[str] = []
        for answer, view in pages(client, "_catalog", _WHAT, accepted, query=query, scopes=[_SCOPE]):
            if answer.status != 200:
                break
            with errors_at(client.name):
                names = [name[:LONGEST_NAME] for name in view.texts("repositories")]
            new = [name for name in dict.fromkeys(names) if name not in seen]
            if names and not new:
                if "last" in query:
                    # It does not know `last`: the first answer was all.
                    return
                raise RegistryError(client.name, f"{answer.origin} gives the same repositories again; {AT_FAULT}")
            seen.update(new)
            if len(seen) > most:
                raise LimitExceededError(client.name, f"more than {most} repositories {limit_hint('archive_members')}")
            yield from new
        else:
            if len(names) < _PAGE:
                return
            # A full page without a `Link` is the last one, or the registry knows no `Link`.
            query = {"n": str(_PAGE), "last": names[-1]}
            continue
        # It takes no such number: it is asked for its own.
        query = {}
