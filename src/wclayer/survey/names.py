"""Walks over each name that any layer of a chain has, with what becomes of it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import NoReturn

from wclayer.errors import (
    EntryNotDirectoryError,
    LimitExceededError,
    PathNotFoundError,
    UnresolvedLinkError,
    limit_hint,
)
from wclayer.layers.directory import LayerDirectory
from wclayer.layers.directory.database import ROOT, EntryRow, from_column
from wclayer.layers.hives import HIVES_ROOT
from wclayer.model import limits_in_use
from wclayer.survey.fate import Fate
from wclayer.view.merged import MergedTree
from wclayer.view.resolve import existing
from wclayer.view.spelling import layer_path
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.names import path_key

_HIVES = path_key(HIVES_ROOT)

_Row = tuple[int, EntryRow]
"""The number of a layer, and an entry of it."""
_Wiping = tuple[int, Set[str] | None]


@dataclass(frozen=True, slots=True)
class Top:
    """A name at which a walk begins.

    Attributes:
        key: the path key.
        path: the path.
        fate: what becomes of the name; None for the root, which is no name.
        parts, hiders: those of the fate, for the root those of all layers.
    """

    key: str
    path: str
    fate: Fate | None
    parts: dict[int, int]
    hiders: Sequence[int]


@dataclass(frozen=True, slots=True)
class WalkedDirectory:
    """A directory that is walked.

    Attributes:
        number: its position in the order of the tree, the top being 1.
        depth: how many directories are open, with this one; that of the top is 1.
        key: its path key.
        path: its path.
    """

    number: int
    depth: int
    key: str
    path: str


class NameWalk:
    """Walks over the names of a chain, in the order of `layer.db`.

    Args:
        tree: the merged tree of the chain.
    """

    def __init__(self, tree: MergedTree) -> None:
        self._tree = tree
        # By their numbers, the base layer first.
        self.layers = {tree.depth(index): layer for index, layer in reversed([*enumerate(tree.layers)])}
        self._started = 0

    def root(self) -> Top:
        """Returns the root, which is above `Files`, `Hives` and `UtilityVM`."""
        return Top("", "", None, dict.fromkeys(self.layers, ROOT), ())

    def top(self, key: str) -> Top | None:
        """Returns the name with a path key, which may be one that layers remove; None if no layer has it."""
        top = self.root()
        for name in filter(None, key.split("/")):
            rows = [
                (layer, row)
                for layer, entry in top.parts.items()
                if (row := self.layers[layer].child(entry, name)) is not None
            ]
            found = next((fate for _, fate in self._fates(top, iter([(name, iter(rows))]))), None) if rows else None
            if found is None:
                return None
            path = f"{top.path}/{found.name}" if top.key else found.name
            top = Top(f"{top.key}/{name}" if top.key else name, path, found, found.parts, found.hiders)
        return top

    def below(
        self, top: Top, depth: int | None = None
    ) -> Iterator[tuple[WalkedDirectory, str, str, Fate] | tuple[WalkedDirectory, None, None, None]]:
        """Yields each name below a directory with the directory in which it is, its path key, its path, and its fate;
        and each directory, the top too, when all that is below it was yielded, with None for the others.

        Args:
            top: the directory.
            depth: how deep directories are walked; those in `top` have the depth 1. None for all.

        Raises:
            LimitExceededError: a layer has too many entries, or a path has too many names.
        """
        seen = dict.fromkeys(self.layers, 0)
        above = [self._enter(top, 1, seen)]
        deepest = limits_in_use().path_depth
        while above:
            directory, names = above[-1]
            for name, fate in names:
                key = f"{directory.key}/{name}" if directory.key else name
                path = f"{directory.path}/{fate.name}" if directory.key else fate.name
                yield directory, key, path, fate
                if fate.parts and (depth is None or len(above) < depth):
                    if len(above) >= deepest:
                        self._refuse(self._tree.layers[0], f"a path of more than {deepest} names", "path_depth")
                    above.append(self._enter(Top(key, path, fate, fate.parts, fate.hiders), len(above) + 1, seen))
                    break
            else:
                above.pop()
                yield directory, None, None, None

    def _enter(self, top: Top, depth: int, seen: dict[int, int]) -> tuple[WalkedDirectory, Iterator[tuple[str, Fate]]]:
        """Returns a directory with its names. `seen` counts the entries of each layer that a walk has read."""
        self._started += 1
        return WalkedDirectory(self._started, depth, top.key, top.path), self._names(top, seen)

    def _names(self, top: Top, seen: dict[int, int]) -> Iterator[tuple[str, Fate]]:
        if not top.parts:
            return iter(())
        rows = [self._rows(layer, entry, seen) for layer, entry in top.parts.items()]
        ordered = rows[0] if len(rows) == 1 else heapq.merge(*rows, key=_place)
        return self._fates(top, ((from_column(stored), group) for (_, stored), group in groupby(ordered, key=_place)))

    def _fates(self, top: Top, names: Iterator[tuple[str, Iterator[_Row]]]) -> Iterator[tuple[str, Fate]]:
        """Yields names of a directory, each with its entries in layers, with their fates."""
        if top.key == _HIVES:
            return _of_hives(names)
        return _decided(names, self._wiping(top.key, min(top.parts), top.hiders))

    def _rows(self, layer: int, entry: int, seen: dict[int, int]) -> Iterator[_Row]:
        directory = self.layers[layer]
        most = limits_in_use().entries
        for row in directory.children(entry):
            seen[layer] += 1
            if seen[layer] > most:
                self._refuse(directory, f"more than {most} entries", "entries")
            yield layer, row

    def _refuse(self, layer: LayerDirectory, problem: str, limit: str) -> NoReturn:
        raise LimitExceededError(layer.path, f"{problem} {limit_hint(limit)}")

    def _wiping(self, key: str, lowest: int, hiders: Sequence[int]) -> list[_Wiping]:
        """Returns, lowest first, the layers that hide names which layers below them have in a directory: the number of
        the layer, and the keys of the names; None for all names."""
        found: list[_Wiping] = []
        for index in reversed(range(len(self.layers))):
            layer = self._tree.depth(index)
            if layer in hiders:
                found.append((layer, None))
            elif layer > lowest and (names := self._tree.deleted_names(key, index)):
                found.append((layer, names))
        return found


def _place(item: _Row) -> tuple[bool, str | bytes]:
    """Returns what orders names as `layer.db` does: BLOBs come after texts."""
    key = item[1].key
    return isinstance(key, bytes), key


def _decided(names: Iterator[tuple[str, Iterator[_Row]]], wiping: Sequence[_Wiping]) -> Iterator[tuple[str, Fate]]:
    """Yields names with their fates."""
    for key, rows in names:
        fate = Fate()
        if wiping:
            left = deque(layer for layer, deleted in wiping if deleted is None or key in deleted)
            for layer, row in rows:
                while left and left[0] < layer:
                    fate.take(left.popleft(), None, is_wiped=True)
                is_wiped = bool(left) and left[0] == layer
                if is_wiped:
                    left.popleft()
                fate.take(layer, row, is_wiped=is_wiped)
            for layer in left:
                fate.take(layer, None, is_wiped=True)
        else:
            for layer, row in rows:
                fate.take(layer, row, is_wiped=False)
        yield key, fate


def _of_hives(names: Iterator[tuple[str, Iterator[_Row]]]) -> Iterator[tuple[str, Fate]]:
    """Yields the hives of layers. None of them hides another one: a registry is merged of all of them."""
    for key, rows in names:
        directories = Fate()
        for layer, row in rows:
            fate = directories if row.attributes & DIRECTORY else Fate()
            fate.take(layer, row, is_wiped=False)
            if fate is not directories:
                yield key, fate
        if directories.parts:
            yield key, directories


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
