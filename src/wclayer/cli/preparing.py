"""What every verb gets besides its own options: the options for limits and for the disk, and its name in errors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from wclayer.cli.durability import add_no_sync_option
from wclayer.cli.limits import add_limit_options
from wclayer.cli.settings import format_defaults
from wclayer.errors import during


def prepare(command: click.Command, verb: str) -> None:
    """Prepares a command, and its subcommands, when it is loaded.

    Args:
        verb: what is typed to use it, without the name of the program.
    """
    _tell_the_verb(command, verb)
    _tell_the_defaults(command)
    add_limit_options(command)
    add_no_sync_option(command)


def _tell_the_verb(command: click.Command, verb: str) -> None:
    """Makes a command, and its subcommands, put the verb into each error that names no operation."""
    if command.callback is not None:
        command.callback = _naming(verb, command.callback)
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            _tell_the_verb(below, f"{verb} {name}")


def _tell_the_defaults(command: click.Command) -> None:
    """Makes the help of a command, and of its subcommands, end with the defaults that the user's file sets."""
    command.format_epilog = functools.partial(format_defaults, command)  # type: ignore[method-assign]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _tell_the_defaults(below)


def _naming(verb: str, callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def call(*arguments: Any, **options: Any) -> Any:
        # Not as a decorator, which would add a path: the standard output may be what fails.
        with during(verb):
            return callback(*arguments, **options)

    return call
