"""The options of the verbs that ask a registry."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from wclayer.images.registry import RegistryOptions

_Function = TypeVar("_Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--insecure",
        is_flag=True,
        help="Accept a registry with plain HTTP, or with a certificate that cannot be verified.",
    ),
    click.option("--ca", metavar="FILE", default=None, help="Trust the authorities in FILE (PEM), too."),
    click.option(
        "--authfile",
        metavar="FILE",
        default=None,
        help="The file of credentials (default: $REGISTRY_AUTH_FILE; or Docker's config.json, then the auth.json of"
        " Podman and Skopeo).",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 100),
        default=RegistryOptions().retries,
        show_default=True,
        help="How often a request that failed is tried again.",
    ),
)


def registry_options(function: _Function) -> _Function:
    """Adds the options to a verb, which gets them as one argument, `registry` (`RegistryOptions`)."""

    @functools.wraps(function)
    def call(*arguments: Any, insecure: bool, ca: str | None, authfile: str | None, retries: int, **more: Any) -> Any:
        options = RegistryOptions(insecure=insecure, ca=ca, authfile=authfile, retries=retries)
        return function(*arguments, registry=options, **more)

    decorated: Any = call
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]
