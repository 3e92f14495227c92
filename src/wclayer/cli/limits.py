"""The options `--max-…` of every verb: one for each field of `Limits`."""

from __future__ import annotations

import dataclasses

import click

from wclayer.model import Limits, limits_in_use, use_limits

_OTHER_NAMES = {"total_size": ("--max-size",)}
_SHOWN_BY = frozenset({"import", "convert", "makebaselayer", "pull", "copy", "load"})
"""The verbs whose help lists the options: they read input from elsewhere. The other verbs accept the options, too."""


def add_limit_options(command: click.Command) -> None:
    """Adds the options to a verb. They set the limits of the whole process."""
    for limit in dataclasses.fields(Limits):
        command.params.append(
            click.Option(
                [f"--max-{limit.name.replace('_', '-')}", *_OTHER_NAMES.get(limit.name, ())],
                type=click.IntRange(0),
                metavar="N",
                help=f"{limit.metadata['meaning']} (default: {limit.default}).",
                hidden=command.name not in _SHOWN_BY,
                expose_value=False,
                callback=_set,
            )
        )
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_limit_options(below)


def _set(context: click.Context, option: click.Parameter, value: int | None) -> None:
    if value is not None:
        field = option.opts[0].removeprefix("--max-").replace("-", "_")
        use_limits(dataclasses.replace(limits_in_use(), **{field: value}))
