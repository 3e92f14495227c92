"""A group of commands that prints its help if no command is named, and tells the nearest one to a name that none has,
with every version of click."""

from __future__ import annotations

import click

USAGE_ERROR = 64
"""The exit status of wrong usage (EX_USAGE of sysexits.h)."""
FOUND = 21
"""The exit status of a verb that was asked to find what is wrong with an image, and found something."""
ALL_WORDS = "wclayer.words"
"""The key under which a context has all words of the command line after the name of the program."""


class Verbs(click.Group):
    """A `click.Group` that treats a call without arguments as wrong usage: it prints its help on the error stream."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(USAGE_ERROR)
        if ctx.parent is None:
            ctx.meta[ALL_WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            from wclayer.cli.mistakes import no_such_verb

            raise no_such_verb(ctx, name, self.list_commands(ctx))
        found, command, rest = super().resolve_command(ctx, args)
        if found is not None and command is not None:
            # The help of the whole command does not need it.
            from wclayer.cli.settings import settings_of, words_of

            # The parser looks there after the command line and the environment.
            settings = settings_of(ctx).of((*words_of(ctx), found), command)
            ctx.default_map = {found: {parameter: setting.value for parameter, setting in settings.items()}}
        return found, command, rest
