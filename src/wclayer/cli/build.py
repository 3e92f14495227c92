"""The verb `build`: an image of a Dockerfile and a folder, without Windows."""

from __future__ import annotations

import os
from pathlib import Path

import click

from wclayer.builder.api import build_image
from wclayer.builder.results import BuildResult
from wclayer.cli.build_progress import build_progress
from wclayer.cli.config_options import annotation_option, many, pairs
from wclayer.cli.image_options import for_option, quiet_option, store_option
from wclayer.cli.made_image import pushed_too, told_beside
from wclayer.cli.output import echo, json_option, print_json, results_beside
from wclayer.cli.remote import registry_options
from wclayer.errors import InvalidParameterError, NotSupportedError
from wclayer.images.platform import Platform, parse_platform
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.layers.atomic import OutputFile, is_standard_output

_REMOTE = ("http://", "https://", "git://", "git@", "ssh://", "github.com/")


def _platforms(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[Platform, ...]:
    return tuple(parse_platform(part) for value in values for part in _split_platforms(value))


def _split_platforms(text: str) -> list[str]:
    """Splits a list at its commas; one before an option of a platform (`,osver=…`) belongs to it."""
    parts: list[str] = []
    for part in text.split(","):
        if "=" in part and "/" not in part and parts:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return parts


@click.command("build")
@store_option
@registry_options
@click.option(
    "-f", "--file", "dockerfile", metavar="FILE", default="",
    help="The Dockerfile (default: Dockerfile in CONTEXT); - reads it from the standard input.",
)  # fmt: skip
@many("-t", "--tag", "tags", metavar="NAME", help="A name of the image in the store, or a place such as oci:DIR:TAG.")
@many("--build-arg", metavar="NAME=VALUE", help="The value of an ARG. NAME alone takes that of the environment.")
@click.option(
    "--platform", "platforms", multiple=True, metavar="PLATFORM", callback=_platforms,
    help="What is built for: windows/amd64:10.0.20348 and so on. Several make an index.",
)  # fmt: skip
@for_option
@click.option("--target", metavar="STAGE", default="", help="The stage to build (default: the last one).")
@many("--label", metavar="NAME=VALUE", help="Add a label.")
@annotation_option
@click.option(
    "--reproducible", is_flag=True,
    help="No later time than SOURCE_DATE_EPOCH (default: 1970-01-01) in the image: same inputs, same digest.",
)  # fmt: skip
@click.option("--push", is_flag=True, help="Put the image into the registries of its names, too.")
@click.option("--pull", is_flag=True, help="Fetch the base images anew, even if the store has them.")
@click.option("--no-cache", is_flag=True, help="Carry every step out, even if it was made before.")
@click.option("--iidfile", metavar="FILE", default="", help="Write the digest of the image to FILE.")
@click.option(
    "--progress", "style", type=click.Choice(["auto", "plain"]), default="auto", show_default=True,
    help="plain prints lines alone; auto shows what runs on a terminal.",
)  # fmt: skip
@quiet_option
@json_option
@click.argument("context", metavar="CONTEXT")
def build_command(
    store: ImageStore, registry: RegistryOptions, dockerfile: str, tags: tuple[str, ...], build_arg: tuple[str, ...],
    platforms: tuple[Platform, ...], releases: tuple[str, ...], target: str, label: tuple[str, ...],
    annotation: tuple[str, ...], reproducible: bool, push: bool, pull: bool, no_cache: bool, iidfile: str, style: str,
    quiet: bool, as_json: bool, context: str,
) -> None:  # fmt: skip
    """Build an image for Windows of the Dockerfile in the folder CONTEXT, without Windows.

    Files and registry keys that a step makes get the security descriptors that Windows would give them. RUN is carried
    out if every command in it is one whose effect is known; anything else is refused before anything is made, with its
    line. Base images are taken from the store, or else from their registry.

    \b
    Example:
      wclayer build -t app:1 .
      wclayer build -t localhost:5000/app:1 --push --reproducible .
      wclayer build -f - -t oci:out:1 . < Dockerfile
    """
    if context.startswith(_REMOTE) or context == "-":
        raise NotSupportedError(
            context,
            "the context is a folder; clone or unpack it first (`-f -` reads a Dockerfile from the standard input)",
        )
    if push and not tags:
        raise click.UsageError("--push needs a name: -t NAME")
    if iidfile:
        _check_can_be_written(iidfile)
    with told_beside(tags), results_beside(iidfile, "a digest"):
        with build_progress(quiet=quiet or as_json, is_plain=style == "plain") as (progress, transfer):
            built = build_image(
                context, pushed_too(tags, push=push), store, dockerfile=dockerfile, target=target,
                arguments=_arguments(build_arg), labels=pairs(label, "--label"),
                annotations=pairs(annotation, "--annotation"), platforms=platforms, releases=releases,
                reproducible=reproducible, use_cache=not no_cache, pull=pull, registry=registry, progress=progress,
                transfer=transfer,
            )  # fmt: skip
        if iidfile:
            with OutputFile(iidfile) as output:
                output.stream.write(built.digest.encode())
        _report(built, tags, quiet=quiet, as_json=as_json)


def _check_can_be_written(path: str) -> None:
    """Refuses a file that cannot be made, before the build.

    The file is not kept open: in the context, COPY would take it. A FIFO or device is opened only to be written to.
    """
    if is_standard_output(path):
        return
    if not os.path.exists(path) or os.path.isfile(path) or os.path.isdir(path):
        OutputFile(Path(path)).discard()


def _arguments(texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise InvalidParameterError(text, "is not NAME=VALUE")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def _report(built: BuildResult, tags: tuple[str, ...], *, quiet: bool, as_json: bool) -> None:
    if as_json:
        images = [{"digest": image.descriptor.digest, "layers": len(image.layers)} for image in built.images]
        print_json({"digest": built.digest, "names": list(tags), "images": images})
    elif quiet:
        echo(built.digest)
    else:
        for tag in tags or ("an image without a name",):
            echo(f"made {tag}: {built.digest}")


COMMANDS = (build_command,)
