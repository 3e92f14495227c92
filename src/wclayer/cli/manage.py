"""The verbs that make and remove layers and their disks."""

from __future__ import annotations

import os

import click

import wclayer
from wclayer.cli.layer_argument import LAYER, LayerArgument, chain_of, layer_argument, refuse_in_store
from wclayer.cli.output import SIZE, echo, json_option, print_json, progress_bar, size_text
from wclayer.cli.transfer import layers_option, warn_of_hives
from wclayer.errors import InvalidParameterError, during
from wclayer.layers.directory.scratch import DISK
from wclayer.win32.shown import count_text


@click.command("create")
@layers_option
@click.option(
    "--from", "image", type=LAYER, metavar="IMAGE", default=None, help="The image that the scratch is made of."
)
@click.option(
    "--size",
    type=SIZE,
    default=None,
    help="The size of the scratch's disk: at least that of the base layer's disk, which is the default (20GiB).",
)
@click.option("--read-only", is_flag=True, help="Create a finished layer, without entries, instead of a scratch.")
@click.argument("path")
@during("create scratch layer")
def create_command(
    layers: tuple[LayerArgument, ...], image: LayerArgument | None, size: int | None, read_only: bool, path: str
) -> None:
    """Create a scratch at PATH over its parents, or over an image: a read-write layer with its disk, sandbox.vhdx.

    A scratch needs its image: the store keeps it by its digest, also if its name goes or gets another meaning, until
    `wclayer rmi DIGEST`. It does so even if the scratch cannot be made.

    \b
    Example:
      wclayer create -l /layers/app -l /layers/base --size 40GiB /layers/run
      wclayer create --from nanoserver:ltsc2022 /layers/run
    """
    if bool(layers) == (image is not None):
        raise click.UsageError("name the parents: either --from IMAGE, or -l PARENT for each parent")
    if read_only and size is not None:
        raise click.UsageError("a finished layer has no --size")
    refuse_in_store(path)
    parents = chain_of(layers if image is None else [image], keep=True)
    if read_only:
        wclayer.create_layer(path, parents=parents)
    else:
        wclayer.create_scratch_layer(path, parents)
        try:
            if size is not None:
                _give_size(path, size)
            if image is not None:
                _note_image(path, image)
        except BaseException:
            wclayer.destroy_layer(path)
            raise
    echo(f"created {path}")


def _give_size(path: str, size: int) -> None:
    """Grows the disk of a new scratch to a size.

    Raises:
        InvalidParameterError: the disk is larger already, or no disk can have that size.
    """
    least = wclayer.disk_info(os.path.join(path, DISK)).size
    if size < least:
        raise InvalidParameterError(path, f"--size {size}: its disk has at least the {least} bytes of the base layer's")
    wclayer.expand_scratch_size(path, size)


def _note_image(path: str, argument: LayerArgument) -> None:
    """Records of which image a new scratch was made, for `commit`. A scratch of Windows has no records."""
    image = argument.image
    if image is not None and image.manifest is not None and wclayer.engine_name() == "portable":
        from wclayer.builder.commit import note_image

        note_image(path, image.manifest.descriptor.digest)


@click.command("remove")
@layer_argument("path")
def remove_command(path: LayerArgument) -> None:
    """Remove the layer directory PATH with all its contents, permanently.

    \b
    Example:
      wclayer remove /layers/app
    """
    wclayer.destroy_layer(path.path_to_change())
    echo(f"removed {path}")


@click.command("relink")
@layers_option
@json_option
@layer_argument("layer")
def relink_command(layers: tuple[LayerArgument, ...], as_json: bool, layer: LayerArgument) -> None:
    """Record anew where the parents of LAYER are, relative to LAYER, so that they can be moved together from now on.

    Layers that an older wclayer made record absolute paths, which are wrong after a move. Without -l, each parent is
    the layer beside LAYER with the parent's recorded name, or else the one at its recorded path; the layers of an image
    are found in the store, if that was moved. The verb refuses layers that cannot be the parents. A scratch must not be
    in use.

    \b
    Example:
      wclayer relink /moved/app
      wclayer relink --store /moved/store /layers/run
      wclayer relink -l /elsewhere/base /moved/app
    """
    path = layer.path_to_change()
    chain = wclayer.relink_layer(path, chain_of(layers, keep=True) or layer.parents_in_store())
    if as_json:
        print_json({"path": os.path.abspath(path), "parents": [str(parent) for parent in chain]})
        return
    echo(f"{layer}: {count_text(len(chain), 'parent')}")
    for parent in chain:
        echo(f"  {parent}")


@click.command("expand")
@layer_argument("path")
@click.argument("size", type=SIZE)
def expand_command(path: LayerArgument, size: int) -> None:
    """Grow the disk of the scratch layer PATH, its partition and its volume to at least SIZE (50GiB, ...).

    \b
    Example:
      wclayer expand /layers/run 50GiB
    """
    wclayer.expand_scratch_size(path.path_to_change(), size)
    echo(f"{path} has at least {size_text(size)}")


@click.command("process")
@layer_argument("path")
def process_command(path: LayerArgument) -> None:
    """Make the blank disks of the base layer PATH, and those of its utility VM if it has one. Windows needs them to run
    containers. An import makes them, too.

    \b
    Example:
      wclayer process /layers/base
    """
    base = path.path_to_change()
    wclayer.process_base_layer(base)
    echo(f"{path}: layout, blank-base.vhdx, blank.vhdx")
    if os.path.isdir(os.path.join(base, "UtilityVM")):
        wclayer.process_utility_vm_image(os.path.join(base, "UtilityVM"))
        echo(f"{path}/UtilityVM: SystemTemplateBase.vhdx, SystemTemplate.vhdx")


@click.command("grant")
@click.argument("vm")
@click.argument("file")
def grant_command(vm: str, file: str) -> None:
    """Give the virtual machine with the GUID VM full access to FILE, a file of a layer or on an ntfs-3g mount.

    \b
    Example:
      wclayer grant 1e3a4c5b-0000-4000-8000-000000000001 /layers/run/sandbox.vhdx
    """
    refuse_in_store(file)
    wclayer.grant_vm_access(vm, file)
    echo(f"{vm} has access to {file}")


@click.command("makebaselayer")
@click.argument("path")
def makebaselayer_command(path: str) -> None:
    """Convert the folder PATH, which has Files in it, into a base layer, in place.

    \b
    Example:
      mkdir -p /layers/mine/Files/App && cp app.exe /layers/mine/Files/App
      wclayer makebaselayer /layers/mine
    """
    refuse_in_store(path)
    with progress_bar("indexing") as progress:
        wclayer.make_base_layer(path, progress=progress)
    warn_of_hives(path)
    echo(f"{path} is a base layer")


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Example:
      wclayer completion bash > ~/.local/share/bash-completion/completions/wclayer
    """
    from wclayer.cli.shells import script

    echo(script(ctx.find_root().command, shell))


COMMANDS = (
    create_command,
    remove_command,
    relink_command,
    expand_command,
    process_command,
    grant_command,
    makebaselayer_command,
    completion_command,
)
