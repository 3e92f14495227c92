"""The host files and directories of a layer that is being written, under names that are possible on the host."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Protocol

from wclayer.host import system
from wclayer.host.root import UNUSABLE_NAME, HostRoot, write_all
from wclayer.win32.filetime import to_unix_ns

_POOL_AFTER = 500
"""Worker processes start after this many files,"""
_POOL_AFTER_BYTES = 16 << 20
"""or after this many bytes of files."""
_SUBSTITUTE = b"wclayer~"
"""The prefix of the host name of an entry whose own name is not possible on the host; the entry's id follows."""


class ContentHash(Protocol):
    """The SHA-256 of a file's contents, which may be known only later."""

    def digest(self) -> bytes:
        """Returns the digest, when the contents are written. Raises the `OSError` because of which they are not."""


class _Pool(Protocol):
    """Makes files in other processes: `FilePool`, if the host supports it."""

    def make(self, directory: bytes, name: bytes, data: bytes, access_time: int, write_time: int) -> ContentHash: ...
    def begin(self, directory: bytes, name: bytes, *, sparse: bool) -> None: ...
    def append(self, data: bytes | memoryview) -> None: ...
    def end(self, access_time: int, write_time: int) -> ContentHash: ...
    def link(self, directory: bytes, name: bytes, source_directory: bytes, source: bytes) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


class HostFiles:
    """Makes files and directories below `root`, one file after the other. Worker processes may write and hash them.

    Args:
        lock: the lock on the directory, which worker processes inherit.
    """

    def __init__(self, root: Path, lock: system.Lock | None) -> None:
        self.root = HostRoot(root)
        self._lock = lock
        self._fd = -1
        self._sparse = False
        self._hash = hashlib.sha256()
        self._files = 0
        self._size = 0
        self._may_pool = True
        self._pool: _Pool | None = None
        self._is_pooled = False

    @property
    def is_pooling(self) -> bool:
        """True if worker processes make files. A link to one of these files then has to wait until it is made."""
        return self._pool is not None

    @property
    def makes_small_files(self) -> bool:
        """True if `make_small_file` may be called."""
        return self.is_pooling

    def make_directory(self, directory: bytes, name: bytes, entry_id: int) -> bytes:
        """Makes a directory in the directory `directory` and returns the name that it has on the host."""
        return self._under_possible_name(directory, name, entry_id, self.root.make_directory)

    def begin_file(self, directory: bytes, name: bytes, entry_id: int, size: int, *, sparse: bool) -> bytes:
        """Starts a file of about `size` bytes and returns the name that it has on the host."""
        if self._takes_file(size) and is_possible_name(name):
            assert self._pool is not None
            self._pool.begin(directory, name, sparse=sparse)
            self._is_pooled = True
            return name
        self._sparse = sparse
        self._hash = hashlib.sha256()

        def make(path: bytes) -> None:
            self._fd = self.root.create(path)
            if sparse:
                system.make_sparse(self._fd)

        return self._under_possible_name(directory, name, entry_id, make)

    def write(self, chunk: bytes | memoryview) -> None:
        """Appends to the file that was begun."""
        if self._is_pooled:
            assert self._pool is not None
            self._pool.append(chunk)
            return
        self._hash.update(chunk)
        if self._sparse and not any(chunk):
            os.ftruncate(self._fd, os.lseek(self._fd, len(chunk), os.SEEK_CUR))
            return
        write_all(self._fd, chunk)

    def end_file(self, access_time: int, write_time: int) -> ContentHash:
        """Ends the file that was begun, and returns the hash of what was written. The times (FILETIMEs) only serve
        users who look at the host file: `layer.db` has the exact ones."""
        if self._is_pooled:
            assert self._pool is not None
            self._is_pooled = False
            return self._pool.end(access_time, write_time)
        with suppress(OverflowError, OSError):
            system.set_file_times(self._fd, to_unix_ns(access_time), to_unix_ns(write_time))
        self._close_file()
        return self._hash

    def make_small_file(
        self, directory: bytes, name: bytes, data: bytes, access_time: int, write_time: int
    ) -> ContentHash:
        """Makes a small file with a possible name, while `makes_small_files`, and returns the hash of its contents."""
        assert self._pool is not None
        return self._pool.make(directory, name, data, access_time, write_time)

    def link(self, source: bytes, directory: bytes, name: bytes, entry_id: int, source_root: HostRoot) -> bytes:
        """Makes a further name for the file at `source` and returns the name that it has on the host."""
        return self._under_possible_name(
            directory, name, entry_id, lambda path: self.link_or_copy(source, path, source_root)
        )

    def link_soon(self, directory: bytes, name: bytes, source_directory: bytes, source: bytes) -> None:
        """Makes a further name for a file, which is made already, while `is_pooling`.

        Args:
            directory, name: the further name, which is possible and free.
            source_directory, source: the file.
        """
        assert self._pool is not None
        self._pool.link(directory, name, source_directory, source)

    def name_for_later(self, directory: bytes, name: bytes, entry_id: int) -> bytes:
        """Returns the host name of a link that is made by `link_soon` or after `finish`: its own, or a substitute.

        While `is_pooling`, the host distinguishes at least the names that Windows does, so no other entry can take it.
        """
        if is_possible_name(name):
            return name
        substitutes = _substitutes(entry_id)
        while True:
            name = next(substitutes)
            try:
                self.root.stat(directory + b"/" + name if directory else name)
            except FileNotFoundError:
                return name

    def link_or_copy(self, source: bytes, target: bytes, source_root: HostRoot) -> None:
        """Makes a hard link, or a copy where the host cannot link the two."""
        try:
            self.root.link(source, target, source_root=source_root)
        except OSError as error:
            if not system.cannot_link(error):
                raise
            self.root.copy(source, target, source_root=source_root)

    def set_directory_times(self, path: bytes, access_time: int, write_time: int) -> None:
        """Sets the times of a directory. This is the last step, because making a file in it changes them."""
        self.root.set_times(path, to_unix_ns(access_time), to_unix_ns(write_time))

    def finish(self) -> None:
        """Waits until worker processes have made all files.

        Raises:
            OSError: one of them could not be made.
        """
        if self._pool is not None:
            self._pool.finish()
            self._pool = None

    def abort(self) -> None:
        """Ends the worker processes at once."""
        if self._pool is not None:
            self._pool.abort()
            self._pool = None

    def _close_file(self) -> None:
        # Closed only once: the descriptor is free even if closing it fails, and may then belong to another file.
        fd, self._fd = self._fd, -1
        os.close(fd)

    def close(self) -> None:
        try:
            if self._fd >= 0:
                self._close_file()
        finally:
            self.root.close()

    def _takes_file(self, size: int) -> bool:
        """Returns whether worker processes make this file. They start when there is enough for them to do."""
        if self._pool is None and self._may_pool:
            self._files += 1
            self._size += size
            if self._files >= _POOL_AFTER or self._size >= _POOL_AFTER_BYTES:
                self._start_pool()
        return self._pool is not None

    def _start_pool(self) -> None:
        self._may_pool = False
        # If the host may refuse a name, or treat two names as equal, the writer must be able to use a substitute.
        if sys.platform == "linux" and self.root.takes_every_name:
            from wclayer.layers.directory.file_pool import FilePool, NoPoolError

            with suppress(NoPoolError):
                self._pool = FilePool(self.root.fd, -1 if self._lock is None else self._lock.fd)

    def _under_possible_name(
        self, directory: bytes, name: bytes, entry_id: int, make: Callable[[bytes], None]
    ) -> bytes:
        if is_possible_name(name):
            try:
                make(directory + b"/" + name if directory else name)
                return name
            except FileExistsError:
                # The host compares names more loosely than Windows.
                pass
            except OSError as error:
                if error.errno not in UNUSABLE_NAME:
                    raise
        substitutes = _substitutes(entry_id)
        while True:
            name = next(substitutes)
            with suppress(FileExistsError):
                make(directory + b"/" + name if directory else name)
                return name


