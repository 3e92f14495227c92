"""Win32 backup streams: the format that BackupRead produces and BackupWrite accepts.

A backup stream is a sequence of WIN32_STREAM_ID headers, each followed by its bytes. Source: Microsoft's documentation
of WIN32_STREAM_ID and of BackupRead.

A sparse file has one of four forms. An empty file has a data stream of size zero, or no data stream. A file without
allocated ranges has a data stream of size zero and one sparse block of size zero whose offset is the file's size. A
file that is one allocated range has an ordinary data stream. A file with several ranges has a data stream of size zero,
one sparse block for each range, and a last sparse block of size zero whose offset is the file's size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

_STREAM_ID = struct.Struct(
    "<IIQI"
)  # WIN32_STREAM_ID without its name: dwStreamId, dwStreamAttributes, Size, dwStreamNameSize
_OFFSET = struct.Struct("<Q")  # first in a sparse block's data

MAX_STREAM_NAME_BYTES = 65_536
_SKIP_PIECE = 1 << 20
SPARSE_STREAM = 0x8
"""STREAM_SPARSE_ATTRIBUTE: the data follows in sparse blocks."""


class StreamId(IntEnum):
    """The ten stream ids (dwStreamId)."""

    DATA = 1
    EA_DATA = 2
    SECURITY_DATA = 3
    ALTERNATE_DATA = 4
    LINK = 5
    PROPERTY_DATA = 6
    OBJECT_ID = 7
    REPARSE_DATA = 8
    SPARSE_BLOCK = 9
    TXFS_DATA = 10


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """The header of a stream.

    `size` counts the bytes that follow, without a sparse block's offset field. `name` is the name of an alternate
    stream, in the form `:name:$DATA`. `offset` is the offset of a sparse block in the file, in bytes.
    """

    id: int
    size: int
    attributes: int = 0
    name: str = ""
    offset: int = 0

    def encode(self) -> bytes:
        """Returns the encoded header, which precedes the stream's data."""
        name = self.name.encode("utf-16-le", "surrogatepass")
        if self.id == StreamId.SPARSE_BLOCK:
            return (
                _STREAM_ID.pack(self.id, self.attributes, self.size + 8, len(name)) + name + _OFFSET.pack(self.offset)
            )
        return _STREAM_ID.pack(self.id, self.attributes, self.size, len(name)) + name


def _header_size(prefix: bytes | bytearray, at: int) -> int:
    """Returns the whole size of the header whose fixed part is `prefix`, checked before any allocation."""
    stream_id, _attributes, size, name_size = _STREAM_ID.unpack_from(prefix)
    if not StreamId.DATA <= stream_id <= StreamId.TXFS_DATA:
        raise ValueError(f"backup stream: unknown stream id {stream_id} at offset {at}")
    if name_size > MAX_STREAM_NAME_BYTES or name_size % 2:
        raise ValueError(f"backup stream: name of {name_size} bytes at offset {at}")
    if size > 0x7FFF_FFFF_FFFF_FFFF:
        raise ValueError(f"backup stream: negative size at offset {at}")
    if stream_id != StreamId.SPARSE_BLOCK:
        return _STREAM_ID.size + int(name_size)
    if size < _OFFSET.size:
        raise ValueError(f"backup stream: sparse block of {size} bytes at offset {at} has no room for its offset")
    return _STREAM_ID.size + int(name_size) + _OFFSET.size


def _decode_header(data: bytes | bytearray) -> StreamHeader:
    """Returns the header in `data`, which has the size from `_header_size`."""
    stream_id, attributes, size, name_size = _STREAM_ID.unpack_from(data)
    name = bytes(data[_STREAM_ID.size : _STREAM_ID.size + name_size]).decode("utf-16-le", "surrogatepass")
    if stream_id != StreamId.SPARSE_BLOCK:
        return StreamHeader(stream_id, size, attributes, name)
    (offset,) = _OFFSET.unpack_from(data, _STREAM_ID.size + name_size)
    return StreamHeader(stream_id, size - _OFFSET.size, attributes, name, offset)


