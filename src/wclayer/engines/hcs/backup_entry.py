"""A file's backup stream, which Windows gives once, as an entry: first its metadata, then its data streams.

A sparse stream comes as its allocated ranges (Microsoft, WIN32_STREAM_ID); it is handed on with its holes as zeros.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol, cast

from wclayer.layers.base import keep_metadata, plain_stream_name
from wclayer.model import DataStream, Entry
from wclayer.win32.backup import SPARSE_STREAM, BackupStreamReader, StreamHeader, StreamId

_PIECE = 1 << 20
_MAX_METADATA = 16 << 20


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class BackupEntry:
    """The backup stream of the file whose `entry` this is; reading its metadata completes the entry.

    Args:
        size: of the file's main data, in bytes; of a sparse file its stream does not say it.
        reading: a context in which Windows is asked, and which makes errors of what is wrong.

    Raises:
        ValueError: the stream is not sound, or a metadata stream is larger than any real one.
    """

    def __init__(
        self, entry: Entry, source: _Source, size: int, reading: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._entry = entry
        self._source = _Recorded(source)
        self._reading = reading
        self._stream = BackupStreamReader(self._source)
        self._header = self._data_header(self._stream.next())
        if self._header is not None and self._header.id == StreamId.DATA:
            entry.size = self._header.size or size

    def backup_stream(self) -> Iterator[bytes]:
        """The stream's bytes, from its very start, as Windows gives them."""
        while True:
            with self._reading():
                piece = self._source.again(_PIECE)
            if not piece:
                return
            yield piece

    def streams(self) -> Iterator[DataStream]:
        """The data streams. Metadata behind them is put into the entry when it is reached."""
        entry = self._entry
        if entry.has_data and (self._header is None or self._header.id != StreamId.DATA):
            yield DataStream("", 0, ())
        while (header := self._header) is not None:
            with self._reading():
                name = plain_stream_name(header) if header.id == StreamId.ALTERNATE_DATA else ""
                if header.id == StreamId.SPARSE_BLOCK:
                    raise ValueError("a sparse block without a sparse data stream before it")
            if not header.attributes & SPARSE_STREAM or header.size:
                yield DataStream(name, header.size, self._rest(), header.attributes)
                self._header = self._next()
                continue
            blocks = self._blocks(None if name else entry.size)
            if name:
                yield from self._spooled(name, blocks, header.attributes)
            else:
                yield DataStream(name, entry.size, blocks, header.attributes)
            # What was not read of it is passed over; the header behind it is then known.
            for _ in blocks:
                pass

    def _spooled(self, name: str, blocks: Iterator[bytes], attributes: int) -> Iterator[DataStream]:
        """A sparse stream whose size only its last block tells."""
        with cast(BinaryIO, tempfile.TemporaryFile()) as spool:
            for chunk in blocks:
                spool.write(chunk)
            size = spool.tell()
            spool.seek(0)
            yield DataStream(name, size, iter(lambda: spool.read(_PIECE), b""), attributes)

    def _blocks(self, size: int | None) -> Iterator[bytes]:
        """The data of a sparse stream; `size` is its whole length if that is known."""
        at = 0
        while True:
            with self._reading():
                header = self._stream.next()
                if header is None or header.id != StreamId.SPARSE_BLOCK:
                    self._header = self._data_header(header)
                    break
                if header.offset < at:
                    raise ValueError(f"sparse block at offset {header.offset} lies before the end of the last one")
            yield from _zeros(header.offset - at)
            yield from self._rest()
            at = header.offset + header.size
        if size is not None and at < size:
            yield from _zeros(size - at)

    def _rest(self) -> Iterator[bytes]:
        """The data of the stream whose header was last read, as far as nobody has read it."""
        while data := self._piece():
            yield data

    def _piece(self) -> bytes:
        with self._reading():
            return self._stream.read(_PIECE)

    def _next(self) -> StreamHeader | None:
        with self._reading():
            return self._data_header(self._stream.next())

    def _data_header(self, header: StreamHeader | None) -> StreamHeader | None:
        """Reads metadata from `header` on into the entry; gives the header of the data that it came to, or None."""
        while header is not None and header.id not in (
            StreamId.DATA, StreamId.ALTERNATE_DATA, StreamId.SPARSE_BLOCK,
        ):  # fmt: skip
            if header.size > _MAX_METADATA:
                raise ValueError(f"metadata stream {header.id} of {header.size} bytes")
            keep_metadata(self._entry, header, self._stream.read())
            header = self._stream.next()
        return header


class _Recorded:
    """A backup stream that remembers what was read of its metadata, for whoever wants its bytes from the start."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._seen: bytearray | None = bytearray()

    def read(self, size: int, /) -> bytes:
        """More of the stream, in its parsed reading."""
        data = self._source.read(size)
        if self._seen is not None:
            self._seen += data
            if len(self._seen) > 2 * _MAX_METADATA:
                # Nobody asks for the bytes who has asked for that much in the other way.
                self._seen = None
        return data

    def again(self, size: int) -> bytes:
        """More of the stream's bytes, from its start."""
        if self._seen:
            piece = bytes(self._seen[:size])
            del self._seen[:size]
            return piece
        self._seen = None
        return self._source.read(size)


def _zeros(count: int) -> Iterator[bytes]:
    while count:
        piece = min(count, _PIECE)
        yield bytes(piece)
        count -= piece
