"""The documents of a layout that wclayer writes: `oci-layout`, and the entries of `index.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from wclayer._types import StrPath
from wclayer.errors import FormatError, InvalidParameterError
from wclayer.images.descriptor import OCI_INDEX, Descriptor
from wclayer.images.json_edit import JsonText
from wclayer.images.json_view import parse_json
from wclayer.images.layout.named import CONTAINERD_NAME, REF_NAME
from wclayer.images.layout_names import INDEX_FILE
from wclayer.images.manifest import Manifest, check_manifest_size, referrer_of

_MOST_REPLACED = 16
MARKER = b'{"imageLayoutVersion":"1.0.0"}'
# The grammar of the annotation (OCI image-spec, annotations.md), with every tag of a registry.
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+/-]{0,511}\Z")


def checked_tag(tag: str | None, where: StrPath) -> str:
    """Returns the name of an image in a layout unchanged; "" for None.

    Raises:
        InvalidParameterError: it cannot be one.
    """
    if tag and not _TAG.match(tag):
        raise InvalidParameterError(
            where,
            f"{tag[:100]!r} cannot be the name of an image in a layout: letters, digits and _.:@+/- are possible, and a"
            " letter, a digit or _ is first",
        )
    return tag or ""


def encoded(record: object) -> bytes:
    """Returns a document as JSON, with its keys in their order."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def new_index(entries: Iterable[dict[str, Any]]) -> bytes:
    """Returns the `index.json` of a new layout."""
    return encoded({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)})


def entry_of(root: Descriptor, tag: str, image_name: str = "") -> dict[str, Any]:
    """Returns the entry of an image.

    Args:
        root: its manifest or index.
        tag: its name in the layout; "" for none.
        image_name: its whole name, for containerd and Docker; "" for none.
    """
    record = root.to_json()
    names = {key: value for key, value in ((CONTAINERD_NAME, image_name), (REF_NAME, tag)) if value}
    others = {key: value for key, value in root.annotations.items() if key not in (CONTAINERD_NAME, REF_NAME)}
    record.pop("annotations", None)
    if annotations := others | names:
        record["annotations"] = annotations
    return record


def referrer_entries(items: Iterable[Manifest]) -> list[dict[str, Any]]:
    """Returns the entries of manifests that refer to others. They have no names: their subjects are found in them."""
    return [entry_of(referrer_of(item), "") for item in items if item.subject is not None]


def with_entries(data: bytes, entries: Iterable[dict[str, Any]], tag: str) -> bytes:
    """Returns an `index.json` with further entries. Every other byte stays as it is.

    Args:
        data: the `index.json` so far.
        entries: the new entries, that of the image first. One with the digest of an old entry without a name replaces
            this entry.
        tag: the name of the image, which no other entry has afterwards; "" for none.

    Raises:
        FormatError: `data` is not an index, or too many of its entries give way.
        FormatLimitError: it would be larger than the limit `manifest_size`.
    """
    parse_json(data, INDEX_FILE)
    text = JsonText(data)
    for number, entry in enumerate(entries):
        kept = text.get(["manifests"]) or []
        if not isinstance(kept, list):
            raise FormatError(f"{INDEX_FILE}: manifests is not a list")
        own_tag = tag if number == 0 else ""
        at = [place for place, old in enumerate(kept) if _is_replaced(old, entry, own_tag)]
        if len(at) > _MOST_REPLACED:
            raise FormatError(f"{INDEX_FILE}: {len(at)} entries are the same image, or have the same name")
        for place in reversed(at[1:]):
            text.remove(["manifests", place])
        text.set(["manifests", at[0] if at else len(kept)], entry)
    check_manifest_size(len(text.data))
    return text.data


def _is_replaced(old: object, new: dict[str, Any], tag: str) -> bool:
    """Tells whether an entry gives way to a new one: it has its name, or is the same without a name."""
    if not isinstance(old, dict):
        return False
    annotations = old.get("annotations")
    name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    if tag and name == tag:
        return True
    return not name and old.get("digest") == new["digest"]
