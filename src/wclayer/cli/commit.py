"""`commit`: an image of a scratch."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import Any

import click

from wclayer.build.commit import CommittedImage, commit_scratch
from wclayer.cli.config_options import annotation_option, compression_option, config_options, many, pairs
from wclayer.cli.image_options import quiet_option
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.made_image import copy_made, places_of
from wclayer.cli.output import echo, json_option, print_json, progress_bar, results_beside, size_text, warn
from wclayer.cli.remote import registry_options
from wclayer.formats.compression import Compression
from wclayer.images.descriptor import Descriptor
from wclayer.images.edit import ConfigChanges
from wclayer.images.location import Location, Transport
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
    path, store = scratch.path_to_change(), scratch.store
    places = places_of(tag, push=push)
    with ExitStack() as held:
        for place in places:
            held.enter_context(results_beside(place.archive_file, "an archive"))
        with store.in_use():
            with nullcontext() if quiet else progress_bar("committing") as progress:
                committed = commit_scratch(
                    path, store, base=base, platform=scratch.platform, changes=changes,
                    annotations=pairs(annotation, "--annotation"), message=message, reproducible=reproducible,
                    compression=Compression(compression), progress=progress,
                )  # fmt: skip
            for warning in committed.warnings:
                warn(warning)
            with committed.image.as_source(store) as image:
                root = image.resolve()
                for place in places:
                    copy_made(image, [Location(Transport.STORE, "", "")], place, store, registry, quiet=quiet)
        if as_json:
            print_json({"names": list(tag), **_record(committed, root)})
        elif quiet:
            echo(root.digest)
        else:
            layer = committed.layer
            what = "no changes" if layer is None else f"a layer of {size_text(layer.descriptor.size)}"
            name = f" as {', '.join(tag)}" if tag else ""
            echo(f"committed {scratch}{name}: {what}")
            echo(f"  digest {root.digest}")


def _record(committed: CommittedImage, root: Descriptor) -> dict[str, Any]:
    layer = committed.layer
    return {
        "digest": root.digest,
        "media_type": root.media_type,
        "layer": layer
        and {
            "digest": layer.descriptor.digest,
            "size": layer.descriptor.size,
            "diff_id": layer.diff_id,
            "chain_id": layer.chain_id,
        },
    }


COMMANDS = (commit_command,)
