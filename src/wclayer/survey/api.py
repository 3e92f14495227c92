"""`survey_image`: finds what the layers of a chain take, and what of it is wasted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wclayer._types import StrPath
from wclayer.errors import during
from wclayer.images.opening import ImageLayers
from wclayer.inventory.facts.chain import ImageFacts
from wclayer.inventory.facts.layer import open_facts
from wclayer.inventory.item import SubjectLayer
from wclayer.inventory.subject.layers import subject_layers
from wclayer.layers.progress import Cancelled, ProgressCallback, count_entries
from wclayer.survey.chain import ChainWalk
from wclayer.survey.model import Survey
from wclayer.survey.notes import Notes
from wclayer.survey.tally import Directories
from wclayer.view.merged import MergedTree

LARGEST = 1_000
"""How many single files and contents a survey names."""
Subject = ImageLayers | ImageFacts | StrPath | Sequence[StrPath]
"""What is surveyed: see `survey_image`."""


@during("survey", takes_over=True)
def survey_image(
    subject: Subject,
    *,
    largest: int = LARGEST,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> Survey:
    """Returns what the layers of an image, or of any other chain, take, and what of it is wasted.

    Every name that any layer has is looked at once. Contents are not read: sizes and digests are those on record.

    Wasted are files that a layer stores and that no name shows, because a later layer replaces or removes them, and
    the contents that several visible files have. Hives in `Hives` are never wasted, because the registry is merged of
    all of them. What a layer made from its entries, or cloned from its parent, is not counted.

    Args:
        subject: an open image (`open_image`, or `open_image_facts`); the path of a layer directory, which is taken over
            the parents that it records; or the paths of a chain, nearest first.
        largest: how many single files and contents are named, at most.
        progress: called for each name.
        cancelled: called for each name; the survey ends if it returns True.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: a layer cannot be opened, or is damaged.
        LimitExceededError: a layer has more entries, or longer paths, than the limits allow.
        OperationCancelledError: the caller has cancelled the survey.
    """
    tell = count_entries(progress, cancelled)
    with open_chain(subject) as (name, tree, layers), Notes() as notes:
        walk, directories = ChainWalk(tree, notes, largest), Directories()
        for counted in walk.run(walk.names.root(), tell):
            found = counted.directory
            directories.add(found.number, found.key, found.path, counted.sums)
        files, size = notes.count_duplicates()
        return Survey(
            name=name,
            layers=layers,
            directories=directories.in_order(),
            left_out=directories.left_out,
            largest=tuple(walk.largest),
            hidden=tuple(walk.hidden),
            duplicates=tuple(notes.duplicates(largest)),
            hidden_files=walk.hidden_files,
            duplicate_files=files,
            duplicate_bytes=size,
        )


@contextmanager
def open_chain(subject: Subject) -> Iterator[tuple[str, MergedTree, tuple[SubjectLayer, ...]]]:
    """A context manager that opens what is surveyed: its name, its merged tree, and its layers, base layer first."""
    if isinstance(subject, ImageFacts):
        described = subject_layers(list(reversed(subject.places)), subject.manifest, subject.config)
        with open_facts(subject.folders) as facts, MergedTree(facts) as tree:
            yield subject.name, tree, described
    elif isinstance(subject, ImageLayers):
        described = subject_layers(list(reversed(subject.layers)), subject.manifest, subject.config)
        with MergedTree(subject.layers) as tree:
            yield subject.name, tree, described
    elif isinstance(subject, (str, os.PathLike)):
        with MergedTree.of(subject, with_parents=True) as tree:
            yield os.fspath(subject), tree, _described(tree)
    else:
        with MergedTree(subject) as tree:
            yield os.fspath(subject[0]), tree, _described(tree)


def _described(tree: MergedTree) -> tuple[SubjectLayer, ...]:
    return subject_layers([layer.path for layer in reversed(tree.layers)], None, None)
