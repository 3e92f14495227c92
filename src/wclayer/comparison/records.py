"""Differences as JSON has them: the names of fields, and values that JSON can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from wclayer.comparison.documents import DocumentChange
from wclayer.comparison.history import ComparedLayer, StepChange
from wclayer.comparison.image_diff import DocumentDifference, ImageDifference
from wclayer.comparison.inventory_diff import InventoryDifference, ItemChange
from wclayer.formats.regf.model import Value
from wclayer.formats.regf.values import to_text, type_name
from wclayer.view.diff import Difference
from wclayer.view.registry import RegistryDifference
from wclayer.win32 import filetime
from wclayer.win32.attributes import attribute_letters
from wclayer.win32.sddl import security_text

Record = dict[str, Any]


def difference_record(difference: ImageDifference) -> Record:
    """Returns all that differs between two images."""
    documents = difference.documents
    return {
        "a": difference.a,
        "b": difference.b,
        "documents": None if documents is None else documents_record(documents),
        "inventory": None if difference.inventory is None else inventory_record(difference.inventory),
        "files": [file_record(each) for each in difference.files],
        "registry": [registry_record(each) for each in difference.registry],
    }


def documents_record(documents: DocumentDifference) -> Record:
    """Returns what differs between the documents of two images."""
    return {
        "fields": [document_record(each) for each in documents.fields],
        "history": {
            "common": documents.history.common,
            "changes": [step_record(each) for each in documents.history.changes],
        },
        "layers": [layer_record(each) for each in documents.layers],
    }


def document_record(change: DocumentChange) -> Record:
    """Returns the record of a field of the documents."""
    return {
        "change": change.change.value,
        "part": change.part.value,
        "field": change.field,
        "key": change.key or None,
        "old": change.old,
        "new": change.new,
    }


def step_record(change: StepChange) -> Record:
    """Returns the record of a step of the history."""
    return {"change": change.change.value, "number": change.number, **_sides(change.old, change.new)}


def layer_record(layer: ComparedLayer) -> Record:
    """Returns the record of a layer."""
    change = "shared" if layer.change is None else layer.change.value
    return {"change": change, "diff_id": layer.diff_id, **_sides(layer.a, layer.b)}


def _sides(old: Any, new: Any) -> Record:
    return {name: None if side is None else dataclasses.asdict(side) for name, side in (("old", old), ("new", new))}


def inventory_record(difference: InventoryDifference) -> Record:
    """Returns what differs between the inventories of two images."""
    return {
        "items": [item_record(each) for each in difference.items],
        "old_findings": [finding.to_json() for finding in difference.old_findings],
        "new_findings": [finding.to_json() for finding in difference.new_findings],
    }


def item_record(change: ItemChange) -> Record:
    """Returns the record of a thing that differs."""
    return {
        "change": change.change.value,
        "kind": str(change.kind),
        "name": change.name,
        "fields": {name: list(sides) for name, sides in change.fields.items()},
        "old": None if change.old is None else change.old.to_json(),
        "new": None if change.new is None else change.new.to_json(),
    }


def file_record(difference: Difference) -> Record:
    """Returns the record of a file that differs. A field that one side does not have is None there."""
    return {
        "change": difference.change.value,
        "path": difference.path,
        "directory": difference.is_directory,
        "size": difference.size,
        "fields": {name: [_file_field(name, side) for side in sides] for name, sides in difference.fields.items()},
    }


def _file_field(name: str, value: object) -> object:
    if name.endswith("_time") and isinstance(value, int):
        return filetime.to_iso(value)
    if name == "attributes" and isinstance(value, int):
        return attribute_letters(value)
    if name == "security" and isinstance(value, str):
        return security_text(bytes.fromhex(value))
    if name == "content" and isinstance(value, str):
        return f"sha256:{value}"
    if name == "streams" and isinstance(value, Mapping):
        return [{"name": stream, "size": size, "sha256": digest} for stream, (size, digest) in value.items()]
    return value


def registry_record(difference: RegistryDifference) -> Record:
    """Returns the record of a key or a value of the registry that differs."""
    return {
        "change": difference.change.value,
        "key": difference.key,
        "value": difference.value,
        "fields": {name: [_registry_field(name, side) for side in sides] for name, sides in difference.fields.items()},
    }


def _registry_field(name: str, side: object) -> str | None:
    if isinstance(side, Value):
        return f"{type_name(side.type)} {to_text(side)}"
    if name == "last_written" and isinstance(side, int):
        return filetime.to_iso(side)
    if name == "security" and isinstance(side, bytes):
        return security_text(side)
    if isinstance(side, bytes):
        return side.decode("utf-16-le", "replace")
    return None if side is None else str(side)
