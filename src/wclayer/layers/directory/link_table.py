"""The hard links of a finished layer, in memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence


class LinkTable:
    """The further names of all files of a layer: 16 bytes for each.

    Args:
        links: for each further name, the id of the file's first name and its own, in the order of these pairs.
    """

    def __init__(self, links: Iterable[Sequence[int]]) -> None:
        self._heads = array("q")
        self._names = array("q")
        for head, name in links:
            self._heads.append(head)
            self._names.append(name)

    def count(self, head: int) -> int:
        """Returns the number of the further names of a file, by the id of its first name."""
        first = bisect_left(self._heads, head)
        return bisect_right(self._heads, head, first) - first

    def further_names(self, head: int) -> Sequence[int]:
        """Returns the ids of the further names of a file, in order.

        Args:
            head: the id of its first name.
        """
        first = bisect_left(self._heads, head)
        return self._names[first : bisect_right(self._heads, head, first)]
