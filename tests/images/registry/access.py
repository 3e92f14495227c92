"""Who may do what at a fake registry: everybody, users by Basic, or tokens (distribution, token specification)."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from tests.images.registry.exchange import Reply, Request


@dataclass
class Access:
    """The rules.

    Attributes:
        kind: "none", "basic" or "token".
        users: the password of each user.
        anonymous_pull: whether the token service gives everybody tokens to pull.
        identity: a refresh token for which the service gives tokens by POST (OAuth2); "" for none.
        realm: the address of the token service; "" for the registry's own.
        expires_in: the seconds for which a token is valid, as the service states it; None if it does not say.
        uses: the number of requests after which a token is refused, whatever was stated; None for no limit.
        challenges: what `WWW-Authenticate` holds in place of the usual challenge; each is a header of its own, in which
            `{}` stands for the usual one.
        token_name: "token" or "access_token": the key under which the service gives the token.
    """

    kind: str = "none"
    users: dict[str, str] = field(default_factory=lambda: {"user": "password"})
    anonymous_pull: bool = False
    identity: str = ""
    realm: str = ""
    expires_in: int | None = 300
    uses: int | None = None
    challenges: tuple[str, ...] = ("{}",)
    token_name: str = "token"


@dataclass
class _Token:
    scopes: dict[str, set[str]]
    ends: float
    uses: int | None


class Guard:
    """Lets requests pass, or refuses them, and gives tokens."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._tokens: dict[str, _Token] = {}
        self._lock = threading.Lock()

    @property
    def secrets(self) -> set[str]:
        """Everything that nobody may find anywhere: passwords, identity and tokens, plain and as they are sent."""
        with self._lock:
            found = set(self._tokens)
        for user, password in self.access.users.items():
            found |= {password, base64.b64encode(f"{user}:{password}".encode()).decode()}
        return found | ({self.access.identity} - {""})

    def check(self, request: Request, base: str) -> Reply | None:
        """The refusal of a request, or None if it may pass."""
        if self.access.kind == "none":
            return None
        if self.access.kind == "basic":
            return None if self._user(request) else self._refusal('Basic realm="the registry, of tests"')
        wanted = _wanted(request)
        kind, _, value = request.authorization.partition(" ")
        with self._lock:
            token = self._tokens.get(value) if kind == "Bearer" else None
            error = "" if token is None and kind != "Bearer" else ', error="invalid_token"'
            if token is not None and time.monotonic() < token.ends and token.uses != 0:
                if all(actions <= token.scopes.get(name, set()) for name, actions in wanted.items()):
                    token.uses = None if token.uses is None else token.uses - 1
                    return None
                error = ', error="insufficient_scope"'
        scope = " ".join(f"{name}:{','.join(sorted(actions))}" for name, actions in wanted.items())
        realm = self.access.realm or f"{base}/token"
        usual = f'Bearer realm="{realm}",service="tests, \\"quoted\\""' + (f',scope="{scope}"' if scope else "") + error
        return self._refusal(usual)

    def token(self, request: Request, read: Callable[[], bytes]) -> Reply:
        """The answer of the token service."""
        scopes = request.scopes
        if request.method == "POST":
            form = {name: values[-1] for name, values in parse_qs(read().decode()).items()}
            user = self._by_form(form)
            scopes = form.get("scope", "").split(" ")
            if not user:
                return Reply.of(b'{"error":"invalid_grant"}', "application/json", 401)
        else:
            user = self._user(request)
            if not user and (request.authorization or not self.access.anonymous_pull):
                return Reply.error(401, "UNAUTHORIZED", "the token service does not know you")
        granted: dict[str, set[str]] = {}
        for scope in (part for text in scopes for part in text.split(" ") if part.count(":") >= 2):
            name, _, actions = scope.rpartition(":")
            permitted = {"pull", "push", "*"} if user else {"pull"}
            granted.setdefault(name, set()).update({*actions.split(",")} & permitted)
        token = secrets.token_urlsafe(24)
        with self._lock:
            ends = time.monotonic() + (60 if self.access.expires_in is None else self.access.expires_in)
            self._tokens[token] = _Token(granted, ends, self.access.uses)
        answer: dict[str, object] = {self.access.token_name: token}
        if self.access.expires_in is not None:
            answer["expires_in"] = self.access.expires_in
        return Reply.of(json.dumps(answer).encode(), "application/json")

    def expire(self) -> None:
        """Makes every token that was given invalid."""
        with self._lock:
            for token in self._tokens.values():
                token.ends = 0.0

    def _user(self, request: Request) -> str:
        kind, _, value = request.authorization.partition(" ")
        if kind != "Basic":
            return ""
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user if self.access.users.get(user) == password else ""

    def _by_form(self, form: dict[str, str]) -> str:
        if form.get("grant_type") == "refresh_token" and self.access.identity:
            return "identity" if form.get("refresh_token") == self.access.identity else ""
        user = form.get("username", "")
        return user if user and self.access.users.get(user) == form.get("password") else ""

    def _refusal(self, usual: str) -> Reply:
        reply = Reply.error(401, "UNAUTHORIZED", "authentication required")
        reply.headers += [("WWW-Authenticate", text.replace("{}", usual)) for text in self.access.challenges]
        return reply


def _wanted(request: Request) -> dict[str, set[str]]:
    """The actions that a request needs, for each resource."""
    if request.kind == "catalogue":
        return {"registry:catalog": {"*"}}
    if not request.repository:
        return {}
    pushes = request.method not in ("GET", "HEAD") or request.kind == "upload"
    wanted = {f"repository:{request.repository}": {"pull", "push"} if pushes else {"pull"}}
    if request.query.get("from"):
        wanted.setdefault(f"repository:{request.query['from']}", set()).add("pull")
    return wanted
