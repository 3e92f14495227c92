"""hcsshim's interface for any reader and writer: a cursor, entries that are started, and Win32 backup streams."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Self, cast

from wclayer.errors import InvalidDataError, InvalidStateError, LimitExceededError, boundary, limit_hint
from wclayer.layers.backup_stream import backup_stream, check_metadata, keep_metadata, plain_stream_name
from wclayer.layers.base import DiscardOnFailure, LayerReaderBase, LayerWriterBase, WriterContext, all_of
from wclayer.layers.budget import Budget
from wclayer.model import DataStream, Entry, LayerItem, Limits, LinkInfo
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import SPARSE_STREAM, BackupStreamParser, SparseBlocks, StreamHeader, StreamId
from wclayer.win32.names import name_key

_SPOOL_IN_MEMORY = 1 << 20
_PIECE = 1 << 20


@boundary
class BackupLayerReader:
    """A `BackupReader` over any reader. Iterating it moves the cursor, too.

    Args:
        reader: the reader, which is closed with this.
    """

    operation = "read layer"

    def __init__(self, reader: LayerReaderBase) -> None:
        self.reader = reader
        self.operation = reader.operation
        self._item: LayerItem | None = None
        self._backup: Iterator[bytes | memoryview] | None = None
        self._rest = memoryview(b"")

    def next(self) -> Entry | None:
        item = next(self, None)
        return None if item is None else item.entry

    def streams(self) -> Iterator[DataStream]:
        return self._current().streams()

    def read(self, size: int = -1, /) -> bytes:
        if self._backup is None:
            item = self._current()
            self._backup = iter(()) if item.entry.info is None else self._open_backup(item)
        pieces: list[bytes] = []
        while size:
            if not len(self._rest):
                piece = next(self._backup, None)
                if piece is None:
                    break
                self._rest = memoryview(piece)
            part = self._rest if size < 0 else self._rest[:size]
            self._rest = self._rest[len(part) :]
            size -= len(part) if size > 0 else 0
            # Copied now, because a chunk is only valid until the next one is requested.
            pieces.append(bytes(part))
        return b"".join(pieces)

    def link_info(self) -> LinkInfo:
        return self._current().link_info()

    def close(self) -> None:
        self.reader.close()

    def _open_backup(self, item: LayerItem) -> Iterator[bytes | memoryview]:
        """Returns the backup stream of the current item, which must not be a tombstone."""
        return backup_stream(item.entry, item.streams())

    def _current(self) -> LayerItem:
        if self._item is None:
            raise InvalidStateError(self.reader.source, "no current entry: call next first")
        return self._item

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LayerItem:
        self._item = self._backup = None
        self._rest = memoryview(b"")
        self._item = next(self.reader)
        return self._item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, tb: object) -> None:
        self.close()


@boundary
class BackupLayerWriter(WriterContext):
    """A `BackupWriter` over any writer.

    Args:
        writer: the writer, which is closed or aborted with this.
    """

    operation = "write layer"

    def __init__(self, writer: LayerWriterBase) -> None:
        self.writer = writer
        self.target = writer.target
        self.operation = writer.operation
        self._pending: _PendingEntry | None = None
        self._discard_on_failure = DiscardOnFailure(self)

    def put(self, entry: Entry, streams: Iterable[DataStream] = ()) -> None:
        self._settle()
        self.writer.put(entry, streams)

    def add(self, name: str, info: FileBasicInfo) -> None:
        self._settle()
        self._pending = _PendingEntry(self.target, self.writer.limits, Entry(clean_name(name), info))

    def add_link(self, name: str, target: str) -> None:
        # The target may be the entry that `add` started.
        self._settle()
        target = clean_name(target)
        with self._discard_on_failure:
            info = self.writer.info_for_link(target)
        self.writer.put(Entry(clean_name(name), info, link_target=target))

    def remove(self, name: str) -> None:
        self.put(Entry(clean_name(name), None))

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        if self._pending is None:
            raise InvalidStateError(self.target, "no current entry: call add first")
        with self._discard_on_failure:
            self._pending.feed(data)
        return len(data)

    def close(self) -> None:
        if self._pending is not None:
            self._settle()
        self.writer.close()

    def abort(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            all_of(pending.discard)
        self.writer.abort()

    def _settle(self) -> None:
        """Puts the entry that `add` started."""
        self.writer.require_open()
        pending, self._pending = self._pending, None
        if pending is not None:
            try:
                with self._discard_on_failure:
                    streams = pending.finish()
                self.writer.put(pending.entry, streams)
            finally:
                pending.discard()


class _PendingEntry:
    """An entry whose backup stream arrives through `write`.

    Windows puts some metadata behind the data, and only its last block shows the size of a sparse stream; writers need
    to know both first. So the data waits in a temporary file, whose holes take no space.
    """

    def __init__(self, target: str, limits: Limits, entry: Entry) -> None:
        self.entry = entry
        self._target = target
        self._limits = limits
        self._parser = BackupStreamParser()
        self._spool = cast(BinaryIO, tempfile.SpooledTemporaryFile(_SPOOL_IN_MEMORY))  # noqa: SIM115 (closed by `discard`)
        self._streams: list[_SpooledStream] = []
        self._names: set[str] = set()
        self._blocks = SparseBlocks()
        self._budget = Budget(target, limits)
        self._metadata_size = 0
        self._metadata: tuple[StreamHeader, bytearray] | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Takes more of the backup stream."""
        self._budget.store(len(data))
        for item in self._parser.feed(data):
            if isinstance(item, StreamHeader):
                self._start(item)
            elif self._metadata is not None:
                self._metadata[1].extend(item)
            else:
                self._spool.write(item)
                stream = self._streams[-1]
                stream.size = max(stream.size, self._spool.tell() - stream.start)

    def finish(self) -> Iterator[DataStream]:
        """Completes the entry and returns its data streams.

        Raises:
            InvalidDataError: the backup stream is cut off.
            LimitExceededError: a sparse stream is larger than the limits allow.
        """
        try:
            self._parser.finish()
        except ValueError as error:
            raise self._bad(str(error)) from None
        self._end_metadata()
        # The size of a sparse stream is known at its end only.
        for stream in self._streams:
            self._budget.spend(stream.size, f"entry {self.entry.name!r}")
        # The main stream goes first, wherever it came.
        self._streams.sort(key=lambda stream: stream.name != "")
        if self._streams and not self._streams[0].name:
            self.entry.size = self._streams[0].size
        elif self.entry.has_data:
            self._streams.insert(0, _SpooledStream("", 0, 0))
        return (
            DataStream(stream.name, stream.size, self._chunks(stream), stream.attributes & ~SPARSE_STREAM)
            for stream in self._streams
        )

    def discard(self) -> None:
        """Removes the temporary file."""
        self._spool.close()

    def _start(self, header: StreamHeader) -> None:
        self._end_metadata()
        if header.id == StreamId.SPARSE_BLOCK:
            self._start_block(header)
            return
        self._blocks.start(header)
        if header.id not in (StreamId.DATA, StreamId.ALTERNATE_DATA):
            self._metadata_size = check_metadata(header, self._metadata_size, self._limits, self._exceeded)
            self._metadata = (header, bytearray())
            return
        try:
            name = plain_stream_name(header) if header.id == StreamId.ALTERNATE_DATA else ""
        except ValueError as error:
            raise self._bad(str(error)) from None
        if (key := name_key(name)) in self._names:
            raise self._bad(f"a second stream {name!r}" if name else "a second main data stream")
        if len(self._names) > self._limits.streams:
            raise self._exceeded(f"more than {self._limits.streams} streams", "streams")
        self._names.add(key)
        start = self._streams[-1].start + self._streams[-1].size if self._streams else 0
        self._seek(start)
        self._streams.append(_SpooledStream(name, header.attributes, start))

    def _start_block(self, header: StreamHeader) -> None:
        try:
            self._blocks.hole(header)
        except ValueError as error:
            raise self._bad(str(error)) from None
        self._budget.check(header.offset + header.size, f"entry {self.entry.name!r}")
        stream = self._streams[-1]
        self._seek(stream.start + header.offset)
        stream.size = header.offset

    def _end_metadata(self) -> None:
        if self._metadata is not None:
            header, data = self._metadata
            self._metadata = None
            keep_metadata(self.entry, header, bytes(data))

    def _seek(self, offset: int) -> None:
        if offset > _SPOOL_IN_MEMORY:
            self._spool.fileno()  # moves the data from memory to the disk
        self._spool.seek(offset)

    def _chunks(self, stream: _SpooledStream) -> Iterator[bytes]:
        self._spool.seek(stream.start)
        left = stream.size
        while left:
            # After the last block that was written comes the hole at the end of a sparse stream.
            chunk = self._spool.read(min(left, _PIECE)) or bytes(min(left, _PIECE))
            left -= len(chunk)
            yield chunk

    def _bad(self, problem: str) -> InvalidDataError:
        return InvalidDataError(self._target, f"entry {self.entry.name!r}: {problem}")

    def _exceeded(self, problem: str, limit: str) -> LimitExceededError:
        return LimitExceededError(self._target, f"entry {self.entry.name!r}: {problem} {limit_hint(limit)}")


@dataclass(slots=True)
class _SpooledStream:
    """A data stream in the temporary file, from the offset `start` on."""

    name: str
    attributes: int
    start: int
    size: int = 0


def clean_name(name: str) -> str:
    r"""Spells a path from the layer's root, which `\` or `/` separate, as entries do."""
    return name.replace("\\", "/").strip("/")
