"""`open_tree`: opens the merged tree of what is surveyed, measured or searched."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Union

from wclayer._types import StrPath
from wclayer.view.merged import MergedTree

if TYPE_CHECKING:
    from wclayer.images.opening import ImageLayers
    from wclayer.inventory.facts.chain import ImageFacts

Subject = Union["ImageLayers", "ImageFacts", StrPath, Sequence[StrPath]]
"""What is surveyed: see `survey_image`."""


@contextmanager
def open_tree(subject: Subject) -> Iterator[MergedTree]:
    """A context manager that opens the merged tree of a chain."""
    if isinstance(subject, (str, os.PathLike)):
        with MergedTree.of(subject, with_parents=True) as tree:
            yield tree
    elif isinstance(subject, Sequence):
        with MergedTree(subject) as tree:
            yield tree
    else:
        with _tree_of_image(subject) as tree:
            yield tree


@contextmanager
def _tree_of_image(image: ImageLayers | ImageFacts) -> Iterator[MergedTree]:
    # Whoever looks into layers does not wait until the modules of images are loaded.
    from wclayer.images.opening import ImageLayers
    from wclayer.inventory.facts.layer import open_facts

    if isinstance(image, ImageLayers):
        with MergedTree(image.layers) as tree:
            yield tree
    else:
        with open_facts(image.folders) as facts, MergedTree(facts) as tree:
            yield tree
