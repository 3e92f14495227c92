"""The options for the configuration and the new layer of an image, which several verbs have."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from wclayer.formats.compression import Compression
from wclayer.images.edit import ConfigChanges
from wclayer.images.platform import parse_platform

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _words(values: Sequence[str], option: str) -> tuple[str, ...] | None:
    """Returns the words of a command line, which are given one by one, or as one JSON list; None if none is given."""
    if not values:
        return None
    if len(values) > 1 or not values[0].startswith("["):
        return tuple(filter(None, values))
    try:
        words = json.loads(values[0])
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise click.UsageError(f"{option} {values[0][:60]!r} is not a JSON list of strings")
    return tuple(words)


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        # Names of variables such as "=C:" begin with an equals sign.
        rest, equals, value = text[1:].partition("=")
        name = text[:1] + rest
        if not equals:
            problem = "no name before the '='" if text.startswith("=") else "no '='"
            raise click.UsageError(f"{option} {text[:60]!r} has {problem}; write {option} NAME=VALUE")
        if name in pairs:
            raise click.UsageError(f"{option} names {name[:60]!r} twice")
        pairs[name] = value
    return pairs


def many(*names: str, metavar: str, help: str) -> Callable[[_Command], _Command]:
    return click.option(*names, multiple=True, metavar=metavar, help=help)


_OPTIONS = (
    many("--env", "-e", metavar="NAME=VALUE", help="Set a variable; names are equal in any case."),
    many("--unset-env", metavar="NAME", help="Remove a variable."),
    many("--label", metavar="NAME=VALUE", help="Set a label."),
    many("--unset-label", metavar="NAME", help="Remove a label."),
    many("--entrypoint", metavar="WORD", help="Set the entry point: once for each word, or once as a JSON list."),
    many("--cmd", metavar="WORD", help="Set the command, likewise; '' or '[]' removes it."),
    many("--shell", metavar="WORD", help="Set the shell of builders, likewise."),
    click.option("--user", default=None, help="Set the user (ContainerUser)."),
    click.option("--workdir", default=None, help="Set the working directory."),
    many("--exposed-ports", "--expose", metavar="PORT", help="Expose a port (80, 80/tcp, 8000-8010/udp)."),
    many("--unset-port", metavar="PORT", help="Do not expose a port."),
    many("--volume", metavar="FOLDER", help="Make a folder a volume."),
    many("--unset-volume", metavar="FOLDER", help="Do not make a folder a volume."),
    click.option("--set-platform", metavar="PLATFORM", default=None, help="Set the platform that the image states."),
    click.option("--author", default=None, help="Set the author."),
    click.option("--created", metavar="TIME", default=None, help="Set the time (2026-08-09T02:33:18Z)."),
)
annotation_option = many("--annotation", metavar="NAME=VALUE", help="Set an annotation of the manifest.")
compression_option = click.option(
    "--compression",
    type=click.Choice([kind.value for kind in Compression]),
    default=Compression.GZIP.value,
    show_default=True,
    help="The compression of the new layer.",
)


def config_options(function: _Command) -> _Command:
    """Adds the options to a verb, which gets them as one argument, `changes` (`ConfigChanges`)."""
    names = tuple(inspect.signature(_changes).parameters)

    @functools.wraps(function)
    def call(*arguments: Any, **more: Any) -> Any:
        return function(*arguments, changes=_changes(**{name: more.pop(name) for name in names}), **more)

    decorated: Any = call
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _changes(
    *,
    env: tuple[str, ...],
    unset_env: tuple[str, ...],
    label: tuple[str, ...],
    unset_label: tuple[str, ...],
    entrypoint: tuple[str, ...],
    cmd: tuple[str, ...],
    shell: tuple[str, ...],
    user: str | None,
    workdir: str | None,
    exposed_ports: tuple[str, ...],
    unset_port: tuple[str, ...],
    volume: tuple[str, ...],
    unset_volume: tuple[str, ...],
    set_platform: str | None,
    author: str | None,
    created: str | None,
) -> ConfigChanges:
    return ConfigChanges(
        env=pairs(env, "--env"),
        without_env=unset_env,
        labels=pairs(label, "--label"),
        without_labels=unset_label,
        entrypoint=_words(entrypoint, "--entrypoint"),
        cmd=_words(cmd, "--cmd"),
        shell=_words(shell, "--shell"),
        user=user,
        working_dir=workdir,
        ports=exposed_ports,
        without_ports=unset_port,
        volumes=volume,
        without_volumes=unset_volume,
        platform=None if set_platform is None else parse_platform(set_platform),
        author=author,
        created=created,
    )
