"""The base classes of all readers and writers.

A reader implements `_advance` and `_open_streams`; a writer implements the steps from `_begin` to `_finish`, and
perhaps `_put_plain`.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from types import TracebackType
from typing import Protocol, Self

from wclayer.errors import (
    FOREIGN_ERRORS,
    InvalidDataError,
    InvalidStateError,
    LayerError,
    boundary,
    during,
    names_operation,
    translated,
)
from wclayer.layers.budget import Budget
from wclayer.layers.names import Names
from wclayer.model import DataStream, Entry, LayerItem, Limits, LinkInfo
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.ea import decode_eas
from wclayer.win32.reparse import decode_reparse


class StoredFile(Protocol):
    """The contents of an entry as a file of the host, for a writer that has them copied without reading them."""

    size: int
    sha256: bytes
    """What the contents have to be: whoever copies them compares them with it."""

    def open(self) -> int | None:
        """Opens the file and returns its descriptor, which the caller closes; None if it is better read."""

    def cannot_read(self, error: OSError) -> LayerError:
        """Returns the error for a file that the host does not read."""

    def wrong_size(self, size: int) -> LayerError:
        """Returns the error for a file that has `size` bytes instead."""

    def wrong_contents(self) -> LayerError:
        """Returns the error for a file with other contents."""


@dataclass(slots=True)
class StoredStream(DataStream):
    """A data stream that is a file of the host. A writer may have the file copied, and then does not read `chunks`."""

    file: StoredFile = field(kw_only=True)
    is_only: bool = field(kw_only=True)
    """True if the entry has no other stream."""


class _BoundedFile:
    """A file that a reader lends (`StoredFile`). Its errors are errors of the reader, whoever has the file copied."""

    __slots__ = ("_file", "_reader", "sha256", "size")

    def __init__(self, file: StoredFile, reader: LayerReaderBase) -> None:
        self._file = file
        self._reader = reader
        self.size = file.size
        self.sha256 = file.sha256

    def open(self) -> int | None:
        try:
            return self._file.open()
        except FOREIGN_ERRORS:
            with during(self._reader.operation, self._reader.source):
                raise

    def cannot_read(self, error: OSError) -> LayerError:
        return self._of_reader(self._file.cannot_read(error))

    def wrong_size(self, size: int) -> LayerError:
        return self._of_reader(self._file.wrong_size(size))

    def wrong_contents(self) -> LayerError:
        return self._of_reader(self._file.wrong_contents())

    def _of_reader(self, error: LayerError) -> LayerError:
        error.operation = error.operation or self._reader.operation
        return error


SMALL_FILE = 128 << 10
"""The largest size of a plain file that a writer may take in one step."""


def all_of(*steps: Callable[[], object]) -> None:
    """Calls all steps of a cleanup, even if some fail. Closing a file may write, and therefore fail."""
    for step in steps:
        with suppress(OSError, sqlite3.Error, MemoryError):
            step()


class FirstNames:
    """Turns further names of a file into hard links to the first name that a reader finds."""

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
        self._item: _Item | None = None
        self._closed = False
        self._budget: Budget | None = None

    @abstractmethod
    def _advance(self) -> Entry | None:
        """Moves to the next entry and returns it, or None at the end. Unread data of the current entry is skipped.

        The current item is still `_item`.
        """

    @abstractmethod
    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        """Returns the data streams of the current entry. It is called once per entry, and not for tombstones."""

    def _link_info(self) -> LinkInfo | None:
        """Returns what the reader knows of the current file's names; None if it knows no more than the entry does."""
        return None

    def _release(self) -> None:  # noqa: B027 (not every reader holds something)
        """Releases what the reader holds."""

    def __iter__(self) -> Self:
        return self

    @names_operation
    def __next__(self) -> LayerItem:
        try:
            if self._closed:
                raise InvalidStateError(self.source, "the reader is closed")
            entry = self._advance()
        except FOREIGN_ERRORS:
            with during(self.operation, self.source):
                raise
        if entry is None:
            self._item = None
            raise StopIteration
        self._item = item = _Item(entry, self)
        return item

    def _streams_of(self, item: _Item) -> Iterator[DataStream]:
        """Returns the data streams of an item. Their errors are errors of the reader, wherever they are read."""
        if item is not self._item:
            detail = f"entry {item.entry.name!r}: the reader has moved on"
            raise InvalidStateError(self.source, detail, operation=self.operation)
        return iter(()) if item.entry.info is None else self._bounded(item.entry)

    def _bounded(self, entry: Entry) -> Iterator[DataStream]:
        try:
            streams = self._open_streams(entry)
            if self._budget is not None:
                streams = self._budget.checked(entry, streams)
            for stream in streams:
                if not isinstance(stream.chunks, (tuple, list)):
                    stream.chunks = self._bounded_chunks(stream.chunks)
                if isinstance(stream, StoredStream):
                    stream.file = _BoundedFile(stream.file, self)
                yield stream
        except FOREIGN_ERRORS:
            with during(self.operation, self.source):
                raise

    def _bounded_chunks(self, chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        with during(self.operation, self.source):
            yield from chunks

    def _link_info_of(self, item: _Item) -> LinkInfo | None:
        with during(self.operation, self.source):
            if item is not self._item:
                raise InvalidStateError(self.source, f"entry {item.entry.name!r}: the reader has moved on")
            return self._link_info()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Item(LayerItem):
    """An item of a reader, which opens its data streams when they are first requested."""

    __slots__ = ("_reader",)

    def __init__(self, entry: Entry, reader: LayerReaderBase) -> None:
        self.entry = entry
        self._reader = reader
        self._streams = None

    def streams(self) -> Iterator[DataStream]:
        if self._streams is None:
            self._streams = self._reader._streams_of(self)
        return self._streams

    def link_info(self) -> LinkInfo:
        return self._reader._link_info_of(self) or super().link_info()


class WriterContext(ABC):
    """A writer as a context manager: leaving the context closes the writer; an exception discards the layer."""

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
        self._state = "open"
        self._discard_on_failure = DiscardOnFailure(self)

    @property
    def limits(self) -> Limits:
        """The limits that hold for what comes through `write`."""
        return self._names.limits

    def _put_plain(self, entry: Entry, key: str, data: bytes) -> bool:
        """Adds a small plain file without alternate streams in one step.

        Args:
            entry: the entry, which satisfies `Entry.is_plain` and was checked.
            key: its path key.
            data: all of its data, as many bytes as `entry.size` says.

        Returns:
            False if nothing was done: the entry then goes through the usual steps.
        """
        return False

    def _put_stored(self, entry: Entry, key: str, stream: StoredStream) -> bool:
        """Adds a plain file without alternate streams, and has its data copied; see `_put_plain`.

        Args:
            stream: all of its data.
        """
        return False

    @abstractmethod
    def _begin(self, entry: Entry, key: str) -> None:
        """Starts an entry with the path key `key`. Tombstones and links come here, too."""

    def _copy_stream(self, stream: StoredStream) -> bool:
        """Adds a data stream of the current entry, and has it copied.

        Returns:
            False if nothing was done: the stream then goes through the usual steps.
        """
        return False

    @abstractmethod
    def _open_stream(self, stream: DataStream) -> None:
        """Starts a data stream of the current entry. This method does not read its `chunks`."""

    @abstractmethod
    def _data(self, chunk: bytes | memoryview) -> None:
        """Takes bytes of the current data stream."""

    def _close_stream(self) -> None:
        """Ends the current data stream."""

    def _end(self) -> None:
        """Ends the current entry."""

    @abstractmethod
    def _finish(self) -> None:
        """Completes the layer after its last entry: from now on it is visible."""

    @abstractmethod
    def _discard(self) -> None:
        """Removes the whole layer. It raises nothing (see `all_of`), because the failure is already being reported."""

    @names_operation
    def put(self, entry: Entry, streams: Iterable[DataStream] = ()) -> None:
        with self._discard_on_failure:
            self.require_open()
            self._put(entry, streams)

    def require_open(self) -> None:
        """Checks that the writer accepts entries.

        Raises:
            InvalidStateError: the writer is closed, or has failed before.
        """
        if self._state != "open":
            raise InvalidStateError(self.target, f"the writer is {self._state}")

    def info_for_link(self, target: str) -> FileBasicInfo:
        """Returns the basic info of a link whose maker does not state it.

        Args:
            target: the path of the link's target, in the form that entries have.

        Returns:
            The basic info of the target if the writer knows it, otherwise an empty one.
        """
        return FileBasicInfo()

    def close(self) -> None:
        if self._state == "closed":
            return
        if self._state != "open":
            raise InvalidStateError(self.target, "the layer failed before and was discarded")
        with self._discard_on_failure:
            self._finish()
        self._state = "closed"

    def abort(self) -> None:
        if self._state == "open":
            self._state = "failed"
            all_of(self._discard)

    def _put(self, entry: Entry, streams: Iterable[DataStream]) -> None:
        if not entry.is_plain:
            self._put_in_steps(entry, streams)
            return
        remaining = iter(streams)
        main = next(remaining, None)
        if main is None or main.name or main.size != entry.size:
            self._put_in_steps(entry, () if main is None else chain((main,), remaining))
            return
        if isinstance(main, StoredStream) and main.is_only and self._put_stored(entry, self._check(entry), main):
            # Whoever counts what was copied sees the end of the streams.
            next(remaining, None)
            return
        if entry.size > SMALL_FILE:
            self._put_in_steps(entry, chain((main,), remaining))
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
        # An entry that no volume can hold is refused here, not later when the layer is converted.
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
        if isinstance(stream, StoredStream) and self._copy_stream(stream):
            return
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


class _Discarding(Protocol):
    """A writer, for `DiscardOnFailure`."""

    operation: str
    target: str

    def abort(self) -> None: ...


class DiscardOnFailure:
    """A context that discards a writer's layer when its body fails, and turns the failure into a `LayerError`."""

    __slots__ = ("_writer",)

    def __init__(self, writer: _Discarding) -> None:
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
        if told is not None:
            told.operation = told.operation or writer.operation
        if told is not None and told is not error:
            try:
                raise told from error
            finally:
                del told, error, tb
