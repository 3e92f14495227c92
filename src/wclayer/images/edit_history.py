"""`append_history`: a step is added to the history of an image, with the layer that it made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from wclayer.errors import InvalidParameterError
from wclayer.images.config import parse_config
from wclayer.images.json_edit import JsonText

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Step:
    """A step that made an image: an entry of the history that is added.

    Attributes:
        created_by: the command of the step.
        created: its time, as RFC 3339 writes it.
        author: who made it; "" leaves it out.
        comment: a comment; "" leaves it out.
    """

    created_by: str
    created: str
    author: str = ""
    comment: str = ""

    def to_json(self, *, is_empty_layer: bool) -> dict[str, object]:
        """Returns the JSON object, with the keys in the order of OCI's image-spec."""
        fields = (("created_by", self.created_by), ("author", self.author), ("comment", self.comment))
        record: dict[str, object] = {"created": check_time(self.created)}
        record |= {key: value for key, value in fields if value}
        return record | {"empty_layer": True} if is_empty_layer else record


UNKNOWN_STEP = "the step that made this layer is not known"
"""The comment of an entry of the history for a layer that had none."""


def append_history(data: bytes, step: Step, *, diff_id: str | None) -> bytes:
    """Returns a configuration with one more entry of the history, and the image is as old as this step.

    Entries and layers belong together by their order. So if a layer is added to an image whose history has no entries
    for the last of its layers, as some programs make them, these get entries that say so.

    Args:
        data: the configuration. Everything else keeps its bytes.
        step: the entry.
        diff_id: the diffID of the layer that the step made, which is added, too; None if it made none.

    Raises:
        InvalidParameterError: the time of the step is none.
        FormatError: the bytes are not a configuration.
    """
    if diff_id is None:
        return append_empty_steps(data, [step])
    config = parse_config(data)
    text = JsonText(data)
    text.set(("created",), check_time(step.created))
    known = sum(not entry.is_empty_layer for entry in config.history)
    text.extend(("history",), [{"comment": UNKNOWN_STEP}] * (len(config.diff_ids) - known))
    text.extend(("history",), [step.to_json(is_empty_layer=False)])
    if not text.get(("rootfs", "type")):
        text.set(("rootfs", "type"), "layers")
    text.extend(("rootfs", "diff_ids"), [diff_id])
    parse_config(text.data)
    return text.data


def append_empty_steps(data: bytes, steps: Sequence[Step]) -> bytes:
    """Returns a configuration with more entries of the history, of steps that made no layer (see `append_history`).

    Args:
        data: the configuration. Everything else keeps its bytes.
        steps: the entries, at least one. The image is as old as the last one.

    Raises:
        InvalidParameterError, FormatError: see `append_history`.
    """
    parse_config(data)
    text = JsonText(data)
    text.set(("created",), check_time(steps[-1].created))
    text.extend(("history",), [step.to_json(is_empty_layer=True) for step in steps])
    parse_config(text.data)
    return text.data


def check_time(text: str) -> str:
    """Returns a time as RFC 3339 writes it unchanged.

    Raises:
        InvalidParameterError: it is none.
    """
    try:
        known = _TIME.fullmatch(text) and datetime.fromisoformat(text)
    except ValueError:
        known = None
    if known is None:
        raise InvalidParameterError(text[:100] or "''", "is not a time such as 2026-08-09T02:33:18Z")
    return text
