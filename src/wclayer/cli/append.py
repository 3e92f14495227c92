"""The verb `append`: a layer on top of an image, without a Dockerfile."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import click

from wclayer.build.additions import Additions
from wclayer.build.append import AppendedImage, append_image
from wclayer.build.for_bases import Release, base_for, check_release, make_for_releases
from wclayer.build.image import BuiltImage
from wclayer.build.scratch_base import SCRATCH, scratch_base
from wclayer.cli.config_options import annotation_option, config_options, many, pairs
from wclayer.cli.image_options import for_option, platform_option, quiet_option, store_option
from wclayer.cli.made_image import copy_made, opened_image, places_of
from wclayer.cli.output import echo, json_option, print_json, results_beside, warn
from wclayer.cli.remote import registry_options
from wclayer.cli.transfer_bars import transfer_bars
from wclayer.errors import NotSupportedError
from wclayer.images.descriptor import Descriptor
from wclayer.images.edit import ConfigChanges
from wclayer.images.location import Location, Transport
from wclayer.images.opening import source_location
from wclayer.images.platform import WINDOWS, Platform
from wclayer.images.reference import parse_reference
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore
from wclayer.images.transport import ImageSource

# The place is on a drive, and the source may have any name: the last "=" before a drive divides them.
_COPY = re.compile(r"(.+)=([A-Za-z]:[\\/].*)", re.DOTALL)
# No path has a colon after its drive, so the first "=" before a part of SDDL divides them.
_ACL = re.compile(r"([A-Za-z]:[\\/].*?)=([OGDS]:.*)", re.DOTALL)


def _divided(texts: Sequence[str], pattern: re.Pattern[str], option: str, form: str) -> list[tuple[str, str]]:
    found = [pattern.fullmatch(text) for text in texts]
    for text, match in zip(texts, found, strict=True):
        if match is None:
            raise click.UsageError(f"{option} {text[:100]!r} is not of the form {form}")
    return [(match[1], match[2]) for match in found if match]


def _acls(texts: Sequence[str]) -> Mapping[str, str]:
    acls: dict[str, str] = {}
    for path, sddl in _divided(texts, _ACL, "--acl", r"C:\PATH=SDDL"):
        if path in acls:
            raise click.UsageError(f"--acl names {path[:100]!r} twice")
        acls[path] = sddl
    return acls


@click.command("append")
@store_option
@registry_options
@platform_option
@for_option
@many("--copy", metavar=r"SRC=C:\DST", help="Copy a file or the contents of a folder to DST.")
@many("--tar", metavar="FILE", help=r"Add the files of a tar below C:\; a tar of a Windows layer becomes a layer.")
@many("--reg", metavar="FILE", help="Apply a .reg file.")
@many("--setx", metavar="NAME=VALUE", help="Set a variable of the machine's environment, in the registry.")
@many("--path-append", metavar=r"C:\DIR", help="Add a directory at the end of the machine's PATH.")
@many("--path-prepend", metavar=r"C:\DIR", help="Add a directory at the beginning of the machine's PATH.")
@many("--acl", metavar=r"C:\PATH=SDDL", help="Set the security descriptor of an entry, which new ones below inherit.")
@click.option("--assume-new", is_flag=True, help=r"What is made directly below C:\ is in no layer of IMAGE.")
@click.option("--no-fetch", is_flag=True, help="Refuse what needs layers of IMAGE that would have to be fetched.")
@config_options
@annotation_option
@click.option("--reproducible", is_flag=True, help="The same additions give the same bytes, on any day.")
@click.option(
    "--push",
    is_flag=True,
    help="NEW is a name in a registry, as docker://NEW is: the image goes there, and not into the store.",
)
@many("-t", "--tag", metavar="NEW", help="The name of the result; more than once for several names.")
@quiet_option
@json_option
@click.argument("image")
def append_command(
    store: ImageStore,
    registry: RegistryOptions,
    platform: Platform | None,
    releases: tuple[Release, ...],
    copy: tuple[str, ...],
    tar: tuple[str, ...],
    reg: tuple[str, ...],
    setx: tuple[str, ...],
    path_append: tuple[str, ...],
    path_prepend: tuple[str, ...],
    acl: tuple[str, ...],
    assume_new: bool,
    no_fetch: bool,
    changes: ConfigChanges,
    annotation: tuple[str, ...],
    reproducible: bool,
    push: bool,
    tag: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    image: str,
) -> None:
    """Put a layer on top of IMAGE, and name the result NEW.

    IMAGE and NEW are names in the store, or places such as docker://REF and oci:DIR[:TAG] (see `wclayer copy`). The
    IMAGE `scratch` is the base of HostProcess containers, which has nothing but empty registry hives.

    The layers of IMAGE are fetched only if the new one needs something of them: not for what is new directly below
    C:\\, or for a tar of a Windows layer. Into the registry of IMAGE, its layers are mounted. The options for the
    configuration are those of `wclayer config`.

    \b
    Example:
      wclayer append docker://localhost:5000/nanoserver:ltsc2022 --copy dist=C:\\app --cmd C:\\app\\app.exe \\
        --push -t localhost:5000/app:1
      wclayer append nanoserver:ltsc2022 --copy dist=C:\\app --path-append C:\\app --setx MODE=1 -t app:1
      wclayer append docker://localhost:5000/nanoserver:ltsc2022 --for ltsc2022,ltsc2025 --tar app.tar --push \\
        -t localhost:5000/app:1
    """
    if not tag:
        raise click.UsageError("name the result: -t NEW")
    targets = places_of([name if not push or "docker://" in name else f"docker://{name}" for name in tag], push=False)
    additions = Additions(
        copies=_divided(copy, _COPY, "--copy", r"SRC=C:\DST"),
        tars=tar,
        reg_files=reg,
        variables=pairs(setx, "--setx"),
        path_append=path_append,
        path_prepend=path_prepend,
        acls=_acls(acl),
    )
    places: list[Location] = []
    made: list[tuple[Release | None, AppendedImage]] = []
    with ExitStack() as opened:
        for target in targets:
            opened.enter_context(results_beside(target.archive_file, "an archive"))
        opened.enter_context(store.in_use())

        def make(release: Release | None) -> ImageSource:
            is_scratch = image == SCRATCH
            place = (
                Location(Transport.STORE, "", SCRATCH)
                if is_scratch
                else source_location(image if release is None else base_for(image, release))
            )
            places.append(place)
            if is_scratch:
                base = scratch_base(store, platform or Platform(WINDOWS, "amd64"))
                source: ImageSource = opened.enter_context(base.as_source(store))
            else:
                source = opened_image(opened, place, store, registry)
            with transfer_bars(quiet=quiet) as progress:
                appended = append_image(
                    source, additions, store, platform=platform if release is None else release.platform(platform),
                    config=changes, annotations=pairs(annotation, "--annotation"), assume_new=assume_new,
                    can_fetch=not no_fetch, reproducible=reproducible, progress=progress,
                )  # fmt: skip
            if release is not None:
                check_release(appended.image.parsed.platform, release, source.name)
            if no_fetch:
                _refuse_fetching(appended.image, place, targets, store)
            made.append((release, appended))
            return opened.enter_context(appended.as_source(store))

        result = make_for_releases(releases, make) if releases else make(None)
        _tell_ways(made, quiet=quiet or as_json)
        copied = [copy_made(result, places, target, store, registry, quiet=quiet) for target in targets]
        _tell_result(copied[0].descriptor, tag, made, quiet=quiet, as_json=as_json)


def _tell_result(
    root: Descriptor,
    names: Sequence[str],
    made: Sequence[tuple[Release | None, AppendedImage]],
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    if as_json:
        record = {"names": list(names), "digest": root.digest, "media_type": root.media_type}
        print_json({**record, "images": _records(made)})
    elif quiet:
        echo(root.digest)
    else:
        for name in names:
            echo(f"made {name}: {root.digest}")


def _refuse_fetching(image: BuiltImage, place: Location, targets: Sequence[Location], store: ImageStore) -> None:
    """Refuses a copy for which layers of a registry would be fetched: only in that registry, they are there already."""
    if place.transport is not Transport.REGISTRY or all(map(store.has_blob, image.layers)):
        return
    own = parse_reference(place.name).registry
    for target in targets:
        if target.transport is not Transport.REGISTRY or parse_reference(target.name).registry != own:
            raise NotSupportedError(
                target.name or target.path,
                f"the layers of {place.name} would have to be fetched for the copy; name a result in {own} (--push), or"
                " leave --no-fetch out",
            )


def _tell_ways(made: Sequence[tuple[Release | None, AppendedImage]], *, quiet: bool) -> None:
    for release, appended in made:
        for warning in appended.warnings:
            warn(warning)
        if not quiet:
            of = "" if release is None else f" ({release.name})"
            how = "with the layers of the image" if appended.way.needs_base else "without the layers of the image"
            echo(f"layer made {how}{of}: {appended.way.reason}")


def _records(made: Sequence[tuple[Release | None, AppendedImage]]) -> list[dict[str, Any]]:
    return [
        {
            "release": None if release is None else release.name,
            "digest": appended.image.manifest.descriptor.digest,
            "platform": appended.image.parsed.platform.to_json(),
            "needs_base": appended.way.needs_base,
            "reason": appended.way.reason,
        }
        for release, appended in made
    ]


COMMANDS = (append_command,)
