"""Open files of a volume: contents are read from their layer, and copied up before the first write."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol, cast

from wclayer.errors import InvalidParameterError, LayerBusyError, during, errors_at, from_os_error
from wclayer.host import system
from wclayer.host.root import write_all
from wclayer.layers.budget import stored_size
from wclayer.layers.directory.database import EntryRow
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.view.merged import MergedTree, Node
from wclayer.view.upper import Upper
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.filetime import to_unix_ns

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


_PIECE = 1 << 20
_IN_MEMORY = 1 << 20
_ARCHIVE = int(FileAttributes.ARCHIVE)
MAX_FILE_SIZE = (1 << 44) - (1 << 16)
"""The maximal size of a file on NTFS with 4 KiB clusters: 16 TiB less 64 KiB."""


class FileRange(NamedTuple):
    """Bytes of a file of the host: its descriptor, the offset of the first byte, and their number. The file may have
    fewer."""

    fd: int
    offset: int
    size: int


class FileOwner(Protocol):
    """The part of `Volume` that its open files use."""

    tree: MergedTree
    scratch: ScratchDirectory | None

    @property
    def lock(self) -> AbstractContextManager[object]: ...
    @property
    def name(self) -> str: ...
    @property
    def is_writable(self) -> bool: ...
    @property
    def is_shared(self) -> bool: ...
    def alone(self) -> AbstractContextManager[object]: ...
    def changing(self) -> AbstractContextManager[Upper]: ...
    def catch_up(self) -> None: ...
    def writable_scratch(self) -> ScratchDirectory: ...
    def now(self) -> int: ...
    def resize(self, old: int, new: int) -> None: ...
    def node_of(self, file: tuple[int, int]) -> Node | None: ...
    def when_undone(self, call: Callable[[], None]) -> None: ...
    def show_row(self, row: EntryRow) -> None: ...
    def give_back(self, file: OpenFile) -> None: ...
    def stream_chunks(self, node: Node, name: str) -> Iterable[bytes | memoryview]: ...
    def put_stream(self, node: Node, name: str, chunks: Iterable[bytes]) -> None: ...
    def sync(self, fd: int | None = None) -> None: ...
    def sync_names(self) -> None: ...


class OpenFile:
    """The main data of an open file: one object for all its users, which stays the same when its names change.

    Positions and lengths are in bytes. Errors of the host are raised as a `LayerError` with the volume's name.
    """

    __slots__ = (
        "_fd", "_has_own_file", "_is_being_written", "_node", "_volume", "file", "is_detached", "row", "size", "users",
        "written_time",
    )  # fmt: skip

    def __init__(self, volume: FileOwner, node: Node, *, own_fd: int | None = None) -> None:
        self._volume = volume
        self._node = node
        self.file = node.file
        """The identity of the file: its layer and id."""
        self.row: EntryRow = node.row
        """The metadata of the file as they were last read."""
        self.size = node.row.size
        self.written_time = node.row.last_write_time
        """The time of the last write; `flush` puts it into the row."""
        self.users = 0
        self.is_detached = False
        """Whether the last name of the file was removed."""
        self._is_being_written = self._has_own_file = own_fd is not None
        if own_fd is not None:
            # The file was just created for writing.
            self._fd = own_fd
            return
        layer = volume.tree.layers[node.layer]
        with errors_at(volume.name):
            if node.layer == 0 and volume.scratch is not None:
                self._has_own_file = layer.stat_file(node.row).st_nlink == 1
            self._fd = layer.open_file(node.row, writable=self._has_own_file)
            if self._has_own_file:
                try:
                    self.size = os.fstat(self._fd).st_size
                except OSError:
                    system.close_read(self._fd)
                    raise

    def verify(self, digest: bytes) -> None:
        """Compares the SHA-256 of the bytes that were read with the record.

        Raises:
            CorruptLayerError: they differ, and the file was not changed in the meantime.
        """
        layer = self._volume.tree.layers[self.file[0]]
        expected = self.row.sha256
        if not expected or expected == digest or self._is_being_written:
            return
        if layer.may_change:
            # Another process may have written to the file since its record was read. Only a volume with the scratch
            # can check that; for other ones, the difference proves nothing.
            now = self._volume.scratch.find(self.row.id) if layer is self._volume.scratch else None
            if now is None or now.sha256 != expected:
                return
        raise layer.wrong_contents(self.row)

    def stored_size(self) -> int:
        """Returns the number of bytes that the file takes on the host, without its holes."""
        return stored_size(os.fstat(self._fd))

    def read(self, size: int, offset: int) -> bytes:
        """Reads up to `size` bytes from `offset`."""
        try:
            return system.read_at(self._fd, size, offset)
        except OSError as error:
            raise from_os_error(self._volume.name, error) from error

    def read_into(self, buffer: WriteableBuffer, offset: int) -> int:
        """Reads into a buffer from `offset`, and returns the number of bytes."""
        try:
            return system.read_into_at(self._fd, memoryview(buffer).cast("B"), offset)
        except OSError as error:
            raise from_os_error(self._volume.name, error) from error

    def range(self, size: int, offset: int) -> FileRange:
        """Returns where the host has up to `size` bytes from `offset`."""
        return FileRange(self._fd, offset, max(0, min(size, self.size - offset)))

    def contents(self) -> OpenContents | None:
        """Returns the current contents, which stay readable when the contents of the file are replaced.

        Returns:
            The contents, or None if the volume is read-only, so that they cannot be replaced.
        """
        if not self._volume.is_writable:
            return None
        self._volume.catch_up()
        with errors_at(self._volume.name):
            return OpenContents(self._volume, os.dup(self._fd))

    def end(self) -> int:
        """Returns the current end of the file, including the writes of other processes."""
        self._volume.catch_up()
        return os.fstat(self._fd).st_size if self._volume.is_shared else self.size

    def write(self, data: ReadableBuffer, offset: int) -> int:
        """Writes all of `data` at `offset`, and returns the number of bytes."""
        with self._writing():
            return self._write_all(memoryview(data).cast("B"), offset)

    def write_some(self, data: ReadableBuffer, offset: int) -> int:
        """Writes as much of `data` at `offset` as the host takes, and returns the number of bytes.

        An error is raised if the host takes nothing.
        """
        with self._writing():
            return self._write(memoryview(data).cast("B"), offset)

    def append(self, data: ReadableBuffer) -> int:
        """Writes bytes at the end, even if other processes append at the same time, and returns the new end."""
        view = memoryview(data).cast("B")
        with self._writing():
            self._write_all(view, self.size)
            return self.size

    def _write_all(self, view: memoryview, offset: int) -> int:
        done = self._write(view, offset)
        while done < len(view):
            # This raises the error that ended the write before.
            done += self._write(view[done:], offset + done)
        return done

    def _write(self, view: memoryview, offset: int) -> int:
        if not view:
            return 0
        before, end = self.size, offset + len(view)
        if end > before:
            self._grow(end)
        self.written_time = self._volume.now()
        done = 0
        # No context manager: it costs as much as a small write. The same is true for reads.
        try:
            while done < len(view):
                done += system.write_at(self._fd, view[done:], offset + done)
        except OSError as error:
            # A disk that is full, for example, may have taken a part.
            self._shrink(max(before, offset + done) if done else before)
            if not done:
                raise from_os_error(self._volume.name, error) from error
        return done

    def truncate(self, size: int) -> None:
        """Cuts the file off at `size`, or extends it to `size` with zeros."""
        with self._writing(keep=size):
            before = self.size
            if size > before:
                self._grow(size)
            self.written_time = self._volume.now()
            try:
                os.ftruncate(self._fd, size)
            except OSError as error:
                self._shrink(before)
                raise from_os_error(self._volume.name, error) from error
            self._shrink(size)

    @contextmanager
    def _writing(self, keep: int | None = None) -> Iterator[None]:
        """Enters a context in which only this process writes to the file.

        Args:
            keep: how many bytes of the contents are kept; by default, all.
        """
        while True:
            if not self._is_being_written:
                self._begin_writing(None if keep is None else min(keep, self.size))
            with self._volume.alone():
                # Another process may have recorded the file or replaced its contents in the meantime.
                if self._is_being_written:
                    if self._volume.is_shared:
                        self.size = os.fstat(self._fd).st_size
                    yield
                    return

    def _grow(self, size: int) -> None:
        if size > MAX_FILE_SIZE:
            raise InvalidParameterError(self._volume.name, f"a file has at most {MAX_FILE_SIZE} bytes")
        self._volume.resize(self.size, size)
        self.size = size

    def _shrink(self, size: int) -> None:
        """Notes that the file has no more than `size` bytes."""
        if size < self.size:
            self._volume.resize(self.size, size)
            self.size = size

    def _begin_writing(self, keep: int | None = None) -> None:
        """Copies the file up with its contents (the first `keep` bytes), and marks it as being written to."""
        with self._volume.lock:
            fd = self._copy_up(keep)
            # Not before the change is made: if it fails, the file still has its old contents.
            if fd is not None:
                try:
                    self._switch_to(fd, is_own=True)
                finally:
                    system.close_read(fd)
            self._is_being_written = True

    def _copy_up(self, keep: int | None) -> int | None:
        """Gives the file contents of its own, in one change.

        Returns:
            A descriptor of these contents, which the caller closes; None if the file has them open already.
        """
        volume = self._volume
        fd: int | None = None
        try:
            with volume.changing() as upper:
                # `changing` has read the earlier changes of other processes.
                taken = volume.node_of(self.file) if self.file[0] and not self.is_detached else None
                if self.file[0] and taken is None:
                    self.is_detached = True
                if self.is_detached:
                    if not self._has_own_file:
                        self._copy_detached()
                    return None
                scratch = volume.writable_scratch()
                if taken is not None:
                    upper.copy_up(taken)
                before = scratch.by_id(self.file[1])
                row = scratch.own_file(before, keep=keep)
                if keep is not None and row.host_name != before.host_name:
                    volume.resize(self.size, min(keep, self.size))
                if volume.is_shared or not self._has_own_file or row.host_name != self.row.host_name:
                    fd = scratch.open_file(row, writable=True)
                volume.show_row(row)
        except BaseException:
            if fd is not None:
                system.close_read(fd)
            raise
        self.row = row
        return fd

    def refresh(self) -> None:
        """Reads the file's record again after another process has changed the scratch."""
        scratch = self._volume.writable_scratch()
        if self.is_detached:
            return
        layer, entry = self.file
        if layer:
            copied = scratch.taken_as(self._volume.tree.depth(layer), entry)
            if copied is None:
                return
            entry = copied
        row = scratch.find(entry)
        if row is None:
            self.file, self.is_detached = (0, entry), True
            return
        is_elsewhere = layer != 0 or row.host_name != self.row.host_name
        if is_elsewhere:
            with suppress(LayerBusyError):
                # If the file is missing, it was replaced once more, which the next refresh finds out.
                self._open_again(row)
        # Not before: if the host could not open the file, the next refresh tries it again.
        self.file, self.row = (0, entry), row
        if self._is_being_written and (is_elsewhere or not scratch.is_being_written(row)):
            # All writes from here on must be marked and recorded again.
            self._is_being_written = False
        self.size = os.fstat(self._fd).st_size

    def _open_again(self, row: EntryRow) -> None:
        """Opens the contents that the file has by its new row."""
        scratch = self._volume.writable_scratch()
        is_own = scratch.stat_file(row).st_nlink == 1
        fd = scratch.open_file(row, writable=is_own)
        try:
            self._switch_to(fd, is_own=is_own)
        finally:
            system.close_read(fd)

    def _switch_to(self, fd: int, *, is_own: bool) -> None:
        """Makes the file's descriptor lead to other contents, which are open under the descriptor `fd`."""
        # The descriptor's number stays the same: readers in other threads may be using it.
        os.dup2(fd, self._fd, inheritable=False)
        self._has_own_file = is_own
        self.size = os.fstat(fd).st_size

    def _copy_detached(self) -> None:
        """Copies the contents of a file that no longer has a name to an unnamed file of the host."""
        scratch = self._volume.writable_scratch()
        host, fd = scratch.new_file()
        at = 0
        with errors_at(self._volume.name):
            try:
                while piece := system.read_at(self._fd, _PIECE, at):
                    at += system.write_at(fd, piece, at)
                os.dup2(fd, self._fd, inheritable=False)
            finally:
                os.close(fd)
        scratch.drop_file(host)
        self._has_own_file = True

    @property
    def is_being_written(self) -> bool:
        """Whether there may be writes that are not recorded."""
        return self._is_being_written

    def now(self, row: EntryRow) -> EntryRow:
        """Returns the file's row, updated by the writes that are not recorded yet."""
        return self._written(row) if self._is_being_written else row

    def _written(self, row: EntryRow) -> EntryRow:
        time = self.written_time
        size = os.fstat(self._fd).st_size if self._volume.is_shared else self.size
        return row.written(
            size=size, attributes=row.attributes | _ARCHIVE, last_write_time=time,
            change_time=max(time, row.change_time),
        )  # fmt: skip

    def flush(self) -> None:
        """Records the size and times after writes."""
        if self._is_being_written and not self.is_detached:
            with self._volume.changing():
                self.record()

    def record(self) -> None:
        """Does what `flush` does, inside of a change of the volume."""
        if not self._is_being_written:
            return
        self._is_being_written = False
        if self.is_detached:
            return
        volume = self._volume
        volume.when_undone(self._resume)
        scratch = volume.writable_scratch()
        node = self._current_node(scratch)
        known = scratch.find(self.file[1]) if node is None else node.row
        if known is None:
            self.is_detached = True
            return
        if volume.is_shared:
            # Other processes may have extended the file.
            self.size = os.fstat(self._fd).st_size
        row = self.row = self._written(known)
        scratch.set(
            row, size=row.size, last_write_time=row.last_write_time, change_time=row.change_time,
            attributes=row.attributes,
        )  # fmt: skip
        if node is None:
            volume.show_row(row)
        else:
            node.row = row

    def _current_node(self, scratch: ScratchDirectory) -> Node | None:
        """Returns the node of the file, if it is at hand and has the recorded row, and the file has no other name."""
        node = self._node
        if self._volume.is_shared or node.file != self.file or not self._volume.tree.knows(node):
            return None
        return node if scratch.link_count(node.row) == 1 else None

    def _resume(self) -> None:
        """Notes that the record of the writes was rolled back."""
        self._is_being_written = True

    def keep_time(self) -> None:
        """Gives the host's file the time of the last write. If this process dies before `flush`, the size and the time
        of the host's file are what is recorded of the writes."""
        time = to_unix_ns(self.written_time)
        with errors_at(self._volume.name):
            system.set_file_times(self._fd, time, time)

    def sync(self) -> None:
        """Waits until all earlier writes are safe on disk."""
        self.flush()
        self._volume.sync(self._fd)

    def close(self) -> None:
        """Ends one use of the file; the last one closes it."""
        self._volume.give_back(self)

    def shut(self) -> None:
        """Closes the file, after its last use."""
        try:
            self.flush()
        finally:
            # The host may give the number to another file: no later use may lead to that.
            fd, self._fd = self._fd, -1
            if self._has_own_file:
                with errors_at(self._volume.name):
                    os.close(fd)
            else:
                system.close_read(fd)


