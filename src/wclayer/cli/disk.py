"""The verbs of disk files: `disk info`, `disk check`, `disk convert`."""

from __future__ import annotations

import click

import wclayer
from wclayer.cli.output import count_bar, echo, json_option, print_json, size_text

_SIZES = ("size", "block_size", "file_size")


@click.group("disk", short_help="Look into, check or convert a disk file.")
def disk_group() -> None:
    """Disk files: VHDX (fixed, dynamic, differencing) and raw images.

    \b
    Example:
      wclayer disk info sandbox.vhdx
      wclayer disk convert --to raw sandbox.vhdx sandbox.img
    """


@disk_group.command("info")
@json_option
@click.argument("file")
def info_command(as_json: bool, file: str) -> None:
    """Show what the disk FILE is: format, sizes, parents, partitions."""
    facts = wclayer.disk_info(file)
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        label = key.replace("_", " ")
        if key in _SIZES:
            echo(f"{label:>20}  {value} ({size_text(value)})")
        elif key == "partitions":
            for part in value:
                echo(
                    f"{'partition':>20}  {part['offset']} + {part['size']} ({size_text(part['size'])})  {part['name']}"
                )
        elif isinstance(value, list):
            for item in value or ["-"]:
                echo(f"{label:>20}  {item}")
        else:
            echo(f"{label:>20}  {value}")


@disk_group.command("check")
@json_option
@click.argument("file")
@click.pass_context
def check_command(ctx: click.Context, as_json: bool, file: str) -> None:
    """Verify the disk FILE: the structures of VHDX, and its partition table. Exit status 1 if there is a problem."""
    problems = list(wclayer.check_disk(file))
    if as_json:
        print_json(problems)
    else:
        for problem in problems:
            echo(problem)
        echo(f"{file}: {f'{len(problems)} problems' if problems else 'no problem found'}")
    ctx.exit(1 if problems else 0)


@disk_group.command("convert")
@click.option("--to", type=click.Choice(["vhdx", "raw"]), default="vhdx", help="The format (default: vhdx).")
@click.option("--fixed", is_flag=True, help="A VHDX file whose space is all there at once.")
@click.option("--block-size", type=click.IntRange(1, 256), default=1, metavar="MIB", help="Of VHDX, in MiB.")
@click.option("--parent", default=None, metavar="FILE", help="Make a differencing disk on this VHDX file.")
@click.argument("source")
@click.argument("target")
def convert_command(to: str, fixed: bool, block_size: int, parent: str | None, source: str, target: str) -> None:
    """Make the disk file TARGET of the disk in SOURCE; blocks of zeros take no space."""
    with count_bar("converting") as progress:
        wclayer.convert_disk(
            source, target, to=to, is_fixed=fixed, block_size=block_size << 20, parent=parent, progress=progress
        )
    echo(f"made {target}")


COMMANDS = (disk_group,)
