"""`pull`, `push`, `copy`, `load` and `save`: whole images between registries, layouts, archives and the store."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from wclayer.cli.image_options import (
    all_option,
    foreign_option,
    jobs_option,
    platform_option,
    quiet_option,
    store_option,
)
from wclayer.cli.output import echo, json_option, print_json, results_beside, size_text
from wclayer.cli.remote import registry_options
from wclayer.cli.transfer_bars import transfer_bars
from wclayer.cli.word_kind import WordKind, completed_as
from wclayer.images.copying import copy_between
from wclayer.images.loading import FORMATS, load_images, save_images
from wclayer.images.location import Transport, parse_location
from wclayer.images.platform import Platform
from wclayer.images.pull import PullResult, pull_image
from wclayer.images.push import push_image
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transfer import CopyResult
from wclayer.layers.inputs import STANDARD_INPUT, is_standard_input
from wclayer.win32.shown import count_text

no_unpack_option = click.option("--no-unpack", is_flag=True, help="Do not unpack the layers.")


_Command = TypeVar("_Command", bound=Callable[..., Any])


def _transfer_options(function: _Command) -> _Command:
    """Adds the options that all of these verbs have."""
    for option in (json_option, quiet_option, jobs_option, store_option, foreign_option):
        function = option(function)
    return function


@click.command("pull")
@platform_option
@all_option
@no_unpack_option
@registry_options
@_transfer_options
@click.argument("reference", metavar="REF")
def pull_command(
    platform: Platform | None,
    all_platforms: bool,
    no_unpack: bool,
    foreign: str,
    registry: RegistryOptions,
    store: ImageStore,
    jobs: int,
    quiet: bool,
    as_json: bool,
    reference: str,
) -> None:
    """Fetch the image REF from its registry into the store, and unpack its layers while they arrive.

    Layers that the store has are neither fetched nor unpacked again. A pull that was interrupted goes on where it was.
    Every size and digest is verified. Of an index, the one image that fits is fetched: name it with --platform if there
    are several.

    \b
    Example:
      wclayer pull mcr.microsoft.com/windows/nanoserver:ltsc2025
      wclayer pull --platform windows/amd64:10.0.20348 localhost:5000/app:1
      wclayer pull --all --no-unpack localhost:5000/app:1
    """
    with transfer_bars(quiet=quiet) as progress:
        result = pull_image(
            reference, store, registry=registry, platform=platform, all_platforms=all_platforms,
            unpack=not no_unpack, foreign=foreign, jobs=jobs, progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(_pull_record(result))
    else:
        _tell_pull("pulled", result, quiet)


@click.command("push")
@platform_option
@registry_options
@_transfer_options
@click.argument("image", shell_complete=completed_as(WordKind.IMAGE))
@click.argument("reference", metavar="[REF]", default="")
def push_command(
    platform: Platform | None,
    foreign: str,
    registry: RegistryOptions,
    store: ImageStore,
    jobs: int,
    quiet: bool,
    as_json: bool,
    image: str,
    reference: str,
) -> None:
    """Copy IMAGE of the store to a registry, as REF (default: its own name). No byte changes, so its digest stays.

    An index goes with all its images.

    \b
    Example:
      wclayer push localhost:5000/app:1
      wclayer push app:1 localhost:5000/other:2
      wclayer push --foreign convert nanoserver:1803 localhost:5000/nanoserver:1803
    """
    with transfer_bars(quiet=quiet) as progress:
        result = push_image(
            image, reference, store, registry=registry, platform=platform, foreign=foreign, jobs=jobs,
            progress=progress,
        )  # fmt: skip
    _show_copy("pushed", image, reference or store.full_name(image), result, quiet=quiet, as_json=as_json)


@click.command("copy")
@platform_option
@all_option
@click.option("--referrers", is_flag=True, help="Copy signatures, SBOMs and all else that refers to the image, too.")
@registry_options
@_transfer_options
@click.argument("source", metavar="SRC", shell_complete=completed_as(WordKind.IMAGE))
@click.argument("target", metavar="DST")
def copy_command(
    platform: Platform | None,
    all_platforms: bool,
    referrers: bool,
    foreign: str,
    registry: RegistryOptions,
    store: ImageStore,
    jobs: int,
    quiet: bool,
    as_json: bool,
    source: str,
    target: str,
) -> None:
    """Copy an image from SRC to DST. Nothing is unpacked and no byte changes, so all digests stay.

    SRC and DST are a reference (localhost:5000/app:1, also docker://…), oci:DIR[:TAG], oci-archive:FILE[:TAG],
    docker-archive:FILE[:REF] or store:NAME.

    \b
    Example:
      wclayer copy --all mcr.microsoft.com/windows/nanoserver:ltsc2025 localhost:5000/nanoserver:ltsc2025
      wclayer copy --referrers localhost:5000/app:1 oci:mirror:app
      wclayer copy docker-archive:app.tar store:app:1
    """
    with results_beside(parse_location(target).archive_file, "an archive"):
        with transfer_bars(quiet=quiet) as progress:
            result = copy_between(
                source, target, store, registry=registry, platform=platform, all_platforms=all_platforms,
                referrers=referrers, foreign=foreign, jobs=jobs, progress=progress,
            )  # fmt: skip
        _show_copy("copied", source, target, result, quiet=quiet, as_json=as_json)


@click.command("load")
@click.option(
    "-i", "--input", "file", metavar="FILE", default=STANDARD_INPUT,
    help="The archive, or the folder of a layout (default: an archive on standard input).",
)  # fmt: skip
@click.option("-t", "--tag", "name", metavar="NAME", default="", help="The name of the image, if there is only one.")
@platform_option
@no_unpack_option
@_transfer_options
def load_command(
    file: str,
    name: str,
    platform: Platform | None,
    no_unpack: bool,
    foreign: str,
    store: ImageStore,
    jobs: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Put the images of an archive into the store, and unpack their layers.

    The archive is one of `docker save` (Docker 1.10 or later), `podman save` or `ctr images export`, or a tar or folder
    of an OCI layout. A tar may be compressed.

    \b
    Example:
      wclayer load -i app.tar
      docker save app:1 | wclayer load
      wclayer load -i layout/ -t app:1
    """
    if is_standard_input(file) and sys.stdin.isatty():
        raise click.UsageError("an archive is not read from a terminal: use -i FILE, or redirect")
    with transfer_bars(quiet=quiet) as progress:
        results = load_images(
            file, store, name=name, platform=platform, unpack=not no_unpack, foreign=foreign, jobs=jobs,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json([_pull_record(result) for result in results])
        return
    for result in results:
        _tell_pull("loaded", result, quiet)


@click.command("save")
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    required=True,
    help="The file (-: standard output); a folder with --format oci.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True,
    help="What is written; `docker load` reads a docker-archive.",
)  # fmt: skip
@platform_option
@_transfer_options
@click.argument("images", metavar="IMAGE...", shell_complete=completed_as(WordKind.IMAGE), nargs=-1, required=True)
def save_command(
    file: str,
    form: str,
    platform: Platform | None,
    foreign: str,
    store: ImageStore,
    jobs: int,
    quiet: bool,
    as_json: bool,
    images: tuple[str, ...],
) -> None:
    """Write images of the store into one file. Layers that several images have are written once.

    \b
    Example:
      wclayer save -o app.tar app:1
      wclayer save -o - app:1 | docker load
      wclayer save -o both.tar --format oci-archive app:1 nanoserver:ltsc2025
    """
    with results_beside("" if form == Transport.LAYOUT.value else file, "an archive"):
        with transfer_bars(quiet=quiet) as progress:
            results = save_images(
                images, file, store, form=form, platform=platform, foreign=foreign, jobs=jobs, progress=progress
            )
        if as_json:
            print_json(
                [
                    {"image": image, "file": file, **_copy_record(result)}
                    for image, result in zip(images, results, strict=True)
                ]
            )
            return
        for image, result in zip(images, results, strict=True):
            _tell_copy("saved", image, file, result, quiet)


def _copy_record(result: CopyResult) -> dict[str, Any]:
    return {
        "digest": result.descriptor.digest,
        "media_type": result.descriptor.media_type,
        "manifests": result.manifests,
        "blobs": result.blobs,
        "size": result.size,
        "present": result.present,
    }


def _pull_record(result: PullResult) -> dict[str, Any]:
    return {
        "name": result.name,
        **_copy_record(result.copied),
        "images": [
            {
                "digest": image.manifest.descriptor.digest,
                "platform": image.config.platform.to_json(),
                "layers": [
                    {"chain_id": chain_id, "diff_id": diff_id, "path": str(path)}
                    for chain_id, diff_id, path in zip(
                        image.config.chain_ids, image.config.diff_ids, image.layers, strict=True
                    )
                ],
                "unpacked": image.unpacked,
            }
            for image in result.images
        ],
    }


def _blobs_text(result: CopyResult) -> str:
    present = f", {result.present} there already" if result.present else ""
    return f"{count_text(result.blobs, 'blob')}, {size_text(result.size)}{present}"


def _tell_pull(verb: str, result: PullResult, quiet: bool) -> None:
    digest = result.copied.descriptor.digest
    if quiet:
        echo(digest)
        return
    layers = sum(len(image.layers) for image in result.images)
    unpacked = sum(image.unpacked for image in result.images)
    echo(f"{verb} {result.name or digest}: {_blobs_text(result.copied)}")
    if result.images:
        echo(f"  {count_text(layers, 'layer')}, {unpacked} of them unpacked now")
    echo(f"  digest {digest}")


def _tell_copy(verb: str, source: str, target: str, result: CopyResult, quiet: bool) -> None:
    if quiet:
        echo(result.descriptor.digest)
        return
    to = "" if source == target else f" to {target}"
    echo(f"{verb} {source}{to}: {_blobs_text(result)}")
    echo(f"  digest {result.descriptor.digest}")


def _show_copy(verb: str, source: str, target: str, result: CopyResult, *, quiet: bool, as_json: bool) -> None:
    if as_json:
        print_json({"source": source, "target": target, **_copy_record(result)})
    else:
        _tell_copy(verb, source, target, result, quiet)


COMMANDS = (pull_command, push_command, copy_command, load_command, save_command)
