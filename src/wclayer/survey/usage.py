"""`directory_usage`: the bytes of each directory of a chain, one directory after the other."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.errors import during
from wclayer.layers.progress import Cancelled, ProgressCallback, count_entries
from wclayer.survey.chain import ChainWalk
from wclayer.survey.model import DirectoryUsage
from wclayer.survey.names import find_top
from wclayer.survey.notes import Notes
from wclayer.survey.opening import Subject, open_tree


@during("measure", takes_over=True)
def directory_usage(
    subject: Subject,
    path: str = "",
    *,
    depth: int | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> Iterator[DirectoryUsage]:
    """Yields what the directories of an image, or of any other chain, take: each after those in it, the top last.

    The sums are those of `survey_image`: a file with several names counts at its first name, alternate streams count,
    directories themselves take nothing, and what a layer made or cloned does not count. No directory is left out, and
    the memory does not grow with their number.

    Args:
        subject: what is measured, as for `survey_image`.
        path: the directory, in any spelling that `layer_path` accepts; links are followed. It may be one that a layer
            removes. A file is measured alone.
        depth: how deep directories are yielded: those in `path` have the depth 1. The sums count everything.
        progress: called for each name.
        cancelled: called for each name; the walk ends if it returns True.

    Raises:
        PathNotFoundError: no layer has the path, or a layer cannot be opened. This and the other errors are raised when
            the first directory is requested.
        NotALayerError, CorruptLayerError: a layer cannot be opened, or is damaged.
        LimitExceededError: a layer has more entries, or longer paths, than the limits allow.
        OperationCancelledError: the caller has cancelled it.
    """
    tell = count_entries(progress, cancelled)
    with open_tree(subject) as tree, Notes() as notes:
        walk = ChainWalk(tree, notes, 0, contents=False)
        for counted in walk.run(find_top(tree, walk.names, path), tell):
            if depth is None or counted.directory.depth <= depth + 1:
                yield counted.sums.usage(counted.directory.path)
