"""`commit`: an image of a scratch."""

from __future__ import annotations

import click

from wclayer.builder.api import commit_image
from wclayer.cli.config_options import annotation_option, compression_option, config_options, many, pairs
from wclayer.cli.image_options import quiet_option
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.made_image import layer_record, made_record, names_text, pushed_too, told_beside
from wclayer.cli.output import echo, json_option, print_json, size_text, warn
from wclayer.cli.remote import registry_options
from wclayer.cli.transfer_bars import making_bars
from wclayer.images.edit import ConfigChanges
from wclayer.images.registry import RegistryOptions


@click.command("commit")
@many("-t", "--tag", metavar="NEW", help="A name of the image (default: the store keeps it by its digest).")
@click.option("--from", "base", metavar="IMAGE", default="", help="The image that the scratch was made of.")
@click.option("-m", "--message", default="", help="The comment in the history.")
@config_options
@annotation_option
@compression_option
@click.option("--reproducible", is_flag=True, help="The same changes give the same bytes, on any day.")
@click.option("--push", is_flag=True, help="Copy the image to the registries of its names, too.")
@registry_options
@quiet_option
@json_option
@layer_argument("scratch")
def commit_command(
    tag: tuple[str, ...],
    base: str,
    message: str,
    changes: ConfigChanges,
    annotation: tuple[str, ...],
    compression: str,
    reproducible: bool,
    push: bool,
    registry: RegistryOptions,
    quiet: bool,
    as_json: bool,
    scratch: LayerArgument,
) -> None:
    """Make an image of SCRATCH: the image that it was made of (create --from), and its changes as one more layer.

    SCRATCH stays as it is; unmount it before. NEW is a name in the store, or a place such as docker://REF or
    oci:DIR[:TAG]. With --reproducible, or SOURCE_DATE_EPOCH in the environment, no time in the image is later than
    that of the image that the scratch was made of, or than SOURCE_DATE_EPOCH.

    \b
    Example:
      wclayer create --from nanoserver:ltsc2022 run
      wclayer cp app.exe 'run:C:\\app.exe'
      wclayer commit run -t app:1 --entrypoint 'C:\\app.exe' -m 'Adds the program'
    """
    path = scratch.path_to_change()
    with told_beside(tag):
        with making_bars("committing", quiet=quiet) as (progress, transfer):
            made = commit_image(
                path, pushed_too(tag, push=push), scratch.store, base=base, platform=scratch.platform, config=changes,
                annotations=pairs(annotation, "--annotation"), message=message, compression=compression,
                reproducible=reproducible, registry=registry, progress=progress, transfer=transfer,
            )  # fmt: skip
        for warning in made.warnings:
            warn(warning)
        if as_json:
            print_json({"names": list(tag), **made_record(made), "layer": layer_record(made.layer)})
        elif quiet:
            echo(made.digest)
        else:
            what = "no changes" if made.layer is None else f"a layer of {size_text(made.layer.descriptor.size)}"
            echo(f"committed {scratch}{names_text(tag)}: {what}")
            echo(f"  digest {made.digest}")


COMMANDS = (commit_command,)
