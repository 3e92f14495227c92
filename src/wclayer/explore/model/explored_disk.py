"""A disk file as it is explored: the NTFS volume in it, read in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from wclayer._types import StrPath
from wclayer.errors import during
from wclayer.explore.model.disk_facts import disk_facts
from wclayer.explore.model.disk_registry import DiskRegistry
from wclayer.explore.model.disk_tree import DiskTree
from wclayer.explore.model.explored import Explorable, Session, ShownLayer, View
from wclayer.explore.model.files import FileItem, FileTree
from wclayer.explore.model.inventory import inventory_outline
from wclayer.explore.model.largest import largest_outline
from wclayer.explore.model.outline import OutlineItem, facts_outline
from wclayer.explore.model.registry import RegistryTree
from wclayer.explore.model.security import Accounts
from wclayer.explore.model.tree_source import TreeSource
from wclayer.inventory.item import SubjectLayer
from wclayer.inventory.subject.disk_files import DiskFiles
from wclayer.inventory.subject.registry import DiskHives
from wclayer.layers.progress import ProgressCallback
from wclayer.view.transfer import CopySource


class ExploredDisk(Explorable):
    """A disk file: VHDX with its parents, VHD, a raw disk, or a volume. It has no layers, and nothing has a mark.

    Args:
        path: the disk file.

    Raises:
        PathNotFoundError: the file, or one of its parents, does not exist.
        InvalidDataError, NotSupportedError: it holds no intact NTFS volume.
    """

    view_kinds = ()
    follows_layer = False
    list_title = "Disk"

    @during("explore")
    def __init__(self, path: StrPath) -> None:
        self.path = os.path.abspath(path)
        self.name = os.fspath(path)
        with self.session() as session:
            self.summary = tuple(disk_facts(session.disk))
        self.layers = (
            ShownLayer(
                number=1, created_by="", created="", comment="", digest="", diff_id="", is_base=True, size=None,
                stored=None, path=self.path,
            ),
        )  # fmt: skip

    @property
    def first_view(self) -> View:
        return View(1)

    def inventory(self, progress: ProgressCallback) -> Sequence[OutlineItem]:
        # Loaded when it is asked for, so that the first screen does not wait for it.
        from wclayer.inventory.collecting import take_inventory

        return inventory_outline(take_inventory(self.path, progress=progress))

    def documents(self) -> Sequence[OutlineItem]:
        return facts_outline(self.summary, "Volume")

    def waste(self, progress: ProgressCallback) -> Sequence[OutlineItem]:
        with self.session() as session:
            return largest_outline(session.files(self.first_view), progress)

    def session(self) -> DiskSession:
        return DiskSession(self.path)


class DiskSession(Session):
    """The open disk.

    Args:
        path: the disk file.
    """

    def __init__(self, path: str) -> None:
        layer = SubjectLayer(number=1, digest="", diff_id="", created_by="", is_base=True, path=path)
        self.disk = DiskFiles(path, layer)
        self._hives = DiskHives(self.disk, path)
        self._accounts = Accounts(self._hives.find)

    def files(self, view: View) -> FileTree:
        return DiskTree(self.disk, self._accounts)

    def registry(self, view: View) -> RegistryTree:
        return DiskRegistry(self._hives, self._accounts)

    @contextmanager
    def source(self, view: View, item: FileItem, left_out: Callable[[str, str], None]) -> Iterator[CopySource]:
        places = [self.disk.disk.path, *self.disk.disk.chain]
        yield TreeSource(str(self.disk.disk.path), places, DiskTree(self.disk, self._accounts), left_out)

    def close(self) -> None:
        self.disk.close()
