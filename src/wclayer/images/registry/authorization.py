"""`Authorizer`: answers the challenges of one registry, and keeps its answer for the next requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wclayer.images.registry.challenge import Challenge
from wclayer.images.registry.credentials import Found
from wclayer.images.registry.tokens import TokenService, basic_header


@dataclass(slots=True)
class _Asked:
    """What a registry asked for last; None before it has asked."""

    challenge: Challenge | None = None


class Authorizer:
    """Makes the header `Authorization` of requests to one registry.

    Args:
        service: gets tokens.
        find: returns the credentials; it is called when they are needed, once.
    """

    def __init__(self, service: TokenService, find: Callable[[], Found]) -> None:
        self._service = service
        self._find = find
        self._found: Found | None = None
        self._asked = _Asked()
        self._lock = threading.Lock()

    def sibling(self, find: Callable[[], Found]) -> Authorizer:
        """Returns the authorizer of another repository of the registry, which asks for the same kind of answer."""
        other = Authorizer(self._service, find)
        other._asked = self._asked
        return other

    @property
    def found(self) -> Found:
        """The credentials, and where they come from."""
        with self._lock:
            if self._found is None:
                self._found = self._find()
            return self._found

    def header(self, scopes: Sequence[str]) -> str:
        """Returns the header for a request; "" as long as the registry has not asked for one.

        Args:
            scopes: what the request needs ("repository:app:pull").

        Raises:
            AccessDeniedError, RegistryError: see `TokenService.token`.
        """
        challenge = self._asked.challenge
        return "" if challenge is None else self._answer(challenge, scopes, "")

    def renew(self, challenges: Sequence[Challenge], scopes: Sequence[str], refused: str) -> str:
        """Returns another header after the registry has refused a request; "" if there is none.

        Args:
            challenges: what the registry asks for.
            scopes: what the request needs.
            refused: the header of the request.

        Raises:
            AccessDeniedError, RegistryError: see `TokenService.token`.
        """
        # Tokens of a service are preferred, as the user's own secret then goes to the service alone.
        usable = [item for item in challenges if item.scheme == "bearer" and item.parameters.get("realm")]
        usable += [item for item in challenges if item.scheme == "basic"]
        for challenge in usable:
            header = self._answer(challenge, scopes, refused)
            if header and header != refused:
                self._asked.challenge = Challenge(challenge.scheme, {**challenge.parameters, "scope": ""})
                return header
        return ""

    def _answer(self, challenge: Challenge, scopes: Sequence[str], refused: str) -> str:
        found = self.found
        credentials = found.credentials
        if credentials.registry_token:
            return f"Bearer {credentials.registry_token}"
        if challenge.scheme == "basic":
            return basic_header(credentials) if credentials.username and not credentials.identity_token else ""
        return f"Bearer {self._service.token(challenge, scopes, found, refused.removeprefix('Bearer '))}"
