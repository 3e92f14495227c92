"""The verbs that make images and indexes of others, without their layers: `config`, `index`."""

from __future__ import annotations

from contextlib import ExitStack

import click

from wclayer.cli.config_options import annotation_option, config_options, many, pairs
from wclayer.cli.group import Verbs
from wclayer.cli.image_documents import listed_record, show_manifests
from wclayer.cli.image_options import platform_option, store_option
from wclayer.cli.made_image import make_image, opened_image
from wclayer.cli.output import json_option, print_json, warn
from wclayer.cli.remote import registry_options
from wclayer.cli.word_kind import WordKind, completed_as
from wclayer.errors import NotSupportedError
from wclayer.images.appending import appending
from wclayer.images.changed import compose_index, edit_image
from wclayer.images.descriptor import DOCKER_INDEX, OCI_INDEX
from wclayer.images.edit import ConfigChanges
from wclayer.images.inspection import read_root
from wclayer.images.location import Location, Transport, open_source
from wclayer.images.manifest import Manifest
from wclayer.images.opening import source_location
from wclayer.images.platform import Platform
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore


@click.command("config")
@store_option
@registry_options
@platform_option
@config_options
@annotation_option
@many("--unset-annotation", metavar="NAME", help="Remove an annotation.")
@click.option("-t", "--tag", "new", required=True, metavar="NEW", help="The name of the result.")
@json_option
@click.argument("image", shell_complete=completed_as(WordKind.IMAGE))
def config_command(
    store: ImageStore,
    registry: RegistryOptions,
    platform: Platform | None,
    new: str,
    as_json: bool,
    image: str,
    annotation: tuple[str, ...],
    unset_annotation: tuple[str, ...],
    changes: ConfigChanges,
) -> None:
    """Change the configuration of IMAGE without its layers, and name the result NEW.

    IMAGE and NEW are names in the store, or places such as docker://REF and oci:DIR[:TAG] (see `wclayer copy`).

    What no option names keeps its bytes: unknown keys, the order of keys, the formatting. A new entry point removes the
    old command, unless --cmd sets one.

    \b
    Example:
      wclayer config app:1 --env APP_MODE=production --user ContainerUser -t app:2
    """
    with ExitStack() as opened:
        place = source_location(image)
        source = opened_image(opened, place, store, registry)
        edited, warnings = edit_image(
            source,
            changes,
            platform=platform,
            annotations=pairs(annotation, "--annotation"),
            without_annotations=unset_annotation,
        )
        for warning in warnings:
            warn(warning)
        make_image(edited, [place], new, store, registry, as_json=as_json)


@click.group("index", cls=Verbs)
def index_group() -> None:
    """Make and list indexes: one name for the images of several platforms.

    \b
    Example:
      wclayer index create app:ltsc2022 app:ltsc2025 -t app:1
      wclayer index append app:1 app:ltsc2019
      wclayer index list app:1
    """


@index_group.command("create")
@store_option
@registry_options
@click.option("--docker", "is_docker", is_flag=True, help="Make a list of Docker's kind, whatever the images are.")
@click.option("--oci", "is_oci", is_flag=True, help="Make an index of OCI's kind, whatever the images are.")
@click.option("-t", "--tag", "new", required=True, metavar="NEW", help="The name of the index.")
@json_option
@click.argument("images", shell_complete=completed_as(WordKind.IMAGE), nargs=-1, required=True)
def create_command(
    store: ImageStore,
    registry: RegistryOptions,
    is_docker: bool,
    is_oci: bool,
    new: str,
    as_json: bool,
    images: tuple[str, ...],
) -> None:
    """Make an index of IMAGES, each for the platform that its configuration states, and name it NEW.

    The images of an index among them are taken as it lists them. Without --docker and --oci, the index is Docker's if
    all images are.

    \b
    Example:
      wclayer index create app:ltsc2022 app:ltsc2025 -t app:1
    """
    if is_docker and is_oci:
        raise click.UsageError("--docker and --oci exclude each other")
    media_type = DOCKER_INDEX if is_docker else OCI_INDEX if is_oci else None
    with ExitStack() as opened:
        places = [source_location(image) for image in images]
        sources = [opened_image(opened, place, store, registry) for place in places]
        composed = compose_index(sources, media_type=media_type)
        make_image(composed, places, new, store, registry, as_json=as_json)


@index_group.command("append")
@store_option
@registry_options
@click.option("--replace", "replaces", is_flag=True, help="Replace images of the same release and processor.")
@click.option("-t", "--tag", "new", default=None, metavar="NEW", help="The name of the result (default: INDEX).")
@json_option
@click.argument("index", shell_complete=completed_as(WordKind.IMAGE))
@click.argument("images", shell_complete=completed_as(WordKind.IMAGE), nargs=-1, required=True)
def append_command(
    store: ImageStore,
    registry: RegistryOptions,
    replaces: bool,
    new: str | None,
    as_json: bool,
    index: str,
    images: tuple[str, ...],
) -> None:
    """Add IMAGES to INDEX. What it lists already keeps its bytes.

    An image for a platform that is listed already is refused; with --replace, it takes the place of the images of its
    release and processor, whatever their revision. Processes that add to one index at the same time wait for each
    other, but not in a registry.

    \b
    Example:
      wclayer index append app:1 app:ltsc2019
    """
    with ExitStack() as opened:
        places = [source_location(text) for text in (index, *images)]
        opened.enter_context(appending(places[0], store))
        base, *sources = [opened_image(opened, place, store, registry) for place in places]
        composed = compose_index(sources, base=base, replaces=replaces)
        new = new or _own_name(index, places[0], store)
        make_image(composed, places, new, store, registry, as_json=as_json)


def _own_name(text: str, place: Location, store: ImageStore) -> str:
    """Returns the whole name of an index that a user named by a part of it, for the index that takes its place."""
    if place.transport is Transport.STORE:
        name = store.full_name(place.name)
        if not name.startswith("sha256:"):
            return name
    elif place.name:
        return text
    raise click.UsageError(f"{text} has no name; name the result: -t NEW")


@index_group.command("list")
@store_option
@registry_options
@json_option
@click.argument("index", shell_complete=completed_as(WordKind.IMAGE))
def list_command(store: ImageStore, registry: RegistryOptions, as_json: bool, index: str) -> None:
    """List the images of INDEX with their platforms and digests.

    \b
    Example:
      wclayer index list docker://mcr.microsoft.com/windows/servercore:ltsc2022
    """
    with open_source(source_location(index), store=store, registry=registry) as source:
        item = read_root(source)[1]
    if isinstance(item, Manifest):
        raise NotSupportedError(index, "is one image, not an index; `wclayer inspect` shows it")
    if as_json:
        print_json([listed_record(manifest) for manifest in item.manifests])
    else:
        show_manifests(item)


COMMANDS = (config_command, index_group)
