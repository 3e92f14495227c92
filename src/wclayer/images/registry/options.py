"""`RegistryOptions` and `Credentials`: how a registry is reached, and who asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from wclayer._types import StrPath
from wclayer.images.registry.pace import Pace


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a user shows to a registry. The secrets are not part of `repr`.

    Attributes:
        username: the name of the user.
        password: the password, or an access token in its place.
        identity_token: a token of the registry's token service, which gives access tokens for it (OAuth2); it is used
            in place of the name and the password.
        registry_token: an access token that is shown to the registry as it is.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """How a registry is reached.

    Attributes:
        insecure: accept plain HTTP, and certificates that cannot be verified, from the host of the registry. Other
            hosts to which the registry leads are verified. For `localhost` and the addresses 127.0.0.0/8 and ::1, plain
            HTTP is always accepted if the port does not speak TLS.
        ca: certificates (PEM) that are trusted besides those of the system: the name of a file, or its contents.
        credentials: who asks. None: the credentials are looked for in `authfile`.
        authfile: a file of credentials as Docker and Podman write it. None: $REGISTRY_AUTH_FILE; if that is not set,
            Docker's `config.json`, then the `auth.json` of Podman and Skopeo.
        retries: how often a request is tried again after a cut connection, or an answer that says that the registry is
            busy or has failed.
        backoff: the seconds before the first of these tries. Each further one waits twice as long, at most 30 s.
        patience: the seconds after the first failure of a request after which no further try begins.
        connect_timeout: the seconds that a connection may take.
        timeout: the seconds without a byte after which a connection counts as cut.
        chunk_size: the size of the parts in which blobs are uploaded; 0 sends a blob in one request, and in parts
            only to continue it.
        pace: what lets requests pass, if several programs share what a registry permits; None lets all pass.
    """

    insecure: bool = False
    ca: StrPath | bytes | None = None
    credentials: Credentials | None = None
    authfile: StrPath | None = None
    retries: int = 5
    backoff: float = 0.5
    patience: float = 300.0
    connect_timeout: float = 15.0
    timeout: float = 60.0
    chunk_size: int = 0
    pace: Pace | None = None
