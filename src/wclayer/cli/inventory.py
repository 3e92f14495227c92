"""The verb `inventory`: what an image, a layer, a scratch or a disk holds."""

from __future__ import annotations

from contextlib import ExitStack

import click

import wclayer
from wclayer.cli.bills import Bills, bill_options
from wclayer.cli.facts_option import FactsOption, facts_option
from wclayer.cli.inventory_table import print_inventory
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.output import count_bar, echo, json_option, print_json
from wclayer.inventory.item import Inventory, ItemKind


@click.command("inventory")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice([str(kind) for kind in ItemKind]),
    metavar="KIND",
    multiple=True,
    help=f"Show only items of this kind, and all of them. May be repeated. Kinds: {', '.join(ItemKind)}.",
)
@click.option("--own", is_flag=True, help="Show only what the image's own layers brought, not its base.")
@click.option("--no-files", is_flag=True, help="Do not look at all files: no packages, no PE files; much faster.")
@facts_option
@bill_options
@json_option
@layer_argument("layer")
def inventory_command(
    kinds: tuple[str, ...],
    own: bool,
    no_files: bool,
    facts: FactsOption,
    bills: Bills,
    as_json: bool,
    layer: LayerArgument,
) -> None:
    """Show what LAYER holds: an image, a layer over its parents, a scratch, or a disk file.

    The operating system, updates, features, programs, .NET, services, drivers, scheduled tasks, users, environment,
    ports, certificates, packages of programming languages, and PE files. Each line ends with the number of the layer
    that brought the item, and with the key or the file that says so. The list of layers and what is damaged or
    contradictory stand at the top. The services, drivers, tasks, certificates and PE files of the base are only
    counted, if --kind does not ask for them.

    With --cyclonedx, --spdx or --attach, what is found is not shown but written as a bill of materials (SBOM).

    With --facts, the layers of an image are read once and not unpacked; the next image on the same layers needs only
    its own.

    \b
    Example:
      wclayer inventory myapp:1.0
      wclayer inventory --own --json myapp:1.0
      wclayer inventory --kind pe-file /layers/app
      wclayer inventory --cyclonedx app.cdx.json --attach myapp:1.0
      wclayer inventory --facts facts docker://registry.example.org/myapp:1.0
    """
    with bills.told_beside(layer):
        with count_bar("taking inventory") as bar, ExitStack() as held:
            subject = held.enter_context(facts.open(layer, bar)) if facts else layer.image or layer.text
            taken = wclayer.take_inventory(subject, files=not no_files, progress=bar)
        wanted = frozenset(map(ItemKind, kinds))
        shown = _narrowed(taken, wanted or frozenset(ItemKind), own)
        with_system = _with_system(shown, taken)
        for line in bills.deliver(with_system, layer):
            if not as_json:
                echo(line)
        if as_json:
            print_json(shown.to_json())
        elif not bills:
            print_inventory(with_system, wanted)


def _narrowed(inventory: Inventory, kinds: frozenset[ItemKind], own: bool) -> Inventory:
    """Returns an inventory with the items that a user asked for."""
    return inventory.with_items(
        item for item in inventory.items if item.kind in kinds and not (own and item.origin.is_base)
    )


def _with_system(narrowed: Inventory, whole: Inventory) -> Inventory:
    """Returns an inventory with the operating system: tables have it at the top, and bills as what all depends on."""
    system = whole.operating_system
    others = [item for item in narrowed.items if item.kind is not ItemKind.OPERATING_SYSTEM]
    return narrowed.with_items([*([] if system is None else [system]), *others])


COMMANDS = (inventory_command,)
