"""The verb `append`: a layer on top of an image, without a Dockerfile."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

from wclayer.builder.api import append_image
from wclayer.builder.appending.additions import Additions
from wclayer.builder.results import AppendedImage, AppendResult
from wclayer.cli.config_options import annotation_option, config_options, many, pairs
from wclayer.cli.image_options import for_option, platform_option, quiet_option, store_option
from wclayer.cli.made_image import made_record, told_beside
from wclayer.cli.output import echo, json_option, print_json, warn
from wclayer.cli.remote import registry_options
from wclayer.cli.transfer_bars import transfer_bars
from wclayer.cli.word_kind import WordKind, completed_as
from wclayer.images.edit import ConfigChanges
from wclayer.images.platform import Platform
from wclayer.images.registry import RegistryOptions
from wclayer.images.store import ImageStore

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
@click.argument("image", shell_complete=completed_as(WordKind.IMAGE))
def append_command(
    store: ImageStore,
    registry: RegistryOptions,
    platform: Platform | None,
    releases: tuple[str, ...],
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
      wclayer append docker://localhost:5000/nanoserver:ltsc2022 --copy 'dist=C:\\app' \\
        --cmd 'C:\\app\\app.exe' --push -t localhost:5000/app:1
      wclayer append nanoserver:ltsc2022 --copy 'dist=C:\\app' --path-append 'C:\\app' --setx MODE=1 -t app:1
      wclayer append docker://localhost:5000/nanoserver:ltsc2022 --for ltsc2022,ltsc2025 --tar app.tar --push \\
        -t localhost:5000/app:1
    """
    if not tag:
        raise click.UsageError("name the result: -t NEW")
    additions = Additions(
        copies=_divided(copy, _COPY, "--copy", r"SRC=C:\DST"),
        tars=tar,
        reg_files=reg,
        variables=pairs(setx, "--setx"),
        path_append=path_append,
        path_prepend=path_prepend,
        acls=_acls(acl),
    )
    names = [name if not push or "docker://" in name else f"docker://{name}" for name in tag]
    with told_beside(names):
        with transfer_bars(quiet=quiet) as transfer:
            made = append_image(
                image, additions, names, store, platform=platform, releases=releases, config=changes,
                annotations=pairs(annotation, "--annotation"), assume_new=assume_new, can_fetch=not no_fetch,
                reproducible=reproducible, registry=registry, transfer=transfer,
            )  # fmt: skip
        for warning in made.warnings:
            warn(warning)
        if as_json:
            images = [_record(each) for each in made.images]
            print_json({"names": list(tag), **made_record(made), "images": images})
        elif quiet:
            echo(made.digest)
        else:
            _tell(made, tag)


def _tell(made: AppendResult, names: Sequence[str]) -> None:
    for each in made.images:
        of = f" ({each.release})" if each.release else ""
        how = "with the layers of the image" if each.needs_base else "without the layers of the image"
        echo(f"layer made {how}{of}: {each.reason}")
    for name in names:
        echo(f"made {name}: {made.digest}")


def _record(made: AppendedImage) -> dict[str, Any]:
    return {
        "release": made.release or None,
        "digest": made.manifest.descriptor.digest,
        "platform": made.platform.to_json(),
        "needs_base": made.needs_base,
        "reason": made.reason,
    }


COMMANDS = (append_command,)
