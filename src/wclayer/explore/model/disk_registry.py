"""The registry in the hives of a disk as a tree. Nothing in it has a mark."""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.explore.model.marks import Mark
from wclayer.explore.model.registry import KeyItem, RegistryTree
from wclayer.explore.model.security import Accounts
from wclayer.inventory.subject.registry import DiskHives


class DiskRegistry(RegistryTree):
    """The registry of a disk.

    Args:
        hives: the hives of the disk.
        accounts: the names of its accounts.
    """

    def __init__(self, hives: DiskHives, accounts: Accounts) -> None:
        super().__init__(hives, None, (), accounts=accounts)

    def roots(self) -> list[KeyItem]:
        return list(map(_unmarked, super().roots()))

    def children(self, item: KeyItem) -> Sequence[KeyItem]:
        return list(map(_unmarked, super().children(item)))


def _unmarked(item: KeyItem) -> KeyItem:
    item.mark, item.may_differ = Mark.SAME, False
    return item
