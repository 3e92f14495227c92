"""The verb that compares images and layers: `diff`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import click

from wclayer._types import StrPath
from wclayer.cli.facts_option import FactsOption, facts_option
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.output import count_bar, echo, json_option, print_json, results_beside, warn
from wclayer.comparison.html import page
from wclayer.comparison.image_diff import (
    DocumentDifference,
    ImageDifference,
    document_difference,
    file_differences,
    registry_differences,
)
from wclayer.comparison.inventory_diff import InventoryDifference, diff_contents
from wclayer.comparison.records import (
    difference_record,
    documents_record,
    file_record,
    inventory_record,
    registry_record,
)
from wclayer.comparison.summary import summarize, summary_record
from wclayer.comparison.summary_text import summary_lines
from wclayer.comparison.texts import document_lines, file_lines, inventory_lines, registry_lines
from wclayer.errors import InvalidParameterError
from wclayer.images.opening import ImageLayers
from wclayer.inventory.facts.chain import ImageFacts
from wclayer.layers.atomic import OutputFile
from wclayer.layers.directory.chain_file import read_chain
from wclayer.view.diff import Difference
from wclayer.view.registry import RegistryDifference
from wclayer.win32.shown import count_text


@click.command("diff")
@click.option("--no-times", is_flag=True, help="Ignore differences of times.")
@click.option("--alone", is_flag=True, help="Compare the two layers alone, without their parents.")
@click.option("--summary", is_flag=True, help="Show the most important changes, and how many there are of each kind.")
@click.option("--html", metavar="FILE", default=None, help="Write a page for a browser, which needs nothing else.")
@facts_option
@json_option
@layer_argument("a")
@layer_argument("b", required=False)
@click.pass_context
def diff_command(
    ctx: click.Context,
    no_times: bool,
    alone: bool,
    summary: bool,
    html: str | None,
    facts: FactsOption,
    as_json: bool,
    a: LayerArgument,
    b: LayerArgument | None,
) -> None:
    """Show what differs from A to B, layers or images, each over its parents: files, their metadata, and the registry;
    of two images also what their documents say (platform, configuration, history, layers), and what they hold (updates,
    programs, services, packages). Without B, show what A, or
    the top layer of the image A, changes over its parents; for a scratch, this is what would be exported.

    With --facts, the layers of two images are read once and not unpacked.

    The exit status is 1 if anything differs. Access times alone are never a difference.

    \b
    Example:
      wclayer diff /layers/base /layers/app
      wclayer diff /layers/run
      wclayer diff servercore:ltsc2022 servercore:new
      wclayer diff --summary --html report.html app:1 app:2
      wclayer diff --facts facts docker://registry.example.org/app:1 docker://registry.example.org/app:2
    """
    with ExitStack() as held:
        compared = _with_facts(facts, a, b, alone, held) if facts else _with_layers(a, b, alone)
        documents, inventory, files, registry = _differences(compared, times=not no_times, alone=alone)
        if not (summary or html or as_json):
            ctx.exit(1 if _print_lines(documents, inventory, files, registry) else 0)
        found = ImageDifference(*compared.names, documents, inventory, tuple(files), tuple(registry))
        with nullcontext() if html is None else results_beside(html, "a page"):
            if html is not None:
                with OutputFile(html, sources=compared.read) as output:
                    for part in page(found):
                        output.stream.write(part.encode())
                if not (as_json or summary):
                    echo(f"{html}: {count_text(summarize(found).total, 'difference')}")
            if as_json:
                print_json(summary_record(summarize(found)) if summary else difference_record(found))
            elif summary:
                for line in summary_lines(found):
                    echo(line)
        ctx.exit(1 if found else 0)


@dataclass(frozen=True, slots=True)
class _Compared:
    """What is compared.

    Attributes:
        names: what the two are called.
        sides: the layers, or the images by their facts.
        images: the two, if both are images.
        read: the files and folders that are read.
    """

    names: tuple[str, str]
    sides: tuple[ImageFacts | str, ImageFacts | str]
    images: tuple[ImageLayers | ImageFacts, ImageLayers | ImageFacts] | None
    read: Sequence[StrPath]


def _with_layers(a: LayerArgument, b: LayerArgument | None, alone: bool) -> _Compared:
    old, new = _paths(a, b)
    names = (a.text, b.text) if b else (old, a.text)
    read = [*map(Path, (old, new)), *read_chain(Path(old)), *read_chain(Path(new))]
    images = None if b is None or alone else _images(a, b)
    read += [image.place for image in images or () if image.place is not None]
    return _Compared(names, (old, new), images, read)


def _with_facts(
    facts: FactsOption, a: LayerArgument, b: LayerArgument | None, alone: bool, held: ExitStack
) -> _Compared:
    if b is None or alone:
        raise click.UsageError("--facts compares two images, A and B, each with all its layers")
    with count_bar("reading layers") as bar:
        image_a, image_b = (held.enter_context(facts.open(each, bar)) for each in (a, b))
    images = image_a, image_b
    return _Compared((a.text, b.text), images, images, [facts.place])


def _differences(
    compared: _Compared, *, times: bool, alone: bool
) -> tuple[DocumentDifference | None, InventoryDifference | None, Iterable[Difference], Iterable[RegistryDifference]]:
    documents = inventory = None
    files: Iterable[Difference] = file_differences(*compared.sides, times=times, alone=alone)
    if compared.images is not None:
        documents = document_difference(*compared.images, times=times)
        files = tuple(files)
        inventory = diff_contents(*compared.images, (file.path for file in files))
    return documents, inventory, files, registry_differences(*compared.sides, times=times, alone=alone)


def _paths(a: LayerArgument, b: LayerArgument | None) -> tuple[str, str]:
    """Returns the paths of the layers that are compared."""
    if b is not None:
        return a.path, b.path
    parents = read_chain(Path(a.path))
    if not parents:
        raise InvalidParameterError(a.text, "it has no parents, and no layer B is given")
    return str(parents[0]), a.path


def _images(a: LayerArgument, b: LayerArgument) -> tuple[ImageLayers, ImageLayers] | None:
    """Returns the two if both are images."""
    if a.image is not None and b.image is not None:
        return a.image, b.image
    if a.is_image or b.is_image:
        layer = b if a.is_image else a
        warn(f"{layer} is a layer, not an image: configuration, history and layers are not compared")
    return None


def _print_lines(
    documents: DocumentDifference | None,
    inventory: InventoryDifference | None,
    files: Iterable[Difference],
    registry: Iterable[RegistryDifference],
) -> bool:
    """Prints all that differs while it is found, and returns whether anything does."""
    found = bool(documents or inventory)
    if documents is not None:
        for line in document_lines(documents_record(documents)):
            echo(line)
    if inventory is not None:
        for line in inventory_lines(inventory_record(inventory)):
            echo(line)
    for file in files:
        found = True
        for line in file_lines(file_record(file)):
            echo(line)
    for change in registry:
        found = True
        for line in registry_lines(registry_record(change)):
            echo(line)
    return found


COMMANDS = (diff_command,)
