"""`RegistryClient`: requests to one repository of a registry, with the right scheme and the right credentials."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Self
from urllib.parse import urlencode

from wclayer.images.reference import DOCKER_IO
from wclayer.images.registry.authorization import Authorizer
from wclayer.images.registry.challenge import parse_challenges
from wclayer.images.registry.credentials import Found, find_credentials
from wclayer.images.registry.exchange import Answer, Exchange, Request
from wclayer.images.registry.failures import Asked, NoTlsError, TemporaryError
from wclayer.images.registry.options import RegistryOptions
from wclayer.images.registry.origin import is_loopback, origin_of
from wclayer.images.registry.tokens import TokenService
from wclayer.images.registry.wire import Body, Wire

_DOCKER_HOST = "registry-1.docker.io"
_SECRETS = 8
"""The shortest text of a header that is kept out of messages."""


class RegistryClient:
    """Requests to one repository of a registry. Several threads may use it.

    Args:
        name: what the user named, for messages.
        registry: the host, with its port if one is stated ("docker.io", "localhost:5000").
        repository: the repository; "" for requests about the registry as a whole.
        actions: what tokens must permit in the repository: "pull", or "pull,push".
        options: how the registry is reached.
    """

    def __init__(
        self, name: str, registry: str, repository: str, actions: str, options: RegistryOptions | None = None
    ) -> None:
        self.name = name
        self.registry = registry
        self.repository = repository
        self.options = options or RegistryOptions()
        self.host = _DOCKER_HOST if registry == DOCKER_IO else registry
        self.wire = Wire(self.host, self.options)
        self.exchange = Exchange(self.wire, self.options)
        self._scopes = [f"repository:{repository}:{actions}"] if repository else []
        service = TokenService(self.exchange, self.asking("an access token"), lambda: origin_of(self.base))
        self.authorizer = Authorizer(service, self._find)
        self.refused: set[tuple[str, str]] = set()
        """Digests of blobs, each with an address that gave other bytes."""
        self._first = self
        self._base = ""
        self._lock = threading.Lock()

    def sibling(self, name: str, repository: str, options: RegistryOptions) -> RegistryClient:
        """Returns the requests to another repository of the registry, over the connections of this one, which closes
        them.

        Args:
            name: what the user named, for messages.
            repository: the repository.
            options: who asks there. Everything else is as it is here.
        """
        other = copy.copy(self)
        other.name, other.repository, other.options = name, repository, options
        other._scopes = [f"repository:{repository}:pull"]
        other.authorizer = self.authorizer.sibling(other._find)
        other.refused = set()
        return other

    def _find(self) -> Found:
        return find_credentials(self.registry, self.repository, self.options)

    @property
    def base(self) -> str:
        """The address of the registry, without a path. The first use may ask the registry whether it speaks TLS.

        Raises:
            LayerError: the registry cannot be reached.
        """
        first = self._first
        with first._lock:
            if not first._base:
                first._base = f"{self._scheme()}://{self.host}"
            return first._base

    def asking(self, what: str) -> Asked:
        """Returns the words for messages about a request."""
        return Asked(self.name, what, self.registry, self.repository)

    def request(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | bytes | None = None,
        accepted: Sequence[int] = (200,),
    ) -> Request:
        """Returns a request to the repository.

        Args:
            method: "GET" and so on.
            path: the path below the repository ("manifests/1").
            what: what it asks for, for messages.
            query: the query.
            headers: the headers.
            body: the body.
            accepted: the status of an answer that is none of an error.
        """
        place = f"{self.repository}/{path}" if self.repository else path
        url = f"{self.base}/v2/{place}" + (f"?{urlencode(query, safe='/:')}" if query else "")
        return Request(method, url, self.asking(what), headers or {}, body, frozenset(accepted))

    def sender(self, request: Request, scopes: Sequence[str] = ()) -> Callable[[], Answer]:
        """Returns a function that sends a request once, and returns its answer if the status is accepted.

        The function answers the registry's challenge, once. Credentials go to the registry alone, so a request with
        another address (an upload) is sent without them.

        Args:
            request: the request.
            scopes: what its token must permit besides the actions in the repository.

        Returns:
            A function that raises a `TemporaryError` for what another try may not meet, otherwise a `LayerError`.
        """
        is_own = request.origin == origin_of(self.base)
        wanted = [*self._scopes, *scopes]

        def send() -> Answer:
            header = self.authorizer.header(wanted) if is_own else ""
            answer = self.exchange.send(request, header)
            if answer.status == 401 and is_own and answer.origin == request.origin:
                challenges = parse_challenges(answer.headers("WWW-Authenticate"))
                try:
                    other = self.authorizer.renew(challenges, wanted, header)
                except BaseException:
                    answer.close()
                    raise
                if other:
                    self.exchange.discard(answer)
                    header = other
                    answer = self.exchange.send(request, header)
            user = self.authorizer.found.user if header and answer.status not in request.accepted else ""
            return self.exchange.check(_as(request, user, header), answer)

        return send

    def _scheme(self) -> str:
        """Returns "https", or "http" for a registry that may be without TLS and is."""
        own = origin_of(f"https://{self.host}")
        if not self.options.insecure and not is_loopback(own.host):
            return "https"
        request = Request("GET", f"https://{self.host}/v2/", self.asking("the version of its API"))
        try:
            self.exchange.discard(self.exchange.send(request))
        except NoTlsError:
            return "http"
        except TemporaryError as failure:
            raise failure.error from None
        return "https"

    def close(self) -> None:
        """Closes all connections."""
        self.wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _as(request: Request, user: str, header: str) -> Request:
    """Returns a request with its user and its secret, so that messages name the one and leave out the other."""
    secret = header.partition(" ")[2]
    return replace(request, asked=replace(request.asked, user=user, secret=secret if len(secret) >= _SECRETS else ""))
