"""Walks a tree depth first, without recursion: paths of layers, hives and volumes are deeper than Python's stack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

A = TypeVar("A")
T = TypeVar("T")


class Walk(Generic[A, T]):
    """Yields the items below a directory depth first, each with what the caller says of its directory.

    The caller goes into the item that it got last by `enter`, which may happen once, before it asks for the next item.

        walk = Walk(children(top), path_of(top))
        for path, child in walk:
            ...
            if child.is_directory:
                walk.enter(children(child), f"{path}/{child.name}")

    Only one iterator a level is held in memory. A caller that hands over the length of each directory's path, and cuts
    one path to it, does not hold the paths of all levels of a deep tree.

    Args:
        children: what is in the top directory.
        above: comes with each item in it.
    """

    def __init__(self, children: Iterable[T], above: A) -> None:
        self._levels = [(above, iter(children))]

    @property
    def depth(self) -> int:
        """How many directories are open: those above the current item, the top one included."""
        return len(self._levels)

    @property
    def above(self) -> A:
        """What the caller said of the directory whose children come now."""
        return self._levels[-1][0]

    def enter(self, children: Iterable[T], above: A) -> None:
        """Goes into the current item: `children` are the next items, and `above` comes with each of them."""
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
