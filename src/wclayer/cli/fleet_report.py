"""The verb `fleet report`: a page about a fleet."""

from __future__ import annotations

import click

from wclayer.cli.fleet_query import memory_option, threads_option
from wclayer.cli.output import echo, results_beside
from wclayer.fleet.report.report import write_fleet_report


@click.command("report")
@click.option("-o", "--output", "target", metavar="FILE", required=True, help="The page.")
@memory_option
@threads_option
@click.argument("out")
def report_command(target: str, memory: int, threads: int | None, out: str) -> None:
    """Write a page about OUT, a fleet that `wclayer fleet scan` has made: patch levels, ages, the worst images, what
    sharing layers saves, packages, errors, and a list of all images to search and sort.

    The page is one file for a browser. It needs no network, and can be read without JavaScript.

    \b
    Example:
      wclayer fleet report out -o fleet.html
    """
    with results_beside(target, "a page"):
        write_fleet_report(out, target, memory=memory, threads=threads)
        echo(target)
