"""The history of an image: which step made which layer, and where the base image ends."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wclayer.images.config import HistoryEntry, ImageConfig
from wclayer.images.manifest import Manifest

BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"

_BASE_STEP = re.compile(r"(?:Apply image|Install update) (\S.*)")
"""What Microsoft's base images have as the command of a step: "Apply image 10.0.20348.4294", and for the monthly update
"Install update 10.0.20348.5499". Older images have names such as "1809-amd64"."""


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """A step that made an image.

    Attributes:
        entry: what the configuration says about the step.
        layer: the number of the layer that it made, 0 for the base layer; None if it made none, or if that is unknown.
    """

    entry: HistoryEntry
    layer: int | None


@dataclass(frozen=True, slots=True)
class ImageBase:
    """The base image of an image.

    Attributes:
        name: the name that the manifest's annotations state; "" if they state none.
        digest: the digest of its manifest that the annotations state; "" if they state none.
        version: what the last of its steps in the history applied ("10.0.20348.5499"); "" if the history does not show
            the steps of a base image.
        layers: the number of layers of the image that are the base image's; None if the history does not show it.
    """

    name: str
    digest: str
    version: str
    layers: int | None


def history_steps(config: ImageConfig) -> tuple[HistoryStep, ...]:
    """Returns the steps of an image, each with the layer that it made.

    BuildKit marks steps that made no layer (`empty_layer`); Docker's classic builder for Windows makes a layer in each
    step. If the layers are neither as many as the steps without the mark nor as many as the steps, the history does not
    tell which step made which.
    """
    entries = config.history
    makers = [number for number, entry in enumerate(entries) if not entry.is_empty_layer]
    if len(makers) != len(config.diff_ids):
        makers = [*range(len(entries))] if len(entries) == len(config.diff_ids) else []
    layers = {step: layer for layer, step in enumerate(makers)}
    return tuple(HistoryStep(entry, layers.get(number)) for number, entry in enumerate(entries))


def find_base(config: ImageConfig, manifest: Manifest | None = None) -> ImageBase | None:
    """Returns the base image of an image; None if nothing tells which it is.

    The history begins with the steps of Microsoft's base image. The annotations of the manifest state the image from
    which it was built (OCI image-spec, annotations.md), which may be another one over the same base image.
    """
    annotations = manifest.view.mapping("annotations") if manifest is not None else {}
    name, digest = annotations.get(BASE_NAME, ""), annotations.get(BASE_DIGEST, "")
    version, layers = "", None
    for step in history_steps(config):
        found = _BASE_STEP.match(step.entry.created_by)
        if not found:
            break
        version = found[1].strip()
        if step.layer is not None:
            layers = step.layer + 1
    return ImageBase(name, digest, version, layers) if name or digest or version else None
