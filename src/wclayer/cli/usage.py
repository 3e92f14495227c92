"""The verb `du`: the bytes of directories."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.merged import merged_option, parents_hinted, shown_chain
from wclayer.cli.output import count_bar, json_option, print_json_list, size_text
from wclayer.cli.text import LAYER_PATH
from wclayer.survey.model import DirectoryUsage
from wclayer.survey.usage import directory_usage
from wclayer.win32.shown import shown


@click.command("du")
@merged_option
@click.option(
    "-L",
    "--depth",
    type=click.IntRange(0),
    default=None,
    help="Do not print directories below this depth; 0 prints only the sum of each PATH.",
)
@click.option("-b", "--bytes", "exact", is_flag=True, help="Print numbers of bytes, not sizes such as 1.5 MiB.")
@click.option("--stored", is_flag=True, help="Count all that the layers store, also what no name shows in the end.")
@click.option(
    "--by-layer", is_flag=True, help="Print a line for each layer: the size, the number of the layer, the path."
)
@json_option
@layer_argument("layer")
@click.argument("paths", nargs=-1, type=LAYER_PATH)
def du_command(
    merged: bool | None,
    depth: int | None,
    exact: bool,
    stored: bool,
    by_layer: bool,
    as_json: bool,
    layer: LayerArgument,
    paths: tuple[str, ...],
) -> None:
    """Print the bytes of PATHS of LAYER, a layer or an image, and of all directories below: what a container sees
    there. Each directory comes after those in it.

    A file with several names counts once, at its first name; alternate streams count; directories themselves take
    nothing. With --stored, files that later layers replace or remove count, too: the sums are what the image takes. A
    directory that a layer removes is a PATH, too. The layers are numbered from the base layer, which is 1.

    \b
    Example:
      wclayer du -L 1 nanoserver:ltsc2022 'C:\\'
      wclayer du --stored --by-layer -L 0 myapp:1.0
      wclayer du -b -L 1 myapp:1.0 'C:\\app' | sort -rn | head
    """

    def found() -> Iterator[DirectoryUsage]:
        for path in paths or ("",):
            yield from directory_usage(shown_chain(layer, merged), path, depth=depth, progress=bar)

    with parents_hinted(layer, merged), count_bar("measuring") as bar:
        if as_json:
            print_json_list(_record(usage, by_layer=by_layer) for usage in found())
            return
        for usage in found():
            for size, number in _sizes(usage, stored=stored, by_layer=by_layer):
                text = str(size) if exact else size_text(size)
                print(shown("\t".join(filter(None, (text, number, usage.path or "/")))))


def _sizes(usage: DirectoryUsage, *, stored: bool, by_layer: bool) -> Iterator[tuple[int, str]]:
    """Yields what is printed of a directory: each size with the number of its layer, "" for all layers."""
    if not by_layer:
        yield usage.bytes if stored else usage.visible_bytes, ""
        return
    for layer in usage.layers:
        size = layer.bytes if stored else layer.bytes - layer.hidden_bytes
        if size:
            yield size, str(layer.layer)


def _record(usage: DirectoryUsage, *, by_layer: bool) -> dict[str, Any]:
    record: dict[str, Any] = {
        "path": usage.path, "bytes": usage.visible_bytes, "stored_bytes": usage.bytes, "files": usage.files,
        "entries": usage.entries,
    }  # fmt: skip
    if by_layer:
        record["layers"] = [
            {"layer": layer.layer, "bytes": layer.bytes - layer.hidden_bytes, "stored_bytes": layer.bytes}
            for layer in usage.layers
        ]
    return record


COMMANDS = (du_command,)
