"""The sentences for what goes wrong between this machine and a registry."""

from __future__ import annotations

import base64
import errno
import json
import socket
import ssl
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPException, IncompleteRead, RemoteDisconnected

import urllib3
from urllib3 import exceptions as http

from wclayer.errors import (
    AccessDeniedError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
    RegistryError,
)
from wclayer.images.registry.origin import Origin

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_MESSAGE = 200
CHECK_HOST = "check that this is the address of a registry"
AT_FAULT = "the registry, or a proxy before it, is at fault: try again, or take the image from elsewhere"
"""What a user can do about answers that a registry must not give."""
_MAX_WAIT = 24 * 3600.0


class TemporaryError(Exception):
    """A failure that another try may not have.

    Attributes:
        error: the failure, as the user is told it.
        wait: the seconds that the registry asks to wait; None if it does not say.
        is_answer: True if the registry answered; False if the connection failed.
        is_worth_a_try: False if another try would most likely fail, too.
    """

    def __init__(self, error: LayerError, *, wait: float | None = None, is_answer: bool = False) -> None:
        super().__init__(error.detail)
        self.error = error
        self.wait = wait
        self.is_answer = is_answer
        self.is_worth_a_try = True


class NoTlsError(TemporaryError):
    """The server does not speak TLS, or the connection failed before that was known."""


class UnreachableError(NoTlsError):
    """No connection to the server was made."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of a server, for messages.

    Attributes:
        path: what the user named.
        what: what was asked for ("the manifest of the tag '1'").
        registry: the host by which a user logs in.
        repository: the repository; "" if it is not about one.
        user: who asks: "the user 'x'"; "" for anybody.
        secret: the secret that was sent, which no message may repeat; "" for none.
    """

    path: str
    what: str
    registry: str
    repository: str = ""
    user: str = ""
    secret: str = field(default="", repr=False)

    @property
    def log_in(self) -> str:
        """The command that logs in."""
        return f"'wclayer login {self.registry}'"


def from_connection(asked: Asked, origin: Origin, error: http.HTTPError) -> TemporaryError | LayerError:
    """Returns the failure for an error of the connection. A `LayerError` would be the same at another try.

    Args:
        asked: what was asked.
        origin: the server.
        error: the error. Its own text is not used: it may hold an address with a secret.
    """
    causes = list(_causes(error))

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    reason = next((text for cause in reversed(causes) if (text := _reason(cause))), "")
    if has(http.ProxyError):
        told = reason or "it refuses"
        detail = f"the proxy for {origin} cannot be used ({told}); HTTP_PROXY, HTTPS_PROXY and NO_PROXY choose it"
        return TemporaryError(RegistryError(asked.path, detail))
    if has(ssl.SSLCertVerificationError):
        why = next(cause.verify_message for cause in causes if isinstance(cause, ssl.SSLCertVerificationError))
        return RegistryError(
            asked.path,
            f"the certificate of {origin} cannot be verified ({why}); --ca FILE trusts the authority that signed it,"
            " --insecure accepts any certificate",
        )
    if has(http.SSLError, ssl.SSLError):
        reason = reason or "no TLS"
        return NoTlsError(
            RegistryError(
                asked.path,
                f"{origin} does not speak TLS as expected ({reason}); --insecure lets a registry use plain HTTP",
            )
        )
    if has(http.NameResolutionError, socket.gaierror):
        return UnreachableError(RegistryError(asked.path, f"the host {origin.host} is not known; check its name"))
    if has(http.NewConnectionError):
        return UnreachableError(
            RegistryError(asked.path, f"cannot connect to {origin} ({reason}); check that a registry runs there")
        )
    if has(http.ConnectTimeoutError):
        detail = f"{origin} did not accept a connection in time; check that it can be reached from here"
        return UnreachableError(RegistryError(asked.path, detail))
    if has(http.ReadTimeoutError, TimeoutError):
        return TemporaryError(
            RegistryError(asked.path, f"{origin} sent nothing for too long, asked for {asked.what}; try again later")
        )
    if has(http.LocationValueError):
        return RegistryError(asked.path, f"{origin} leads to an address that is not one of HTTP")
    detail = f"the connection to {origin} was cut, asked for {asked.what}" + (f" ({reason})" if reason else "")
    detail += "; try again"
    return NoTlsError(RegistryError(asked.path, detail))


def _causes(error: BaseException) -> list[BaseException]:
    """Returns an error and what caused it, from the outside to the inside."""
    found: list[BaseException] = []
    left = [error]
    while left and len(found) < 20:
        current = left.pop(0)
        if current in found:
            continue
        found.append(current)
        inner = [getattr(current, "original_error", None), getattr(current, "reason", None), *current.args]
        left += [item for item in (*inner, current.__cause__, current.__context__) if isinstance(item, BaseException)]
    return found


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or error.strerror or "no TLS").lower().replace("_", " ")
    if isinstance(error, OSError) and str(error).startswith("Tunnel connection failed"):
        return " ".join(str(error).split())[:80].lower()
    if isinstance(error, OSError) and not isinstance(error, http.HTTPError):
        return (error.strerror or "").lower() or errno.errorcode.get(error.errno or 0, "")
    if isinstance(error, HTTPException) and not isinstance(error, (IncompleteRead, RemoteDisconnected)):
        return "what came is not HTTP"
    if isinstance(error, http.IncompleteRead):
        return f"{error.partial} bytes came, and {error.expected} are missing"
    return ""


