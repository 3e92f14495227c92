"""`rebase`: the own layers of an image on another base."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import click

from wclayer.build.commit import whole_name
from wclayer.build.for_bases import Release, base_for, make_for_releases
from wclayer.build.rebasing import Rebase, RebaseReport
from wclayer.cli.config_options import many
from wclayer.cli.image_options import for_option, platform_option, quiet_option, store_option
from wclayer.cli.made_image import copy_made, places_of
from wclayer.cli.output import echo, json_option, print_json, results_beside, warn
from wclayer.cli.remote import registry_options
from wclayer.cli.transfer_bars import transfer_bars
from wclayer.errors import InvalidParameterError
from wclayer.images.location import Location, Transport
from wclayer.images.opening import source_location
from wclayer.images.platform import Platform
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transport import ImageSource
from wclayer.layers.atomic import OutputFile


@click.command("rebase")
@store_option
@registry_options
@platform_option
@for_option
@click.option("--onto", metavar="NEWBASE", required=True, help="The new base image.")
@click.option("--old-base", metavar="BASE", default="", help="The base of IMAGE, if IMAGE does not tell it.")
@many("-t", "--tag", metavar="NEW", help="A name of the result (default: the store keeps it by its digest).")
@click.option("--force", is_flag=True, help="Make the image in spite of conflicts and servicing state.")
@click.option("--dry-run", is_flag=True, help="Make nothing, and print the report.")
@click.option("--report", metavar="FILE", default="", help="Write the report as JSON to a file.")
@click.option("--no-report", is_flag=True, help="Do not look for conflicts: no layer of a base image is fetched.")
@click.option("--push", is_flag=True, help="Copy the result to the registries of its names, too.")
@quiet_option
@json_option
@click.argument("image")
def rebase_command(
    store: ImageStore,
    registry: RegistryOptions,
    platform: Platform | None,
    releases: tuple[Release, ...],
    onto: str,
    old_base: str,
    tag: tuple[str, ...],
    force: bool,
    dry_run: bool,
    report: str,
    no_report: bool,
    push: bool,
    quiet: bool,
    as_json: bool,
    image: str,
) -> None:
    """Put the own layers of IMAGE onto NEWBASE, with the version of Windows of NEWBASE. No layer changes.

    IMAGE, NEWBASE, BASE and NEW are names in the store, or places such as docker://REF and oci:DIR[:TAG].

    A rebase that would hide a file, a key or a value that NEWBASE has changed is refused (exit status 11), and so are
    layers with updates or features of Windows (exit status 10). --dry-run lists what there is; --force keeps what IMAGE
    has.

    \b
    Example:
      wclayer rebase app:1 --onto docker://mcr.microsoft.com/windows/servercore:ltsc2022 -t app:2 --push
    """
    places = places_of(tag, push=push)
    source, old = source_location(image), source_location(old_base) if old_base else None
    if no_report and report:
        raise InvalidParameterError(report, "--no-report makes no report that could be written")
    with ExitStack() as held:
        held.enter_context(results_beside(report, "the report"))
        for place in places:
            held.enter_context(results_beside(place.archive_file, "an archive"))
        progress = held.enter_context(transfer_bars(quiet=quiet))
        reports: list[RebaseReport] = []

        def make(text: str, base_platform: Platform | None = None) -> ImageSource:
            target = source_location(text)
            rebase = Rebase(
                source, target, store, old_base=old, platform=platform, base_platform=base_platform,
                registry=registry, looks=not no_report, new_name=_name_of(target), progress=progress,
            )  # fmt: skip
            made, found = held.enter_context(rebase).run()
            reports.append(found)
            for warning in found.warnings:
                warn(warning)
            return made

        if releases:
            result = make_for_releases(releases, lambda release: make(base_for(onto, release), release.platform(None)))
        else:
            result = make(onto)
        record = _record(image, tag, result, reports, has_index=bool(releases))
        if report:
            with OutputFile(report) as output:
                output.stream.write(json.dumps(record, indent=2).encode() + b"\n")
        if not as_json and not quiet:
            _tell_conflicts(reports)
        if not dry_run:
            for found in reports:
                if not force:
                    found.check(image)
            for place in places:
                copy_made(result, [source], place, store, registry, quiet=quiet)
        if as_json:
            print_json(record)
        elif quiet:
            echo(result.resolve().digest)
        else:
            _tell(image, tag, result, reports, dry_run=dry_run)


def _name_of(place: Location) -> str:
    """Returns the reference of a base in a registry, as annotations state it; "" for a place that has none."""
    is_name = place.transport in (Transport.REGISTRY, Transport.STORE) and not place.name.startswith("sha256:")
    return whole_name(place.name) if is_name else ""


def _record(
    image: str, names: tuple[str, ...], result: ImageSource, reports: list[RebaseReport], *, has_index: bool
) -> dict[str, Any]:
    root = result.resolve()
    record: dict[str, Any] = {"image": image, "names": list(names)}
    if not has_index:
        return record | reports[0].to_json()
    return record | {"digest": root.digest, "images": [found.to_json() for found in reports]}


def _tell_conflicts(reports: list[RebaseReport]) -> None:
    for found in reports:
        for path in found.servicing:
            echo(f"servicing state: {path}")
        for conflict in found.conflicts or ():
            what = conflict.path if conflict.value is None else f"{conflict.path}, value {conflict.value!r}"
            fields = f" ({', '.join(conflict.fields)})" if conflict.fields else ""
            echo(
                f"conflict: {conflict.kind} {what}: {conflict.image} by the image, {conflict.base} by the base{fields}"
            )


def _tell(
    image: str, names: tuple[str, ...], result: ImageSource, reports: list[RebaseReport], *, dry_run: bool
) -> None:
    name = f" as {', '.join(names)}" if names else ""
    for found in reports:
        layers = f"{found.own} layer{'s' * (found.own != 1)}"
        version = f" for Windows {found.os_version}" if found.os_version else ""
        conflicts = "not looked for" if found.conflicts is None else str(len(found.conflicts))
        echo(f"{'would rebase' if dry_run else 'rebased'} {layers} of {image}{name}{version}, conflicts: {conflicts}")
    echo(f"  digest {result.resolve().digest}")


COMMANDS = (rebase_command,)
