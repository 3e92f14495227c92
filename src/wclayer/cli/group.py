"""A group of commands that prints its help if no command is named, with every version of click."""

from __future__ import annotations

import click

USAGE_ERROR = 64
"""The exit status of wrong usage (EX_USAGE of sysexits.h)."""


class Verbs(click.Group):
    """A `click.Group` that treats a call without arguments as wrong usage: it prints its help on the error stream."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(USAGE_ERROR)
        return super().parse_args(ctx, args)
