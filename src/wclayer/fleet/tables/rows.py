"""Rows of images and layers, from their documents, their inventories, and what their facts say as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from wclayer.errors import FormatError
from wclayer.fleet.model import ImageStatus, ResolvedImage
from wclayer.fleet.tables.dataset import BucketRows
from wclayer.fleet.tables.schema import FindingRow, ImageRow, LayerRow, PackageRow, RegistryRow, UpdateRow, unknown
from wclayer.images.config import ImageConfig, parse_config
from wclayer.images.descriptor import Descriptor
from wclayer.images.history import find_base
from wclayer.images.json_view import JsonView
from wclayer.images.manifest import Manifest, parse_manifest
from wclayer.images.windows_version import WindowsVersion
from wclayer.inventory.facts.summary import FACTS_VERSION, LayerSummary
from wclayer.inventory.item import FindingKind, Inventory, Item, ItemKind
from wclayer.inventory.sbom.identifiers import identifiers_of

PACKAGES = frozenset({
    ItemKind.PROGRAM, ItemKind.MSI_PRODUCT, ItemKind.APPX_PACKAGE, ItemKind.DOTNET, ItemKind.PYTHON_PACKAGE,
    ItemKind.NODE_PACKAGE, ItemKind.JAVA_PACKAGE, ItemKind.NUGET_PACKAGE, ItemKind.GO_MODULE, ItemKind.RUST_CRATE,
})  # fmt: skip
"""The kinds of items that are rows of `packages`. Updates have a table of their own, PE files are in `files`, and all
other kinds are rows of `registry`."""

_Value = TypeVar("_Value")


def image_row(
    image: ResolvedImage,
    source: str,
    scanned: datetime,
    inventory: Inventory | None = None,
    *,
    error: str = "",
    error_layer: str = "",
) -> ImageRow:
    """Returns the row of a reference.

    Args:
        image: the reference, and the image that it means.
        source: what was listed.
        scanned: when the row is made.
        inventory: what the image holds; None if that is unknown.
        error: what is wrong with a layer of it; "" if nothing is.
        error_layer: the digest of that layer.
    """
    listed = image.listed
    row = ImageRow(
        **unknown(ImageRow) | {
            "reference": listed.reference, "source": source, "repository": listed.repository or None,
            "tag": listed.tag or None, "image": image.digest or None, "layer_count": 0, "layers": (), "diff_ids": (),
            "status": str(ImageStatus.INCOMPLETE if error_layer else image.status),
            "error": error or image.error or None, "error_layer": error_layer or None, "scanned": scanned,
        }
    )  # fmt: skip
    if not image.manifest or not image.config:
        return row
    manifest, config = _documents(image)
    known = _of_documents(manifest, config, inventory) | _of_system(config, inventory) | _Fields(config).columns
    return row._replace(**known)


def add_holdings(rows: BucketRows, image: ResolvedImage, inventory: Inventory | None) -> None:
    """Adds the rows of what an image holds. It is done once for an image, whatever number of references name it.

    Args:
        rows: where they are added.
        image: the image.
        inventory: what it holds; None if that is unknown: then only findings about its configuration are added.
    """
    if image.config:
        fields = _Fields(_documents(image)[1])
        rows.findings += [FindingRow(image.digest, FindingKind.DAMAGED, *problem) for problem in fields.problems]
    if inventory is None:
        return
    for item in inventory.items:
        if item.kind in PACKAGES:
            rows.packages.append(_package(image.digest, item))
        elif item.kind is ItemKind.UPDATE:
            rows.updates.append(_update(image.digest, item))
        elif item.kind is not ItemKind.PE_FILE:
            rows.registry.append(_registry(image.digest, item))
    rows.findings += [FindingRow(image.digest, str(each.kind), each.place, each.text) for each in inventory.findings]


def layer_row(summary: LayerSummary, *, is_base: bool, created_by: str = "") -> LayerRow:
    """Returns the row of a layer that was read.

    Args:
        summary: what its facts say of it as a whole.
        is_base: whether it belongs to the base image in any image.
        created_by: the step that made it, as the history of an image says.
    """
    return LayerRow(
        layer=summary.digest,
        diff_id=summary.diff_id,
        media_type=summary.media_type,
        stored_size=summary.stored_size,
        size=summary.size,
        entries=summary.entries,
        files=summary.files,
        bytes=summary.bytes,
        is_base=is_base,
        created_by=created_by or None,
        facts_version=FACTS_VERSION,
        error=None,
    )


def failed_layer_row(descriptor: Descriptor, error: str, *, is_base: bool, created_by: str = "") -> LayerRow:
    """Returns the row of a layer that cannot be read.

    Args:
        descriptor: what the manifest of an image says of its blob.
        error: why it cannot be read.
        is_base, created_by: see `layer_row`.
    """
    return LayerRow(
        **unknown(LayerRow) | {
            "layer": descriptor.digest, "media_type": descriptor.media_type, "stored_size": descriptor.size,
            "is_base": is_base, "created_by": created_by or None, "error": error,
        }
    )  # fmt: skip


def _documents(image: ResolvedImage) -> tuple[Manifest, ImageConfig]:
    manifest = parse_manifest(image.manifest, image.media_type)
    assert isinstance(manifest, Manifest)
    return manifest, parse_config(image.config)


def _of_documents(manifest: Manifest, config: ImageConfig, inventory: Inventory | None) -> dict[str, Any]:
    base = find_base(config, manifest)
    in_base = None if base is None else base.layers
    if inventory is not None:
        in_base = sum(layer.is_base for layer in inventory.layers)
    sizes = [layer.size for layer in manifest.layers]
    return {
        "created": _time(config.created), "architecture": config.platform.architecture or None,
        "os_name": config.platform.os or None, "layer_count": len(manifest.layers),
        "layers": tuple(layer.digest for layer in manifest.layers), "diff_ids": config.diff_ids, "size": sum(sizes),
        "base_layers": in_base, "own_size": None if in_base is None else sum(sizes[in_base:]),
        "base_name": None if base is None else base.name or None,
        "base_digest": None if base is None else base.digest or None,
        "base_os_version": None if base is None else base.version or None,
    }  # fmt: skip


def _of_system(config: ImageConfig, inventory: Inventory | None) -> dict[str, Any]:
    system = None if inventory is None else inventory.operating_system
    text = (system.version if system is not None else "") or config.platform.os_version
    version = WindowsVersion.parse(text)
    return {
        "os_version": text or None, "product_name": None if system is None else system.name or None,
        "build": None if version is None else version.build,
        "revision": None if version is None or version.revision < 0 else version.revision,
    }  # fmt: skip


class _Fields:
    """What the configuration says of a container of the image. A field of another type is unknown, and a problem.

    Attributes:
        columns: the columns of an image's row.
        problems: the place and the text of each problem.
    """

    def __init__(self, config: ImageConfig) -> None:
        self.problems: list[tuple[str, str]] = []
        view = config.view.view("config")
        user = self._read(view, "User", JsonView.text)
        entrypoint = self._read(view, "Entrypoint", JsonView.texts)
        cmd = self._read(view, "Cmd", JsonView.texts)
        labels = self._read(view, "Labels", JsonView.mapping)
        self.columns: dict[str, Any] = {
            "user": user or None,
            "entrypoint": _json(entrypoint) if entrypoint else None,
            "cmd": _json(cmd) if cmd else None,
            "labels": _json(labels) if labels else None,
        }

    def _read(self, view: JsonView, name: str, read: Callable[[JsonView, str], _Value]) -> _Value | None:
        try:
            return read(view, name)
        except FormatError as error:
            self.problems.append((f"config: {name}", str(error)))
            return None


def _package(image: str, item: Item) -> PackageRow:
    return PackageRow(
        image,
        str(item.kind),
        item.name,
        item.version or None,
        item.publisher or None,
        identifiers_of(item).purl or None,
        *_origin(item),
        _json(item.properties),
    )


def _update(image: str, item: Item) -> UpdateRow:
    known = {name: item.properties.get(name) for name in ("kb", "package", "state")}
    rest = {name: value for name, value in item.properties.items() if name not in known}
    return UpdateRow(
        image,
        str(known["kb"]) if known["kb"] else None,
        str(known["package"] or item.name),
        item.version or None,
        str(known["state"]) if known["state"] else None,
        *_origin(item),
        _json(rest),
    )


def _registry(image: str, item: Item) -> RegistryRow:
    return RegistryRow(
        image,
        str(item.kind),
        item.name,
        item.version or None,
        item.publisher or None,
        *_origin(item),
        _json(item.properties),
    )


def _origin(item: Item) -> tuple[str, str | None, bool]:
    """Returns the place of an item, the layer that brought it, and whether the base image did."""
    origin = item.origin
    return origin.place, None if origin.layer is None else origin.layer.digest or None, origin.is_base


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _time(text: str) -> datetime | None:
    """Returns a time of a configuration, cut to microseconds; None if it is none."""
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
