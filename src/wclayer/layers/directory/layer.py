"""A layer directory, open for reading: its entries with their contents."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from wclayer.errors import IN_THE_WAY, CorruptLayerError, FormatError, LayerError, from_os_error
from wclayer.host import system
from wclayer.layers.base import StoredStream
from wclayer.layers.budget import Budget, stored_size
from wclayer.layers.directory import database, rows
from wclayer.layers.directory.database import EntryRow, from_column
from wclayer.layers.directory.entries import LayerEntries
from wclayer.layers.directory.folder import OpenedFolder
from wclayer.layers.directory.rows import StreamRow
from wclayer.model import DataStream, Entry, ExtraStream, limits_in_use
from wclayer.win32.backup import StreamId
from wclayer.win32.ea import decode_eas
from wclayer.win32.reparse import decode_reparse

if TYPE_CHECKING:
    from wclayer.formats.hashing import BackgroundHash
    from wclayer.formats.threads import Workers

_READ_PIECE = 1 << 20
_NOT_THE_FILE = (*IN_THE_WAY, errno.ENOENT, errno.ENAMETOOLONG, errno.EINVAL)
"""Errors that mean that a file contradicts `layer.db`. All others are failures of the host."""


class LayerDirectory(LayerEntries):
    """A layer directory, open for reading: a `FinishedLayer` or a `ScratchLayer`. `open_layer` opens it."""

    def __init__(self, opened: OpenedFolder) -> None:
        super().__init__(opened)
        self.budget: Budget | None = None
        """Counts the data that large files yield. Without a budget, the limits apply to each file separately."""
        self.hasher: Workers | None = None
        """A thread that hashes large files while they are read. Without it, whoever reads hashes them."""
        self._lends_files = False

    def digest(self, row: EntryRow) -> bytes | None:
        """Returns the SHA-256 of the entry's main data stream; None if it has no such stream."""
        if row.sha256 != database.NOT_HASHED:
            return row.sha256
        digest = hashlib.sha256()
        for chunk in self.data_chunks(row, verify=False):
            digest.update(chunk)
        return digest.digest()

    def entry(self, row: EntryRow, *, security: bytes | None = None) -> Entry:
        """Returns the entry as a reader yields it.

        Args:
            security: the descriptor of the entry, if the caller has it; by default it is looked up.

        Raises:
            CorruptLayerError: the entry's EAs or reparse data are malformed.
        """
        try:
            if row.eas:
                decode_eas(row.eas)
            if row.reparse is not None:
                decode_reparse(row.reparse)
        except ValueError as error:
            raise self._damaged(f"entry {row.id}: {error}") from None
        return Entry(
            self.name_of(row),
            row.info,
            row.size,
            security if security is not None else self.security(row),
            row.eas or b"",
            row.reparse,
            None if row.link_target is None else from_column(row.link_target),
            self._extras(row) if row.streams else (),
            row.form,
        )

    def stream_bytes(self, row: EntryRow) -> int:
        """Returns the bytes of all streams of an entry except the main one, given the row of its first name."""
        return sum(stream.size for stream in self.stream_rows(row))

    def stream_rows(self, row: EntryRow) -> list[StreamRow]:
        """Returns the rows of all streams of the entry except the main one, in order.

        Raises:
            CorruptLayerError: their number differs from the entry's record, or a row has an invalid value.
        """
        if not row.streams:
            return []
        most = limits_in_use().streams
        entry = row.link or row.id
        found: list[StreamRow] = []
        for columns in self.query(
            f"SELECT {','.join(StreamRow._fields)} FROM streams WHERE entry = ? ORDER BY id LIMIT ?", (entry, most + 1)
        ):
            try:
                stream = rows.stream_row(columns)
            except FormatError as error:
                raise self._damaged(error) from None
            if stream.entry != entry or (found and stream.id <= found[-1].id):
                raise self._damaged(f"stream {stream.id}: the index has it elsewhere, or twice")
            found.append(stream)
        if len(found) > most:
            raise self._beyond(f"entry {row.id}: more than {most} streams", "streams")
        if len(found) != row.streams:
            raise self._damaged(f"entry {row.id}: streams: {row.streams}, and there are {len(found)}")
        return found

    def _extras(self, row: EntryRow) -> tuple[ExtraStream, ...]:
        return tuple(
            ExtraStream(stream.stream_id, stream.attributes, stream.name, b"".join(self.stream_chunks(stream)))
            for stream in self.stream_rows(row)
            if stream.stream_id != StreamId.ALTERNATE_DATA
        )

    def streams(self, row: EntryRow, *, has_data: bool) -> Iterator[DataStream]:
        """Yields the entry's data streams: the main one if it has one, then the alternate ones."""
        if has_data and self._lends_files and row.sha256:
            file = _LentFile(self, row, row.sha256)
            yield StoredStream("", row.size, self.data_chunks(row), file=file, is_only=not row.streams)
        elif has_data:
            small = row.size <= _READ_PIECE
            yield DataStream("", row.size, (self._whole_file(row),) if small else self.data_chunks(row))
        for stream in self.stream_rows(row):
            if stream.stream_id == StreamId.ALTERNATE_DATA:
                yield DataStream(stream.name, stream.size, self.stream_chunks(stream), stream.attributes, stream.form)

    def lend_files(self) -> None:
        """Has `streams` lend the files of contents (`StoredStream`), unless they may change meanwhile."""

    def open_lent(self, row: EntryRow) -> int | None:
        """Opens the file of the contents for a process that copies them.

        Returns:
            Its descriptor, which the caller closes; None if it has holes, which are not copied.

        Raises:
            CorruptLayerError, AccessDeniedError, LayerError: see `open_file` and `data_chunks`.
        """
        fd = self.open_file(row)
        if row.size <= _READ_PIECE:
            return fd
        try:
            status = os.fstat(fd)
            if status.st_size != row.size:
                raise self.wrong_size(row, status.st_size)
            if stored_size(status) < status.st_size:
                system.close_read(fd)
                return None
            self._count(row, status)
        except BaseException:
            system.close_read(fd)
            raise
        return fd

    def stream_chunks(self, stream: StreamRow) -> Iterator[bytes]:
        """Yields the bytes of a stream.

        Raises:
            CorruptLayerError: their number or SHA-256 differs from the record.
        """
        size, digest = 0, hashlib.sha256()
        pieces = self.query("SELECT sequence, data FROM stream_data WHERE stream = ? ORDER BY sequence", (stream.id,))
        for expected, (sequence, data) in enumerate(pieces):
            try:
                chunk = rows.piece(stream.id, expected, sequence, data)
            except FormatError as error:
                raise self._damaged(error) from None
            size += len(chunk)
            if size > stream.size:
                break
            digest.update(chunk)
            yield chunk
        if size != stream.size:
            raise self._damaged(f"stream {stream.id}: other than the {stream.size} bytes that its record says")
        if digest.digest() != stream.sha256:
            entry = self.path_of(self.by_id(stream.entry))
            raise self._damaged(f"stream {stream.name!r} of {entry}: its contents do not have the recorded SHA-256")

    def _new_hash(self) -> BackgroundHash | hashlib._Hash:
        if self.hasher is None:
            return hashlib.sha256()
        # Whoever only looks into a layer has no such thread, and need not wait until its module is loaded.
        from wclayer.formats.hashing import BackgroundHash

        return BackgroundHash(self.hasher)

    def data_chunks(self, row: EntryRow, *, verify: bool = True) -> Iterator[bytes]:
        """Yields the bytes of the entry's main data stream.

        Args:
            verify: compare the SHA-256 of the bytes with the record, if there is one, after the last byte.

        Raises:
            CorruptLayerError: the host's file is missing, or its length or bytes differ from `layer.db`.
        """
        if row.size <= _READ_PIECE:
            yield self._whole_file(row, verify=verify)
            return
        digest = None
        if verify and row.sha256:
            digest = self._new_hash()
        fd = self.open_file(row)
        try:
            status = os.fstat(fd)
            is_longer = status.st_size > row.size and self.is_being_written(row)
            if status.st_size != row.size and not is_longer:
                raise self.wrong_size(row, status.st_size)
            self._count(row, status)
            left = row.size
            while left > 0 and (data := self._read(row, fd, _READ_PIECE)):
                left -= len(data)
                if digest is not None:
                    digest.update(data)
                yield data
            if left:
                raise self.wrong_size(row, os.fstat(fd).st_size)
        finally:
            system.close_read(fd)
        if digest is not None and digest.digest() != row.sha256:
            raise self.wrong_contents(row)

    def _count(self, row: EntryRow, status: os.stat_result) -> None:
        """Counts a large file before any byte of it is read, because the whole file may be a hole.

        Smaller files need no count: each takes enough space itself, together with its record.
        """
        budget = self.budget or Budget(str(self.path), limits_in_use())
        budget.store(stored_size(status))
        budget.spend(row.size, f"entry {self.path_of(row)[:300]!r}")

    def _read(self, row: EntryRow, fd: int, size: int) -> bytes:
        try:
            return os.read(fd, size)
        except OSError as error:
            raise self.cannot_read(row, error) from error

    def cannot_read(self, row: EntryRow, error: OSError) -> LayerError:
        """Returns the error for contents that the host does not read."""
        return from_os_error(self.path / os.fsdecode(self.host_path(row)), error)

    def _whole_file(self, row: EntryRow, *, verify: bool = True) -> bytes:
        """Returns all bytes of a small file, read in one piece."""
        fd = self.open_file(row)
        try:
            # One byte more than expected is read: this detects a file that has grown without a stat.
            data = self._read(row, fd, row.size + 1)
            while 0 < len(data) < row.size and (more := self._read(row, fd, row.size + 1 - len(data))):
                data += more
            if len(data) > row.size and self.is_being_written(row):
                # It has grown since its size was read.
                data = data[: row.size]
            if len(data) != row.size:
                raise self.wrong_size(row, os.fstat(fd).st_size)
        finally:
            system.close_read(fd)
        if verify and row.sha256 and hashlib.sha256(data).digest() != row.sha256:
            raise self.wrong_contents(row)
        return data

    def open_file(self, row: EntryRow, *, writable: bool = False) -> int:
        """Opens the host's file with the entry's contents and returns its descriptor, which the caller closes.

        Raises:
            CorruptLayerError: it does not exist, or it or a directory of its path is something else on the host.
            AccessDeniedError, LayerError: the host refuses to open it.
        """
        path = self.host_path(row)
        try:
            return self.host.open(path, writable=writable)
        except (OSError, FormatError) as error:
            raise self._file_error(row, path, error) from error

    def open_contents(self, row: EntryRow) -> BinaryIO:
        """Opens the contents of the entry's main data stream, to read at any offset. The caller closes them.

        Raises:
            FormatError: it has none.
            CorruptLayerError, AccessDeniedError, LayerError: see `open_file`.
        """
        if row.sha256 is None:
            raise FormatError("has no contents: it is a directory, or a reparse point")
        return os.fdopen(self.open_file(self.first_name(row)), "rb")

    def stat_file(self, row: EntryRow) -> os.stat_result:
        """Returns the status of the host's file with the entry's contents.

        Raises:
            CorruptLayerError, AccessDeniedError, LayerError: see `open_file`.
        """
        path = self.host_path(row)
        try:
            status = self.host.stat(path)
        except (OSError, FormatError) as error:
            raise self._file_error(row, path, error) from error
        if not stat.S_ISREG(status.st_mode):
            raise self._file_error(row, path, FileNotFoundError(errno.ENOENT, "not a regular file"))
        return status

    def _file_error(self, row: EntryRow, path: bytes, error: OSError | FormatError) -> LayerError:
        place = self.path / os.fsdecode(path)
        if isinstance(error, OSError) and error.errno not in _NOT_THE_FILE:
            error.filename = os.fspath(place)
            return from_os_error(place, error)
        reason = getattr(error, "strerror", None) or error
        return self.changed(row) or CorruptLayerError(place, f"cannot be opened: {reason}")

    def wrong_contents(self, row: EntryRow) -> LayerError:
        """Returns the error for contents whose SHA-256 differs from the entry's record."""
        return self.changed(row) or CorruptLayerError(
            self.path / os.fsdecode(self.host_path(row)),
            f"its contents do not have the SHA-256 that {database.FILE_NAME} says",
        )

    def wrong_size(self, row: EntryRow, size: int) -> LayerError:
        """Returns the error for contents of `size` bytes, which is not what the entry's record says."""
        return self.changed(row) or CorruptLayerError(
            self.path / os.fsdecode(self.host_path(row)),
            f"is {size} bytes long; {database.FILE_NAME} says {row.size}",
        )


class _LentFile:
    """The contents of an entry (`StoredFile`)."""

    __slots__ = ("_layer", "_row", "sha256", "size")

    def __init__(self, layer: LayerDirectory, row: EntryRow, sha256: bytes) -> None:
        self._layer = layer
        self._row = row
        self.size = row.size
        self.sha256 = sha256

    def open(self) -> int | None:
        return self._layer.open_lent(self._row)

    def cannot_read(self, error: OSError) -> LayerError:
        return self._layer.cannot_read(self._row, error)

    def wrong_size(self, size: int) -> LayerError:
        return self._layer.wrong_size(self._row, size)

    def wrong_contents(self) -> LayerError:
        return self._layer.wrong_contents(self._row)
