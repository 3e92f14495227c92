"""The layers of what is inventoried, as the documents of its image describe them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from wclayer._types import StrPath
from wclayer.images.config import ImageConfig
from wclayer.images.history import find_base, history_steps
from wclayer.images.manifest import Manifest
from wclayer.inventory.item import SubjectLayer


def subject_layers(
    paths: Sequence[StrPath], manifest: Manifest | None, config: ImageConfig | None
) -> tuple[SubjectLayer, ...]:
    """Returns the layers of a subject, base layer first.

    The layers of the base image are those that the history of the image shows as such; if it shows none, or there is no
    history, the base layer alone.

    Args:
        paths: the layer directories, base layer first.
        manifest, config: the documents of the image, if it is one.
    """
    steps = {} if config is None else {step.layer: step.entry.created_by for step in history_steps(config)}
    base = None if config is None else find_base(config, manifest)
    in_base = 1 if base is None or base.layers is None else base.layers
    return tuple(
        SubjectLayer(
            number=index + 1,
            digest="" if manifest is None else manifest.layers[index].digest,
            diff_id="" if config is None else config.diff_ids[index],
            created_by=steps.get(index, ""),
            is_base=index < in_base,
            path=os.fspath(path),
        )
        for index, path in enumerate(paths)
    )