class SparseBlocks:
    """The rules for the sparse blocks of a backup stream: the streams that they may follow, and their order."""

    def __init__(self) -> None:
        self._end: int | None = None

    def start(self, header: StreamHeader) -> bool:
        """Records a stream that is not a sparse block.

        Returns:
            True if it is a data stream whose data follows in sparse blocks.
        """
        is_data = header.id in (StreamId.DATA, StreamId.ALTERNATE_DATA)
        is_sparse = is_data and bool(header.attributes & SPARSE_STREAM) and not header.size
        self._end = 0 if is_sparse else None
        return is_sparse

    def hole(self, header: StreamHeader) -> int:
        """Records a sparse block.

        Returns:
            The number of bytes between the end of the last block and this one. They are zeros.

        Raises:
            ValueError: the block does not follow a sparse data stream, or lies before the end of the last block.
        """
        if self._end is None:
            raise ValueError("a sparse block without a sparse data stream before it")
        if header.offset < self._end:
            raise ValueError(f"sparse block at offset {header.offset} lies before the end of the last one, {self._end}")
        hole = header.offset - self._end
        self._end = header.offset + header.size
        return hole


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class BackupStreamReader:
    """Reads the streams of a backup stream, with no more than one header in memory.

    `source` is any object with `read(n)`. A short read is repeated; only an empty one ends the stream. After `next`,
    `read` returns the current stream's bytes. The following `next` skips the unread ones.
    """

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._left = 0
        self.position = 0
        """The number of bytes consumed so far; after `next`, the offset of the stream's data."""

    def next(self) -> StreamHeader | None:
        """Returns the next stream's header, or None at the end.

        Raises:
            ValueError: the header has an unknown id or an impossible size, or is cut off. The message names its offset.
        """
        while self._left:
            self.read(_SKIP_PIECE)
        at = self.position
        head = self._take(_STREAM_ID.size, may_end=True)
        if not head:
            return None
        header = _decode_header(head + self._take(_header_size(head, at) - len(head)))
        self._left = header.size
        return header

    def read(self, size: int = -1) -> bytes:
        """Returns up to `size` bytes of the current stream (-1: the rest of it); empty at its end.

        Raises:
            ValueError: the backup stream ends inside this stream.
        """
        want = self._left if size < 0 else min(size, self._left)
        data = self._take(want)
        self._left -= want
        return data

    def skipped(self) -> None:
        """Records that the caller has moved the source past the current stream's data."""
        self.position += self._left
        self._left = 0

    def __iter__(self) -> Iterator[StreamHeader]:
        while (header := self.next()) is not None:
            yield header

    def _take(self, size: int, *, may_end: bool = False) -> bytes:
        pieces = []
        missing = size
        # A size from the header never causes an allocation: pieces are read one by one and joined at the end.
        while missing and (piece := self._source.read(min(missing, _SKIP_PIECE))):
            pieces.append(piece)
            missing -= len(piece)
        self.position += size - missing
        if missing and not (may_end and missing == size):
            raise ValueError(f"backup stream: ends at offset {self.position}, {missing} bytes short")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class BackupStreamParser:
    """Parses a backup stream that arrives in portions of any size.

    `feed` yields a `StreamHeader` when it is complete, and then its data as pieces of `bytes`. The parser is used where
    a caller writes a backup stream in portions (`BackupWriter.write`).
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._need = _STREAM_ID.size
        self._left = 0
        self._position = 0

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[StreamHeader | bytes]:
        """Yields the headers that `data` completes, and the pieces of the current stream's data.

        Raises:
            ValueError: as in `BackupStreamReader.next`.
        """
        view = memoryview(data).cast("B")
        while len(view):
            if self._left:
                piece = bytes(view[: self._left])
                self._left -= len(piece)
                self._position += len(piece)
                view = view[len(piece) :]
                yield piece
                continue
            part = view[: self._need - len(self._header)]
            self._header += part
            self._position += len(part)
            view = view[len(part) :]
            if len(self._header) == _STREAM_ID.size:
                self._need = _header_size(self._header, self._position - _STREAM_ID.size)
            if len(self._header) == self._need >= _STREAM_ID.size:
                header = _decode_header(self._header)
                self._header.clear()
                self._need = _STREAM_ID.size
                self._left = header.size
                yield header

    def finish(self) -> None:
        """Ends the input.

        Raises:
            ValueError: the stream ends inside a header or inside a stream's data.
        """
        missing = self._left or (self._need - len(self._header) if self._header else 0)
        if missing:
            raise ValueError(f"backup stream: ends at offset {self._position}, {missing} bytes short")
