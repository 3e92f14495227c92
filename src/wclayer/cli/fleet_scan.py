"""The verb `fleet scan`: makes the tables of what all images of a registry hold."""

from __future__ import annotations

import dataclasses

import click

from wclayer.cli.fleet_source import source_options
from wclayer.cli.output import SIZE, echo, json_option, print_json, size_text, warn
from wclayer.cli.remote import registry_options
from wclayer.cli.scan_progress import scan_progress
from wclayer.fleet.scan.api import scan_fleet
from wclayer.fleet.scan.options import ScanOptions
from wclayer.fleet.scan.results import ScanResult
from wclayer.images.registry import RegistryOptions
from wclayer.win32.shown import count_text

_TOLD = 20
"""How many errors are told one by one."""


@click.command("scan")
@source_options
@click.option(
    "-o", "--output", "out", required=True, metavar="OUT", help="The folder, or the URL (s3://…), of the fleet."
)
@click.option(
    "--dask", default="", metavar="ADDRESS", help="Let the workers of this Dask cluster do it (tcp://HOST:8786)."
)
@click.option(
    "--jobs", type=click.IntRange(1, 1024), metavar="N", help="How many processes do it (default: one a processor)."
)
@click.option(
    "--memory", type=SIZE, metavar="SIZE", help="The memory that each process may use (default: its share of all)."
)
@click.option(
    "--cache", type=SIZE, default=ScanOptions().cache, metavar="SIZE",
    help=f"What each process may keep in its temporary folder (default: {size_text(ScanOptions().cache)}).",
)  # fmt: skip
@registry_options
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@json_option
@click.pass_context
def scan_command(
    ctx: click.Context,
    source: str,
    out: str,
    names: tuple[str, ...],
    tags: tuple[str, ...],
    newest: int | None,
    dask: str,
    jobs: int | None,
    memory: int | None,
    cache: int,
    max_requests: str | None,
    registry: RegistryOptions,
    store: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make the tables of what all images of SOURCE hold, or bring them up to date.

    Each distinct layer is read once. What an earlier scan has done, whole or interrupted, is not done again. An image
    or a layer that cannot be read is a row with its error, and stops nothing; the next scan tries it again. The exit
    status is 1 then.

    With --dask, the workers of a cluster read the registry and write OUT themselves. They get the credentials of this
    machine for the registries until the scan ends. --jobs and --memory are for processes of this machine.

    \b
    Example:
      wclayer fleet scan --from registry.example.com -o out
      wclayer fleet scan --from registry.example.com --name 'apps/*' --newest 3 -o s3://bucket/fleet
      wclayer fleet scan --from references.txt -o out --dask tcp://scheduler:8786 --max-requests 500/m
    """
    if dask and (jobs is not None or memory is not None):
        raise click.UsageError("the workers of a cluster have their number and memory already: no --jobs, no --memory")
    options = ScanOptions(
        names=names, tags=tags, newest=newest, registry=registry, store=store, dask=dask, jobs=jobs or 0,
        memory=memory, cache=cache, max_requests=max_requests,
    )  # fmt: skip
    with scan_progress(quiet=quiet) as progress:
        result = scan_fleet(source, out, options, progress=progress)
    if not result.listed:
        warn(f"{source}: it has no reference that is meant; `wclayer fleet list` shows those that are")
    if as_json:
        print_json({"source": source, "out": out, **_record(result)})
    else:
        _tell(out, result)
    ctx.exit(1 if result.errors else 0)


def _record(result: ScanResult) -> dict[str, object]:
    record = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    return record | {"unchanged": result.is_unchanged, "errors": [error._asdict() for error in result.errors]}


def _tell(out: str, result: ScanResult) -> None:
    for error in result.errors[:_TOLD]:
        warn(f"{error.what}: {error.text}")
    if len(result.errors) > _TOLD:
        warn(f"and {len(result.errors) - _TOLD} more: wclayer fleet query {out} --question errors")
    there = ", ".join(
        (
            count_text(result.references, "reference"),
            count_text(result.images, "image"),
            count_text(result.layers, "layer"),
        )
    )
    if result.is_unchanged:
        echo(f"{out}: {there}; nothing has changed")
        return
    done = [
        f"{count_text(result.new_layers, 'layer')} ({size_text(result.bytes_read)}) read",
        f"{count_text(result.new_images, 'image')} merged",
    ]
    if result.removed:
        done.append(f"{count_text(result.removed, 'reference')} removed")
    echo(f"{out}: {there}; {', '.join(done)}")
