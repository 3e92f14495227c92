"""Walks over the visible entries at and below paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wclayer._walk import Walk
from wclayer.errors import LimitExceededError, limit_hint
from wclayer.model import limits_in_use
from wclayer.view.merged import MergedTree, Node
from wclayer.view.resolve import existing
from wclayer.view.spelling import layer_path


def entries_at(tree: MergedTree, paths: Sequence[str], depth: int | None = None) -> Iterator[Node]:
    """Yields the entries at paths and all those below them, directories before what is in them.

    All paths are looked up before the first entry is yielded. The root above `Files` is no entry. Links at the end of a
    path are followed, those below are not.

    Args:
        tree: the tree.
        paths: in any spelling that `layer_path` accepts; the root if there are none.
        depth: how deep entries are yielded: that of the paths themselves is 0. None for all.

    Raises:
        PathNotFoundError, EntryNotDirectoryError, UnresolvedLinkError: a path cannot be resolved.
        LimitExceededError: a path has too many names.
    """
    tops = [existing(tree, layer_path(path), follow=True) for path in paths or ("",)]
    deepest = limits_in_use().path_depth
    for top in tops:
        if top.key:
            yield top
        if not top.is_directory or depth == 0:
            continue
        walk = Walk(tree.each_child(top), None)
        for _, node in walk:
            yield node
            if node.is_directory and (depth is None or walk.depth < depth):
                if walk.depth >= deepest:
                    raise LimitExceededError(
                        tree.layers[0].path, f"a path of more than {deepest} names {limit_hint('path_depth')}"
                    )
                walk.enter(tree.each_child(node), None)
