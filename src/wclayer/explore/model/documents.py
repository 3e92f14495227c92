"""What the documents of an image say, as an outline: platform, what a container runs, history, their JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial

from wclayer.explore.model.details import Fact, line, warning
from wclayer.explore.model.outline import OutlineItem
from wclayer.images.config import ImageConfig
from wclayer.images.history import HistoryStep, find_base, history_steps
from wclayer.images.manifest import Manifest

_NO_IMAGE = "this is no image: there is neither a configuration nor a manifest"
_MOST_TEXT = 20_000


def documents_outline(config: ImageConfig | None, manifest: Manifest | None) -> Sequence[OutlineItem]:
    """Returns what the documents of an image say.

    Args:
        config, manifest: the documents; None for what is no image.
    """
    if config is None:
        return [OutlineItem(_NO_IMAGE)]
    found = [
        _fields("Image", _image_fields(config, manifest)),
        _json("What a container runs", config.view.record.get("config")),
        OutlineItem(
            "History",
            note=f"{len(config.history):,}",
            children=[_step(number, step) for number, step in enumerate(history_steps(config), 1)],
        ),
        _json("Configuration", config.view.record),
    ]
    if manifest is not None:
        found.append(_json("Manifest", manifest.view.record))
    return found


def _fields(title: str, fields: Iterator[tuple[str, str]]) -> OutlineItem:
    return OutlineItem(title, children=[_field(name, text) for name, text in fields if text])


def _field(name: str, text: str) -> OutlineItem:
    return OutlineItem(text, note=f"{name}:", tell=partial(_facts_of_text, text), path=text)


def _facts_of_text(text: str) -> Sequence[Fact]:
    facts = [line(each) for each in text[:_MOST_TEXT].splitlines() or [""]]
    if len(text) > _MOST_TEXT:
        facts.append(warning(f"and {len(text) - _MOST_TEXT:,} more characters"))
    return facts


def _image_fields(config: ImageConfig, manifest: Manifest | None) -> Iterator[tuple[str, str]]:
    yield "platform", str(config.platform)
    yield "created", config.created
    if manifest is not None:
        yield "manifest", manifest.descriptor.digest
        yield "configuration", manifest.config.digest
    base = find_base(config, manifest)
    if base is not None:
        yield "base image", base.name
        yield "its digest", base.digest
        yield "its version", base.version


def _step(number: int, step: HistoryStep) -> OutlineItem:
    layer = "no layer" if step.layer is None else f"layer {step.layer + 1}"

    def tell() -> Sequence[Fact]:
        entry = step.entry
        facts = [Fact(str(number), "step"), Fact(layer, "made")]
        facts += [Fact(entry.created, "created")] if entry.created else []
        facts += [Fact(entry.comment, "comment")] if entry.comment else []
        return [*facts, Fact(entry.created_by, "created by")]

    return OutlineItem(step.entry.created_by or "-", note=layer, tell=tell, path=step.entry.created_by)


def _json(title: str, value: object) -> OutlineItem:
    """Returns a JSON value as an item, with what is in an object or a list below it."""
    if isinstance(value, dict):
        children = [_json_member(str(key), member) for key, member in value.items()]
        return OutlineItem(title, note=f"{len(children):,}" if children else "{}", children=children)
    if isinstance(value, list):
        children = [_json_member(f"[{number}]", member) for number, member in enumerate(value)]
        return OutlineItem(title, note=f"{len(children):,}" if children else "[]", children=children)
    return _json_member(title, value)


def _json_member(name: str, value: object) -> OutlineItem:
    if isinstance(value, (dict, list)):
        return _json(name, value)
    return _field(name, value if isinstance(value, str) else json.dumps(value))