def _substitutes(entry_id: int) -> Iterator[bytes]:
    """Yields the names that an entry may have on the host instead of its own. The first may be taken already, because a
    cloned utility VM contains substitute names of its parent."""
    yield _SUBSTITUTE + b"%d" % entry_id
    for attempt in count(1):
        yield _SUBSTITUTE + b"%d-%d" % (entry_id, attempt)


class HashedFiles(HostFiles):
    """Files whose contents are hashed, and not written."""

    def begin_file(self, directory: bytes, name: bytes, entry_id: int, size: int, *, sparse: bool) -> bytes:
        self._hash = hashlib.sha256()
        return name

    def write(self, chunk: bytes | memoryview) -> None:
        self._hash.update(chunk)

    def end_file(self, access_time: int, write_time: int) -> ContentHash:
        return self._hash

    def link(self, source: bytes, directory: bytes, name: bytes, entry_id: int, source_root: HostRoot) -> bytes:
        return name


class FilesInPlace(HashedFiles):
    """The files of a folder that becomes a layer as it is: they exist already. They are hashed, and not changed."""

    def make_directory(self, directory: bytes, name: bytes, entry_id: int) -> bytes:
        with suppress(FileExistsError):
            self.root.make_directory(directory + b"/" + name if directory else name)
        return name

    def set_directory_times(self, path: bytes, access_time: int, write_time: int) -> None:
        pass


def is_possible_name(name: bytes) -> bool:
    """Returns whether the name is possible on the host and cannot be mistaken for a substitute."""
    return system.impossible_reason(name) is None and not system.is_awkward(name) and not name.startswith(_SUBSTITUTE)
