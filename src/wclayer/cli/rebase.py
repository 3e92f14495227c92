"""`rebase`: the own layers of an image on another base."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from wclayer.builder.api import rebase_image
from wclayer.builder.rebasing.rebase import RebaseReport
from wclayer.builder.results import RebaseResult
from wclayer.cli.config_options import many
from wclayer.cli.image_options import for_option, platform_option, quiet_option, store_option
from wclayer.cli.made_image import names_text, pushed_too, told_beside
from wclayer.cli.output import echo, json_option, print_json, results_beside, warn
from wclayer.cli.remote import registry_options
from wclayer.cli.transfer_bars import transfer_bars
from wclayer.cli.word_kind import WordKind, completed_as
from wclayer.errors import InvalidParameterError
from wclayer.images.platform import Platform
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.layers.atomic import OutputFile
from wclayer.win32.shown import count_text


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
@click.argument("image", shell_complete=completed_as(WordKind.IMAGE))
def rebase_command(
    store: ImageStore,
    registry: RegistryOptions,
    platform: Platform | None,
    releases: tuple[str, ...],
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
      wclayer rebase app:1 --onto docker://mcr.microsoft.com/windows/servercore:ltsc2022 \\
        -t localhost:5000/app:2 --push
    """
    if no_report and report:
        raise InvalidParameterError(report, "--no-report makes no report that could be written")

    def tell(made: RebaseResult) -> None:
        for warning in made.warnings:
            warn(warning)
        if report:
            with OutputFile(report) as output:
                record = _record(image, tag, made, has_index=bool(releases))
                output.stream.write(json.dumps(record, indent=2).encode() + b"\n")
        if not as_json and not quiet:
            _tell_conflicts(made.reports)

    with results_beside(report, "the report"), told_beside(tag):
        with transfer_bars(quiet=quiet) as transfer:
            made = rebase_image(
                image, onto, pushed_too(tag, push=push), store, old_base=old_base, platform=platform,
                releases=releases, compare=not no_report, force=force, dry_run=dry_run, registry=registry,
                on_result=tell, transfer=transfer,
            )  # fmt: skip
        if as_json:
            print_json(_record(image, tag, made, has_index=bool(releases)))
        elif quiet:
            echo(made.digest)
        else:
            _tell(image, tag, made, dry_run=dry_run)


def _record(image: str, names: tuple[str, ...], made: RebaseResult, *, has_index: bool) -> dict[str, Any]:
    record: dict[str, Any] = {"image": image, "names": list(names)}
    if not has_index:
        return record | made.reports[0].to_json()
    return record | {"digest": made.digest, "images": [found.to_json() for found in made.reports]}


def _tell_conflicts(reports: Sequence[RebaseReport]) -> None:
    for found in reports:
        for path in found.servicing:
            echo(f"servicing state: {path}")
        for path in found.lost_links:
            echo(f"lost link: {path}")
        for conflict in found.conflicts or ():
            what = conflict.path if conflict.value is None else f"{conflict.path}, value {conflict.value!r}"
            fields = f" ({', '.join(conflict.fields)})" if conflict.fields else ""
            echo(
                f"conflict: {conflict.kind} {what}: {conflict.image} by the image, {conflict.base} by the base{fields}"
            )


def _tell(image: str, names: tuple[str, ...], made: RebaseResult, *, dry_run: bool) -> None:
    verb = "would rebase" if dry_run else "rebased"
    for found in made.reports:
        layers = count_text(found.own, "layer")
        version = f" for Windows {found.os_version}" if found.os_version else ""
        conflicts = "not looked for" if found.conflicts is None else str(len(found.conflicts))
        echo(f"{verb} {layers} of {image}{names_text(names)}{version}, conflicts: {conflicts}")
    echo(f"  digest {made.digest}")


COMMANDS = (rebase_command,)
