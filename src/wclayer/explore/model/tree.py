"""A tree of marked items, read directory by directory when it is opened: files, or the keys of a registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from wclayer.explore.model.details import Fact
from wclayer.explore.model.marks import Mark


@dataclass(slots=True, eq=False)
class MarkedItem:
    """A name in a tree.

    Attributes:
        name: the last component of the path, as it is stored.
        path: the path: inside the layer ("Files/Windows"), or in the registry ("HKEY_USERS\\.DEFAULT").
        key: the path as names are compared.
        is_directory: whether it can be opened: a directory, or a key with keys below it.
        size: the bytes of the contents of a file.
        counts: whether the size counts in the sums of directories: False for a further name of a file.
        mark: what happened to the entry itself. For a directory, what lies below it does not count.
        may_differ: whether something below may have another mark than the item itself.
        layer: the number of the layer that it comes from, 1 for the base layer; 0 if that is not known.
    """

    name: str
    path: str
    key: str
    is_directory: bool
    size: int
    counts: bool
    mark: Mark
    may_differ: bool
    layer: int

    @property
    def identity(self) -> str:
        """What the item is known by when the tree is read anew."""
        return f"-{self.place}" if self.mark is Mark.REMOVED else self.place

    @property
    def place(self) -> str:
        """The path by which it is told from all other items, but for one that was removed."""
        return self.key

    @property
    def title(self) -> str:
        """The name as it is shown."""
        return self.name

    @property
    def shown_path(self) -> str:
        """The path as Windows writes it."""
        return self.path

    @property
    def size_now(self) -> int:
        """The bytes by which it counts in the sums of what is there."""
        return 0 if self.mark is Mark.REMOVED or self.is_directory or not self.counts else self.size

    @property
    def size_before(self) -> int:
        """The bytes by which it counts in the sums of what was there before."""
        return 0 if self.mark is Mark.ADDED or self.is_directory or not self.counts else self.size

    @property
    def is_link(self) -> bool:
        """True for a symbolic link or a junction."""
        return False

    @property
    def target(self) -> str:
        """What a link leads to; "" for what is no link."""
        return ""


Item = TypeVar("Item", bound=MarkedItem)


class MarkedTree(ABC, Generic[Item]):
    """A tree of marked items. It is used by one thread at a time."""

    @abstractmethod
    def roots(self) -> Sequence[Item]:
        """Returns the items at the top."""

    @abstractmethod
    def children(self, item: Item) -> Sequence[Item]:
        """Returns what is in a directory or a key, in the order in which Windows lists it.

        Raises:
            LayerError: the layer or the disk is damaged, or the host refuses to read it.
        """

    @abstractmethod
    def facts(self, item: Item) -> Iterator[Fact]:
        """Yields all that is known of an item, without its contents."""

    @abstractmethod
    def same_below(self, item: Item) -> object | None:
        """Returns what all directories with the same contents have in common, in any tree of the same session; None if
        that is not known."""


def find_path(tree: MarkedTree[Item], item: Item) -> dict[str, Sequence[Item]]:
    """Returns what the directories above an item hold, by their identities, so that the item can be shown in its place.

    Args:
        tree: the tree that has the item.
        item: the item, from another tree of the same view.
    """
    opened: dict[str, Sequence[Item]] = {}
    level = tree.roots()
    while True:
        above = next(
            (each for each in level if each.is_directory and _is_below(item, each) and each.identity != item.identity),
            None,
        )
        if above is None:
            return opened
        opened[above.identity] = level = tree.children(above)


def _is_below(item: MarkedItem, above: MarkedItem) -> bool:
    if above.mark is Mark.REMOVED and item.mark is not Mark.REMOVED:
        return False
    return item.place.startswith(above.place) and item.place[len(above.place) : len(above.place) + 1] in ("/", "\\")
