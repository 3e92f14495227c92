"""`ImageAccess`: how the images of a scan are reached, on this machine and on the workers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from wclayer._types import StrPath
from wclayer.errors import LayerError
from wclayer.fleet.model import Listed
from wclayer.images.location import Location, Transport, open_source, parse_location
from wclayer.images.reference import parse_reference
from wclayer.images.registry import RegistryOptions, RegistrySource
from wclayer.images.registry.client import RegistryClient
from wclayer.images.registry.keyring import Keyring
from wclayer.images.registry.pace import Pace
from wclayer.images.registry.wire import read_certificates
from wclayer.images.store import ImageStore
from wclayer.images.transport import ImageSource


class ImageAccess:
    """How images are reached: registries with the user's credentials, the store, layouts.

    An access is made on the client, collects there what workers cannot know (`collect`), and is sent to the workers,
    where it opens images. Its connections to one registry are shared by all images of the registry, and are not sent.
    No secret is in its `repr`.

    Several threads may use it.

    Args:
        registry: how registries are reached.
        store: the folder of the store; by default the user's.
    """

    def __init__(self, registry: RegistryOptions | None = None, store: StrPath | None = None) -> None:
        self._options = registry or RegistryOptions()
        self._store = ImageStore(store).path.absolute()
        self._keyring = Keyring()
        self._clients: dict[str, RegistryClient] = {}
        self._lock = threading.RLock()

    @property
    def store(self) -> ImageStore:
        """The store of `store:` locations."""
        return ImageStore(self._store)

    def collect(self, items: Iterable[Listed | str]) -> None:
        """Reads the credentials of registries, and the certificates that the options name: a worker has neither.

        Args:
            items: references, and hosts of registries.

        Raises:
            InvalidDataError, PathNotFoundError, …: a file of credentials or certificates, or a program that keeps
                credentials, fails.
        """
        if self._options.ca is not None and not isinstance(self._options.ca, bytes):
            self._options = replace(self._options, ca=read_certificates(self._options.ca))
        for registry in dict.fromkeys(filter(None, map(_registry_of, items))):
            self._keyring.add(registry, self._options)

    def use_pace(self, pace: Pace) -> None:
        """Lets requests pass as a pace says: on a worker, before its first request."""
        self._options = replace(self._options, pace=pace)

    def open(self, location: Location | str) -> ImageSource:
        """Opens the image at a location to be read. The caller closes it.

        Raises:
            InvalidParameterError: the text is no location, or no reference.
            PathNotFoundError, InvalidDataError, …: a layout or an archive cannot be read.
        """
        place = parse_location(location) if isinstance(location, str) else location
        if place.transport is not Transport.REGISTRY:
            return open_source(place, store=self.store)
        reference = parse_reference(place.name)
        client = self.client(reference.registry)
        return RegistrySource(reference, self._options_of(reference.registry, reference.repository), client=client)

    def client(self, registry: str) -> RegistryClient:
        """Returns the requests to a registry as a whole, over the connections that all its images share.

        Raises:
            InvalidDataError, PathNotFoundError, …: a file of credentials, or a program that keeps them, fails.
        """
        with self._lock:
            if registry not in self._clients:
                self._clients[registry] = RegistryClient(registry, registry, "", "", self._options_of(registry, ""))
            return self._clients[registry]

    def repository(self, registry: str, repository: str) -> RegistryClient:
        """Returns the requests to one repository, over the same connections."""
        options = self._options_of(registry, repository)
        return self.client(registry).sibling(f"{registry}/{repository}", repository, options)

    def _options_of(self, registry: str, repository: str) -> RegistryOptions:
        with self._lock:
            # Once: a program that keeps credentials is not asked again for each repository.
            self._keyring.add(registry, self._options)
            return replace(self._options, credentials=self._keyring.find(registry, repository), authfile=None)

    def close(self) -> None:
        """Closes all connections."""
        with self._lock, ExitStack() as closing:
            for client in self._clients.values():
                closing.callback(client.close)
            self._clients = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"_options": replace(self._options, pace=None), "_store": self._store, "_keyring": self._keyring}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _clients={}, _lock=threading.RLock())

    def __repr__(self) -> str:
        return f"ImageAccess({self._keyring!r}, store={str(self._store)!r})"


def _registry_of(item: Listed | str) -> str:
    """Returns the registry of a reference; "" if it is in none, or is not a reference."""
    if isinstance(item, str):
        return item
    try:
        place = parse_location(item.location)
        return parse_reference(place.name).registry if place.transport is Transport.REGISTRY else ""
    except LayerError:
        return ""
