"""The verbs of the store: `images`, `tag`, `untag`, `rmi` and `prune`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

import wclayer
from wclayer.cli.image_options import store_option
from wclayer.cli.output import count_bar, echo, json_option, print_json, size_text, warn
from wclayer.cli.text_table import aligned
from wclayer.cli.word_kind import WordKind, completed_as
from wclayer.images.store import ImageStore, PruneResult, StoredImage
from wclayer.layers.directory.problem import Problem
from wclayer.win32.shown import count_text

_SHORT = 12
"""Digits of a digest that a listing shows; as many find an image."""
_UNREADABLE = "(cannot be read)"
"""The platform of an image with a problem, which is told on the error stream."""


@click.command("images")
@store_option
@click.option("--digests", is_flag=True, help="Show whole digests, also that of the index a name means.")
@json_option
def images_command(store: ImageStore, digests: bool, as_json: bool) -> None:
    """List the images of the store: name, digest, platform, base image, creation, sizes, and whether it is unpacked.

    A name that means an index has a line for each of its images in the store. An image without a name ("-") is kept by
    its digest: it was pulled by its digest, or a scratch was made of it (`create --from`); `rmi DIGEST` lets it go.
    SHARED are the bytes of blobs and unpacked layers that other images use, too; OWN are those that `prune` frees when
    all names of the image are gone.

    \b
    Example:
      wclayer images
      wclayer images --json
    """
    images = store.images()
    if as_json:
        print_json([_record(image) for image in images])
        return
    rows: list[tuple[str, ...]] = [("NAME", "DIGEST", "PLATFORM", "BASE", "CREATED", "SHARED", "OWN", "UNPACKED")]
    rows += [_row(image, digests) for image in images]
    for line in aligned(rows, whole=True):
        echo(line)
    for image in images:
        if image.problem:
            warn(f"{image.name}: {image.problem}")


def _record(image: StoredImage) -> dict[str, Any]:
    return {
        "name": image.name,
        "digest": image.descriptor.digest,
        "manifest": image.manifest.digest,
        "platform": image.platform.to_json() if image.platform is not None else None,
        "base": image.base or None,
        "created": image.created or None,
        "tagged": image.tagged,
        "size": image.size,
        "shared_size": image.shared_size,
        "own_size": image.own_size,
        "chain_ids": list(image.chain_ids),
        "unpacked": image.is_unpacked,
        "problem": image.problem or None,
    }


def _row(image: StoredImage, digests: bool) -> tuple[str, ...]:
    digest = image.manifest.digest if digests else image.manifest.digest.partition(":")[2][:_SHORT]
    if digests and image.descriptor.digest != image.manifest.digest:
        digest = f"{image.descriptor.digest} {digest}"
    name = image.name
    if name == image.descriptor.digest:
        name = "-"
    if image.problem:
        return name, digest, _UNREADABLE, "", "", "", "", ""
    platform = "-"
    if image.platform is not None:
        version = f":{image.platform.os_version}" if image.platform.os_version else ""
        platform = f"{image.platform.os}/{image.platform.architecture}{version}"
    return (
        name, digest, platform, image.base or "-", image.created[:19] or "-", size_text(image.shared_size),
        size_text(image.own_size), "yes" if image.is_unpacked else "no",
    )  # fmt: skip


@click.command("tag")
@store_option
@json_option
@click.argument("image", shell_complete=completed_as(WordKind.IMAGE))
@click.argument("name")
def tag_command(store: ImageStore, as_json: bool, image: str, name: str) -> None:
    """Give IMAGE of the store the further name NAME. Another image that has the name loses it.

    IMAGE is a name, the end of a name from a "/" on, or the first 12 or more digits of a digest.

    \b
    Example:
      wclayer tag mcr.microsoft.com/windows/nanoserver:ltsc2025 nano
      wclayer tag 0123456789ab localhost:5000/app:2
    """
    descriptor = store.find(image)
    store.tag(name, descriptor)
    name = store.full_name(name)
    if as_json:
        print_json({"name": name, "digest": descriptor.digest})
    else:
        echo(f"{name} is {descriptor.digest}")


@click.command("untag")
@store_option
@json_option
@click.argument("names", metavar="NAME...", shell_complete=completed_as(WordKind.IMAGE), nargs=-1, required=True)
def untag_command(store: ImageStore, as_json: bool, names: tuple[str, ...]) -> None:
    """Remove names of images from the store. What no other name keeps stays until `wclayer prune`.

    \b
    Example:
      wclayer untag localhost:5000/app:1 app:2
    """
    _untag(store, names, as_json)


@click.command("rmi")
@store_option
@json_option
@click.argument("names", metavar="NAME...", shell_complete=completed_as(WordKind.IMAGE), nargs=-1, required=True)
def rmi_command(store: ImageStore, as_json: bool, names: tuple[str, ...]) -> None:
    """Remove names of images from the store, as `untag` does. What no other name keeps stays until `wclayer prune`.

    \b
    Example:
      wclayer rmi localhost:5000/app:1
    """
    _untag(store, names, as_json)


def _untag(store: ImageStore, names: Sequence[str], as_json: bool) -> None:
    untagged = []
    for name in names:
        untagged.append(store.untag(name))
        if not as_json:
            echo(f"untagged {untagged[-1]}")
    if as_json:
        print_json({"untagged": untagged})


@click.command("prune")
@store_option
@click.option("-n", "--dry-run", is_flag=True, help="Remove nothing, and show what would be removed.")
@click.option(
    "--all", "all_downloads", is_flag=True, help="Remove all begun downloads and build steps, also young ones."
)
@click.option(
    "--keep-hours", type=click.FloatRange(0), default=24.0, show_default=True,
    help="Keep begun downloads that got bytes, and build steps that were used, in the last N hours.",
)  # fmt: skip
@click.option("--check", "checks", is_flag=True, help="Verify everything in the store, and remove nothing.")
@click.option(
    "--repair", "repairs", is_flag=True,
    help="Verify everything, remove only what is damaged, and unpack damaged layers again.",
)  # fmt: skip
@json_option
@click.pass_context
def prune_command(
    ctx: click.Context,
    store: ImageStore,
    dry_run: bool,
    all_downloads: bool,
    keep_hours: float,
    checks: bool,
    repairs: bool,
    as_json: bool,
) -> None:
    """Remove from the store what no name keeps: blobs, unpacked layers, old downloads, remains of killed processes.

    Layers that are mounted or open stay, and so do those of the build cache for a day after their last use.

    With --check, each blob is compared with its digest, each name with what it needs, and each unpacked layer with its
    records; the exit status is 1 if there is a problem.

    With --repair, what --check finds is mended as far as the store allows: damaged blobs are removed, so that a pull
    fetches them again, and damaged layers are unpacked again from their blobs. Nothing that is whole is removed. What
    remains is listed; the exit status is then 1.

    \b
    Example:
      wclayer prune --dry-run
      wclayer prune --all
      wclayer prune --check
      wclayer prune --repair
    """
    if checks and repairs:
        raise click.UsageError("--check removes nothing, and --repair does: give one of them")
    if (checks or repairs) and (dry_run or all_downloads):
        reason = "--check removes nothing" if checks else "--repair removes only what is damaged; --check shows it"
        raise click.UsageError(f"{reason}: it has neither --dry-run nor --all")
    if checks:
        ctx.exit(_check(store, as_json))
    if repairs:
        ctx.exit(_repair(store, as_json))
    result = store.prune(keep_hours=0 if all_downloads else keep_hours, dry_run=dry_run)
    if as_json:
        print_json(
            {
                "blobs": result.blobs,
                "layers": result.layers,
                "downloads": result.downloads,
                "steps": result.steps,
                "busy": [str(path) for path in result.busy],
                "freed": result.freed,
            }
        )
        return
    for path in result.busy:
        echo(f"left: {path} is mounted or open")
    echo(_summary(result, "would be removed" if dry_run else "removed"))


def _summary(result: PruneResult, what: str) -> str:
    counts = ", ".join(
        (
            count_text(len(result.blobs), "blob"),
            count_text(len(result.layers), "layer"),
            count_text(len(result.downloads), "begun download"),
            *([count_text(len(result.steps), "build step")] if result.steps else []),
        )
    )
    return f"{counts} {what}: {size_text(result.freed)}"


def _check(store: ImageStore, as_json: bool) -> int:
    """Verifies the store, and returns the exit status."""
    with count_bar("checking") as progress:
        problems = list(store.check(progress=progress))
    if as_json:
        print_json(_problem_records(problems))
    else:
        _tell_problems(store, problems)
        if problems:
            echo("`wclayer prune --repair` mends what the store itself can mend")
    return 1 if problems else 0


def _repair(store: ImageStore, as_json: bool) -> int:
    """Repairs the store, and returns the exit status."""
    with count_bar("checking") as progress:
        result = wclayer.repair_store(store, progress=progress)
    if as_json:
        print_json(
            {
                "blobs": result.blobs,
                "layers": result.layers,
                "steps": result.steps,
                "problems": _problem_records(result.problems),
            }
        )
    else:
        for digest in result.blobs:
            echo(f"removed the damaged blob {digest}")
        for chain_id in result.layers:
            echo(f"unpacked the layer {chain_id} again")
        for key in result.steps:
            echo(f"removed the record of the build step {key}")
        _tell_problems(store, result.problems)
    return 1 if result.problems else 0


def _problem_records(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"path": problem.path, "problem": problem.text} for problem in problems]


def _tell_problems(store: ImageStore, problems: Sequence[Problem]) -> None:
    for problem in problems:
        echo(f"{problem.path}: {problem.text}")
    echo(f"{store.path}: {count_text(len(problems), 'problem') if problems else 'no problem found'}")


COMMANDS = (images_command, tag_command, untag_command, rmi_command, prune_command)
