"""`squash`: the layers of an image become one."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import Any

import click

from wclayer.build.documents import ImageDocuments
from wclayer.build.squash import SquashedImage, squash_image
from wclayer.cli.config_options import compression_option, many
from wclayer.cli.image_options import quiet_option
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.made_image import copy_made, opened_image, places_of
from wclayer.cli.output import echo, json_option, print_json, progress_bar, results_beside, size_text
from wclayer.cli.remote import registry_options
from wclayer.errors import InvalidParameterError
from wclayer.formats.compression import Compression
from wclayer.images.composed import ComposedSource
from wclayer.images.descriptor import Descriptor
from wclayer.images.location import Location, image_location
from wclayer.images.opening import find_place
from wclayer.images.registry import RegistryOptions


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
    store, places = image.store, places_of(tag, push=push)
    with ExitStack() as held:
        for place in places:
            held.enter_context(results_beside(place.archive_file, "an archive"))
        held.enter_context(store.in_use())
        opened = image.image
        origin = find_place(image.text, store)
        if opened is None or not isinstance(origin, Location):
            raise InvalidParameterError(image.text, "is a layer directory; squash takes an image")
        stated = None
        if base:
            stated = ImageDocuments.of(opened_image(held, image_location(base), store, registry))
        with nullcontext() if quiet else progress_bar("squashing") as progress:
            squashed = squash_image(
                opened, store, above_base=above_base or bool(base), base=stated, reproducible=reproducible,
                compression=Compression(compression), progress=progress,
            )  # fmt: skip
        source = opened_image(held, origin, store, registry)
        made = squashed.documents
        new = [] if squashed.layer is None else [squashed.layer.descriptor.digest]
        stored = held.enter_context(store.source(made.manifest.descriptor.digest))
        result = ComposedSource(made.manifest, [source], [made.config.data], dict.fromkeys(new, stored))
        for place in places:
            copy_made(result, [origin], place, store, registry, quiet=quiet)
        if as_json:
            print_json({"names": list(tag), **_record(squashed)})
        elif quiet:
            echo(made.manifest.descriptor.digest)
        else:
            _tell(image.text, tag, squashed)


def _tell(image: str, names: tuple[str, ...], squashed: SquashedImage) -> None:
    layer, name = squashed.layer, f" as {', '.join(names)}" if names else ""
    if layer is None:
        echo(f"nothing to squash in {image}{name}: {squashed.count} layer{'s' * (squashed.count != 1)}")
    else:
        echo(f"squashed {squashed.count} layers of {image}{name}: {size_text(layer.descriptor.size)}")
    echo(f"  digest {squashed.documents.manifest.descriptor.digest}")


def _record(squashed: SquashedImage) -> dict[str, Any]:
    root: Descriptor = squashed.documents.manifest.descriptor
    layer = squashed.layer
    return {
        "digest": root.digest,
        "media_type": root.media_type,
        "squashed": squashed.count,
        "layer": layer
        and {
            "digest": layer.descriptor.digest,
            "size": layer.descriptor.size,
            "diff_id": layer.diff_id,
            "chain_id": layer.chain_id,
        },
    }


COMMANDS = (squash_command,)