class OpenContents:
    """The contents of a file at one moment, which stay readable when the contents of the file are replaced.

    Writes in place are visible in them.
    """

    __slots__ = ("_fd", "_volume")

    def __init__(self, volume: FileOwner, fd: int) -> None:
        self._volume = volume
        self._fd = fd

    def read(self, size: int, offset: int) -> bytes:
        """Reads up to `size` bytes from `offset`."""
        try:
            return system.read_at(self._fd, size, offset)
        except OSError as error:
            raise from_os_error(self._volume.name, error) from error

    def close(self) -> None:
        """Closes the contents."""
        with errors_at(self._volume.name):
            os.close(self._fd)


class StagedContents(io.RawIOBase):
    """New contents of a file that are written to the scratch, hashed and counted."""

    def __init__(self, volume: FileOwner, host: bytes, fd: int) -> None:
        super().__init__()
        self._volume = volume
        self.host = host
        """The name of the scratch's file that receives the contents."""
        self._fd = fd
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        piece = memoryview(data).cast("B")
        if self.size + len(piece) > MAX_FILE_SIZE:
            raise InvalidParameterError(self._volume.name, f"a file has at most {MAX_FILE_SIZE} bytes")
        self._volume.resize(self.size, self.size + len(piece))
        self.size += len(piece)
        self._hash.update(piece)
        with errors_at(self._volume.name):
            write_all(self._fd, piece)
        return len(piece)

    def digest(self) -> bytes:
        """Returns the SHA-256 of the written bytes."""
        return self._hash.digest()

    def close(self) -> None:
        if not self.closed:
            try:
                super().close()
            finally:
                with errors_at(self._volume.name):
                    os.close(self._fd)


