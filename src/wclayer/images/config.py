"""`ImageConfig`: a view over the raw bytes of an image's configuration (OCI image-spec, config.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from wclayer.errors import FormatError, FormatLimitError, limit_hint
from wclayer.images.descriptor import check_digest, digest_of
from wclayer.images.json_view import JsonView, parse_json
from wclayer.images.manifest import check_manifest_size
from wclayer.images.platform import Platform
from wclayer.model import limits_in_use

LATEST = 253_402_300_799
"""The last second of the year 9999, which RFC 3339 can write."""
FIRST_YEAR = 2015
"""The year before Windows had containers. An image that says that it is older has a time that was set to be equal for
all builds, such as 1970."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A step that made an image.

    Attributes:
        created: the time of the step, as the configuration writes it; "" if it is not stated.
        created_by: the command of the step.
        comment: a comment.
        is_empty_layer: True if the step made no layer.
    """

    created: str
    created_by: str
    comment: str
    is_empty_layer: bool


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The configuration of an image.

    Attributes:
        data: the bytes.
        platform: the machine that the image is made for.
        created: when the image was made, as the configuration writes it; "" if it is not stated.
        diff_ids: the digests of the uncompressed layers, base layer first.
        history: the steps that made the image, the first one first.
        view: the JSON object.
    """

    data: bytes
    platform: Platform
    created: str
    diff_ids: tuple[str, ...]
    history: tuple[HistoryEntry, ...]
    view: JsonView

    @property
    def chain_ids(self) -> tuple[str, ...]:
        """The chainID of each layer: the digest of the layer together with all layers below it."""
        return chain_ids(self.diff_ids)


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """Returns the chainIDs of layers (OCI image-spec, config.md, "Layer ChainID").

    Args:
        diff_ids: the digests of the uncompressed layers, base layer first.
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)


def parse_config(data: bytes) -> ImageConfig:
    """Returns the view of a configuration.

    Raises:
        FormatError: it is not the configuration of an image, or a value in it is not possible.
        FormatLimitError: it is larger than the limit `manifest_size`, or has more layers than `chain_length` allows.
    """
    check_manifest_size(len(data))
    config = _parsed(data)
    most = limits_in_use().chain_length + 1
    if len(config.diff_ids) > most:
        raise FormatLimitError(f"{len(config.diff_ids)} layers, more than {most} {limit_hint('chain_length')}")
    return config


# Each step of a build reads the configuration several times: before and after a change.
@lru_cache(maxsize=2)
def _parsed(data: bytes) -> ImageConfig:
    view = parse_json(data, "the configuration")
    view.view("config")  # checked, not read: what a container runs is in it
    rootfs = view.view("rootfs")
    if (kind := rootfs.text("type", "layers")) != "layers":
        raise FormatError(f"the configuration: the type of rootfs is {kind[:30]!r}, not 'layers'")
    diff_ids = rootfs.texts("diff_ids")
    return ImageConfig(
        data,
        Platform.from_json(view.record, "the configuration"),
        view.text("created"),
        tuple(check_digest(text, "the configuration: diff_ids") for text in diff_ids),
        tuple(
            HistoryEntry(step.text("created"), step.text("created_by"), step.text("comment"), step.flag("empty_layer"))
            for step in view.views("history")
        ),
        view,
    )


def seconds_of(text: str) -> int:
    """Returns the seconds since 1970 of a time in a configuration; 0 for one that is none, or earlier."""
    try:
        time = datetime.fromisoformat(text)
        return min(max(0, int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())), LATEST)
    except (ValueError, OverflowError):
        return 0
