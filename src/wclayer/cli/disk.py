"""The verbs of disks: `disk info`, `disk check`, `disk convert`, and `convert`, which makes a disk from a layer."""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import UUID

import click

import wclayer
from wclayer.cli.group import Verbs
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.output import SIZE, count_bar, echo, json_option, print_json, progress_bar, size_text
from wclayer.layers.inputs import is_standard_input
from wclayer.win32.shown import count_text

_FIELDS = {
    "vhdx": (
        "kind", "block_size", "blocks_present", "logical_sector_size", "physical_sector_size", "disk_id", "linkage",
        "parents",
    ),
    "vhd": ("kind", "disk_id", "block_size", "blocks_present"),
    "raw": (),
}  # fmt: skip
"""The fields of `DiskInfo` that only some formats have."""
_SIZES = ("size", "block_size", "file_size")


@click.group("disk", cls=Verbs)
def disk_group() -> None:
    """Show, check or convert disk files: VHDX (fixed, dynamic, differencing), VHD (fixed, dynamic; to read) and raw.

    \b
    Example:
      wclayer disk info sandbox.vhdx
      wclayer disk check sandbox.vhdx
      wclayer disk convert --to raw sandbox.vhdx sandbox.img
    """


@disk_group.command("info")
@json_option
@click.argument("file")
def info_command(as_json: bool, file: str) -> None:
    """Show the format, sizes, parents and partitions of the disk FILE."""
    record = _record(wclayer.disk_info(file))
    if as_json:
        print_json(record)
        return
    for key, value in record.items():
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


def _record(info: wclayer.DiskInfo) -> dict[str, Any]:
    """Returns the fields of a disk that its format has, in the order in which they are printed."""
    record: dict[str, Any] = {"path": str(info.path), "format": info.format, "size": info.size}
    for name in _FIELDS[info.format]:
        value = getattr(info, name)
        if value is not None:
            record[name] = [str(path) for path in value] if name == "parents" else _plain(value)
    record["file_size"] = info.file_size
    if info.partition_table is not None:
        record["partition_table"] = info.partition_table
    return record | {"partitions": [_partition_record(partition) for partition in info.partitions]}


def _partition_record(partition: wclayer.PartitionInfo) -> dict[str, Any]:
    record: dict[str, Any] = {"type": partition.type, "guid": partition.guid, "offset": partition.offset}
    record |= {"size": partition.size, "name": partition.name, "active": partition.is_active}
    return {name: _plain(value) for name, value in record.items() if value is not None}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value


@disk_group.command("check")
@json_option
@click.argument("file")
@click.pass_context
def check_command(ctx: click.Context, as_json: bool, file: str) -> None:
    """Verify the structures of the disk FILE, if it is VHDX or VHD, and its partition table.

    The exit status is 1 if there is a problem."""
    problems = list(wclayer.check_disk(file))
    if as_json:
        print_json([problem.text for problem in problems])
    else:
        for problem in problems:
            echo(problem.text)
        echo(f"{file}: {count_text(len(problems), 'problem') if problems else 'no problem found'}")
    ctx.exit(1 if problems else 0)


@disk_group.command("convert")
@click.option("--to", type=click.Choice(["vhdx", "raw"]), default="vhdx", help="The format (default: vhdx).")
@click.option("--fixed", is_flag=True, help="Make a fixed VHDX file, with all of its space allocated.")
@click.option(
    "--block-size",
    type=click.IntRange(1, 256),
    default=1,
    metavar="MIB",
    help="The block size of the VHDX file, in MiB (default: 1).",
)
@click.option("--parent", default=None, metavar="FILE", help="Make a differencing disk on this VHDX file.")
@click.argument("source")
@click.argument("target")
def convert_command(to: str, fixed: bool, block_size: int, parent: str | None, source: str, target: str) -> None:
    """Make the disk file TARGET from the disk in SOURCE. Blocks of zeros take no space."""
    with count_bar("converting") as progress:
        wclayer.convert_disk(
            source, target, to=to, is_fixed=fixed, block_size=block_size << 20, parent=parent, progress=progress
        )
    echo(f"made {target}")


@click.command("convert")
@click.option("--to", type=click.Choice(["vhdx", "raw", "ntfs"]), default="vhdx", help="The format (default: vhdx).")
@click.option("-o", "--output", "target", required=True, metavar="FILE", help="The disk file to make.")
@click.option("--size", type=SIZE, default=None, help="The size of the disk (default: 20GiB, or more if needed).")
@click.option("--cluster-size", type=SIZE, default=4096, help="The cluster size of the volume (default: 4096 bytes).")
@click.option("--label", default="", help="The label of the volume.")
@click.option(
    "--alone", is_flag=True, help="Convert the layer without its parents: Files, Hives and UtilityVM as they are."
)
@click.option("--reproducible", is_flag=True, help="Make the same bytes from the same layers.")
@json_option
@layer_argument("layers", nargs=-1, required=True)
def convert_layer_command(
    to: str,
    target: str,
    size: int | None,
    cluster_size: int,
    label: str,
    alone: bool,
    reproducible: bool,
    as_json: bool,
    layers: tuple[LayerArgument, ...],
) -> None:
    """Make a disk with an NTFS volume from a layer and its parents, from an image, or from the chain LAYERS, nearest
    first. The tar of a base layer (- is standard input) is read once, without a layer directory.

    \b
    Example:
      wclayer convert /layers/app -o app.vhdx
      wclayer convert servercore:ltsc2022 -o servercore.vhdx
      wclayer convert base.tar.gz -o base.vhdx
      wclayer convert /layers/base --to ntfs --size 2GiB -o base.img
    """
    chain = [layer.text if is_standard_input(layer.text) else layer.path for layer in layers]
    with progress_bar("converting") as progress:
        result = wclayer.convert_layer(
            chain, target, to=to, size=size, cluster_size=cluster_size, label=label, alone=alone,
            reproducible=reproducible, progress=progress,
        )  # fmt: skip
    if as_json:
        print_json({"path": target, **dataclasses.asdict(result)})
    else:
        echo(f"made {target}: {result.entries} entries in a volume of {size_text(result.volume_size)}")
        if result.diff_id is not None:
            echo(f"  diffID {result.diff_id}")
            if result.digest != result.diff_id:
                echo(f"  digest {result.digest}")
    if result.unencrypted:
        click.echo(
            f"wclayer: warning: {result.unencrypted} entries are marked as encrypted, but their data are plain and "
            "there are no keys: the mark is left out on the volume",
            err=True,
        )


COMMANDS = (disk_group, convert_layer_command)
