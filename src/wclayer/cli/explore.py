"""The verb `explore`: a terminal program that shows an image."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from click.core import ParameterSource

from wclayer.cli.group import ALL_WORDS
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.output import echo, progress_bar
from wclayer.errors import NotSupportedError, during
from wclayer.explore.model.explored import Explorable, ExploredChain
from wclayer.host.interpreter import needed_python
from wclayer.layers.inputs import has_any_place

_EXTRA = "the explorer needs Textual; `pip install 'wclayer[explore]'` installs it"
_WEB_EXTRA = "the explorer in a browser needs textual-serve; `pip install 'wclayer[web]'` installs it"
ESCAPE_DELAY = "40"
"""Milliseconds that Textual waits at least after Esc for the rest of what a key may have sent, unless the user has set
them."""

FRAMES = "240"
"""How many times a second Textual draws at most, unless the user has set it. It draws several times for many keys, and
waits in between: at its 60 times a second, for longer than it needs for the drawing."""


@click.command("explore")
@click.option(
    "--web", is_flag=True, help="Show it in a browser of this machine, at the address that is printed, until Ctrl-C."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="NUMBER",
    help="With --web: the port of 127.0.0.1 (default: one that is free).",
)
@layer_argument("images", nargs=-1, required=True, metavar="IMAGE [IMAGE]")
@click.pass_context
def explore_command(ctx: click.Context, web: bool, port: int | None, images: tuple[LayerArgument, ...]) -> None:
    """Show IMAGE in a program on the terminal: an image, a layer over its parents, a scratch, a disk, or a layer's tar.

    An image is a name in the store, a layout or an archive, as for all verbs. A disk is a VHDX file with its parents, a
    VHD file, a raw disk or an NTFS volume, in a file or a device. A tar (plain, gzip or zstd) is read once and shown in
    place: nothing of it is unpacked but its registry.

    With two, show what differs from the first to the second: files, registry, what they hold, and the documents of
    images.

    \b
    Example:
      wclayer explore myapp:1.0
      wclayer explore myapp:1.0 myapp:2.0
      wclayer explore sandbox.vhdx
      wclayer explore layer.tar.gz
      wclayer explore --web myapp:1.0
    """
    if len(images) > 2:
        raise click.UsageError(f"it shows one image, or compares two; {len(images)} are given")
    if not web and ctx.get_parameter_source("port") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--port is for --web")
    os.environ.setdefault("ESCDELAY", ESCAPE_DELAY)
    os.environ.setdefault("TEXTUAL_FPS", FRAMES)
    with _needing(images[0], _EXTRA, "textual"):
        from wclayer.explore.running import allow_many_files, run
    # Whoever chose a driver stands for the terminal: the server of the pages does.
    is_driven = "TEXTUAL_DRIVER" in os.environ
    show: Callable[[Explorable], int] = run
    if web and not is_driven:
        show = _server(ctx, images[0], port or 0)
    elif not (sys.stdin.isatty() and sys.stdout.isatty()) and not is_driven:
        raise click.UsageError("it needs a terminal: standard input or output is none")
    allow_many_files()
    explored = _explored(images[0]) if len(images) == 1 else _pair(images)
    ctx.call_on_close(explored.close)
    ctx.exit(show(explored))


def _server(ctx: click.Context, image: LayerArgument, port: int) -> Callable[[Explorable], int]:
    """Returns what shows the explorer in browsers. What is wrong with an image is told before, and not in a page."""
    with _needing(image, _WEB_EXTRA, "textual", "textual_serve", "aiohttp"):
        from wclayer.explore.web.server import serve
    # Each page in a browser has a process that gets the same words.
    python = needed_python(image.text, "a page of the explorer", "the explorer on the terminal needs none")
    command = (python, "-P", "-m", "wclayer", *ctx.meta[ALL_WORDS])

    def show(explored: Explorable) -> int:
        with during("explore"):
            return serve(explored.name, command, port, _tell)

    return show


def _tell(address: str) -> None:
    echo(address)
    echo("Ctrl-C ends it.")


@contextmanager
def _needing(image: LayerArgument, hint: str, *packages: str) -> Iterator[None]:
    """Tells what to install if one of the packages is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in packages:
            raise
        raise NotSupportedError(image.text, hint) from None


def _explored(image: LayerArgument) -> Explorable:
    found = image.image
    if found is not None:
        return ExploredChain(image.text, found.layers, found)
    # What an image does not need is not loaded for one, so that the first screen does not wait for it.
    from wclayer.explore.model.opening import open_path

    return open_path(image.text, lambda: progress_bar("reading"))


def _pair(images: Sequence[LayerArgument]) -> Explorable:
    from wclayer.explore.model.pair import ExploredPair

    return ExploredPair(*map(_chain, images))


def _chain(image: LayerArgument) -> ExploredChain:
    """Returns one of two that are compared.

    Raises:
        NotSupportedError: it has no layers.
    """
    if image.image is None and has_any_place(image.text):
        raise NotSupportedError(
            image.text,
            "is a disk or the tar of a layer; images, layers and scratches are compared. `wclayer import -i FILE LAYER`"
            " makes a layer of it",
        )
    explored = _explored(image)
    assert isinstance(explored, ExploredChain)
    return explored


COMMANDS = (explore_command,)
