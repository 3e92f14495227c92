"""`directory_usage`: the bytes of each directory of a chain, one directory after the other."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.errors import EntryNotDirectoryError, PathNotFoundError, UnresolvedLinkError, during
from wclayer.layers.progress import Cancelled, ProgressCallback, count_entries
from wclayer.survey.api import Subject, open_chain
from wclayer.survey.chain import ChainWalk
from wclayer.survey.model import DirectoryUsage
from wclayer.survey.names import NameWalk, Top
from wclayer.survey.notes import Notes
from wclayer.view.merged import MergedTree
from wclayer.view.resolve import existing
from wclayer.view.spelling import layer_path
from wclayer.win32.names import path_key


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
    with open_chain(subject) as (_, tree, _), Notes() as notes:
        walk = ChainWalk(tree, notes, 0, contents=False)
        for counted in walk.run(find_top(tree, walk.names, path), tell):
            if depth is None or counted.directory.depth <= depth + 1:
                yield counted.sums.usage(counted.directory.path)


def find_top(tree: MergedTree, names: NameWalk, path: str) -> Top:
    """Returns where a walk over names begins for a path: what the chain shows there, or a name that a layer removes.

    Raises:
        PathNotFoundError: no layer has the path.
        EntryNotDirectoryError, UnresolvedLinkError: the path cannot be resolved.
    """
    wanted = layer_path(path)
    try:
        key = existing(tree, wanted, follow=True).key
    except (PathNotFoundError, EntryNotDirectoryError, UnresolvedLinkError):
        removed = names.top(path_key(wanted))
        if removed is None:
            raise
        return removed
    top = names.top(key)
    if top is None:
        raise PathNotFoundError(path, "is made by this program, and no layer stores it", code=2)
    return top
