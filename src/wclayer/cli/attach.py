"""The verb that attaches files to images: `attach`."""

from __future__ import annotations

from typing import Any

import click

from wclayer.cli.config_options import annotation_option, pairs
from wclayer.cli.image_options import platform_option, quiet_option, store_option
from wclayer.cli.output import echo, json_option, print_json
from wclayer.cli.remote import registry_options
from wclayer.cli.text_table import aligned
from wclayer.cli.transfer_bars import transfer_bars
from wclayer.cli.word_kind import WordKind, completed_as
from wclayer.images.attaching import TITLE, AttachedFile, attach_file, attached_files
from wclayer.images.descriptor import Descriptor
from wclayer.images.platform import Platform
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore


@click.command("attach")
@store_option
@registry_options
@platform_option
@click.option(
    "--type", "media_type", metavar="MEDIA-TYPE", default="",
    help="What FILE is (application/spdx+json). By default, the contents tell it.",
)  # fmt: skip
@annotation_option
@click.option("--list", "lists", is_flag=True, help="List what is attached to IMAGE.")
@quiet_option
@json_option
@click.argument("image", shell_complete=completed_as(WordKind.IMAGE))
@click.argument("file", required=False)
def attach_command(
    store: ImageStore,
    registry: RegistryOptions,
    platform: Platform | None,
    media_type: str,
    annotation: tuple[str, ...],
    lists: bool,
    quiet: bool,
    as_json: bool,
    image: str,
    file: str | None,
) -> None:
    """Attach FILE (an SBOM, a report, a signature) to IMAGE, or list what is attached to it.

    IMAGE is a name in the store, the path of a layout, docker://REF or oci:DIR[:TAG]. It does not change: a manifest
    beside it names FILE, and refers to it. If IMAGE is an index, FILE is about all images in it; --platform attaches
    FILE to one of them.

    CycloneDX, SPDX, SARIF, OpenVEX, CSAF and in-toto are recognized. The same file is attached once. `wclayer copy
    --referrers` copies an image with what is attached to it, from the store to a registry, too.

    \b
    Example:
      wclayer attach docker://localhost:5000/app:1 app.cdx.json
      wclayer attach app:1 tests.xml --type application/vnd.junit+xml --annotation run=42
      wclayer attach --list docker://localhost:5000/app:1
    """
    annotations = pairs(annotation, "--annotation")
    if lists:
        if file is not None or media_type or annotations:
            raise click.UsageError("--list attaches nothing; it takes no FILE, --type and --annotation")
        _show(attached_files(image, store, platform=platform, registry=registry), quiet=quiet, as_json=as_json)
        return
    if file is None:
        raise click.UsageError("name the FILE that is attached to IMAGE, or --list")
    with transfer_bars(quiet=quiet) as progress:
        result = attach_file(
            image, file, store, media_type=media_type, annotations=annotations, platform=platform, registry=registry,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(attached_record(image, result))
    elif quiet:
        echo(result.descriptor.digest)
    else:
        echo(attached_text(image, file, result))


def attached_text(image: str, file: str, result: AttachedFile) -> str:
    """Returns the line that tells what was attached."""
    said = f"is attached to {image} already" if result.was_attached else f"attached to {image}"
    return f"{file} {said} as {result.file.media_type}: {result.descriptor.digest}"


def attached_record(image: str, result: AttachedFile) -> dict[str, Any]:
    """Returns what JSON says of a file that was attached."""
    return {
        "image": image,
        "subject": result.subject.digest,
        "digest": result.descriptor.digest,
        "artifact_type": result.file.media_type,
        "file_digest": result.file.digest,
        "size": result.file.size,
        "was_attached": result.was_attached,
    }


def _show(found: list[Descriptor], *, quiet: bool, as_json: bool) -> None:
    """Prints what is attached to an image."""
    if as_json:
        print_json(
            [
                {
                    "digest": item.digest,
                    "media_type": item.media_type,
                    "size": item.size,
                    "artifact_type": item.artifact_type,
                    "annotations": dict(item.annotations),
                }
                for item in found
            ]
        )
        return
    if quiet:
        for item in found:
            echo(item.digest)
        return
    rows = [(item.artifact_type or "-", item.digest, item.annotations.get(TITLE, "")) for item in found]
    for line in aligned(rows, whole=True):
        echo(line)


COMMANDS = (attach_command,)
