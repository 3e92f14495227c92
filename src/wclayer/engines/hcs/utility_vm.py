"""The utility VM of a child layer: a clone of its parent's, made of hard links, into which the child's entries are put.

Server 2016 does not support layers of utility VMs. Reference: hcsshim, `initUtilityVM` and `cloneTree` of `legacy.go`.
"""

from __future__ import annotations

from pathlib import Path

from wclayer.engines.hcs.files import BackupFile, restore_times
from wclayer.errors import InvalidDataError
from wclayer.host import system
from wclayer.host.root import HostRoot
from wclayer.layers.directory import utility_vm
from wclayer.win32.attributes import DIRECTORY, REPARSE_POINT, FileBasicInfo
from wclayer.win32.names import decode_name, encode_name, path_key

FILES = utility_vm.FILES.encode()
TOP = FILES.partition(b"/")[0]
_PIECE = 1 << 20


class UtilityVm:
    """The utility VM of the layer below `root`, whose nearest parent is at `parent`."""

    def __init__(self, root: HostRoot, parent: Path) -> None:
        self._root = root
        self._parent = parent
        self.is_made = False

    def make(self) -> None:
        """Clones the parent's utility VM, unless that was done already."""
        if self.is_made:
            return
        self._root.make_directory(TOP)
        try:
            with HostRoot(self._parent) as parent:
                self._clone(parent)
        except FileNotFoundError:
            detail = f"the parent {self._parent} has no UtilityVM\\Files to be cloned"
            raise InvalidDataError(self._root.path, detail) from None
        self.is_made = True

    def _clone(self, parent: HostRoot) -> None:
        directories: list[tuple[bytes, FileBasicInfo]] = []
        pending = [(FILES, True)]
        while pending:
            path, is_directory = pending.pop()
            with BackupFile(parent, path) as source:
                info = source.info()
                if is_directory or info.attributes & REPARSE_POINT or path_key(decode_name(path)) in utility_vm.MUTATED:
                    self._copy(source, info, path)
                else:
                    self._root.link(path, path, source_root=parent)
            if is_directory:
                directories.append((path, info))
                for name, below in system.list_directory(parent.directory(path)):
                    pending.append((path + b"/" + encode_name(name), below))
        restore_times(self._root, directories)

    def _copy(self, source: BackupFile, info: FileBasicInfo, path: bytes) -> None:
        is_directory = bool(info.attributes & DIRECTORY)
        with BackupFile(self._root, path, create=True, is_directory=is_directory, writable=True) as target:
            target.set_info(info)
            while piece := source.read(_PIECE):
                target.write(piece)

    def make_room(self, path: bytes, info: FileBasicInfo) -> bool:
        """Makes room for an entry of the child.

        A directory of the same kind is kept. A file is removed, because it may be a hard link of the parent's file.

        Returns:
            True if the entry must be created; False if it exists already.
        """
        try:
            with BackupFile(self._root, path, writable=True) as there:
                kind = there.info().attributes & (DIRECTORY | REPARSE_POINT)
        except FileNotFoundError:
            return True
        if info.is_directory and kind == info.attributes & (DIRECTORY | REPARSE_POINT):
            return False
        self._root.remove(path)
        return True
