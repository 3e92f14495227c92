"""`Keyring`: the credentials of several registries, collected where they are kept, to be used on other machines."""

from __future__ import annotations

from wclayer.errors import InvalidParameterError
from wclayer.images.registry.credentials import find_credentials, namespaces_of
from wclayer.images.registry.options import Credentials, RegistryOptions


class Keyring:
    """The credentials of registries, and of namespaces in them. Its `repr` names the registries alone."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Credentials]] = {}

    def add(self, registry: str, options: RegistryOptions) -> None:
        """Collects the credentials of a registry, unless it has them. That there are none is remembered, too.

        Raises:
            InvalidParameterError: the options state credentials, which are those of another registry.
            InvalidDataError, PathNotFoundError, …: see `find_credentials`.
        """
        if registry not in self._found:
            if self._found and options.credentials not in (None, Credentials()):
                raise InvalidParameterError(
                    registry,
                    f"the credentials that were stated are given to {next(iter(self._found))} alone; name a file of"
                    " credentials for several registries",
                )
            names = ["", *namespaces_of(registry, options)]
            self._found[registry] = {name: find_credentials(registry, name, options).credentials for name in names}

    def find(self, registry: str, repository: str) -> Credentials:
        """Returns the credentials of a repository; empty ones if there are none. The registry was added."""
        known = self._found[registry]
        # An entry for a part of the path counts for everything below it; the longest one is the closest.
        name = repository
        while name not in known:
            name = name.rpartition("/")[0]
        return known[name]

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._found)})"
