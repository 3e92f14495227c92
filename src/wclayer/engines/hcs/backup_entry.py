"""Reads a file's backup stream as an entry: first its metadata, then its data streams. Windows returns it only once.

Windows returns a sparse stream as its allocated ranges (Microsoft, WIN32_STREAM_ID). It is passed on with zeros for its
holes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol, cast

from wclayer.errors import LimitExceededError, limit_hint
from wclayer.layers.backup_stream import check_metadata, keep_metadata, plain_stream_name
from wclayer.model import DataStream, Entry, limits_in_use
from wclayer.win32.backup import BackupStreamReader, SparseBlocks, StreamHeader, StreamId

_PIECE = 1 << 20
_MAX_REPLAY = 32 << 20
"""The backup stream can be read from its start until this many bytes of its metadata are parsed."""


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class BackupEntry:
    """The backup stream of a file. Reading its metadata completes the file's entry.

    Args:
        entry: the file's entry.
        source: the source of the backup stream.
        size: the size of the file's main data in bytes, which the stream of a sparse file does not contain.
        reading: a context for calls of Windows. It translates their errors, and `ValueError`.
        layer: the path of the layer, for messages.

    Raises:
        ValueError: the stream is damaged.
        LimitExceededError: a metadata stream is larger than the limits allow.
    """

    def __init__(
        self,
        entry: Entry,
        source: _Source,
        size: int,
        reading: Callable[[], AbstractContextManager[None]],
        layer: str,
    ) -> None:
        self._entry = entry
        self._source = _Recorded(source)
        self._reading = reading
        self._layer = layer
        self._blocks = SparseBlocks()
        self._metadata_size = 0
        self._stream = BackupStreamReader(self._source)
        self._header = self._data_header(self._stream.next())
        if self._header is not None and self._header.id == StreamId.DATA:
            entry.size = self._header.size or size

    def backup_stream(self) -> Iterator[bytes]:
        """Yields the bytes of the backup stream from its start, as Windows returns them."""
        while True:
            with self._reading():
                piece = self._source.again(_PIECE)
            if not piece:
                return
            yield piece

    def streams(self) -> Iterator[DataStream]:
        """Yields the data streams. Metadata after them is stored in the entry when it is reached."""
        entry = self._entry
        if entry.has_data and (self._header is None or self._header.id != StreamId.DATA):
            yield DataStream("", 0, ())
        while (header := self._header) is not None:
            with self._reading():
                if header.id == StreamId.SPARSE_BLOCK:
                    self._blocks.hole(header)
                name = plain_stream_name(header) if header.id == StreamId.ALTERNATE_DATA else ""
                is_sparse = self._blocks.start(header)
            if not is_sparse:
                yield DataStream(name, header.size, self._rest(), header.attributes)
                self._header = self._next()
                continue
            blocks = self._sparse_data(None if name else entry.size)
            if name:
                yield from self._spooled(name, blocks, header.attributes)
            else:
                yield DataStream(name, entry.size, blocks, header.attributes)
            # Unread data is skipped, to reach the next header.
            for _ in blocks:
                pass

    def _spooled(self, name: str, blocks: Iterator[bytes], attributes: int) -> Iterator[DataStream]:
        """Yields a sparse stream whose size is known only from its last block."""
        with cast(BinaryIO, tempfile.TemporaryFile()) as spool:
            for chunk in blocks:
                spool.write(chunk)
            size = spool.tell()
            spool.seek(0)
            yield DataStream(name, size, iter(lambda: spool.read(_PIECE), b""), attributes)

    def _sparse_data(self, size: int | None) -> Iterator[bytes]:
        """Yields the data of a sparse stream. `size` is its whole length, or None if that is unknown."""
        at = 0
        while True:
            with self._reading():
                header = self._stream.next()
                if header is None or header.id != StreamId.SPARSE_BLOCK:
                    self._header = self._data_header(header)
                    break
                hole = self._blocks.hole(header)
            yield from _zeros(hole)
            yield from self._rest()
            at = header.offset + header.size
        if size is not None and at < size:
            yield from _zeros(size - at)

    def _rest(self) -> Iterator[bytes]:
        """Yields the remaining data of the stream whose header was read last."""
        while data := self._piece():
            yield data

    def _piece(self) -> bytes:
        with self._reading():
            return self._stream.read(_PIECE)

    def _next(self) -> StreamHeader | None:
        with self._reading():
            return self._data_header(self._stream.next())

    def _data_header(self, header: StreamHeader | None) -> StreamHeader | None:
        """Reads metadata into the entry.

        Args:
            header: the header of the stream to start with.

        Returns:
            The header of the data stream or sparse block that follows, or None at the end.
        """
        while header is not None and header.id not in (
            StreamId.DATA, StreamId.ALTERNATE_DATA, StreamId.SPARSE_BLOCK,
        ):  # fmt: skip
            self._metadata_size = check_metadata(header, self._metadata_size, limits_in_use(), self._exceeded)
            keep_metadata(self._entry, header, self._stream.read())
            self._blocks.start(header)
            header = self._stream.next()
        return header

    def _exceeded(self, problem: str, limit: str) -> LimitExceededError:
        return LimitExceededError(self._layer, f"entry {self._entry.name!r}: {problem} {limit_hint(limit)}")


class _Recorded:
    """A backup stream that remembers the metadata that was read, so that it can still be read from its start."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._seen: bytearray | None = bytearray()

    def read(self, size: int, /) -> bytes:
        """Reads and remembers the next bytes."""
        data = self._source.read(size)
        if self._seen is not None:
            self._seen += data
            if len(self._seen) > _MAX_REPLAY:
                # The caller reads parsed data, so it will not need the stream from its start.
                self._seen = None
        return data

    def again(self, size: int) -> bytes:
        """Reads the stream from its start: first what is remembered, then the rest."""
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
