"""What every reader and writer shares: the two languages of the spine, translated into one set of small steps.

A reader implements `_advance` and `_open_streams`; a writer implements the `_begin … _finish` steps. The backup-stream
language (`read`, `write`) is translated here, once.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from types import TracebackType
from typing import BinaryIO, Self, cast

from wclayer.errors import (
    InvalidDataError,
    InvalidStateError,
    LimitExceededError,
    boundary,
    during,
    limit_hint,
    translated,
)
from wclayer.layers.budget import Budget
from wclayer.layers.names import Names
from wclayer.model import DataStream, Entry, ExtraStream, Limits, LinkInfo
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import SPARSE_STREAM, BackupStreamParser, StreamHeader, StreamId
from wclayer.win32.ea import decode_eas
from wclayer.win32.names import encode_name, name_key, path_key, stream_illegal_reason
from wclayer.win32.reparse import decode_reparse

SMALL_FILE = 128 << 10
"""The largest size of a plain file that a writer may take in one step."""
_SPOOL_IN_MEMORY = 1 << 20
_PIECE = 1 << 20


def stream_name(name: str) -> str:
    """The name of an alternate stream as a backup stream spells it (":x:$DATA")."""
    return f":{name}:$DATA"


def backup_stream(entry: Entry, streams: Iterable[DataStream]) -> Iterator[bytes | memoryview]:
    """An entry as the bytes of a Win32 backup stream: security, EAs, reparse data, data, alternate data, the rest."""
    for stream_id, data in (
        (StreamId.SECURITY_DATA, entry.security),
        (StreamId.EA_DATA, entry.eas),
        (StreamId.REPARSE_DATA, entry.reparse),
    ):
        if data:
            yield StreamHeader(stream_id, len(data)).encode() + data
    for stream in streams:
        if stream.name:
            header = StreamHeader(
                StreamId.ALTERNATE_DATA, stream.size, stream.attributes & ~SPARSE_STREAM, stream_name(stream.name)
            )
        else:
            header = StreamHeader(StreamId.DATA, stream.size, stream.attributes & ~SPARSE_STREAM)
        yield header.encode()
        yield from stream.chunks
    for extra in entry.extra:
        yield StreamHeader(extra.id, len(extra.data), extra.attributes, extra.name).encode() + extra.data


def plain_stream_name(header: StreamHeader) -> str:
    """The name of an alternate stream without its colons and type: "x" of ":x:$DATA".

    Raises:
        ValueError: the name has another form.
    """
    base, colon, kind = header.name[1:].rpartition(":")
    if header.name[:1] != ":" or not colon or kind != "$DATA":
        raise ValueError(f"alternate stream name {header.name!r} is not of the form :name:$DATA")
    if reason := stream_illegal_reason(base):
        raise ValueError(reason)
    return base


_STREAM_OVERHEAD = 128
"""Bytes of memory that a stream takes besides its data and its name, roughly."""


def check_metadata(
    header: StreamHeader, before: int, limits: Limits, exceeded: Callable[[str, str], LimitExceededError]
) -> int:
    """Checks the size of a stream that is not data, before it is read.

    Args:
        header: of the stream.
        before: bytes of such streams that the entry has already, descriptors not counted.
        limits: `security_size` and `metadata_size` are obeyed.
        exceeded: makes the error from what is wrong and the limit's name.

    Returns:
        The bytes that such streams take with this one.

    Raises:
        LimitExceededError: it is larger than the limit.
    """
    limit, size, largest = "metadata_size", before + header.size, limits.metadata_size
    if header.id == StreamId.SECURITY_DATA:
        limit, size, largest = "security_size", header.size, limits.security_size
    if size > largest:
        raise exceeded(f"{StreamId(header.id).name} of {size} bytes, more than {largest}", limit)
    if header.id == StreamId.SECURITY_DATA:
        return before
    # Each is kept with its name, even one that is empty.
    return size + _STREAM_OVERHEAD + 2 * len(header.name)


def keep_metadata(entry: Entry, header: StreamHeader, data: bytes) -> None:
    """Puts a stream that is not data into the entry it belongs to."""
    if header.id == StreamId.SECURITY_DATA:
        entry.security = data or None
    elif header.id == StreamId.EA_DATA:
        entry.eas = data
    elif header.id == StreamId.REPARSE_DATA:
        entry.reparse = data or None
    else:
        entry.extra += (ExtraStream(header.id, header.attributes, header.name, data),)


def all_of(*steps: Callable[[], object]) -> None:
    """Takes every step of giving something up, whatever the ones before met: closing a file may write, and fail."""
    for step in steps:
        with suppress(OSError, sqlite3.Error, MemoryError):
            step()


class FirstNames:
    """Makes hard links of the further names of files: the first name that a reader finds of a file is the file."""

    def __init__(self) -> None:
        self._names: dict[Hashable, str] = {}

    def __contains__(self, file_id: Hashable) -> bool:
        return file_id in self._names

    def link(self, entry: Entry, file_id: Hashable) -> bool:
        """Makes an entry a hard link if it has a further name of a file.

        Args:
            entry: a name of a file that has several.
            file_id: tells the file from all others of the layer.

        Returns:
            True if the entry is a link now; False if its name is the file's first one.
        """
        first = self._names.setdefault(file_id, entry.name)
        if first == entry.name:
            return False
        entry.link_target, entry.size, entry.extra = first, 0, ()
        return True


@boundary
class LayerReaderBase(ABC):
    """A `LayerReader` on top of two steps."""

    operation = "read layer"

    def __init__(self, source: str) -> None:
        self.source = source
        self._entry: Entry | None = None
        self._streams: Iterator[DataStream] | None = None
        self._backup: Iterator[bytes | memoryview] | None = None
        self._backup_rest: memoryview = memoryview(b"")
        self._closed = False
        self._budget: Budget | None = None

    @abstractmethod
    def _advance(self) -> Entry | None:
        """The next entry, skipping what was not read of the current one."""

    @abstractmethod
    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        """The current entry's data streams."""

    def _open_backup(self, entry: Entry) -> Iterator[bytes | memoryview]:
        """The current entry's Win32 backup stream."""
        return backup_stream(entry, self.streams())

    def _release(self) -> None:  # noqa: B027 (not every reader holds something)
        """Gives back what the reader holds."""

    def next(self) -> Entry | None:
        if self._closed:
            raise InvalidStateError(self.source, "the reader is closed")
        entry = self._advance()
        self._streams = self._backup = None
        self._backup_rest = memoryview(b"")
        self._entry = entry
        return entry

    def streams(self) -> Iterator[DataStream]:
        if self._streams is None:
            entry = self._current()
            self._streams = iter(()) if entry.info is None else self._open_streams(entry)
            if self._budget is not None:
                self._streams = self._budget.checked(entry, self._streams)
            self._streams = self._of_this(self._streams)
        return self._streams

    def _of_this(self, streams: Iterator[DataStream]) -> Iterator[DataStream]:
        """The streams, whose errors are those of the reader, wherever they are read."""
        with during(self.operation, self.source):
            for stream in streams:
                if not isinstance(stream.chunks, (tuple, list)):
                    stream.chunks = self._chunks_of_this(stream.chunks)
                yield stream

    def _chunks_of_this(self, chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        with during(self.operation, self.source):
            yield from chunks

    def read(self, size: int = -1, /) -> bytes:
        if self._backup is None:
            entry = self._current()
            self._backup = iter(()) if entry.info is None else self._open_backup(entry)
        pieces: list[bytes | memoryview] = []
        while size:
            if not len(self._backup_rest):
                piece = next(self._backup, None)
                if piece is None:
                    break
                self._backup_rest = memoryview(piece)
            part = self._backup_rest if size < 0 else self._backup_rest[:size]
            self._backup_rest = self._backup_rest[len(part) :]
            size -= len(part) if size > 0 else 0
            # Copied now: a chunk is only valid until the next one is asked for.
            pieces.append(bytes(part))
        return b"".join(pieces)

    def link_info(self) -> LinkInfo:
        entry = self._current()
        # What a stream can know: the names seen before, not the ones to come. Names of one file share their id.
        first_name = path_key(entry.link_target or entry.name)
        file_id = hashlib.sha256(encode_name(first_name)).digest()[:16]
        return LinkInfo(1 if entry.link_target is None else 2, file_id)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._release()

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _current(self) -> Entry:
        if self._entry is None:
            raise InvalidStateError(self.source, "no current entry: call next first")
        return self._entry


class WriterContext(ABC):
    """A writer as a context manager: leaving it closes it; by an exception, it discards what was written."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def abort(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


@boundary
class LayerWriterBase(WriterContext):
    """A `LayerWriter` on top of small steps, each called in a defined order.

    For every entry: `_begin`, then for each of its streams `_open_stream`, `_data`…, `_close_stream`, then `_end`.
    The writer's name checker has checked the entry before `_begin` gets it. Small plain files, which nearly all entries
    are, go to `_put_plain` first. At the end comes `_finish`, or `_discard` if anything went wrong.

    Args:
        target: the path of the layer, for messages.
        names: checks the entries; it may be one that the reader uses too, or one that trusts the reader.
    """

    operation = "write layer"

    def __init__(self, target: str, names: Names) -> None:
        self.target = target
        self._names = names
        self._check: Callable[[Entry], str] = names.add
        self._pending: _PendingEntry | None = None
        self._state = "open"
        self._discard_on_failure = _DiscardOnFailure(self)

    @property
    def limits(self) -> Limits:
        """The limits that hold for what comes through `write`."""
        return self._names.limits

    def _put_plain(self, entry: Entry, key: str, data: bytes) -> bool:
        """Adds a small plain file without alternate streams in one step.

        Args:
            entry: it satisfies `Entry.is_plain`, and was checked.
            key: its path key.
            data: all of its data, as many bytes as `entry.size` says.

        Returns:
            False if nothing was done: the entry then takes the steps that any other one takes.
        """
        return False

    @abstractmethod
    def _begin(self, entry: Entry, key: str) -> None:
        """An entry starts; its path key is `key`. Tombstones and links come here too."""

    @abstractmethod
    def _open_stream(self, stream: DataStream) -> None:
        """A data stream of the current entry starts; its `chunks` are not to be read here."""

    @abstractmethod
    def _data(self, chunk: bytes | memoryview) -> None:
        """Bytes of the current data stream."""

    def _close_stream(self) -> None:
        """The current data stream is whole."""

    def _end(self) -> None:
        """The current entry is whole."""

    @abstractmethod
    def _finish(self) -> None:
        """All entries were there: the layer becomes visible."""

    @abstractmethod
    def _discard(self) -> None:
        """Nothing of the layer stays behind. What went wrong has been told: this raises nothing (see `all_of`)."""

    def put(self, entry: Entry, streams: Iterable[DataStream] = ()) -> None:
        with self._discard_on_failure:
            self._settle()
            self._put(entry, streams)

    def add(self, name: str, info: FileBasicInfo) -> None:
        with self._discard_on_failure:
            self._settle()
            self._pending = _PendingEntry(self, Entry(clean_name(name), info))

    def add_link(self, name: str, target: str) -> None:
        target = clean_name(target)
        with self._discard_on_failure:
            # The target may be the entry that `add` started.
            self._settle()
            self._put(Entry(clean_name(name), self._link_info(target), link_target=target), ())

    def _link_info(self, target: str) -> FileBasicInfo:
        """The basic info that a link made by `add_link` gets: that of its target, a path in the form that entries have,
        where the writer knows it."""
        return FileBasicInfo()

    def remove(self, name: str) -> None:
        self.put(Entry(clean_name(name), None))

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        if self._pending is None:
            raise InvalidStateError(self.target, "no current entry: call add first")
        with self._discard_on_failure:
            self._pending.feed(data)
        return len(data)

    def close(self) -> None:
        if self._state == "closed":
            return
        if self._state != "open":
            raise InvalidStateError(self.target, "the layer failed before and was discarded")
        with self._discard_on_failure:
            self._settle()
            self._finish()
        self._state = "closed"

    def abort(self) -> None:
        if self._state == "open":
            self._state = "failed"
            pending, self._pending = self._pending, None
            all_of(*(() if pending is None else (pending.discard,)), self._discard)

    def _put(self, entry: Entry, streams: Iterable[DataStream]) -> None:
        if entry.size > SMALL_FILE or not entry.is_plain:
            self._put_in_steps(entry, streams)
            return
        remaining = iter(streams)
        main = next(remaining, None)
        if main is None or main.name or main.size != entry.size:
            self._put_in_steps(entry, () if main is None else chain((main,), remaining))
            return
        data = main.read_all()
        if len(data) != entry.size:
            raise self._bad(entry, f"{len(data)} bytes of data instead of {entry.size}")
        following = next(remaining, None)
        if following is not None:
            self._put_in_steps(entry, chain((DataStream("", len(data), (data,)), following), remaining))
        elif not self._put_plain(entry, self._check(entry), data):
            self._put_in_steps(entry, (DataStream("", len(data), (data,)),))

    def _put_in_steps(self, entry: Entry, streams: Iterable[DataStream]) -> None:
        # What no volume can hold is refused here, not when the layer is converted.
        try:
            if entry.eas:
                decode_eas(entry.eas)
            if entry.reparse is not None:
                decode_reparse(entry.reparse)
        except ValueError as error:
            raise self._bad(entry, str(error)) from None
        self._begin(entry, self._check(entry))
        needs_data = entry.has_data and entry.size > 0
        for index, stream in enumerate(streams):
            if not stream.name and entry.link_target is None:
                if index or stream.size != entry.size:
                    raise self._bad(
                        entry, f"a main stream of {stream.size} bytes, not first or not of size {entry.size}"
                    )
                needs_data = False
            self._put_stream(entry, stream)
        if needs_data:
            raise self._bad(entry, f"no data instead of {entry.size} bytes")
        self._end()

    def _put_stream(self, entry: Entry, stream: DataStream) -> None:
        self._open_stream(stream)
        size = 0
        for chunk in stream.chunks:
            size += len(chunk)
            if size > stream.size:
                break
            self._data(chunk)
        if size != stream.size:
            raise self._bad(entry, f"{size} bytes of data or more instead of {stream.size}")
        self._close_stream()

    def _bad(self, entry: Entry, problem: str) -> InvalidDataError:
        return InvalidDataError(self.target, f"entry {entry.name!r}: {problem}")

    def _settle(self) -> None:
        """Ends the entry that `add` started."""
        if self._state != "open":
            raise InvalidStateError(self.target, f"the writer is {self._state}")
        if self._pending is not None:
            pending, self._pending = self._pending, None
            try:
                pending.finish()
            finally:
                pending.discard()


class _DiscardOnFailure:
    """Discards the layer when its body fails, and makes a `LayerError` of a failure of the host or of the data."""

    __slots__ = ("_writer",)

    def __init__(self, writer: LayerWriterBase) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            return
        writer = self._writer
        writer.abort()
        told = translated(writer.target, error)
        if told is None and isinstance(error, (ValueError, OverflowError)):
            told = InvalidDataError(writer.target, str(error))
        if told is not None and told is not error:
            raise told from error


class _PendingEntry:
    """An entry whose backup stream arrives through `write`.

    Windows puts some metadata behind the data, and a sparse stream's size shows at its last block; writers want to know
    both first. So the data waits in a temporary file, whose holes take no space.
    """

    def __init__(self, writer: LayerWriterBase, entry: Entry) -> None:
        self._writer = writer
        self._entry = entry
        self._parser = BackupStreamParser()
        self._spool = cast(BinaryIO, tempfile.SpooledTemporaryFile(_SPOOL_IN_MEMORY))  # noqa: SIM115 (closed by `discard`)
        self._streams: list[_SpooledStream] = []
        self._names: set[str] = set()
        self._budget = Budget(writer.target, writer.limits)
        self._metadata_size = 0
        self._metadata: tuple[StreamHeader, bytearray] | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> None:
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

    def finish(self) -> None:
        try:
            self._parser.finish()
        except ValueError as error:
            raise self._error(str(error)) from None
        self._end_metadata()
        # A sparse stream shows its size at its end only.
        for stream in self._streams:
            self._budget.spend(stream.size, f"entry {self._entry.name!r}")
        # A main stream goes first, wherever it came.
        self._streams.sort(key=lambda stream: stream.name != "")
        if self._streams and not self._streams[0].name:
            self._entry.size = self._streams[0].size
        elif self._entry.has_data:
            self._streams.insert(0, _SpooledStream("", 0, 0))
        self._writer._put(
            self._entry,
            (
                DataStream(stream.name, stream.size, self._chunks(stream), stream.attributes & ~SPARSE_STREAM)
                for stream in self._streams
            ),
        )

    def discard(self) -> None:
        self._spool.close()

    def _start(self, header: StreamHeader) -> None:
        self._end_metadata()
        if header.id == StreamId.SPARSE_BLOCK:
            self._start_block(header)
        elif header.id in (StreamId.DATA, StreamId.ALTERNATE_DATA):
            try:
                name = plain_stream_name(header) if header.id == StreamId.ALTERNATE_DATA else ""
            except ValueError as error:
                raise self._error(str(error)) from None
            if (key := name_key(name)) in self._names:
                raise self._error(f"a second stream {name!r}" if name else "a second main data stream")
            limits = self._writer.limits
            if len(self._names) > limits.streams:
                raise self._exceeded(f"more than {limits.streams} streams", "streams")
            self._names.add(key)
            start = self._streams[-1].start + self._streams[-1].size if self._streams else 0
            self._seek(start)
            self._streams.append(_SpooledStream(name, header.attributes, start))
        else:
            self._metadata_size = check_metadata(header, self._metadata_size, self._writer.limits, self._exceeded)
            self._metadata = (header, bytearray())

    def _start_block(self, header: StreamHeader) -> None:
        if not self._streams or not self._streams[-1].attributes & SPARSE_STREAM:
            raise self._error("sparse block without a sparse data stream before it")
        stream = self._streams[-1]
        if header.offset < stream.size:
            raise self._error(f"sparse block at offset {header.offset} lies before the end of the last, {stream.size}")
        self._budget.check(header.offset + header.size, f"entry {self._entry.name!r}")
        self._seek(stream.start + header.offset)
        stream.size = header.offset

    def _end_metadata(self) -> None:
        if self._metadata is not None:
            header, data = self._metadata
            self._metadata = None
            keep_metadata(self._entry, header, bytes(data))

    def _seek(self, offset: int) -> None:
        if offset > _SPOOL_IN_MEMORY:
            self._spool.fileno()  # leaves memory for the disk
        self._spool.seek(offset)

    def _chunks(self, stream: _SpooledStream) -> Iterator[bytes]:
        self._spool.seek(stream.start)
        left = stream.size
        while left:
            # Past the last block written, the hole at the end of a sparse stream.
            chunk = self._spool.read(min(left, _PIECE)) or bytes(min(left, _PIECE))
            left -= len(chunk)
            yield chunk

    def _error(self, problem: str) -> InvalidDataError:
        return self._writer._bad(self._entry, problem)

    def _exceeded(self, problem: str, limit: str) -> LimitExceededError:
        problem = f"entry {self._entry.name!r}: {problem} {limit_hint(limit)}"
        return LimitExceededError(self._writer.target, problem)


@dataclass(slots=True)
class _SpooledStream:
    """Where a data stream waits in the temporary file."""

    name: str
    attributes: int
    start: int
    size: int = 0


def clean_name(name: str) -> str:
    r"""A caller's path from the layer's root, `\` or `/` separated, in the form entries have."""
    return name.replace("\\", "/").strip("/")
