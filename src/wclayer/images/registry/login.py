"""`log_in` and `log_out`: credentials of a registry, verified and kept where Docker and Podman find them, too."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from wclayer.errors import InvalidParameterError, PathNotFoundError, during, errors_at
from wclayer.images.json_view import JsonView
from wclayer.images.reference import parse_registry
from wclayer.images.registry import helpers
from wclayer.images.registry.client import RegistryClient
from wclayer.images.registry.credentials import auths_of, credential_files, helper_of, names_of, plain_key, read_file
from wclayer.images.registry.options import Credentials, RegistryOptions
from wclayer.layers.atomic import StagedFile, make_folder, sync_name, wait_for_place

_MAX_SECRET = 32 << 10


def log_in(registry: str, credentials: Credentials, options: RegistryOptions | None = None) -> str:
    """Verifies credentials at a registry, and keeps them.

    They are given to the program that the file of credentials names for the registry (`credHelpers`, `credsStore`), or
    written into the file, which only the user can read then.

    Args:
        registry: the host, with its port if one is needed ("localhost:5000"; "docker.io").
        credentials: a name and a password, or an identity token.
        options: how the registry is reached, and which file of credentials is written.

    Returns:
        Where the credentials are kept: the file, or the program.

    Raises:
        AccessDeniedError: the registry refuses them, or the file cannot be written.
        InvalidParameterError: the host, the name or the password is not a possible one.
        RegistryError: the registry cannot be reached.
    """
    options = options or RegistryOptions()
    with during("log in", registry):
        host = parse_registry(registry)
        _check(registry, credentials)
        with RegistryClient(registry, host, "", "", replace(options, credentials=credentials)) as client:
            client.exchange.fetch(client.sender(client.request("GET", "", "the log-in")), _MAX_SECRET)
        path = next(credential_files(options.authfile))
        with _changing(path) as record:
            view = JsonView(record, "the file of credentials")
            helper = helper_of(view, host)
            if helper:
                helpers.store(helper, names_of(host)[0], credentials)
            _set(record, host, {} if helper else _encoded(credentials))
        return f"docker-credential-{helper}" if helper else os.fspath(path)


def log_out(registry: str, options: RegistryOptions | None = None) -> list[str]:
    """Removes the credentials of a registry from every place in which they are looked for.

    Args:
        registry: the host, as `log_in` was given it.
        options: which file of credentials is meant.

    Returns:
        The files and programs that had them.

    Raises:
        PathNotFoundError: there are none.
        AccessDeniedError, LayerError: a file cannot be written, or a program fails.
    """
    options = options or RegistryOptions()
    removed: list[str] = []
    with during("log out", registry):
        host = parse_registry(registry)
        for path in credential_files(options.authfile):
            view = read_file(path)
            if view is None:
                continue
            with errors_at(path):
                helper, keys = helper_of(view, host), _keys(auths_of(view), host)
            if helper and helpers.get(helper, names_of(host)[0]) is not None:
                helpers.erase(helper, names_of(host)[0])
                removed.append(f"docker-credential-{helper}")
            if keys:
                with _changing(path) as record:
                    for key in keys:
                        record["auths"].pop(key, None)
                if not helper:
                    removed.append(os.fspath(path))
        if not removed:
            raise PathNotFoundError(registry, "there are no credentials of this registry to remove")
    return removed


def _check(registry: str, credentials: Credentials) -> None:
    secret = credentials.password or credentials.identity_token
    if not secret or not (credentials.username or credentials.identity_token):
        raise InvalidParameterError(registry, "a name and a password are needed, or an identity token")
    if ":" in credentials.username or any(ord(letter) < 32 for letter in credentials.username + secret):
        raise InvalidParameterError(registry, "a name has no colon, and neither name nor password has line breaks")
    if len(secret) > _MAX_SECRET:
        raise InvalidParameterError(registry, f"the password has more than {_MAX_SECRET} characters")


def _encoded(credentials: Credentials) -> dict[str, str]:
    """Returns the entry of `auths` for credentials."""
    if credentials.identity_token:
        user = base64.b64encode(f"{helpers.IDENTITY_USER}:".encode()).decode()
        return {"auth": user, "identitytoken": credentials.identity_token}
    text = f"{credentials.username}:{credentials.password}".encode()
    return {"auth": base64.b64encode(text).decode()}


def _keys(auths: Iterable[str], host: str) -> list[str]:
    """Returns the keys under which `auths` has credentials of a registry as a whole."""
    names = {plain_key(name) for name in names_of(host)}
    return [key for key in auths if plain_key(key) in names]


def _set(record: dict[str, Any], host: str, entry: dict[str, str]) -> None:
    """Puts an entry into `auths`, in place of those of the same registry. The other keys stay in their order."""
    auths = record.setdefault("auths", {})
    first, *others = [*_keys(auths, host), ""]
    for key in filter(None, others):
        del auths[key]
    auths[first or names_of(host)[0]] = entry


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the object in a file of credentials, and writes it back as a whole at the end; only the user can read it.

    Raises:
        InvalidDataError: the file is not a JSON object with an object `auths`.
        AccessDeniedError, …: it cannot be written.
    """
    # The file may be a link to one that the user keeps elsewhere.
    place = Path(os.path.realpath(path))
    with errors_at(path):
        if not place.parent.is_dir():
            make_folder(place.parent.parent, parents=True)
            place.parent.mkdir(0o700, exist_ok=True)
            sync_name(place.parent)
        with contextlib.closing(wait_for_place(place.parent, busy="another process changes the credentials in it")):
            view = read_file(place)
            record = {} if view is None else view.record
            auths_of(JsonView(record, "the file of credentials"))
            if record.get("auths") is None:
                record["auths"] = {}
            yield record
            with StagedFile(place, is_private=True) as staged:
                staged.stream.write(json.dumps(record, indent="\t").encode() + b"\n")
