"""The verbs that make images and indexes of others, without their layers: `config`, `index`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import click

from wclayer.cli.group import Verbs
from wclayer.cli.image_documents import listed_record, show_manifests
from wclayer.cli.image_options import platform_option, store_option
from wclayer.cli.output import echo, json_option, print_json, results_beside, warn
from wclayer.cli.remote import registry_options
from wclayer.cli.transfer_bars import transfer_bars
from wclayer.errors import NotSupportedError
from wclayer.images.changed import compose_index, edit_image
from wclayer.images.descriptor import DOCKER_INDEX, OCI_INDEX
from wclayer.images.edit import ConfigChanges
from wclayer.images.foreign import Foreign
from wclayer.images.inspection import read_root
from wclayer.images.location import Location, Transport, image_location, open_source, open_target
from wclayer.images.manifest import Manifest
from wclayer.images.opening import source_location
from wclayer.images.platform import Platform, parse_platform
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transfer import copy_image
from wclayer.images.transport import ImageSource

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _words(values: Sequence[str], option: str) -> tuple[str, ...] | None:
    """Returns the words of a command line, which are given one by one, or as one JSON list; None if none is given."""
    if not values:
        return None
    if len(values) > 1 or not values[0].startswith("["):
        return tuple(filter(None, values))
    try:
        words = json.loads(values[0])
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise click.UsageError(f"{option} {values[0][:60]!r} is not a JSON list of strings")
    return tuple(words)


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        # Names of variables such as "=C:" begin with an equals sign.
        rest, equals, value = text[1:].partition("=")
        name = text[:1] + rest
        if not equals:
            raise click.UsageError(f"{option} {text[:60]!r} has no '='")
        if name in pairs:
            raise click.UsageError(f"{option} names {name[:60]!r} twice")
        pairs[name] = value
    return pairs


def _many(*names: str, metavar: str, help: str) -> Callable[[_Command], _Command]:
    return click.option(*names, multiple=True, metavar=metavar, help=help)


@click.command("config")
@store_option
@registry_options
@platform_option
@_many("--env", "-e", metavar="NAME=VALUE", help="Set a variable; names are equal in any case.")
@_many("--unset-env", metavar="NAME", help="Remove a variable.")
@_many("--label", metavar="NAME=VALUE", help="Set a label.")
@_many("--unset-label", metavar="NAME", help="Remove a label.")
@_many("--entrypoint", metavar="WORD", help="Set the entry point: once for each word, or once as a JSON list.")
@_many("--cmd", metavar="WORD", help="Set the command, likewise; '' or '[]' removes it.")
@_many("--shell", metavar="WORD", help="Set the shell of builders, likewise.")
@click.option("--user", default=None, help="Set the user (ContainerUser).")
@click.option("--workdir", default=None, help="Set the working directory.")
@_many("--exposed-ports", "--expose", metavar="PORT", help="Expose a port (80, 80/tcp, 8000-8010/udp).")
@_many("--unset-port", metavar="PORT", help="Do not expose a port.")
@_many("--volume", metavar="FOLDER", help="Make a folder a volume.")
@_many("--unset-volume", metavar="FOLDER", help="Do not make a folder a volume.")
@click.option("--set-platform", metavar="PLATFORM", default=None, help="Set the platform that the image states.")
@click.option("--author", default=None, help="Set the author.")
@click.option("--created", metavar="TIME", default=None, help="Set the time (2026-08-09T02:33:18Z).")
@_many("--annotation", metavar="NAME=VALUE", help="Set an annotation of the manifest.")
@_many("--unset-annotation", metavar="NAME", help="Remove an annotation.")
@click.option("-t", "--tag", "new", required=True, metavar="NEW", help="The name of the result.")
@json_option
@click.argument("image")
def config_command(
    store: ImageStore,
    registry: RegistryOptions,
    platform: Platform | None,
    new: str,
    as_json: bool,
    image: str,
    annotation: tuple[str, ...],
    unset_annotation: tuple[str, ...],
    **options: Any,
) -> None:
    """Change the configuration of IMAGE without its layers, and name the result NEW.

    IMAGE and NEW are names in the store, or places such as docker://REF and oci:DIR[:TAG] (see `wclayer copy`).

    What no option names keeps its bytes: unknown keys, the order of keys, the formatting. A new entry point removes the
    old command, unless --cmd sets one.

    \b
    Example:
      wclayer config app:1 --env APP_MODE=production --user ContainerUser -t app:2
    """
    changes = _changes(**options)
    with ExitStack() as opened:
        place = source_location(image)
        source = _opened(opened, place, store, registry)
        edited, warnings = edit_image(
            source,
            changes,
            platform=platform,
            annotations=_pairs(annotation, "--annotation"),
            without_annotations=unset_annotation,
        )
        for warning in warnings:
            warn(warning)
        _make(edited, [place], new, store, registry, as_json)


def _changes(
    *,
    env: tuple[str, ...],
    unset_env: tuple[str, ...],
    label: tuple[str, ...],
    unset_label: tuple[str, ...],
    entrypoint: tuple[str, ...],
    cmd: tuple[str, ...],
    shell: tuple[str, ...],
    user: str | None,
    workdir: str | None,
    exposed_ports: tuple[str, ...],
    unset_port: tuple[str, ...],
    volume: tuple[str, ...],
    unset_volume: tuple[str, ...],
    set_platform: str | None,
    author: str | None,
    created: str | None,
) -> ConfigChanges:
    return ConfigChanges(
        env=_pairs(env, "--env"),
        without_env=unset_env,
        labels=_pairs(label, "--label"),
        without_labels=unset_label,
        entrypoint=_words(entrypoint, "--entrypoint"),
        cmd=_words(cmd, "--cmd"),
        shell=_words(shell, "--shell"),
        user=user,
        working_dir=workdir,
        ports=exposed_ports,
        without_ports=unset_port,
        volumes=volume,
        without_volumes=unset_volume,
        platform=None if set_platform is None else parse_platform(set_platform),
        author=author,
        created=created,
    )


def _make(
    image: ImageSource,
    places: Sequence[Location],
    new: str,
    store: ImageStore,
    registry: RegistryOptions,
    as_json: bool,
) -> None:
    """Copies what was composed to the place that the user names, and tells what was made."""
    target_place = image_location(new)
    # In one store, nothing of the layers is copied; those that were left in their registry stay there.
    stays = all(place.transport is Transport.STORE for place in (target_place, *places))
    foreign = Foreign.KEEP if stays else Foreign.PUSH
    paths = [place.path for place in places if place.is_on_disk]
    with results_beside(target_place.archive_file, "an archive"):
        with (
            open_target(target_place, store=store, registry=registry, sources=paths) as target,
            transfer_bars(quiet=False) as progress,
        ):
            root = copy_image(image, target, all_platforms=True, foreign=foreign, progress=progress).descriptor
        if as_json:
            print_json({"name": new, "digest": root.digest, "media_type": root.media_type})
        else:
            echo(f"made {new}: {root.digest}")


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
@click.argument("images", nargs=-1, required=True)
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
        sources = [_opened(opened, place, store, registry) for place in places]
        _make(compose_index(sources, media_type=media_type), places, new, store, registry, as_json)


@index_group.command("append")
@store_option
@registry_options
@click.option("--replace", "replaces", is_flag=True, help="Replace images of the same release and processor.")
@click.option("-t", "--tag", "new", default=None, metavar="NEW", help="The name of the result (default: INDEX).")
@json_option
@click.argument("index")
@click.argument("images", nargs=-1, required=True)
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
    release and processor, whatever their revision.

    \b
    Example:
      wclayer index append app:1 app:ltsc2019
    """
    with ExitStack() as opened:
        places = [source_location(text) for text in (index, *images)]
        base, *sources = [_opened(opened, place, store, registry) for place in places]
        composed = compose_index(sources, base=base, replaces=replaces)
        new = new or _own_name(index, places[0], store)
        _make(composed, places, new, store, registry, as_json)


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
@click.argument("index")
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


def _opened(opened: ExitStack, place: Location, store: ImageStore, registry: RegistryOptions) -> ImageSource:
    return opened.enter_context(open_source(place, store=store, registry=registry))


COMMANDS = (config_command, index_group)
