"""Walks a tree depth first, without recursion: layers, hives and volumes can be deeper than Python's stack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

A = TypeVar("A")
T = TypeVar("T")


class Walk(Generic[A, T]):
    """Yields the items below a directory depth first, each with a value that the caller has chosen for its directory.

    To walk into the current item, the caller calls `enter` once, before it requests the next item.

        walk = Walk(children(top), path_of(top))
        for path, child in walk:
            ...
            if child.is_directory:
                walk.enter(children(child), f"{path}/{child.name}")

    Only one iterator per level is held in memory. To avoid holding the paths of all levels of a deep tree, the caller
    can pass the length of each directory's path as the value, and cut a single path to this length.

    Args:
        children: the items of the top directory.
        above: the value for the top directory, which is yielded with each of its items.
    """

    def __init__(self, children: Iterable[T], above: A) -> None:
        self._levels = [(above, iter(children))]

    @property
    def depth(self) -> int:
        """The number of open directories: those above the current item, including the top one."""
        return len(self._levels)

    @property
    def above(self) -> A:
        """The caller's value for the directory whose children are being yielded."""
        return self._levels[-1][0]

    def enter(self, children: Iterable[T], above: A) -> None:
        """Walks into the current item: its `children` are yielded next, each with the value `above`."""
        self._levels.append((above, iter(children)))

    def __iter__(self) -> Iterator[tuple[A, T]]:
        levels = self._levels
        while levels:
            depth = len(levels)
            above, children = levels[-1]
            for child in children:
                yield above, child
                if len(levels) > depth:
                    break
            else:
                levels.pop()
