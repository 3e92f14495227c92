"""The verbs of fleets: `fleet`, with a module for each verb below it."""

from __future__ import annotations

import click

from wclayer.cli.fleet_diff import diff_command
from wclayer.cli.fleet_list import list_command
from wclayer.cli.fleet_query import query_command
from wclayer.cli.fleet_report import report_command
from wclayer.cli.fleet_scan import scan_command
from wclayer.cli.group import Verbs


@click.group("fleet", cls=Verbs)
def fleet_group() -> None:
    """Make tables of what all images of a registry hold, and ask them.

    A fleet is a folder, or a place that fsspec knows (s3://…), with the facts of each layer and the tables.

    All but `list` need `pip install 'wclayer[fleet]'`.

    \b
    Example:
      wclayer fleet scan --from registry.example.com -o out
      wclayer fleet query out --question lacks-kb KB5031364 20348.2031
      wclayer fleet report out -o fleet.html
      wclayer fleet diff out-may out-june
    """


fleet_group.add_command(diff_command)
fleet_group.add_command(list_command)
fleet_group.add_command(query_command)
fleet_group.add_command(report_command)
fleet_group.add_command(scan_command)

COMMANDS = (fleet_group,)
