"""`import` and `export`."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

import wclayer
from wclayer.cli.layer_argument import LAYER, LayerArgument, chain_of, image_options, layer_argument
from wclayer.cli.output import echo, json_option, print_json, progress_bar, results_beside, size_text, warn
from wclayer.errors import AlreadyExistsError, InvalidParameterError, during
from wclayer.layers.atomic import STANDARD_OUTPUT
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.scratch import is_scratch
from wclayer.layers.inputs import STANDARD_INPUT, is_standard_input, open_stream
from wclayer.layers.volume.kinds import starts_disk

_Function = TypeVar("_Function", bound=Callable[..., Any])
_parents_option = click.option(
    "-l",
    "--layer",
    "layers",
    multiple=True,
    type=LAYER,
    metavar="PARENT",
    help="A parent layer, or an image with all its layers. Repeat the option for each parent, nearest first.",
)


def layers_option(function: _Function) -> _Function:
    """Adds the option `-l` to a verb, and those for images."""
    return _parents_option(image_options(function))


@click.command("import")
@click.option(
    "-i",
    "--input",
    "source",
    metavar="FILE",
    help="The layer tar, transport folder or disk (default, and -: a tar on standard input).",
)
@layers_option
@click.option("--over-scratch", is_flag=True, help="Replace the scratch PATH, which has the same parents.")
@json_option
@click.argument("path")
@during("import layer")
def import_command(
    source: str | None, layers: tuple[LayerArgument, ...], over_scratch: bool, as_json: bool, path: str
) -> None:
    """Import a layer tar (plain, gzip or zstd), a transport folder, or a disk with an NTFS volume (VHDX, VHD or raw) as
    the layer directory PATH. With parents, a disk is that of a scratch: the layer holds what the scratch changes.

    The layer appears at PATH when it is complete. A damaged or hostile tar leaves nothing behind.

    \b
    Example:
      wclayer import -i base.tar.gz /layers/base
      wclayer import -i app.tar -l /layers/base /layers/app
      wclayer import -i app.tar -l nanoserver:ltsc2022 /layers/app
      wclayer import -i sandbox.vhdx -l /layers/base /layers/changes
      wclayer export /layers/run | wclayer import --over-scratch -l /layers/base /layers/run
    """
    if not over_scratch and is_scratch(path):
        raise AlreadyExistsError(path, "a scratch is there; --over-scratch replaces it by a tar on the same parents")
    parents = chain_of(layers, keep=True)
    is_folder = source is not None and not is_standard_input(source) and Path(source).is_dir()
    if source is not None and not is_standard_input(source) and (is_folder or wclayer.is_disk(source)):
        if over_scratch and is_scratch(path):
            problem = "a scratch is there, and --over-scratch replaces one by a layer tar only; import to another place"
            raise AlreadyExistsError(path, problem)
        with progress_bar("importing") as progress:
            if is_folder:
                wclayer.import_layer(path, source, parents, progress=progress)
            else:
                wclayer.import_layer_from_disk(source, path, parents, progress=progress)
        if as_json:
            print_json({"path": os.path.abspath(path)})
        else:
            echo(f"imported {path}")
        warn_of_hives(path)
        return
    name = "<stdin>" if source is None or is_standard_input(source) else source
    stream = open_stream(STANDARD_INPUT if source is None else source)
    if starts_disk(stream.peek(1024)):
        raise InvalidParameterError(name, "holds a disk, which cannot be imported from a stream; write it to a file")
    with stream, progress_bar("importing", stream) as progress:
        result = wclayer.import_layer_from_tar(stream, path, parents, source=name, progress=progress)
    if as_json:
        print_json({"path": os.path.abspath(path), **dataclasses.asdict(result)})
    else:
        echo(
            f"imported {path}: {result.entries} entries, {size_text(result.size)} from {size_text(result.stored_size)}"
        )
        echo(f"  diffID {result.diff_id}")
        if result.digest != result.diff_id:
            echo(f"  digest {result.digest}")
    warn_of_hives(path)


def warn_of_hives(path: str) -> None:
    """Prints on the error stream which hives of a new layer cannot be read.

    With the hcs engine, nothing is printed: Windows reads the hives itself.
    """
    if wclayer.engine_name() == "hcs":
        return
    with open_layer(path) as layer:
        for problem in layer.hive_problems():
            warn(f"warning: {problem}")


@click.command("export")
@click.option("-o", "--output", "target", metavar="FILE", help="The tar to write (default, and -: standard output).")
@click.option("-z", "--gzip", "gzip", is_flag=True, help="Compress with gzip.")
@click.option("--zstd", "zstd", is_flag=True, help="Compress with zstd.")
@click.option(
    "--level", type=click.IntRange(1, 22), default=None, help="The compression level (default: 6 for gzip, 3 for zstd)."
)
@click.option("--transport", "folder", metavar="FOLDER", help="Write a transport folder instead of a tar.")
@layers_option
@json_option
@layer_argument("path")
def export_command(
    target: str | None,
    gzip: bool,
    zstd: bool,
    level: int | None,
    folder: str | None,
    layers: tuple[LayerArgument, ...],
    as_json: bool,
    path: LayerArgument,
) -> None:
    """Export the layer directory PATH, or the top layer of the image PATH, as a layer tar, with the same bytes that
    were imported. `save` writes a whole image.

    \b
    Example:
      wclayer export -o base.tar /layers/base
      wclayer export -o top.tar nanoserver:ltsc2022
      wclayer export -z -o app.tar.gz -l /layers/base /layers/app
    """
    if gzip and zstd:
        raise click.UsageError("choose one of --gzip and --zstd")
    if target == STANDARD_OUTPUT:
        target = None
    if gzip and level is not None and level > 9:
        raise click.UsageError("gzip has the levels 1 to 9")
    if folder == STANDARD_OUTPUT:
        raise click.UsageError(
            "a transport folder is not written to the standard output; write ./- for a folder named -"
        )
    parents = chain_of(layers)
    if folder is not None:
        with progress_bar("exporting") as progress:
            wclayer.export_layer(path.path, folder, parents, progress=progress)
        if as_json:
            print_json({"folder": os.path.abspath(folder)})
        else:
            echo(f"exported {path} to {folder}")
        return
    if target is None and sys.stdout.isatty():
        raise click.UsageError("a tar is not written to a terminal: use -o FILE, or redirect")
    compression = wclayer.Compression.GZIP if gzip else wclayer.Compression.ZSTD if zstd else wclayer.Compression.NONE
    if target is None:
        with progress_bar("exporting") as progress:
            wclayer.export_layer_to_tar(
                sys.stdout.buffer,
                path.path,
                parents,
                target="<stdout>",
                compression=compression,
                level=level,
                progress=progress,
            )
        return
    with results_beside(target, "a tar"):
        with progress_bar("exporting") as progress:
            result = wclayer.export_layer_to_file(
                path.path, target, parents, compression=compression, level=level, progress=progress
            )
        if as_json:
            print_json({"file": os.path.abspath(target), **dataclasses.asdict(result)})
        else:
            echo(f"exported {path} to {target}: {result.entries} entries, {size_text(result.stored_size)}")
            echo(f"  diffID {result.diff_id}{' (as imported)' if result.unchanged else ''}")
            if result.digest != result.diff_id:
                echo(f"  digest {result.digest}")


COMMANDS = (import_command, export_command)