def from_answer(
    asked: Asked, origin: Origin, response: urllib3.BaseHTTPResponse, body: bytes
) -> TemporaryError | LayerError:
    """Returns the failure for an answer that is not the expected one.

    Args:
        asked: what was asked.
        origin: the server.
        response: the answer.
        body: the first bytes of its body.
    """
    status = response.status
    codes, said = _messages(body, asked.secret)
    told = f" ({said})" if said else ""
    if status == 401:
        return _unauthorized(asked, origin, told)
    if status == 403:
        who = f" to {asked.user}; ask its administrator" if asked.user else f"; {asked.log_in} logs in"
        return AccessDeniedError(asked.path, f"{origin} denies {asked.what}{told}{who}")
    if status in (404, 410):
        return _not_found(asked, origin, codes, told)
    if status in (405, 501):
        return NotSupportedError(asked.path, f"{origin} does not support what it was asked: {asked.what}{told}")
    if status == 413:
        return RegistryError(
            asked.path,
            f"{origin}, or a proxy before it, refuses a request of this size, asked for {asked.what}{told}; raise the"
            " limit there",
        )
    if status == 429:
        wait = wait_of(response)
        detail = f"{origin} refuses further requests for {f'{wait:.0f} s' if wait else 'now'}: too many{told}"
        hint = "" if asked.user else f"; more are allowed after {asked.log_in}"
        return TemporaryError(RegistryError(asked.path, detail + hint), wait=wait, is_answer=True)
    if 300 <= status < 400:
        detail = f"{origin} redirects and does not say where to, asked for {asked.what}"
        return RegistryError(asked.path, f"{detail}; {CHECK_HOST}")
    detail = f"{origin} answers with status {status}, asked for {asked.what}{told}"
    if status in _BUSY:
        error = RegistryError(asked.path, f"{detail}; try again later")
        return TemporaryError(error, wait=wait_of(response), is_answer=True)
    return RegistryError(asked.path, f"{detail}; {CHECK_HOST}")


def _unauthorized(asked: Asked, origin: Origin, told: str) -> LayerError:
    if asked.user:
        detail = f"{origin} does not accept the credentials of {asked.user} for {asked.what}{told}"
        return AccessDeniedError(asked.path, f"{detail}; log in anew with {asked.log_in}")
    return AccessDeniedError(
        asked.path, f"{origin} asks for a log-in before it gives {asked.what}{told}; log in with {asked.log_in}"
    )


def _not_found(asked: Asked, origin: Origin, codes: list[str], told: str) -> LayerError:
    if "NAME_UNKNOWN" in codes and asked.repository:
        detail = f"{origin} has no repository {asked.repository!r}"
    else:
        detail = f"{origin} does not have {asked.what}{told}"
    hint = "" if asked.user else f", or log in with {asked.log_in} if it is private"
    return PathNotFoundError(asked.path, f"{detail}; check the name{hint}")


def _messages(body: bytes, secret: str) -> tuple[list[str], str]:
    """Returns the codes and the text of an error in the form of the distribution spec ("Error Codes").

    A text that repeats the secret that the registry was shown, or the password in it, is left out. Characters that a
    terminal would obey are replaced.
    """
    try:
        items = json.loads(body)["errors"][:3]
        codes = [str(item.get("code", ""))[:40] for item in items]
        texts = [f"{item.get('message') or item.get('code', '')}" for item in items]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return [], ""
    text = "".join(letter if letter.isprintable() else " " for letter in "; ".join(texts)[: 4 * _MAX_MESSAGE])
    text = " ".join(text.split())
    if any(hidden in text for hidden in _forms(secret)):
        return codes, ""
    return codes, "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:_MAX_MESSAGE]
    )


def _forms(secret: str) -> list[str]:
    """Returns the texts that show a secret: as it is sent, and the password of the scheme Basic."""
    if not secret:
        return []
    try:
        password = base64.b64decode(secret, validate=True).decode().partition(":")[2]
    except ValueError:
        password = ""
    return [secret, password] if password else [secret]


def is_refusal(response: urllib3.BaseHTTPResponse) -> bool:
    """Returns whether a server refuses because of too many requests: it says so, or states when it works again."""
    return response.status == 429 or (response.status == 503 and wait_of(response) is not None)


def wait_of(response: urllib3.BaseHTTPResponse) -> float | None:
    """Returns the seconds that `Retry-After` asks to wait (RFC 9110), at most a day; None if it does not say."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), _MAX_WAIT)
    until, now = (_seconds_of(response.headers.get(name, "")) for name in ("Retry-After", "Date"))
    # Between two times of the server's clock: that of this machine may be another.
    return min(max(until - now, 0.0), _MAX_WAIT) if until is not None and now is not None else None


def _seconds_of(text: str) -> float | None:
    """Returns the seconds since 1970 of a time in a header; None if it is none."""
    try:
        return parsedate_to_datetime(text[:64]).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
