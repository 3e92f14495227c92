"""`LayerSummary`: what a facts file says of its layer as a whole, in its first member."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from wclayer.errors import FormatError
from wclayer.images.descriptor import check_digest
from wclayer.images.json_view import JsonView, parse_json

FACTS_VERSION = 1
"""The version of the format of facts files. One that is older or newer is not read."""
_NAME = re.compile(r"[ -~]{1,255}\Z")


class NewerFactsError(FormatError):
    """A facts file was written by a newer wclayer than this one."""


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """What is known of a layer as a whole.

    Attributes:
        digest: the digest of its blob.
        diff_id: the digest of its tar, uncompressed.
        media_type: the type of the blob, as the descriptor says.
        compression: how the blob is compressed ("none", "gzip", "zstd").
        stored_size: the bytes of the blob.
        size: the bytes of the tar, uncompressed.
        entries: the number of all its entries, tombstones included.
        files: the number of files, each counted by its first name.
        directories: the number of directories.
        links: the number of further names of files (hard links).
        tombstones: the number of names that it deletes from its parents.
        bytes: the bytes of the main data streams of its files.
        streams: the number of alternate streams.
        hives: the paths of the registry hives that it carries, in order.
    """

    digest: str
    diff_id: str
    media_type: str
    compression: str
    stored_size: int
    size: int
    entries: int
    files: int
    directories: int
    links: int
    tombstones: int
    bytes: int
    streams: int
    hives: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object, with the version of the format."""
        return {"version": FACTS_VERSION, **asdict(self), "hives": list(self.hives)}

    @classmethod
    def from_json(cls, view: JsonView) -> Self:
        """Returns the summary that a JSON object describes.

        Raises:
            NewerFactsError: a newer wclayer wrote it.
            FormatError: a field is missing, or its value is not possible.
        """
        version = view.number("version")
        if version > FACTS_VERSION:
            raise NewerFactsError(
                f"has version {version} of the format, and this wclayer reads version {FACTS_VERSION}"
            )
        if version != FACTS_VERSION:
            raise FormatError(f"{view.what}: version {version}, which no wclayer has written")
        values: dict[str, Any] = {"hives": view.texts("hives")}
        for name in ("digest", "diff_id"):
            values[name] = check_digest(view.text(name), f"{view.what}: {name}")
        for name in ("media_type", "compression"):
            values[name] = view.text(name)
            if not _NAME.match(values[name]):
                raise FormatError(f"{view.what}: {name}: {values[name][:80]!r} is not possible")
        for field in fields(cls):
            if field.name not in values:
                values[field.name] = view.number(field.name, -1)
                if not 0 <= values[field.name] < 1 << 63:
                    raise FormatError(f"{view.what}: {field.name} is missing, or not possible")
        return cls(**values)


def encode_summary(summary: LayerSummary) -> bytes:
    """Returns the JSON text of a summary."""
    return json.dumps(summary.to_json()).encode()


def decode_summary(data: bytes) -> LayerSummary:
    """Returns the summary in a JSON text that may come from elsewhere.

    Raises:
        NewerFactsError: a newer wclayer wrote it.
        FormatError: it is no summary.
    """
    return LayerSummary.from_json(parse_json(data, "the summary of a layer"))
