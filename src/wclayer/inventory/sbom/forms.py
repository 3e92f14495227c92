"""What the kinds of items are in the two forms of bills of materials, and what both say of an item."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wclayer.inventory.item import Inventory, Item, ItemKind, SubjectLayer
from wclayer.inventory.sbom.text import clean

NO_NAME = "(no name)"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Form:
    """What a kind of item is.

    Attributes:
        cyclonedx: the type of the component.
        spdx: the primary purpose of the package; "" if it is no package.
    """

    cyclonedx: str
    spdx: str


FORMS: Mapping[ItemKind, Form] = {
    ItemKind.OPERATING_SYSTEM: Form("operating-system", "OPERATING-SYSTEM"),
    ItemKind.UPDATE: Form("application", "OTHER"),
    ItemKind.FEATURE: Form("application", "OTHER"),
    ItemKind.PROGRAM: Form("application", "APPLICATION"),
    ItemKind.MSI_PRODUCT: Form("application", "APPLICATION"),
    ItemKind.MSI_PATCH: Form("application", "OTHER"),
    ItemKind.APPX_PACKAGE: Form("application", "APPLICATION"),
    ItemKind.DOTNET: Form("framework", "FRAMEWORK"),
    ItemKind.DRIVER: Form("device-driver", "OTHER"),
    ItemKind.CERTIFICATE: Form("cryptographic-asset", ""),
    ItemKind.PYTHON_PACKAGE: Form("library", "LIBRARY"),
    ItemKind.NODE_PACKAGE: Form("library", "LIBRARY"),
    ItemKind.JAVA_PACKAGE: Form("library", "LIBRARY"),
    ItemKind.NUGET_PACKAGE: Form("library", "LIBRARY"),
    ItemKind.GO_MODULE: Form("library", "LIBRARY"),
    ItemKind.RUST_CRATE: Form("library", "LIBRARY"),
    ItemKind.PE_FILE: Form("file", "FILE"),
}
"""The kinds that are software."""
SETTINGS = frozenset({ItemKind.SERVICE, ItemKind.TASK, ItemKind.PORT})
"""Kinds that are no software, and that a bill can state of the image."""
LEFT_OUT = frozenset({ItemKind.USER, ItemKind.ENVIRONMENT_VARIABLE})
"""Kinds that may be secrets, which are nobody's business who gets a bill."""
_NOT_THERE = frozenset({"absent", "removed"})
_PRESENT = frozenset({"", "installed", "permanent"})


def components(inventory: Inventory) -> Iterator[tuple[str, Item]]:
    """Yields the items that are software, each with an identifier that no other one has ("pe-file-12")."""
    counts = dict.fromkeys(FORMS, 0)
    for item in inventory.items:
        if item.kind in FORMS and _state(item) not in _NOT_THERE:
            counts[item.kind] += 1
            yield f"{item.kind}-{counts[item.kind]}", item


def is_in_use(item: Item) -> bool:
    """Returns whether an item is installed: an update may be superseded, a feature only staged."""
    return _state(item) in _PRESENT


def _state(item: Item) -> str:
    state = item.properties.get("state", "")
    return state if isinstance(state, str) else ""


def places(item: Item) -> list[str]:
    """Returns where an item is: the names of its file, or its key."""
    names = item.properties.get("names")
    return [clean(place) for place in (names if isinstance(names, list) and names else [item.origin.place])]


def layer_text(layer: SubjectLayer | None) -> str:
    """Returns the layer that brought an item, for people; "" for none."""
    if layer is None:
        return ""
    digest = f" ({layer.digest})" if layer.digest else ""
    return clean(f"layer {layer.number}{digest}, {'base image' if layer.is_base else 'own'}")


def layer_history(layer: SubjectLayer) -> str:
    """Returns what a bill says of a layer: its digests and the step that made it."""
    return clean(", ".join(filter(None, (layer_text(layer), layer.diff_id, layer.created_by))))


def image_sha256(inventory: Inventory) -> str:
    """Returns the SHA-256 of an image's manifest; "" if there is none."""
    return _checked(inventory.digest.removeprefix("sha256:"))


def contents_sha256(item: Item) -> str:
    """Returns the SHA-256 of a file's contents; "" if it is unknown, or the item is no file."""
    value = item.properties.get("sha256", "")
    return _checked(value) if item.kind is ItemKind.PE_FILE and isinstance(value, str) else ""


def _checked(sha256: str) -> str:
    return sha256 if _SHA256.fullmatch(sha256) else ""


def facts(item: Item) -> Iterator[tuple[str, str]]:
    """Yields the properties of an item as texts; a list gives several of one name."""
    for name, value in item.properties.items():
        if item.kind is ItemKind.PE_FILE and name in ("sha256", "names"):
            continue
        for each in value if isinstance(value, list) else [value]:
            yield clean(name), str(each).lower() if isinstance(each, bool) else clean(str(each))
