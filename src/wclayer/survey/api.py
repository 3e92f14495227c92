"""`survey_image`: finds what the layers of a chain take, and what of it is wasted."""

from __future__ import annotations

import os

from wclayer.errors import during
from wclayer.images.opening import ImageLayers
from wclayer.inventory.facts.chain import ImageFacts
from wclayer.inventory.item import SubjectLayer
from wclayer.inventory.subject.layers import subject_layers
from wclayer.layers.progress import Cancelled, ProgressCallback, count_entries
from wclayer.survey.chain import ChainWalk
from wclayer.survey.model import Survey
from wclayer.survey.notes import Notes
from wclayer.survey.opening import Subject, open_tree
from wclayer.survey.tally import Directories
from wclayer.view.merged import MergedTree

LARGEST = 1_000
"""How many single files and contents a survey names."""


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
    with open_tree(subject) as tree, Notes() as notes:
        name, layers = _described(subject, tree)
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


def _described(subject: Subject, tree: MergedTree) -> tuple[str, tuple[SubjectLayer, ...]]:
    """Returns the name of what is surveyed, and its layers, base layer first."""
    if isinstance(subject, ImageFacts):
        return subject.name, subject_layers(list(reversed(subject.places)), subject.manifest, subject.config)
    if isinstance(subject, ImageLayers):
        return subject.name, subject_layers(list(reversed(subject.layers)), subject.manifest, subject.config)
    nearest = subject if isinstance(subject, (str, os.PathLike)) else subject[0]
    return os.fspath(nearest), subject_layers([layer.path for layer in reversed(tree.layers)], None, None)
