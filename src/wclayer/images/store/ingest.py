"""`Ingest`: one blob on its way into a store, which other processes wait for and other threads can follow."""

from __future__ import annotations

import copy
import hashlib
import io
import os
import stat
import time
from contextlib import ExitStack, suppress
from threading import Condition
from types import TracebackType
from typing import Self, cast

from wclayer.errors import (
    CorruptLayerError,
    InvalidDataError,
    InvalidStateError,
    LayerBusyError,
    LayerError,
    OperationCancelledError,
    boundary,
    errors_at,
    translated,
)
from wclayer.host import durability, system
from wclayer.host.root import HostRoot, write_all
from wclayer.images.descriptor import Descriptor
from wclayer.images.store.folder import BLOBS, INGEST, StoreFolder, blob_name, part_name

PIECE = 1 << 20
"""Bytes that are read, hashed or written in one step."""
_PATIENCE = 120.0
"""For how many seconds another process may keep a download without adding to it."""
_PAUSE = 0.1


@boundary
class Ingest:
    """A blob on its way into a store: a context manager that is the only one for this blob, in all processes.

    Entering it waits for another process that brings the same blob in, and finds what an earlier one has left. The
    bytes then come from `offset` on, through `write`, and `commit` gives the blob its name. Leaving the context without
    a commit keeps what was written: the next `Ingest` of the blob continues there.

    One thread writes; any number of other threads follow it.

    Attributes:
        descriptor: the blob.
        offset: the number of bytes that are there already, and hashed.
        is_whole: True if the blob is in the store, whole; then nothing has to be written or committed.
    """

    operation = "store blob"

    def __init__(self, folder: StoreFolder, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.path = folder.blob_path(descriptor.digest)
        self.offset = 0
        self.is_whole = False
        self._folder = folder
        self._changed = Condition()
        self._digest = hashlib.sha256()
        self._error: BaseException | None = None
        self._fd = -1
        self._root: HostRoot | None = None
        self._held = ExitStack()
        # A thread that is started later does not inherit this setting.
        self._is_durable = durability.is_wanted()

    def __enter__(self) -> Self:
        self._folder.make()
        with errors_at(self.path, damage=CorruptLayerError), ExitStack() as stack:
            stack.enter_context(self._folder.in_use())
            root = stack.enter_context(HostRoot(self._folder.path))
            self._open_part(root)
            stack.callback(self._close_part)
            if not self.is_whole:
                self._resume()
            self._root = root
            self._held = stack.pop_all()
        return self

    def _open_part(self, root: HostRoot) -> None:
        """Opens the file of the download and locks it, or finds that the blob is whole."""
        name = part_name(self.descriptor.digest).rpartition(b"/")[2]
        end, size = time.monotonic() + _PATIENCE, -1
        while not self._folder.has_blob(self.descriptor):
            directory = root.directory(INGEST)
            try:
                fd = system.open_locked_file_at(directory, name)
            except BlockingIOError:
                # Another process writes it.
                with suppress(FileNotFoundError):
                    now = system.stat_at(directory, name).st_size
                    if now != size:
                        end, size = time.monotonic() + _PATIENCE, now
                if time.monotonic() >= end:
                    raise LayerBusyError(
                        self.path,
                        f"another process has been storing {self.descriptor.digest} for {_PATIENCE:.0f} seconds without"
                        " progress; end it, or try again",
                    ) from None
                time.sleep(_PAUSE)
                continue
            try:
                if self._is_part(fd, directory, name):
                    self._fd = fd
                    return
            except BaseException:
                system.close_read(fd)
                raise
            system.close_read(fd)
        self.is_whole = True
        self.offset = self.descriptor.size

    def _is_part(self, fd: int, directory: int, name: bytes) -> bool:
        """Returns whether an open file is still the download: another process may have renamed or removed it."""
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise CorruptLayerError(self._part, "is not a file of its own, as a begun download is; remove it")
        with suppress(FileNotFoundError):
            if os.path.samestat(status, system.stat_at(directory, name)):
                if not self._folder.has_blob(self.descriptor):
                    return True
                # It was made anew in the moment in which the blob got its name.
                system.remove_file_at(directory, name)
        return False

    def _resume(self) -> None:
        """Hashes what is there already. More than the blob can have is not a part of it."""
        if os.fstat(self._fd).st_size > self.descriptor.size:
            os.ftruncate(self._fd, 0)
        buffer = memoryview(bytearray(PIECE))
        while count := system.read_into_at(self._fd, buffer, self.offset):
            self._digest.update(buffer[:count])
            self.offset += count
        os.lseek(self._fd, self.offset, os.SEEK_SET)

    def restart(self) -> None:
        """Begins the blob anew: what was there already is not used."""
        self._check_open()
        with errors_at(self.path):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._digest = hashlib.sha256()
        with self._changed:
            self.offset = 0

    @property
    def _part(self) -> str:
        return os.path.join(self._folder.path, os.fsdecode(part_name(self.descriptor.digest)))

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Adds bytes at the end.

        Raises:
            InvalidDataError: the blob would be longer than its descriptor says. What was written is removed.
            DiskFullError, …: the host refuses to write.
        """
        self._check_open()
        view = memoryview(chunk).cast("B")
        if self.offset + len(view) > self.descriptor.size:
            self._refuse(f"more than the {self.descriptor.size} bytes of its descriptor; take it from elsewhere")
        try:
            with errors_at(self.path):
                write_all(self._fd, view)
        except BaseException:
            # A part of the bytes may be in the file, and is not hashed: only the next `Ingest` can continue.
            self._close_part()
            raise
        self._digest.update(view)
        with self._changed:
            self.offset += len(view)
            self._changed.notify_all()

    def commit(self) -> None:
        """Verifies size and digest, makes the blob safe on the disk, and gives it its name.

        Raises:
            InvalidDataError: it has another size or digest. What was written is removed if its digest is wrong.
        """
        if self.is_whole:
            return
        self._check_open()
        expected = self.descriptor
        if self.offset != expected.size:
            raise InvalidDataError(
                self.path, f"{expected.digest} ended after {self.offset} of {expected.size} bytes; try again"
            )
        if (digest := f"sha256:{self._digest.hexdigest()}") != expected.digest:
            self._refuse(
                f"the contents have the digest {digest}, and were removed; try again, or take it from elsewhere"
            )
        with self._changed:
            self.is_whole = True
            self._changed.notify_all()
        root = self._root
        assert root is not None
        try:
            with errors_at(self.path, damage=CorruptLayerError):
                if self._is_durable:
                    system.sync_file(self._fd)
                source, target = part_name(expected.digest), blob_name(expected.digest)
                # Opened first: `directory` may close what it returned before.
                folder, name = root.directory(BLOBS), target.rpartition(b"/")[2]
                system.replace_at(root.directory(INGEST, besides=BLOBS), source.rpartition(b"/")[2], folder, name)
                if self._is_durable:
                    system.sync_directory(folder)
        except BaseException:
            self.is_whole = False
            raise
        self._close_part()

    def follow(self) -> FollowedBlob:
        """Returns a stream of all bytes of the blob, which another thread is writing.

        A read waits until there are bytes, and the stream ends only after `commit` has verified them. The caller closes
        it.

        Raises:
            LayerError: from a read: the error of the writer, or its end without a commit.
        """
        if self._fd < 0 and not self.is_whole:
            raise InvalidStateError(self.path, "is not being stored")
        with errors_at(self.path, damage=CorruptLayerError):
            with self._changed, HostRoot(self._folder.path) as root:
                try:
                    fd = root.open(part_name(self.descriptor.digest))
                except FileNotFoundError:
                    fd = root.open(blob_name(self.descriptor.digest))
            return FollowedBlob(_Follower(self, fd))

    def _wait_for(self, position: int, follower: _Follower) -> int:
        """Waits until there are bytes behind a position, and returns their number; 0 at the end of the blob."""
        with self._changed:
            while self.offset <= position and not self.is_whole and self._error is None:
                if follower.is_abandoned:
                    raise OperationCancelledError(self.path, "is not read to its end")
                self._changed.wait()
            if self.offset > position or self.is_whole:
                return self.offset - position
            told = translated(self.path, cast(BaseException, self._error))
        if told is None:
            raise OperationCancelledError(self.path, "the download was stopped")
        raise copy.copy(told) from None

    def _refuse(self, detail: str) -> None:
        """Removes what was written, which is not the blob.

        Raises:
            InvalidDataError: always.
        """
        with suppress(OSError), HostRoot(self._folder.path) as root:
            root.remove_file(part_name(self.descriptor.digest))
        raise InvalidDataError(self.path, f"{self.descriptor.digest}: {detail}")

    def _check_open(self) -> None:
        if self._fd < 0:
            raise InvalidStateError(self.path, "is not being stored")

    def _close_part(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            system.close_read(fd)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._held.close()
        with self._changed:
            if not self.is_whole and self._error is None:
                self._error = error or InvalidStateError(self.path, "was not committed")
            self._changed.notify_all()


class _Follower(io.RawIOBase):
    """The bytes of a blob that another thread is writing."""

    def __init__(self, ingest: Ingest, fd: int) -> None:
        self._ingest = ingest
        self._fd = fd
        self._position = 0
        self.is_abandoned = False

    def abandon(self) -> None:
        """Ends a read that waits for the writer."""
        with self._ingest._changed:
            self.is_abandoned = True
            self._ingest._changed.notify_all()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        available = self._ingest._wait_for(self._position, self)
        if not available or not view:
            return 0
        count = system.read_into_at(self._fd, view[: min(len(view), available)], self._position)
        if not count:
            raise LayerError(self._ingest.path, "has lost bytes that were written to it")
        self._position += count
        return count

    def close(self) -> None:
        if not self.closed:
            system.close_read(self._fd)
        super().close()


class FollowedBlob(io.BufferedReader):
    """A stream of the bytes of a blob that another thread is writing (see `Ingest.follow`)."""

    def __init__(self, follower: _Follower) -> None:
        super().__init__(follower, PIECE)
        self._follower = follower

    def abandon(self) -> None:
        """Ends a read in another thread that waits for the writer, which may hang: the stream is not read on."""
        self._follower.abandon()


def put_document(folder: StoreFolder, descriptor: Descriptor, data: bytes) -> None:
    """Stores a manifest, an index or a configuration. A copy that the disk has damaged is replaced."""
    folder.remove_damaged(descriptor)
    with Ingest(folder, descriptor) as ingest:
        if not ingest.is_whole:
            ingest.restart()
            ingest.write(data)
            ingest.commit()
