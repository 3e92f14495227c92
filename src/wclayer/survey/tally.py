"""The sums of a survey by directory and by layer, in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

from wclayer.survey.model import DirectoryUsage, LayerUsage

MAX_DIRECTORIES = 48 << 20
"""Bytes of memory for the sums of directories. They are enough for 50,000 directories, more than Windows has."""
_DIRECTORY, _LAYER = 400, 300
"""About how many bytes the sums of a directory take without its path, and those of a layer in it."""

_T = TypeVar("_T")


class Sums:
    """The sums of one layer in a directory, while they are counted. The attributes are those of `LayerUsage`."""

    __slots__ = (
        "added", "bytes", "entries", "hidden_bytes", "hides_bytes", "removed", "replaced", "shown", "shown_files",
    )  # fmt: skip

    def __init__(self) -> None:
        self.entries = self.bytes = self.hidden_bytes = self.hides_bytes = 0
        self.added = self.replaced = self.removed = self.shown = self.shown_files = 0

    def add(self, other: Sums) -> None:
        """Adds the sums of a directory that lies in this one."""
        self.entries += other.entries
        self.bytes += other.bytes
        self.hidden_bytes += other.hidden_bytes
        self.hides_bytes += other.hides_bytes
        self.added += other.added
        self.replaced += other.replaced
        self.removed += other.removed
        self.shown += other.shown
        self.shown_files += other.shown_files

    def of_layer(self, layer: int) -> LayerUsage:
        """Returns the sums as those of a layer."""
        return LayerUsage(
            layer, self.entries, self.bytes, self.hidden_bytes, self.added, self.replaced, self.removed,
            self.hides_bytes, self.shown, self.shown_files,
        )  # fmt: skip


class DirectorySums(dict[int, Sums]):
    """The sums of a directory by the numbers of layers."""

    def __missing__(self, layer: int) -> Sums:
        sums = self[layer] = Sums()
        return sums

    def add(self, other: DirectorySums) -> None:
        """Adds the sums of a directory that lies in this one."""
        for layer, sums in other.items():
            self[layer].add(sums)

    def usage(self, path: str) -> DirectoryUsage:
        """Returns the sums as those of the directory at a path, base layer first."""
        return DirectoryUsage(path, tuple(self[layer].of_layer(layer) for layer in sorted(self)))


class Directories:
    """The directories of a survey. If they take too much memory, the smallest ones are left out.

    What lies in a directory is not larger than the directory. So if one is left out, all those in it are, too.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._found: list[tuple[int, str, DirectoryUsage]] = []
        self._size = 0
        self._least = 0

    def add(self, number: int, key: str, path: str, sums: DirectorySums) -> None:
        """Adds a directory with all that lies below it.

        Args:
            number: its position in the order of the tree.
            key: its path key.
            path: its path.
            sums: its sums.
        """
        usage = sums.usage(path)
        if key and usage.bytes < self._least:
            self.left_out += 1
            return
        self._found.append((number, key, usage))
        self._size += _weight(key, usage)
        while self._size > MAX_DIRECTORIES and len(self._found) > 1:
            self._leave_out()

    def _leave_out(self) -> None:
        """Leaves out about half of the directories."""
        sizes = sorted(usage.bytes for _, _, usage in self._found)
        middle = sizes[len(sizes) // 2]
        self._least = middle if middle > sizes[0] else middle + 1
        kept = [each for each in self._found if not each[1] or each[2].bytes >= self._least]
        self.left_out += len(self._found) - len(kept)
        self._found = kept
        self._size = sum(_weight(key, usage) for _, key, usage in kept)

    def in_order(self) -> dict[str, DirectoryUsage]:
        """Returns the directories by their path keys, in the order of the tree."""
        return {key: usage for _, key, usage in sorted(self._found, key=lambda each: each[0])}


def _weight(key: str, usage: DirectoryUsage) -> int:
    return _DIRECTORY + _LAYER * len(usage.layers) + len(key) + len(usage.path)


class Largest(Generic[_T]):
    """The largest things of many, by a size. Of those of the same size, the first ones are kept.

    Args:
        count: how many are kept.
    """

    def __init__(self, count: int) -> None:
        self._most = count
        self._heap: list[tuple[int, int, _T]] = []
        self._seen = 0

    def takes(self, size: int) -> bool:
        """Returns whether a thing of that size would be kept."""
        return len(self._heap) < self._most or (self._most > 0 and size > self._heap[0][0])

    def add(self, size: int, thing: _T) -> None:
        """Adds a thing of that size."""
        self._seen += 1
        item = size, -self._seen, thing
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, item)
        elif self._most:
            heapq.heappushpop(self._heap, item)

    def __iter__(self) -> Iterator[_T]:
        """Yields the things that are kept, the largest first."""
        return (thing for _, _, thing in sorted(self._heap, key=lambda item: item[:2], reverse=True))
