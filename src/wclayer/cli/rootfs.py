"""`export-rootfs`."""

from __future__ import annotations

import dataclasses
import os

import click

import wclayer
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.output import echo, json_option, print_json, progress_bar, results_beside, size_text, warn
from wclayer.layers.atomic import STANDARD_OUTPUT, is_standard_output

_TOLD = 20
"""How many losses are told one by one."""


@click.command("export-rootfs")
@click.option(
    "-o", "--output", "target", default=STANDARD_OUTPUT, metavar="FILE",
    help="The tar to write (default, and -: standard output).",
)  # fmt: skip
@click.option(
    "--all", "tell_all", is_flag=True, help=f"Tell everything that the tar cannot hold, not only the first {_TOLD}."
)
@json_option
@layer_argument("layers", nargs=-1, required=True)
def export_rootfs_command(target: str, tell_all: bool, as_json: bool, layers: tuple[LayerArgument, ...]) -> None:
    """Write the file system that a container sees, of a layer or scratch with its parents, of an image, or of the chain
    LAYERS, nearest first, as a plain tar, for tools that know nothing of layers: scanners, or tar itself.

    C: is the root of the tar, deleted files are gone, the registry hives are the merged ones, and links lead to where
    they should when the tar is unpacked. What a plain tar cannot hold is told on the error stream.

    \b
    Example:
      wclayer export-rootfs -o rootfs.tar servercore:ltsc2022
      wclayer export-rootfs app:1 | tar -x -C /tmp/rootfs
    """
    told = 0

    def left_out(path: str, what: str) -> None:
        nonlocal told
        told += 1
        if tell_all or told <= _TOLD:
            warn(f"warning: {path}: {what}")

    chain = [layer.path for layer in layers]
    with results_beside(target, "a tar"):
        with progress_bar("exporting") as progress:
            result = wclayer.export_rootfs(chain, target, left_out=left_out, progress=progress)
        if told > _TOLD and not tell_all:
            warn(f"warning: and {told - _TOLD} more (--all tells them)")
        if as_json:
            print_json(
                {
                    "file": target if is_standard_output(target) else os.path.abspath(target),
                    **dataclasses.asdict(result),
                }
            )
        else:
            echo(f"exported {target}: {result.entries} entries, {size_text(result.size)}")


COMMANDS = (export_rootfs_command,)
