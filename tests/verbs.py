"""All verbs of the command."""

from __future__ import annotations

from collections.abc import Iterator

import click


def verbs_of(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yields the verbs of a group and of the groups in it, but for the groups themselves, by all their words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs_of(command, f"{above}{name} ")
        else:
            yield above + name, command
