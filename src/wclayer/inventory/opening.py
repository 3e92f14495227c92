"""`open_subject`: opens whatever can be inventoried."""

from __future__ import annotations

import os

from wclayer._types import StrPath
from wclayer.images.opening import ImageLayers
from wclayer.inventory.facts.chain import ImageFacts, open_chain
from wclayer.inventory.subject.subject import Subject
from wclayer.layers.directory import open_layer
from wclayer.layers.inputs import has_any_place


def open_subject(subject: ImageLayers | ImageFacts | StrPath) -> Subject:
    """Returns an image, a layer, a scratch or a disk as a subject, which the caller closes.

    Args:
        subject: an open image (`open_image`, or `open_image_facts`), the path of a layer directory, which is taken over
            the parents that it records, or that of a disk file.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: the layer cannot be opened.
        InvalidDataError, NotSupportedError: the disk holds no intact NTFS volume.
    """
    if isinstance(subject, ImageFacts):
        return open_chain(subject.folders, subject.name, subject.manifest, subject.config, subject.places)[0]
    if isinstance(subject, ImageLayers):
        return Subject.of_layers(subject.layers, subject.name, subject.manifest, subject.config)
    if has_any_place(subject):
        return Subject.of_disk(subject)
    with open_layer(subject) as layer:
        return Subject.of_layers([layer.path, *layer.parents_in_place()], os.fspath(subject))
