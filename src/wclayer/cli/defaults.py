"""The verb `defaults`: what the options are if a command does not name them, and what says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from wclayer.cli.mistakes import no_such_verb
from wclayer.cli.output import echo, json_option, print_json
from wclayer.cli.settings import FILE_NAME, SHARED, VARIABLES, Settings, long_name, places, settings_of, text_of
from wclayer.cli.text_table import aligned

_BUILT_IN = "built in"


class _InForce(NamedTuple):
    """What an option is if a command does not name it."""

    verb: str
    option: str
    value: Any
    source: str


@click.command("defaults")
@json_option
@click.argument("verb", nargs=-1)
@click.pass_context
def defaults_command(ctx: click.Context, as_json: bool, verb: tuple[str, ...]) -> None:
    """Show the defaults of options that a file or the environment sets, or all those of VERB, and where each is set.

    The file is `wclayer.toml` in the user's configuration directory, or the one that WCLAYER_CONFIG names; with an
    empty WCLAYER_CONFIG, none is read. The table [defaults] has options that several verbs have, a table such as [pull]
    or [fleet.scan] those of one verb. A key is the long name of an option without hyphens before it. The command line
    comes before the environment, and that before the file.

    Without VERB, the whole file is checked.

    \b
    Example:
      wclayer defaults
      wclayer defaults pull
      WCLAYER_CONFIG=ci.toml wclayer defaults --json
    """
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    settings = settings_of(ctx)
    found = list(_of_verb(ctx, root, verb, settings) if verb else _set_somewhere(ctx, root, settings))
    if as_json:
        print_json(
            {
                "file": None if settings.path is None else str(settings.path),
                "defaults": [each._asdict() for each in found],
            }
        )
        return
    looked = ", ".join(map(str, places())) or "nowhere"
    echo(f"file  {settings.path or f'none: {FILE_NAME} is looked for at {looked}'}")
    if found:
        rows = ((each.verb or "-", each.option, text_of(each.value), each.source) for each in found)
        for line in aligned([("VERB", "OPTION", "VALUE", "SET BY"), *rows], whole=True):
            echo(line)


def _set_somewhere(ctx: click.Context, root: click.Group, settings: Settings) -> Iterator[_InForce]:
    """Yields what is not built in; what holds for every verb that has the option comes once, without a verb."""
    shared = set()
    for words, command in _verbs(ctx, root, ()):
        for each in _options(words, command, settings):
            if each.source.endswith(f"[{SHARED}]") or each.source.startswith("$"):
                if each.option not in shared:
                    yield each._replace(verb="")
                shared.add(each.option)
            elif each.source != _BUILT_IN:
                yield each


def _of_verb(ctx: click.Context, root: click.Group, verb: tuple[str, ...], settings: Settings) -> Iterator[_InForce]:
    command: click.Command = root
    for number, word in enumerate(verb):
        context = click.Context(command, parent=ctx.find_root() if number else None, info_name=" ".join(verb[:number]))
        below = command.get_command(context, word) if isinstance(command, click.Group) else None
        if below is None:
            group = ctx.find_root() if command is root else context
            raise no_such_verb(group, word, command.list_commands(context) if isinstance(command, click.Group) else [])
        command = below
    yield from _options((), root, settings)
    yield from _options(verb, command, settings)


def _verbs(
    ctx: click.Context, command: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            if below is not None:
                yield from _verbs(ctx, below, (*words, name))


def _options(words: tuple[str, ...], command: click.Command, settings: Settings) -> Iterator[_InForce]:
    """Yields the options of a verb with their defaults."""
    of_file = settings.of(words, command)
    for option in command.params:
        if not isinstance(option, click.Option) or not (name := long_name(option)) or name in ("help", "version"):
            continue
        verb = " ".join(words)
        variable = VARIABLES.get(name) or (option.envvar if isinstance(option.envvar, str) else None)
        if variable is not None and (value := os.environ.get(variable)):
            yield _InForce(verb, f"--{name}", value, f"${variable}")
        elif (setting := of_file.get(option.name or "")) is not None:
            line = f":{setting.line}" if setting.line else ""
            yield _InForce(verb, f"--{name}", setting.value, f"{settings.path}{line} [{'.'.join(setting.table)}]")
        elif not option.hidden:
            yield _InForce(verb, f"--{name}", _plain(option.default), _BUILT_IN)


def _plain(value: Any) -> Any:
    """Returns a default as JSON can have it; None for one that a verb finds itself."""
    return value if isinstance(value, (str, int, float, bool)) else None


COMMANDS = (defaults_command,)
