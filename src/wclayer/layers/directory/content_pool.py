"""The contents of a scratch's files: files in `Data` with random names, which do not change when an entry is renamed.

Contents that a transaction replaces or removes are kept until the records that no longer refer to them are safe on the
disk. Otherwise a power cut could leave the old records without their contents. All paths are relative to the layer's
root.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

from wclayer.host import system
from wclayer.host.root import HostRoot
from wclayer.layers.directory.database import POOL

_FEW = 32
"""Up to this many contents are synced one by one; for more of them, the whole file system is synced."""
_MAX_UNSYNCED = 65_536
_NAME_BYTES = 8
_DRAWN = 64
"""How many random names are drawn from the host at once, because each call takes longer than all else of a name."""
_MAX_OLD, _MAX_OLD_BYTES = 1_000, 64 << 20
"""At most this many old contents wait for their removal."""


class ContentPool:
    """Makes and removes the contents of a scratch's files, in step with the transactions of its database."""

    def __init__(self, host: HostRoot) -> None:
        self._host = host
        self.is_littered = False
        """True if the removal of contents that no entry refers to has failed."""
        # Contents that the current transaction has made, and those that it no longer needs.
        self._made: list[bytes] = []
        self._dropped: list[bytes] = []
        # Contents that no record refers to any more.
        self._old: list[bytes] = []
        self._old_bytes = 0
        # Contents that may not be safe on the disk yet, and the directories of the pool with new names in them.
        self._unsynced: set[bytes] = set()
        self._unsynced_shelves: set[bytes] = set()
        self._shelves: set[bytes] = set()
        self._names: list[bytes] = []

    # Making.

    def stage(self) -> tuple[bytes, int]:
        """Makes an empty file that a rollback does not remove.

        Returns:
            Its path, and a descriptor that is open for reading and writing.
        """
        path = self._new_path()
        fd = self._host.create(path)
        self._unsynced.add(path)
        return path, fd

    def make(self) -> tuple[bytes, int]:
        """Makes an empty file as `stage` does, and removes it if the current transaction is rolled back."""
        path, fd = self.stage()
        self._made.append(path)
        return path, fd

    def link(self, root: HostRoot, source: bytes) -> bytes:
        """Makes contents from a file below another root: a hard link, or a copy where the host cannot link.

        Returns:
            The path of the contents.
        """
        path = self._new_path()
        try:
            self._host.link(source, path, source_root=root)
        except OSError as error:
            if not system.cannot_link(error):
                raise
            self._host.copy(source, path, source_root=root)
            self._unsynced.add(path)
        self._made.append(path)
        return path

    def replace_with_copy(self, source: bytes, *, limit: int | None = None) -> bytes:
        """Makes a copy of contents, or of their first `limit` bytes, and drops the contents.

        Returns:
            The path of the copy.
        """
        path = self._new_path()
        self._host.copy(source, path, source_root=self._host, limit=limit)
        self._made.append(path)
        self._dropped.append(source)
        return path

    def _new_path(self) -> bytes:
        if not self._names:
            drawn = secrets.token_bytes(_DRAWN * _NAME_BYTES)
            self._names = [drawn[at : at + _NAME_BYTES].hex().encode() for at in range(0, len(drawn), _NAME_BYTES)]
        name = self._names.pop()
        shelf = b"%s/%s" % (POOL[1:], name[-1:])
        for directory in (POOL[1:], shelf):
            if directory not in self._shelves:
                with suppress(FileExistsError):
                    self._host.make_directory(directory)
                self._shelves.add(directory)
                self._unsynced_shelves.add(b"")
            self._unsynced_shelves.add(directory)
        return b"%s/%s" % (shelf, name)

    # Removing.

    def drop(self, path: bytes) -> None:
        """Marks contents as no longer needed by the transaction, or as another file that was moved into the pool."""
        self._dropped.append(path)

    def commit(self) -> None:
        """Called after the commit of a transaction: the contents that it dropped become old contents."""
        self._made.clear()
        for path in self._dropped:
            # An error here is only remembered, because the transaction has succeeded.
            with suppress(OSError):
                self._old_bytes += self._host.stat(path).st_size
            self._unsynced.discard(path)
        self._old += self._dropped
        self._dropped.clear()

    def roll_back(self) -> None:
        """Called after a rollback: removes the contents that the transaction made."""
        self.remove(self._made)
        self._dropped.clear()

    @property
    def has_old(self) -> bool:
        """True if old contents wait for their removal."""
        return bool(self._old)

    @property
    def has_much_old(self) -> bool:
        """True if so many old contents wait that they should be removed now."""
        return len(self._old) > _MAX_OLD or self._old_bytes > _MAX_OLD_BYTES

    def remove_old(self) -> None:
        """Removes the old contents. The records that no longer refer to them must be safe on the disk."""
        self.remove(self._old)
        self._old_bytes = 0

    def remove(self, paths: list[bytes]) -> None:
        """Removes contents that nothing refers to, and empties the list."""
        while paths:
            path = paths.pop()
            self._unsynced.discard(path)
            try:
                self._host.remove_file(path)
                self._unsynced_shelves.add(path.rpartition(b"/")[0])
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                self.is_littered = True

    # What is safe on the disk.

    def note_written(self, path: bytes) -> None:
        """Notes that contents are being written to."""
        self._unsynced.add(path)

    def is_safe(self, path: bytes) -> bool:
        """Returns whether contents are known to be safe on the disk."""
        return path not in self._unsynced

    @property
    def has_much_unsynced(self) -> bool:
        """True if so many contents are unsynced that they should be synced before more are noted."""
        return len(self._unsynced) > _MAX_UNSYNCED

    def sync(self, path: bytes) -> None:
        """Makes contents and their name safe on the disk."""
        self._sync_content(path)
        self.sync_names()

    def sync_contents(self) -> None:
        """Makes all contents safe on the disk, without their names."""
        if len(self._unsynced) <= _FEW or not system.sync_file_system(self._host.fd):
            for path in self._unsynced.copy():
                self._sync_content(path)
        self._unsynced.clear()

    def _sync_content(self, path: bytes) -> None:
        directory, _, name = path.rpartition(b"/")
        with suppress(FileNotFoundError):
            system.sync_file_at(self._host.directory(directory), name)
        self._unsynced.discard(path)

    def sync_names(self) -> None:
        """Makes the names of all contents safe on the disk."""
        for shelf in self._unsynced_shelves:
            system.sync_directory(self._host.directory(shelf))
        self._unsynced_shelves.clear()
