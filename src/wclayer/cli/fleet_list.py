"""The verb `fleet list`: the references that a scan would read."""

from __future__ import annotations

import click

from wclayer.cli.fleet_source import source_options
from wclayer.cli.output import echo, json_option, print_json, warn
from wclayer.cli.remote import registry_options
from wclayer.errors import during
from wclayer.fleet.access import ImageAccess
from wclayer.fleet.model import Listed
from wclayer.fleet.newest import list_newest
from wclayer.fleet.pace.budget import local_pace
from wclayer.fleet.pace.rate import parse_rate
from wclayer.fleet.sources import list_images
from wclayer.images.registry import RegistryOptions


@click.command("list")
@source_options
@registry_options
@json_option
@click.pass_context
@during("list images")
def list_command(
    ctx: click.Context,
    source: str,
    names: tuple[str, ...],
    tags: tuple[str, ...],
    newest: int | None,
    max_requests: str | None,
    registry: RegistryOptions,
    store: str | None,
    as_json: bool,
) -> None:
    """List the references that SOURCE has, one in each line: a file of them is a SOURCE again.

    Patterns are those of a shell; `*` also stands for parts with a slash. A registry is asked for its repositories,
    which many do not tell, and for the tags of each one with such a name. Exit status 1 if a repository could not be
    listed, or a line of the file is no reference.

    \b
    Example:
      wclayer fleet list --from registry.example.com --name 'apps/*' --tag 'v2.*' > references.txt
      wclayer fleet scan --from references.txt -o out
    """
    found = 0
    errors: list[Listed] = []
    records: list[dict[str, str | None]] = []
    with ImageAccess(registry, store) as access:
        access.use_pace(local_pace(parse_rate(max_requests)))
        items = list_images(source, access, names=names, tags=tags)
        for item in items if newest is None else list_newest(items, access, newest):
            found += 1
            if item.error:
                errors.append(item)
            if as_json:
                records.append(_record(item))
            elif not item.error:
                echo(item.location)
    if as_json:
        print_json(records)
    if not found:
        warn(f"{source}: it has no reference that is meant")
    for item in errors:
        warn(f"{item.reference}: {item.error}")
    ctx.exit(1 if errors else 0)


def _record(item: Listed) -> dict[str, str | None]:
    return {
        "reference": item.reference,
        "repository": item.repository or None,
        "tag": item.tag or None,
        "error": item.error or None,
    }
