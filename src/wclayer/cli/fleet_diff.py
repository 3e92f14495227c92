"""The verb `fleet diff`: what differs between two fleets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from wclayer.cli.fleet_query import memory_option, threads_option
from wclayer.cli.output import echo, json_option, print_json, print_json_members
from wclayer.comparison.texts import MARKS
from wclayer.fleet.query.difference import (
    FleetDiffSummary,
    FleetImage,
    FleetImageChange,
    FleetItemChange,
    FleetLayerChange,
    diff_fleets,
)
from wclayer.view.diff import Change
from wclayer.win32.shown import size_text


@click.command("diff")
@click.option("--summary", "only_summary", is_flag=True, help="Show only how much differs.")
@json_option
@memory_option
@threads_option
@click.argument("old")
@click.argument("new")
@click.pass_context
def diff_command(
    ctx: click.Context, only_summary: bool, as_json: bool, memory: int, threads: int | None, old: str, new: str
) -> None:
    """Show what differs from the fleet OLD to the fleet NEW: references that were added (+), removed (-), or have
    another image or status (~), each of these with its updates and packages that differ; layers that are new or gone.
    How much differs is shown first.

    The exit status is 1 if anything differs.

    \b
    Example:
      wclayer fleet diff out-may out-june
      wclayer fleet diff --summary --json out-may out-june
    """
    with diff_fleets(old, new, memory=memory, threads=threads) as difference:
        summary = difference.summary()
        if as_json and only_summary:
            print_json(_summary_record(summary))
        elif as_json:
            print_json_members(
                {"old": old, "new": new, "summary": _summary_record(summary)},
                {
                    "images": map(_image_record, difference.images()),
                    "layers": map(_layer_record, difference.layers()),
                },
            )
        else:
            for line in _summary_lines(old, new, summary):
                echo(line)
            if not only_summary:
                for image in difference.images():
                    for line in _image_lines(image):
                        echo(line)
                for layer in difference.layers():
                    echo(_layer_line(layer))
        ctx.exit(1 if summary else 0)


def _summary_lines(old: str, new: str, summary: FleetDiffSummary) -> Iterator[str]:
    yield f"{old} -> {new}"
    yield f"references  {_counts_text(summary.images)}, {summary.same} the same"
    yield f"updates     {_counts_text(summary.updates)}"
    yield f"packages    {_counts_text(summary.packages)}"
    layers = (
        f"{count} {change.value} ({size_text(summary.layer_sizes[change])})" for change, count in summary.layers.items()
    )
    yield f"layers      {', '.join(layers)}"


def _counts_text(counts: dict[Change, int]) -> str:
    return ", ".join(f"{count} {change.value}" for change, count in counts.items())


def _image_lines(change: FleetImageChange) -> Iterator[str]:
    for reference in change.references:
        yield f"{MARKS[change.change.value]} {reference}: {_sides_text(change.old, change.new)}"
    for item in change.items:
        name = f"{item.kind} {item.name}"
        yield f"    {MARKS[item.change.value]} {name}{_item_text(item)}"


def _sides_text(old: FleetImage | None, new: FleetImage | None) -> str:
    return " -> ".join(
        ", ".join(filter(None, (side.image or "no image", side.os_version, side.status if side.status != "ok" else "")))
        for side in (old, new)
        if side is not None
    )


def _item_text(item: FleetItemChange) -> str:
    text = " -> ".join(side or "-" for side in (item.old, item.new) if side is not None)
    return "" if text == "-" else f": {text}"


def _layer_line(layer: FleetLayerChange) -> str:
    size = "" if layer.stored_size is None else f"  {size_text(layer.stored_size)}"
    return f"{MARKS[layer.change.value]} layer {layer.layer}{size}  {layer.created_by}".rstrip()


def _summary_record(summary: FleetDiffSummary) -> dict[str, Any]:
    def counts(of: dict[Change, int]) -> dict[str, int]:
        return {change.value: count for change, count in of.items()}

    return {
        "images": counts(summary.images) | {"same": summary.same},
        "updates": counts(summary.updates),
        "packages": counts(summary.packages),
        "layers": counts(summary.layers),
        "layer_sizes": counts(summary.layer_sizes),
    }


def _image_record(change: FleetImageChange) -> dict[str, Any]:
    return {
        "change": change.change.value,
        "references": list(change.references),
        "old": _side_record(change.old),
        "new": _side_record(change.new),
        "is_compared": change.is_compared,
        "items": [
            {"change": item.change.value, "kind": item.kind, "name": item.name, "old": item.old, "new": item.new}
            for item in change.items
        ],
    }


def _side_record(image: FleetImage | None) -> dict[str, Any] | None:
    if image is None:
        return None
    return {
        "image": image.image or None, "status": image.status, "os_version": image.os_version or None,
        "created": image.created or None, "size": image.size,
    }  # fmt: skip


def _layer_record(layer: FleetLayerChange) -> dict[str, Any]:
    return {
        "change": layer.change.value, "layer": layer.layer, "stored_size": layer.stored_size,
        "created_by": layer.created_by or None,
    }  # fmt: skip
