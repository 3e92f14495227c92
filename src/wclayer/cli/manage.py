"""The verbs that make and remove: `create`, `remove`, `makebaselayer`, `images`, `completion`."""

from __future__ import annotations

import json
import os

import click
from click.shell_completion import get_completion_class

import wclayer
from wclayer.cli.output import echo, json_option, print_json, progress_bar, size_text
from wclayer.cli.transfer import layers_option, warn_of_hives
from wclayer.errors import NotSupportedError


@click.command("create", short_help="Create a new, empty layer.")
@layers_option
@click.argument("path")
def create_command(layers: tuple[str, ...], path: str) -> None:
    """Create a new, empty layer at PATH on its parents.

    \b
    Example:
      wclayer create -l /layers/app -l /layers/base /layers/new
    """
    if not layers:
        raise click.UsageError("at least one parent layer is needed: -l PARENT")
    wclayer.create_layer(path, parents=layers)
    echo(f"created {path}")


@click.command("remove", short_help="Remove a layer.")
@click.argument("path")
def remove_command(path: str) -> None:
    """Permanently remove the layer directory PATH in its entirety.

    \b
    Example:
      wclayer remove /layers/app
    """
    wclayer.destroy_layer(path)
    echo(f"removed {path}")


@click.command("makebaselayer", short_help="Make a base layer of a folder.")
@click.argument("path")
def makebaselayer_command(path: str) -> None:
    """Convert the folder PATH, which has Files in it, into a base layer, in place.

    \b
    Example:
      mkdir -p /layers/mine/Files/App && cp app.exe /layers/mine/Files/App
      wclayer makebaselayer /layers/mine
    """
    with progress_bar("indexing") as progress:
        wclayer.make_base_layer(path, progress=progress)
    warn_of_hives(path)
    echo(f"{path} is a base layer")


@click.group("images", short_help="The store of shared base images.")
def images_group() -> None:
    """The central image store: base images that everybody on this machine shares.

    \b
    Example:
      wclayer images add /layers/base nanoserver 10.0.20348.2700
      wclayer images list
    """


store_option = click.option(
    "--store", metavar="FOLDER", default=None, help="The store (default: $WCLAYER_IMAGE_STORE, or the user's)."
)


@images_group.command("list")
@store_option
@json_option
def images_list(store: str | None, as_json: bool) -> None:
    """List the registered images; as JSON, in the form of Windows' GetBaseImages."""
    images = json.loads(wclayer.get_shared_base_images(store))
    if as_json:
        print_json(images)
        return
    for image in images["Images"]:
        echo(
            f"{image['Name']}  {image['Version']}  {size_text(image['Size'])}  {image['CreatedTime']}  {image['Path']}"
        )


@images_group.command("add")
@store_option
@click.argument("layer")
@click.argument("name")
@click.argument("version")
def images_add(store: str | None, layer: str, name: str, version: str) -> None:
    """Register the base layer LAYER as image NAME, VERSION."""
    wclayer.ImageStore(store).register(layer, name, version)
    echo(f"registered {name} {version}: {os.path.abspath(layer)}")


@images_group.command("remove")
@store_option
@click.argument("name")
@click.argument("version")
def images_remove(store: str | None, name: str, version: str) -> None:
    """Take image NAME, VERSION out of the store; the layer stays."""
    wclayer.ImageStore(store).unregister(name, version)
    echo(f"unregistered {name} {version}")


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Example:
      wclayer completion bash > ~/.local/share/bash-completion/completions/wclayer
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise NotSupportedError("completion", shell, "no completion for this shell")
    root = ctx.find_root()
    echo(kind(root.command, {}, "wclayer", "_WCLAYER_COMPLETE").source())


COMMANDS = (create_command, remove_command, makebaselayer_command, images_group, completion_command)
