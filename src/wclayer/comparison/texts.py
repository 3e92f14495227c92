"""Differences as lines of text, made of their records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from wclayer.comparison.records import Record
from wclayer.win32.reparse import decode_link, decode_reparse
from wclayer.win32.shown import size_text

MARKS = {"added": "+", "removed": "-", "changed": "~", "shared": "="}
_DIGEST_SHOWN = len("sha256:") + 16


def document_lines(record: Record) -> Iterator[str]:
    """Yields the lines of what differs between the documents: fields, history, layers."""
    for field in record["fields"]:
        yield field_line(field)
    for step in record["history"]["changes"]:
        yield step_line(step)
    if any(layer["change"] != "shared" for layer in record["layers"]):
        yield from map(layer_line, record["layers"])


def field_line(record: Record) -> str:
    """Returns the line of a field of the documents."""
    name = " ".join(filter(None, (record["part"], record["field"], record["key"])))
    return f"{MARKS[record['change']]} {name}: {sides_text('', record['old'], record['new'])}"


def step_line(record: Record) -> str:
    """Returns the line of a step of the history."""
    step = record["new"] or record["old"]
    text = step["created_by"] or step["comment"] or "-"
    if record["change"] == "changed":
        text += f": {record['old']['created'] or '-'} -> {record['new']['created'] or '-'}"
    return f"{MARKS[record['change']]} history {record['number']}: {text}"


def layer_line(record: Record) -> str:
    """Returns the line of a layer."""
    old, new = record["old"], record["new"]
    line = f"{MARKS[record['change']]} layer {(new or old)['number']}: {record['diff_id']}"
    if record["change"] != "changed":
        return f"{line}  {size_text((new or old)['size'])}"
    sides = (
        f"{side['digest'][:_DIGEST_SHOWN]}… {size_text(side['size'])}, layer {side['number']}" for side in (old, new)
    )
    return f"{line}  {' -> '.join(sides)}"


def inventory_lines(record: Record) -> Iterator[str]:
    """Yields the lines of what differs between the inventories: items, findings."""
    for item in record["items"]:
        yield item_line(item)
        for name, (old, new) in item["fields"].items():
            if name != "version":
                yield f"    {name.replace('_', ' ')}: {sides_text(name, old, new)}"
    for mark, side in (("-", "old_findings"), ("+", "new_findings")):
        for finding in record[side]:
            yield f"{mark} finding ({finding['kind']}) {finding['place']}: {finding['text']}"


def item_line(record: Record) -> str:
    """Returns the line of a thing that differs: its kind and name, and its version or both of them."""
    versions = versions_text(record)
    return f"{MARKS[record['change']]} {record['kind']} {record['name']}{f': {versions}' if versions else ''}"


def versions_text(record: Record) -> str:
    """Returns both versions of a thing that differs, or the only one; "" if it has none."""
    old, new = (record[side] and record[side]["version"] for side in ("old", "new"))
    return f"{old or '-'} -> {new or '-'}" if "version" in record["fields"] else new or old or ""


def file_lines(record: Record) -> Iterator[str]:
    """Yields the lines of a file that differs: its path, then its fields."""
    slash = "/" if record["directory"] else ""
    size = "" if record["directory"] or record["fields"] else f"  {size_text(record['size'])}"
    yield f"{MARKS[record['change']]} {record['path']}{slash}{size}"
    for name, (old, new) in record["fields"].items():
        yield f"    {name.replace('_', ' ')}: {sides_text(name, old, new)}"


def registry_lines(record: Record) -> Iterator[str]:
    """Yields the lines of a key or a value of the registry that differs: its path with the data, then other fields."""
    data = record["fields"].get("data")
    text = "" if data is None else f" = {' -> '.join(side for side in data if side is not None)}"
    yield f"{MARKS[record['change']]} {registry_name(record)}{text}"
    for name, (old, new) in record["fields"].items():
        if name != "data":
            yield f"    {name.replace('_', ' ')}: {sides_text(name, old, new)}"


def registry_name(record: Record) -> str:
    """Returns the path of a key, with the name of its value."""
    return str(record["key"]) + ("" if record["value"] is None else f" : {record['value'] or '(Default)'}")


def sides_text(name: str, old: object, new: object) -> str:
    """Returns both values of a field, or the only one."""
    if name:
        texts = [value_text(name, side) for side in (old, new)]
        if texts[0] == texts[1]:
            # Streams of the same names and sizes.
            texts = [value_text("", side) for side in (old, new)]
    else:
        texts = [value_text(name, side) for side in (old, new) if side is not None]
    return " -> ".join(texts)


def value_text(name: str, value: Any) -> str:
    """Returns one value of a field.

    Args:
        name: the name of the field of a file; "" for any other value.
        value: the value, as its record has it.
    """
    if value is None or value == []:
        return "-"
    if name == "content":
        return f"{value[:_DIGEST_SHOWN]}…"
    if name == "streams":
        return " ".join(f"{stream['name'].lower()}={stream['size']}" for stream in value)
    if name == "reparse":
        return _reparse_text(bytes.fromhex(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _reparse_text(data: bytes) -> str:
    try:
        point = decode_reparse(data)
    except ValueError:
        return f"hex:{data.hex()}"
    try:
        return f"{point.tag_name} {decode_link(point).print_name}"
    except ValueError:
        return f"{point.tag_name} {point.data.hex()}"
