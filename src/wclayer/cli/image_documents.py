"""The verb that shows what describes an image: `inspect`."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from wclayer.cli.image_options import platform_option, store_option
from wclayer.cli.output import echo, json_option, print_json, size_text
from wclayer.cli.remote import registry_options
from wclayer.cli.word_kind import WordKind, completed_as
from wclayer.errors import InvalidParameterError, NotSupportedError
from wclayer.images.config import ImageConfig
from wclayer.images.descriptor import Descriptor
from wclayer.images.history import ImageBase
from wclayer.images.inspection import ImageInspection, has_utility_vm, inspect_image
from wclayer.images.location import open_source
from wclayer.images.manifest import Index, Manifest
from wclayer.images.opening import source_location
from wclayer.images.platform import Platform
from wclayer.images.registry import RegistryOptions
from wclayer.images.runs_on import ISOLATIONS, Isolation, RunsOn, runs_on
from wclayer.images.store import ImageStore
from wclayer.win32.shown import count_text

HOSTS = {
    "10.0.17763": "Windows Server 2019",
    "10.0.20348": "Windows Server 2022",
    "10.0.26100": "Windows Server 2025",
    "10.0.26200": "Windows 11 25H2",
}
"""The hosts for which `inspect` answers if none is named."""


@click.command("inspect")
@store_option
@registry_options
@platform_option
@click.option("--raw", is_flag=True, help="Print the bytes of the manifest or the index.")
@click.option("--config", "shows_config", is_flag=True, help="Print the bytes of the configuration.")
@click.option(
    "--host", "hosts", multiple=True, metavar="VERSION",
    help="Tell whether this Windows runs the image (10.0.20348; may be repeated).",
)  # fmt: skip
@click.option("--isolation", type=click.Choice(ISOLATIONS), default=None, help="How the host isolates containers.")
@json_option
@click.argument("image", shell_complete=completed_as(WordKind.IMAGE))
def inspect_command(
    store: ImageStore,
    registry: RegistryOptions,
    platform: Platform | None,
    raw: bool,
    shows_config: bool,
    hosts: tuple[str, ...],
    isolation: Isolation | None,
    as_json: bool,
    image: str,
) -> None:
    """Show what describes IMAGE: manifest, configuration, platforms, history, base, and which hosts run it.

    IMAGE is a name in the store, the path of a layout or an archive, or docker://REF, oci:DIR[:TAG],
    oci-archive:FILE[:TAG] or docker-archive:FILE[:REF]. No layer is read.

    Each step of the history is shown with the layer that it made. The base is Microsoft's image, which the first steps
    show ("Apply image", "Install update"). "built on" is what the annotations org.opencontainers.image.base.* state.
    With --host, the reason is shown why a host runs the image, or does not.

    \b
    Example:
      wclayer inspect --host 10.0.26100 docker://mcr.microsoft.com/windows/nanoserver:ltsc2022
    """
    if raw and shows_config:
        raise click.UsageError("--raw prints the manifest, --config the configuration; name one of them")
    with open_source(source_location(image), store=store, registry=registry) as source:
        found = inspect_image(source, platform)
    if raw:
        document = found.manifest if platform is not None else found.index or found.manifest
        assert document is not None
        _write(document.data)
    elif shows_config:
        _write(_config_of(found).data)
    else:
        answers = _answers(found, store, hosts, isolation)
        if as_json:
            print_json(_record(found, answers))
        else:
            _show(found, answers, names_hosts=bool(hosts))


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _config_of(found: ImageInspection) -> ImageConfig:
    if found.config is not None:
        return found.config
    if found.manifest is None:
        raise InvalidParameterError(found.name, "is an index of several images; name one with --platform")
    raise NotSupportedError(found.name, "is an artifact, not an image: it has no configuration of one")


def _answers(
    found: ImageInspection, store: ImageStore, hosts: Sequence[str], isolation: Isolation | None
) -> list[tuple[str, Isolation, RunsOn]]:
    if found.config is None:
        return []
    isolations = ISOLATIONS if isolation is None else (isolation,)
    utility_vm = has_utility_vm(found.config, store)
    return [
        (host, kind, runs_on(found.config, host, kind, has_utility_vm=utility_vm))
        for host in hosts or HOSTS
        for kind in isolations
    ]


def _record(found: ImageInspection, answers: Sequence[tuple[str, Isolation, RunsOn]]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": found.name,
        "digest": found.descriptor.digest,
        "media_type": found.descriptor.media_type,
        "size": found.descriptor.size,
    }
    if found.index is not None:
        record["platforms"] = [listed_record(item) for item in found.index.manifests]
        record["annotations"] = dict(found.index.view.mapping("annotations"))
    record["image"] = None
    if (manifest := found.manifest) is not None:
        record["image"] = _image_record(found, manifest)
        record["runs_on"] = [
            {"host": host, "isolation": kind, "runs": answer.runs, "reason": answer.reason, "warning": answer.warning}
            for host, kind, answer in answers
        ]
    return record


def listed_record(item: Descriptor) -> dict[str, Any]:
    """Returns the record of a manifest in an index."""
    return {
        "digest": item.digest,
        "media_type": item.media_type,
        "size": item.size,
        "platform": None if item.platform is None else item.platform.to_json(),
        "annotations": dict(item.annotations),
    }


def _image_record(found: ImageInspection, manifest: Manifest) -> dict[str, Any]:
    record: dict[str, Any] = {
        "digest": manifest.descriptor.digest,
        "media_type": manifest.media_type,
        "size": sum(layer.size for layer in manifest.layers),
        "annotations": dict(manifest.view.mapping("annotations")),
        "config_digest": manifest.config.digest,
        "layers": [
            {
                "digest": layer.digest,
                "media_type": layer.media_type,
                "size": layer.size,
                "foreign": layer.is_foreign_layer,
                "urls": list(layer.urls),
            }
            for layer in manifest.layers
        ],
    }
    if (config := found.config) is None:
        return record | {"artifact_type": manifest.artifact_type or manifest.config.media_type}
    for layer, diff_id, chain_id in zip(record["layers"], config.diff_ids, config.chain_ids, strict=False):
        layer |= {"diff_id": diff_id, "chain_id": chain_id}
    base = found.base
    return record | {
        "platform": config.platform.to_json(),
        "created": config.created,
        "author": config.view.text("author"),
        "config": config.view.view("config").record,
        "history": [
            {
                "created": step.entry.created,
                "created_by": step.entry.created_by,
                "comment": step.entry.comment,
                "empty_layer": step.entry.is_empty_layer,
                "layer": step.layer,
                "digest": None if step.layer is None else manifest.layers[step.layer].digest,
                "size": None if step.layer is None else manifest.layers[step.layer].size,
            }
            for step in found.steps
        ],
        "base": None if base is None else dataclasses.asdict(base),
    }


def _show(found: ImageInspection, answers: Sequence[tuple[str, Isolation, RunsOn]], *, names_hosts: bool) -> None:
    _show_fields({"name": found.name, "digest": found.descriptor.digest, "type": found.descriptor.media_type})
    if found.index is not None:
        echo("platforms")
        show_manifests(found.index)
    if found.manifest is None:
        echo("several images fit; --platform shows one of them")
        return
    if found.index is not None:
        _show_fields({"image": found.manifest.descriptor.digest})
    if found.config is None:
        _show_fields({"artifact": found.manifest.artifact_type or found.manifest.config.media_type})
        return
    _show_image(found, found.manifest, found.config)
    if names_hosts:
        echo("runs on")
        for host, kind, answer in answers:
            echo(f"  {_yes(answer):3}  {host}, {kind}: {f'{answer.reason} {answer.warning}'.strip()}")
        return
    kinds = list(dict.fromkeys(kind for _, kind, _ in answers))
    echo(f"{'runs on':42}  {'  '.join(f'{kind:7}' for kind in kinds)}".rstrip())
    for host, name in HOSTS.items():
        cells = [_yes(answer) for each, _, answer in answers if each == host]
        echo(f"  {f'{host} ({name})':40}  {'  '.join(f'{cell:7}' for cell in cells)}".rstrip())


def _yes(answer: RunsOn) -> str:
    return "yes" if answer.runs else "no"


def show_manifests(index: Index) -> None:
    """Prints the platforms and digests of an index."""
    names = [str(item.platform) if item.platform else item.artifact_type or "-" for item in index.manifests]
    width = max(map(len, names), default=0)
    for name, item in zip(names, index.manifests, strict=True):
        echo(f"  {name:{width}}  {item.digest}")


def _show_image(found: ImageInspection, manifest: Manifest, config: ImageConfig) -> None:
    base, size = found.base, sum(layer.size for layer in manifest.layers)
    _show_fields(
        {
            "platform": str(config.platform),
            "created": config.created,
            "author": config.view.text("author"),
            "size": f"{size_text(size)} in {count_text(len(manifest.layers), 'layer')}",
            "built on": "" if base is None else ", ".join(filter(None, (base.name, base.digest))),
            "base": "" if base is None else _base_text(base),
        }
    )
    settings = {key: value for key, value in config.view.view("config").record.items() if value}
    if settings:
        echo("config")
        width = max(map(len, settings))
        for key, value in settings.items():
            echo(f"  {key:{width}}  {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    if found.steps:
        echo("history")
    for step in found.steps:
        layer = "-" if step.layer is None else f"layer {step.layer + 1}"
        made = "" if step.layer is None else size_text(manifest.layers[step.layer].size)
        echo(f"  {layer:9} {made:>10}  {step.entry.created[:19]:19}  {step.entry.created_by}")
    echo("layers")
    for number, blob in enumerate(manifest.layers, 1):
        foreign = "  foreign" if blob.is_foreign_layer else ""
        echo(f"  layer {number:3} {size_text(blob.size):>10}  {blob.digest}{foreign}")


def _base_text(base: ImageBase) -> str:
    """Returns what the history tells of Microsoft's base image: the annotations may state another image over it."""
    layers = "" if base.layers is None else f"the lowest {count_text(base.layers, 'layer')}"
    return ", ".join(filter(None, (base.version, layers)))


def _show_fields(fields: Mapping[str, str]) -> None:
    for name, value in fields.items():
        if value:
            echo(f"{name:9} {value}")


COMMANDS = (inspect_command,)
