"""Reads a plain, gzip or zstd file at any offset of what comes out of it.

Decompression goes on from the nearest waypoint before an offset: a state of the gzip decompressor, or the beginning of
a gzip member or of a zstd frame. The state of a zstd decompressor cannot be copied: a file of one frame is decompressed
from its beginning.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from zlib_ng import zlib_ng

from wclayer.formats.compression import (
    ZLIB_ERROR,
    ZSTD_ERROR,
    CompressedDataError,
    Compression,
    ZstdFrame,
    detect,
    new_zstd_frame,
)

_INPUT = 8 << 10
"""Stored bytes that are given to a decompressor at once. What follows a member or a frame in them is copied at its
end: small inputs keep this cheap if members are tiny."""
_PIECE = 1 << 20
_GZIP_MEMBER = 31
"""The `wbits` of zlib for a gzip header and a window of 32 KiB."""
_STEP = 1 << 20
"""Decompressed bytes between two waypoints, until there are too many."""
_MOST = 256
"""Waypoints that are kept. The state of a gzip decompressor takes some 50 KiB."""


class _Waypoint(NamedTuple):
    """A place at which decompression can go on.

    Attributes:
        offset: the decompressed bytes before it.
        stored: the stored bytes before it.
        state: the decompressor, which is copied before it is used; None for a new one.
    """

    offset: int
    stored: int
    state: Any


class Waypoints:
    """The waypoints of a file, which all that read it share, in any thread. The memory that they take is bounded."""

    def __init__(self) -> None:
        self._points = [_Waypoint(0, 0, None)]
        self._step = _STEP
        self._lock = threading.Lock()

    def wants(self, offset: int) -> bool:
        """Returns whether a waypoint at an offset would be kept."""
        return offset >= self._points[-1].offset + self._step

    def note(self, offset: int, stored: int, state: Any) -> None:
        """Keeps a waypoint, if it is wanted.

        Args:
            offset: the decompressed bytes before it.
            stored: the stored bytes before it.
            state: the decompressor there, which is copied; None for the beginning of a member or a frame.
        """
        with self._lock:
            if not self.wants(offset):
                return
            self._points.append(_Waypoint(offset, stored, None if state is None else state.copy()))
            if len(self._points) > _MOST:
                del self._points[1::2]
                self._step *= 2

    def nearest(self, offset: int) -> int:
        """Returns the offset of the last waypoint at or before an offset."""
        with self._lock:
            return self._points[self._index(offset)].offset

    def before(self, offset: int) -> _Waypoint:
        """Returns the last waypoint at or before an offset, with a state of its own."""
        with self._lock:
            found = self._points[self._index(offset)]
            return found if found.state is None else found._replace(state=found.state.copy())

    def _index(self, offset: int) -> int:
        return bisect_right(self._points, offset, key=attrgetter("offset")) - 1


class _Cursor(Protocol):
    """Decompresses from one place on."""

    @property
    def offset(self) -> int:
        """The decompressed bytes before the next piece."""

    @property
    def stored(self) -> int:
        """The stored bytes that were read."""

    def piece(self, limit: int) -> bytes:
        """Returns the next bytes, at least one and at most `limit`; nothing at the end of the file."""


class _Stored:
    """The stored bytes of a file from one place on."""

    def __init__(self, file: BinaryIO, place: int) -> None:
        self._file = file
        self._file.seek(place)
        self.place = place
        """The place up to which the bytes were taken."""
        self.ahead = b""
        """The bytes that were read and not taken."""

    def take(self) -> bytes:
        """Returns the next bytes; nothing at the end of the file."""
        data = self.ahead or self._file.read(_INPUT)
        self.ahead = b""
        self.place += len(data)
        return data

    def give_back(self, data: bytes) -> None:
        """Takes bytes back that were taken last, and are taken again next."""
        self.ahead = data
        self.place -= len(data)


class _GzipCursor:
    """Decompresses consecutive gzip members (RFC 1952). Zero padding after the last one is allowed."""

    def __init__(self, file: BinaryIO, points: Waypoints, start: _Waypoint) -> None:
        self._stored = _Stored(file, start.stored)
        self._points = points
        self._member = start.state
        self.offset = start.offset

    @property
    def stored(self) -> int:
        return self._stored.place

    def piece(self, limit: int) -> bytes:
        while True:
            if self._member is None and not self._begin_member():
                return b""
            data = self._stored.take()
            try:
                piece = self._member.decompress(data, limit)
            except ZLIB_ERROR as error:
                raise CompressedDataError(f"gzip: {error}") from None
            if self._member.eof:
                self._stored.give_back(self._member.unused_data)
                self._member = None
            else:
                self._stored.give_back(self._member.unconsumed_tail)
                if not data and not piece:
                    raise CompressedDataError("gzip: the stream is cut off")
            if piece:
                self.offset += len(piece)
                if self._member is not None and self._points.wants(self.offset):
                    self._points.note(self.offset, self._stored.place, self._member)
                return cast(bytes, piece)

    def _begin_member(self) -> bool:
        """Goes to the next member; returns False if there is none."""
        while data := self._stored.take():
            rest = data.lstrip(b"\0") if self._stored.place > len(data) else data
            if rest:
                self._stored.give_back(rest)
                self._points.note(self.offset, self._stored.place, None)
                self._member = zlib_ng.decompressobj(_GZIP_MEMBER)
                return True
        return False


class _ZstdCursor:
    """Decompresses consecutive zstd frames (RFC 8878). Skippable frames are skipped."""

    def __init__(self, file: BinaryIO, points: Waypoints, start: _Waypoint) -> None:
        self._stored = _Stored(file, start.stored)
        self._points = points
        self._frame: ZstdFrame | None = None
        self.offset = start.offset

    @property
    def stored(self) -> int:
        return self._stored.place

    def piece(self, limit: int) -> bytes:
        while True:
            frame = self._frame
            is_new = frame is None
            data = self._stored.take() if frame is None or frame.needs_input else b""
            if frame is None:
                if not data:
                    return b""
                frame = self._frame = new_zstd_frame()
            elif frame.needs_input and not data:
                raise CompressedDataError("zstd: the stream is cut off")
            if is_new:
                self._points.note(self.offset, self._stored.place - len(data), None)
            try:
                piece = frame.decompress(data, limit)
            except ZSTD_ERROR as error:
                raise CompressedDataError(f"zstd: {error}") from None
            if frame.eof:
                self._stored.give_back(frame.unused_data)
                self._frame = None
            if piece:
                self.offset += len(piece)
                return piece


class CompressedFile:
    """What comes out of a file, at any offset. One thread at a time uses it.

    Args:
        file: the file, at whose place this object alone is interested. It is not closed.
        points: the waypoints of the file, which are found while it is read.
    """

    def __init__(self, file: BinaryIO, points: Waypoints) -> None:
        self._file = file
        self._points = points
        file.seek(0)
        self.compression = detect(file.read(4))
        """How the file is compressed."""
        self._cursor: _Cursor | None = None
        self._plain_place = 0

    @property
    def stored(self) -> int:
        """The stored bytes up to the place that was read last."""
        return self._plain_place if self._cursor is None else self._cursor.stored

    def read_at(self, offset: int, size: int) -> bytes:
        """Returns the bytes from an offset, `size` of them unless the file ends before.

        Raises:
            CompressedDataError: the file is damaged or cut off.
        """
        return b"".join(self.pieces(offset, size))

    def pieces(self, offset: int, size: int) -> Iterator[bytes]:
        """Yields the bytes from an offset in pieces, `size` of them unless the file ends before.

        Raises:
            CompressedDataError: the file is damaged or cut off.
        """
        while size > 0 and (piece := self._piece(offset, min(size, _PIECE))):
            yield piece
            offset += len(piece)
            size -= len(piece)

    def _piece(self, offset: int, limit: int) -> bytes:
        """Returns at least one and at most `limit` bytes from an offset; nothing at the end of the file."""
        if self.compression is Compression.NONE:
            self._file.seek(offset)
            data = self._file.read(limit)
            self._plain_place = offset + len(data)
            return data
        cursor = self._cursor
        if cursor is None or offset < cursor.offset or self._points.nearest(offset) > cursor.offset:
            kind = _GzipCursor if self.compression is Compression.GZIP else _ZstdCursor
            cursor = self._cursor = kind(self._file, self._points, self._points.before(offset))
        while cursor.offset < offset:
            if not cursor.piece(min(offset - cursor.offset, _PIECE)):
                return b""
        return cursor.piece(limit)
