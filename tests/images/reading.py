"""Reads a whole image through the protocol of sources, to compare it with what it should be."""

from __future__ import annotations

import json

from tests.images.memory import MemorySource
from tests.images.samples import Image, Index
from wclayer.images.descriptor import Descriptor
from wclayer.images.json_view import JsonView
from wclayer.images.transfer import copy_image
from wclayer.images.transport import ImageSource, ImageTarget


def contents(source: ImageSource, *, without: frozenset[str] = frozenset()) -> dict[str, bytes]:
    """Everything of an image by its digests.

    Args:
        source: the image.
        without: digests of blobs that are not read.
    """
    found: dict[str, bytes] = {}
    pending = [source.resolve()]
    while pending:
        descriptor = pending.pop()
        if descriptor.digest in without:
            continue
        if descriptor.is_index or descriptor.is_manifest:
            data = source.manifest(descriptor)
            record = json.loads(data)
            below = record.get("manifests") or [record["config"], *record["layers"]]
            pending += [Descriptor.from_json(JsonView(item, "descriptor")) for item in below]
        else:
            with source.open_blob(descriptor) as stream:
                data = stream.read()
        found[descriptor.digest] = data
    return found


def expected(item: Image | Index) -> dict[str, bytes]:
    """What `contents` returns of a sample image."""
    return {digest: data for digest, (_, data) in item.documents.items()} | dict(item.blobs)


def put(item: Image | Index, target: ImageTarget, *, jobs: int = 1) -> None:
    """Copies a sample image, with all its platforms, into a target, and closes it."""
    with target:
        copy_image(MemorySource(item), target, all_platforms=True, jobs=jobs)
