"""`TokenService`: access tokens of a registry's token service (distribution spec, "Token Authentication", "OAuth2")."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlencode, urlsplit

from wclayer.errors import AccessDeniedError, FormatError, LimitExceededError, RegistryError
from wclayer.images.json_view import parse_json
from wclayer.images.registry.challenge import Challenge
from wclayer.images.registry.credentials import Found
from wclayer.images.registry.exchange import Answer, Exchange, Request
from wclayer.images.registry.failures import AT_FAULT, CHECK_HOST, Asked
from wclayer.images.registry.options import Credentials
from wclayer.images.registry.origin import Origin, origin_of

_CLIENT = "wclayer"
_MOST_TOKENS = 256
"""The tokens that are kept: those of many repositories are of one service."""
_AT_ONCE = 16
"""The tokens that are asked for at the same time, at most."""
_MAX_ANSWER = 1 << 20
_MAX_SCOPE = 4 << 10
_DEFAULT_LIFE = 60
_MAX_LIFE = 24 * 3600
_MARGIN = 10.0
"""A token is not used in its last seconds, or in the last part of a short life: the request takes time, too."""


_Key = tuple[str, str, frozenset[str]]
"""The realm, the service and the scopes of a token."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    ends: float


class TokenService:
    """Gets access tokens, and keeps each as long as it is valid.

    Args:
        exchange: sends the requests.
        asked: what the tokens are for, for messages.
        registry: returns the server of the registry.
    """

    def __init__(self, exchange: Exchange, asked: Asked, registry: Callable[[], Origin]) -> None:
        self._exchange = exchange
        self._asked = asked
        self._registry = registry
        self._tokens: dict[_Key, _Token] = {}
        self._asking = [threading.Lock() for _ in range(_AT_ONCE)]
        self._lock = threading.Lock()

    def token(self, challenge: Challenge, scopes: Iterable[str], found: Found, refused: str = "") -> str:
        """Returns a token.

        Args:
            challenge: the registry's challenge, which names the service.
            scopes: what the token must permit; what the challenge names is added.
            found: who asks.
            refused: a token that the registry has refused. It is not returned.

        Raises:
            AccessDeniedError: the service refuses the credentials.
            RegistryError: the service must not be given the credentials, or gives no token.
        """
        realm, service = challenge.parameters.get("realm", ""), challenge.parameters.get("service", "")
        wanted = merged([*scopes, *challenge.parameters.get("scope", "")[:_MAX_SCOPE].split()])
        key = (realm, service, frozenset(wanted))
        # Of the threads that need the same token, one asks; the others find it.
        with self._asking[hash(key) % len(self._asking)]:
            token = self._tokens.get(key)
            if token is None or token.text == refused or time.monotonic() >= token.ends:
                token = self._new(realm, service, wanted, found)
                self._keep(key, token)
        return token.text

    def _keep(self, key: _Key, token: _Token) -> None:
        with self._lock:
            self._tokens.pop(key, None)
            while len(self._tokens) >= _MOST_TOKENS:
                del self._tokens[next(iter(self._tokens))]
            self._tokens[key] = token

    def _new(self, realm: str, service: str, scopes: list[str], found: Found) -> _Token:
        credentials = found.credentials
        self._check_realm(realm, bool(credentials.username or credentials.identity_token))
        basic = "" if credentials.identity_token or not credentials.username else basic_header(credentials)
        secret = credentials.identity_token or basic.partition(" ")[2]
        asked = replace(self._asked, user=found.user, secret=secret)
        request = self._request(asked, realm, service, scopes, credentials)

        def ask() -> Answer:
            answer = self._exchange.send(request, basic)
            if answer.status in (400, 401, 403) and (basic or credentials.identity_token):
                self._exchange.discard(answer)
                raise AccessDeniedError(
                    self._asked.path,
                    f"the token service {request.origin} does not accept the credentials of {asked.user};"
                    f" log in anew with {asked.log_in}",
                )
            return self._exchange.check(request, answer)

        try:
            _, data = self._exchange.fetch(ask, _MAX_ANSWER)
        except LimitExceededError:
            detail = f"the token service {request.origin} answers with more than {_MAX_ANSWER} bytes; {AT_FAULT}"
            raise RegistryError(self._asked.path, detail) from None
        return self._parsed(data, request)

    @staticmethod
    def _request(asked: Asked, realm: str, service: str, scopes: list[str], credentials: Credentials) -> Request:
        named = [("service", service)] if service else []
        if credentials.identity_token:
            form = [
                ("grant_type", "refresh_token"),
                *named,
                ("client_id", _CLIENT),
                *([("scope", " ".join(scopes))] if scopes else []),
                ("refresh_token", credentials.identity_token),
            ]
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
            return Request("POST", realm, asked, headers, urlencode(form).encode(), is_secret=True)
        query = [*named, *(("scope", scope) for scope in scopes)]
        if credentials.username:
            query.insert(0, ("account", credentials.username))
        url = realm + ("&" if urlsplit(realm).query else "?") + urlencode(query) if query else realm
        return Request("GET", url, asked, {"Accept": "application/json"}, is_secret=bool(credentials.username))

    def _check_realm(self, realm: str, has_secret: bool) -> None:
        """Checks that a token service may be asked.

        Raises:
            RegistryError: it has no TLS, and the registry has; or another host would get credentials without TLS.
        """
        path, registry = self._asked.path, self._registry()
        try:
            origin = origin_of(realm)
        except RegistryError as error:
            raise RegistryError(
                path,
                f"{registry} names a token service that cannot be asked: {error.detail};"
                " ask the administrator of the registry",
            ) from None
        if origin.scheme == "https":
            return
        if registry.scheme == "https" and not self._exchange.wire.is_trusted_blindly(origin):
            raise RegistryError(
                path, f"{registry} names a token service without TLS ({origin}), which is not asked; {AT_FAULT}"
            )
        if has_secret and origin.host != registry.host:
            raise RegistryError(
                path,
                f"{registry} names a token service without TLS on another host ({origin}): it gets no credentials;"
                " ask the administrator of the registry for TLS",
            )

    def _parsed(self, data: bytes, request: Request) -> _Token:
        try:
            view = parse_json(data, "the answer")
            text = view.text("token") or view.text("access_token")
            life = min(max(view.number("expires_in") or _DEFAULT_LIFE, 0), _MAX_LIFE)
        except FormatError:
            # The message of the parser could show a part of a token.
            detail = f"the token service {request.origin} answers with something that is not its JSON; {CHECK_HOST}"
            raise RegistryError(self._asked.path, detail) from None
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise RegistryError(self._asked.path, f"the token service {request.origin} gives no token; {CHECK_HOST}")
        # The time of the server is not needed: the life begins when the token arrives.
        return _Token(text, time.monotonic() + max(life - _MARGIN, life * 0.5))


def merged(scopes: Iterable[str]) -> list[str]:
    """Returns scopes with those of one resource made one, and their actions sorted.

    `repository:a:pull` and `repository:a:push,pull` become `repository:a:pull,push`.
    """
    found: dict[str, set[str]] = {}
    for scope in scopes:
        resource, colon, actions = scope.rpartition(":")
        if colon:
            found.setdefault(resource, set()).update(actions.split(","))
    return [f"{resource}:{','.join(sorted(actions - {''}))}" for resource, actions in found.items()]


def basic_header(credentials: Credentials) -> str:
    """Returns the header `Authorization` of the scheme Basic (RFC 7617)."""
    text = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(text).decode()}"
