"""The option `--no-sync` of the verbs that write."""

from __future__ import annotations

import click

from wclayer.host.durability import unsynced

_WRITING = frozenset(
    {
        "import", "export", "create", "remove", "expand", "process", "makebaselayer", "convert", "relink", "cp", "rm",
        "mkdir", "mv", "demo", "set", "delete", "attrib", "grant", "unmount", "shell", "login", "logout", "pull",
        "push", "copy", "load", "save", "config", "append", "build", "commit", "rebase", "squash", "tag",
        "untag", "rmi", "prune", "export-rootfs", "attach", "cve", "diff", "inventory",
        "report", "scan", "explore", "audit",
    }
)  # fmt: skip
"""The verbs that wait for the disk before they end, with those of `acl`, `disk`, `fleet`, `index` and `reg`."""


def add_no_sync_option(command: click.Command) -> None:
    """Adds the option to a verb that writes, and to those of a group."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_no_sync_option(below)
    elif command.name in _WRITING:
        command.params.append(
            click.Option(
                ["--no-sync"],
                is_flag=True,
                envvar="WCLAYER_NO_SYNC",
                help="Do not wait until the result would survive a power cut (also: WCLAYER_NO_SYNC=1).",
                expose_value=False,
                callback=_set,
            )
        )


def _set(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        context.with_resource(unsynced())
