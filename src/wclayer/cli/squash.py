"""`squash`: the layers of an image become one."""

from __future__ import annotations

import click

from wclayer.builder.api import squash_image
from wclayer.builder.results import SquashResult
from wclayer.cli.config_options import compression_option, many
from wclayer.cli.image_options import quiet_option
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.made_image import layer_record, made_record, names_text, pushed_too, told_beside
from wclayer.cli.output import echo, json_option, print_json, size_text
from wclayer.cli.remote import registry_options
from wclayer.cli.transfer_bars import making_bars
from wclayer.images.registry import RegistryOptions
from wclayer.win32.shown import count_text


@click.command("squash")
@many("-t", "--tag", metavar="NEW", help="A name of the new image (default: the store keeps it by its digest).")
@click.option("--above-base", is_flag=True, help="Keep the layers of the base image, and squash those above it.")
@click.option(
    "--base", metavar="BASE", default="", help="The base image, if the image does not tell it; implies --above-base."
)
@compression_option
@click.option("--reproducible", is_flag=True, help="The same image gives the same bytes, on any day.")
@click.option("--push", is_flag=True, help="Copy the new image to the registries of its names, too.")
@registry_options
@quiet_option
@json_option
@layer_argument("image")
def squash_command(
    tag: tuple[str, ...],
    above_base: bool,
    base: str,
    compression: str,
    reproducible: bool,
    push: bool,
    registry: RegistryOptions,
    quiet: bool,
    as_json: bool,
    image: LayerArgument,
) -> None:
    """Make one layer of the layers of IMAGE, which shows the same files and the same registry.

    The delta hives of the layers become one, and whiteouts that hide nothing are left out. Without --above-base, all
    layers become a base layer, with whole hives. NEW is a name in the store, or a place such as docker://REF or
    oci:DIR[:TAG].

    \b
    Example:
      wclayer squash app:1 --above-base -t app:1-small
    """
    with told_beside(tag):
        with making_bars("squashing", quiet=quiet) as (progress, transfer):
            made = squash_image(
                image.text, pushed_too(tag, push=push), image.store, above_base=above_base, base=base,
                platform=image.platform, compression=compression, reproducible=reproducible, registry=registry,
                progress=progress, transfer=transfer,
            )  # fmt: skip
        if as_json:
            record = {"names": list(tag), **made_record(made), "squashed": made.count}
            print_json({**record, "layer": layer_record(made.layer)})
        elif quiet:
            echo(made.digest)
        else:
            _tell(image.text, tag, made)


def _tell(image: str, names: tuple[str, ...], made: SquashResult) -> None:
    name = names_text(names)
    if made.layer is None:
        echo(f"nothing to squash in {image}{name}: {count_text(made.count, 'layer')}")
    else:
        echo(f"squashed {made.count} layers of {image}{name}: {size_text(made.layer.descriptor.size)}")
    echo(f"  digest {made.digest}")


COMMANDS = (squash_command,)
