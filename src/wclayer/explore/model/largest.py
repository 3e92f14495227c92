"""The largest files of a tree, as an outline."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from functools import partial

from wclayer.explore.model.details import Fact
from wclayer.explore.model.files import FileItem, FileTree
from wclayer.explore.model.outline import OutlineItem, warning_item
from wclayer.explore.model.reading import TreeReading
from wclayer.layers.progress import Progress, ProgressCallback
from wclayer.win32.shown import size_text

_MOST = 1_000


def largest_outline(tree: FileTree, progress: ProgressCallback) -> Sequence[OutlineItem]:
    """Returns the largest files of a tree. A file with several names is there once.

    Args:
        tree: the tree, which no other thread uses.
        progress: called for each file and directory that was looked at.
    """
    reading = TreeReading(tree)
    found = heapq.nlargest(_MOST, _files(reading, progress), key=lambda file: file.size)
    size = sum(file.size for file in found)
    outline = [OutlineItem("The largest files", size_text(size), children=list(map(_item, found)), weight=size)]
    return [warning_item(reading.remark), *outline] if reading.failed else outline


def _files(reading: TreeReading[FileItem], progress: ProgressCallback) -> Iterator[FileItem]:
    state = Progress()
    for item in reading.walk():
        state.entries += 1
        progress(state)
        if item.counts and not item.is_directory:
            yield item


def _item(file: FileItem) -> OutlineItem:
    path = file.shown_path
    return OutlineItem(path, size_text(file.size), partial(_facts, file), weight=file.size, path=path)


def _facts(file: FileItem) -> Sequence[Fact]:
    return Fact(file.shown_path, "path"), Fact(f"{file.size:,} bytes", "size")
