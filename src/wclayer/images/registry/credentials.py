"""Where the credentials of a registry are: the files that Docker, Podman and Skopeo write.

Reference: docker/cli (config.json: `auths`, `credsStore`, `credHelpers`), containers-auth.json(5).
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import FormatError, InvalidDataError, PathNotFoundError, errors_at
from wclayer.images.json_view import JsonView, parse_json
from wclayer.images.reference import DOCKER_IO
from wclayer.images.registry import helpers
from wclayer.images.registry.options import Credentials, RegistryOptions
from wclayer.layers.inputs import open_stream

DOCKER_HUB = "https://index.docker.io/v1/"
"""The name under which Docker keeps the credentials of docker.io."""
_MAX_FILE = 4 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """Credentials that were found.

    Attributes:
        credentials: the credentials; empty ones if there are none.
        where: the file or the program that has them; "" if the caller gave them.
    """

    credentials: Credentials
    where: str = ""

    @property
    def user(self) -> str:
        """Who they are, for messages: "the user 'x' of /root/.docker/config.json"; "" if there are none."""
        known = self.credentials
        if known.username:
            name = f"the user {known.username[:60]!r}"
        elif known.identity_token or known.registry_token:
            name = "the owner of the token"
        else:
            return ""
        return f"{name} ({self.where})" if self.where else name


def find_credentials(registry: str, repository: str, options: RegistryOptions) -> Found:
    """Returns the credentials for a repository; empty ones if none are found.

    In each file, the program that `credHelpers` names for the registry comes first, then that of `credsStore`, then
    `auths`. There, a key of the repository, or of a namespace above it, comes before that of the registry.

    Args:
        registry: the host ("docker.io", "localhost:5000").
        repository: the repository; "" for the registry as a whole.
        options: the credentials, or the file.

    Raises:
        InvalidDataError: a file of credentials is not JSON of this form.
        PathNotFoundError: the file of the options, or a program that keeps credentials, does not exist.
        AccessDeniedError, LayerError: a file cannot be read, or a program fails.
    """
    if options.credentials is not None:
        return _checked(Found(options.credentials), registry)
    for path in credential_files(options.authfile):
        view = read_file(path, missing_ok=options.authfile is None)
        with errors_at(path):
            found = _from_file(view, registry, repository, os.fspath(path)) if view is not None else None
        if found is not None:
            return _checked(found, registry)
    return Found(Credentials())


def namespaces_of(registry: str, options: RegistryOptions) -> list[str]:
    """Returns the repositories, and the namespaces above some, for which the files have credentials of their own.

    Raises:
        InvalidDataError, PathNotFoundError, …: see `find_credentials`.
    """
    found: set[str] = set()
    if options.credentials is None:
        for path in credential_files(options.authfile):
            view = read_file(path, missing_ok=options.authfile is None)
            with errors_at(path):
                keys = [plain_key(key) for key in auths_of(view)] if view is not None else []
            found |= {key.removeprefix(f"{registry}/") for key in keys if key.startswith(f"{registry}/")}
    return sorted(found)


def _checked(found: Found, registry: str) -> Found:
    """Returns credentials unchanged.

    Raises:
        InvalidDataError: they have an unpaired surrogate, which cannot be sent.
    """
    known = found.credentials
    try:
        for text in (known.username, known.password, known.identity_token, known.registry_token):
            text.encode()
    except UnicodeEncodeError:
        # Not the error's own message, which would show a part of a secret.
        raise InvalidDataError(found.where or registry, "the credentials have an unpaired surrogate") from None
    return found


def credential_files(authfile: StrPath | None) -> Iterator[Path]:
    """Yields the files of credentials in the order in which they are read. The first one is written by `login`."""
    stated = authfile if authfile is not None else os.environ.get("REGISTRY_AUTH_FILE")
    if stated:
        yield Path(stated)
        return
    yield Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    yield Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "containers" / "auth.json"


def read_file(path: Path, *, missing_ok: bool = True) -> JsonView | None:
    """Returns the contents of a file of credentials; None if it does not exist, and an empty object if it is empty.

    Raises:
        InvalidDataError: it is not a JSON object, or too large.
        PathNotFoundError, AccessDeniedError, …: it cannot be read.
    """
    with errors_at(path):
        try:
            with open_stream(path) as file:
                data = file.read(_MAX_FILE + 1)
        except PathNotFoundError:
            if missing_ok:
                return None
            raise
        if len(data) > _MAX_FILE:
            raise FormatError(f"a file of credentials has at most {_MAX_FILE} bytes")
        return parse_json(data.strip() or b"{}", "the file of credentials")


def names_of(registry: str) -> tuple[str, ...]:
    """Returns the names under which credentials of a registry are kept, the one that `login` writes first."""
    if registry == DOCKER_IO:
        return DOCKER_HUB, DOCKER_IO, "index.docker.io", "registry-1.docker.io"
    return registry, f"https://{registry}", f"http://{registry}"


def helper_of(view: JsonView, registry: str) -> str:
    """Returns the program that a file names for a registry (`docker-credential-NAME`); "" if it names none."""
    helpers_of = view.mapping("credHelpers")
    return next((helpers_of[name] for name in names_of(registry) if helpers_of.get(name)), view.text("credsStore"))


def _from_file(view: JsonView, registry: str, repository: str, path: str) -> Found | None:
    tried = dict.fromkeys((helper_of(view, registry), view.text("credsStore")))
    for helper in filter(None, tried):
        server = names_of(registry)[0]
        if (credentials := helpers.get(helper, server)) is not None:
            return Found(credentials, f"docker-credential-{helper}")
    auths = auths_of(view)
    by_name = {plain_key(key): key for key in reversed(auths)}
    for name in _keys(registry, repository):
        if name in by_name and (credentials := _decoded(auths[by_name[name]])) is not None:
            return Found(credentials, path)
    return None


def auths_of(view: JsonView) -> dict[str, JsonView]:
    """Returns the entries of `auths` in a file of credentials.

    Raises:
        FormatError: it is not an object of objects. The message shows no value: it may be a secret.
    """
    auths = view.record.get("auths")
    if auths is None:
        return {}
    if not isinstance(auths, dict) or not all(isinstance(entry, dict) for entry in auths.values()):
        raise FormatError("auths is not an object of objects")
    return {key: JsonView(entry, f"auths: {key}") for key, entry in auths.items()}


def _keys(registry: str, repository: str) -> Iterator[str]:
    """Yields the keys of `auths`, the closest one first: the repository, its namespaces, the registry."""
    parts = repository.split("/") if repository else []
    for length in range(len(parts), 0, -1):
        yield "/".join([registry, *parts[:length]])
    for name in names_of(registry):
        yield plain_key(name)


def plain_key(key: str) -> str:
    """Returns a key of `auths` without the scheme and the version of the API that old versions of Docker wrote."""
    for prefix in ("https://", "http://"):
        if key.startswith(prefix):
            host, _, path = key.removeprefix(prefix).partition("/")
            return host if path.strip("/") in ("", "v1", "v2") else f"{host}/{path}"
    return key


def _decoded(view: JsonView) -> Credentials | None:
    """Returns the credentials of an entry of `auths`; None if it is empty, as where a program keeps them."""
    fields = ("username", "password", "auth", "identitytoken", "registrytoken")
    if not all(isinstance(view.record.get(key, ""), str) for key in fields):
        # Not the view's own message, which would show the value.
        raise FormatError(f"{view.what}: a field is not a string")
    username, password, auth, identity, token = (view.text(key) for key in fields)
    if auth:
        try:
            text = base64.b64decode(auth, validate=True).decode()
        except ValueError:
            raise FormatError(f"{view.what}: auth is not base64") from None
        username, colon, password = text.partition(":")
        if not colon:
            raise FormatError(f"{view.what}: auth is not NAME:PASSWORD in base64")
        # Old versions of Docker pad the password with zeros.
        password = password.rstrip("\0")
    if username == helpers.IDENTITY_USER:
        identity, username, password = identity or password, "", ""
    if not token.isprintable() or not token.isascii():
        raise FormatError(f"{view.what}: registrytoken is not one")
    if not (username or identity or token):
        return None
    return Credentials(username, password, identity, token)