class StagedStream(io.RawIOBase):
    """New contents of an alternate stream, which are counted as used bytes of the scratch."""

    def __init__(self, volume: FileOwner) -> None:
        super().__init__()
        self._volume = volume
        self._file = cast(BinaryIO, tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 (closed by `close`)
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        piece = memoryview(data).cast("B")
        self._volume.resize(self.size, self.size + len(piece))
        self.size += len(piece)
        with errors_at(self._volume.name):
            return self._file.write(piece)

    def chunks(self) -> Iterator[bytes]:
        """Returns an iterator over the written bytes, in pieces."""
        self._file.seek(0)
        return iter(lambda: self._file.read(_PIECE), b"")

    def close(self) -> None:
        super().close()
        self._file.close()


class StreamBuffer:
    """The data of an open alternate stream, as a copy that `flush` writes to the scratch."""

    def __init__(self, volume: FileOwner, node: Node, name: str) -> None:
        self._volume = volume
        self._node = node
        self._name = name
        self._is_changed = False
        self._file = cast(BinaryIO, tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 (closed by `close`)
        with ExitStack() as stack:
            stack.callback(self._file.close)
            for chunk in volume.stream_chunks(node, name):
                self._file.write(chunk)
            stack.pop_all()
        self.size = self._file.tell()

    def verify(self, digest: bytes) -> None:
        """Does nothing: the bytes were already compared with their record when the stream was opened."""

    def stored_size(self) -> int:
        """Returns the number of bytes that the stream takes in its layer: its size."""
        return self.size

    def read(self, size: int, offset: int) -> bytes:
        """Reads up to `size` bytes from `offset`."""
        self._file.seek(offset)
        return self._file.read(size)

    def write(self, data: ReadableBuffer, offset: int) -> int:
        """Writes all of `data` at `offset`, and returns the number of bytes."""
        count = len(memoryview(data).cast("B"))
        if not count:
            return 0
        self._resize(max(self.size, offset + count))
        self._file.seek(offset)
        self._file.write(data)
        return count

    def contents(self) -> None:
        """Returns None: the data are already a copy."""

    def end(self) -> int:
        """Returns the end of the stream."""
        return self.size

    def append(self, data: ReadableBuffer) -> int:
        """Writes bytes at the end, and returns the new end."""
        self.write(data, self.size)
        return self.size

    def truncate(self, size: int) -> None:
        """Cuts the stream off at `size`, or extends it to `size` with zeros."""
        self._resize(size)

    def _resize(self, size: int) -> None:
        self._is_changed = True
        if size > self.size:
            self._volume.resize(self.size, size)
            self._file.seek(self.size)
            missing = size - self.size
            while missing:
                missing -= self._file.write(bytes(min(missing, _PIECE)))
        elif size < self.size:
            self._file.truncate(size)
            self._volume.resize(self.size, size)
        self.size = size

    def flush(self) -> None:
        """Writes the data to the scratch if they were changed."""
        if self._is_changed:
            self._is_changed = False
            self._file.seek(0)
            self._volume.put_stream(self._node, self._name, iter(lambda: self._file.read(_PIECE), b""))

    def sync(self) -> None:
        """Waits until all earlier writes are safe on disk."""
        self.flush()
        self._volume.sync_names()

    def close(self) -> None:
        """Closes the stream."""
        try:
            self.flush()
        finally:
            self._file.close()


class ViewFile(io.RawIOBase):
    """An open file or alternate stream of a view, as a Python file object.

    This class is an error boundary: errors of the host are raised as a `LayerError` with the operation.
    """

    def __init__(
        self, data: OpenFile | StreamBuffer, name: str, *, can_read: bool, can_write: bool, append: bool
    ) -> None:
        super().__init__()
        self.name = name
        self._data = data
        self._can_read = can_read
        self._can_write = can_write
        self._appends = append
        self._position = 0
        # The contents for reads, until a read at the beginning switches to the current ones.
        self._contents: OpenContents | None = None

    def readable(self) -> bool:
        return self._can_read

    def writable(self) -> bool:
        return self._can_write

    def seekable(self) -> bool:
        return True

    @during("seek")
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._need_open()
        start = self._data.end() if whence == os.SEEK_END else {os.SEEK_SET: 0, os.SEEK_CUR: self._position}[whence]
        if start + offset < 0:
            raise InvalidParameterError(self.name, f"position {start + offset}")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yields the whole contents, in pieces of at most `size` bytes.

        Raises:
            CorruptLayerError: the bytes are not those that the layer has recorded; raised after the last piece.
        """
        self.seek(0)
        digest = hashlib.sha256()
        while piece := self.read(size):
            digest.update(piece)
            yield piece
        self._data.verify(digest.digest())

    def stored_size(self) -> int:
        """Returns the number of bytes that the data take where they are stored, without holes."""
        self._need_open()
        return self._data.stored_size()

    @during("read")
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._need_open()
        if not self._can_read:
            raise io.UnsupportedOperation("not open for reading")
        view = memoryview(buffer).cast("B")
        if self._contents is None or self._position == 0:
            self._let_go()
            self._contents = self._data.contents()
        data = (self._contents or self._data).read(len(view), self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    @during("write")
    def write(self, data: ReadableBuffer, /) -> int:
        self._need_write()
        if self._appends:
            self._position = self._data.append(data)
            return len(memoryview(data).cast("B"))
        done = self._data.write(data, self._position)
        self._position += done
        return done

    @during("write")
    def truncate(self, size: int | None = None, /) -> int:
        self._need_write()
        size = self._position if size is None else size
        self._data.truncate(size)
        return size

    def _let_go(self) -> None:
        """Makes the next read switch to the current contents."""
        contents, self._contents = self._contents, None
        if contents is not None:
            contents.close()

    def _need_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed file")

    def _need_write(self) -> None:
        self._need_open()
        self._let_go()
        if not self._can_write:
            raise io.UnsupportedOperation("not open for writing")

    @during("write")
    def flush(self) -> None:
        super().flush()
        if self._can_write:
            self._data.flush()

    @during("write")
    def sync(self) -> None:
        """Waits until all earlier writes are safe on disk."""
        self._need_open()
        self._data.sync()

    @during("close")
    def close(self) -> None:
        if not self.closed:
            try:
                super().close()
            finally:
                self._let_go()
                self._data.close()
