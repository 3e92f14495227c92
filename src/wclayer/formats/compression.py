"""Reads gzip, zstd and plain streams, and hashes them. A magic number identifies the format.

Decompression and hashing run in threads of their own. zlib-ng, zstd and hashlib release the interpreter's lock, so they
run on other cores while the caller parses. `hashed_output` writes such streams.
"""

from __future__ import annotations

import gzip
import hashlib
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from typing import BinaryIO, Self, cast

from zlib_ng import zlib_ng

from wclayer.errors import FormatError, FormatLimitError, limit_hint
from wclayer.formats.hashing import BackgroundHash
from wclayer.formats.threads import Workers, starting_threads

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PIECE = 1 << 20
_FIRST_PIECE = 512
"""The length of the first piece: who reads it sees what the data begins with, also where the next bytes are damaged."""
_QUEUE_PIECES = 4
ZLIB_ERROR = cast("type[Exception]", zlib_ng.error)  # its stubs declare an instance
"""What a decompressor of zlib_ng raises."""
ZSTD_ERROR = zstd.ZstdError
"""What a decompressor of zstd raises."""
ZstdFrame = zstd.ZstdDecompressor
"""The decompressor of one zstd frame."""


class Compression(Enum):
    """How a stream is compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


def detect(prefix: bytes) -> Compression:
    """Returns the compression that the first four bytes of a stream indicate."""
    if prefix[:3] == b"\x1f\x8b\x08":
        return Compression.GZIP
    if prefix[:4] == b"\x28\xb5\x2f\xfd" or (prefix[1:4] == b"\x2a\x4d\x18" and 0x50 <= prefix[0] <= 0x5F):
        return Compression.ZSTD
    return Compression.NONE


class CompressedDataError(FormatError):
    """The compressed data is damaged or cut off."""


class ExpansionLimitError(CompressedDataError, FormatLimitError):
    """The data expands beyond the limit on its size or its ratio."""


def check_ratio(size: int, stored_size: int, unrated_size: int, max_ratio: int) -> None:
    """Refuses data that expands too much.

    Args:
        size: the bytes that have come out so far.
        stored_size: the stored bytes that were read so far.
        unrated_size: how many bytes may come out before the ratio counts.
        max_ratio: the most bytes that may come out for each stored byte.

    Raises:
        ExpansionLimitError: more have come out.
    """
    if size > unrated_size + stored_size * max_ratio:
        raise ExpansionLimitError(
            f"{size} bytes come out of {stored_size}: more than {max_ratio} for one {limit_hint('ratio')}"
        )


class _Stored:
    """The stored bytes of a stream, counted and perhaps hashed while they are read.

    Args:
        raw: the stream.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._ahead = b""
        self.hash: hashlib._Hash | None = None
        self.size = 0

    def peek(self) -> bytes:
        """Returns the first bytes of the stream, at least four if it has so many, which `read` returns again."""
        while len(self._ahead) < 4 and (more := self._raw.read(_PIECE if not self._ahead else 4 - len(self._ahead))):
            self._ahead += more
        return self._ahead

    def read(self, size: int) -> bytes:
        """Returns the next bytes, at most `size`; nothing at the end of the stream."""
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
        else:
            data = self._raw.read(size)
        if self.hash is not None:
            self.hash.update(data)
        self.size += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Reads the next bytes into a buffer; returns their number."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _plain(stored: _Stored) -> Iterator[bytes]:
    while data := stored.read(_PIECE):
        yield data


def _gunzip(stored: _Stored) -> Iterator[bytes]:
    """Decompresses consecutive gzip members (RFC 1952). Zero padding after the last one is allowed."""
    # It loads an argument parser, which the start of the command must not wait for.
    from zlib_ng.gzip_ng import GzipNGFile

    # Its reader writes into the piece that it returns. The object of zlib_ng for single calls takes a fifth longer: it
    # enlarges its output several times for each piece, and copies the input that is left over.
    file: gzip.GzipFile = GzipNGFile(fileobj=stored, mode="rb")  # type: ignore[no-untyped-call]
    size = _FIRST_PIECE
    while True:
        try:
            piece = file.read1(size)
        except (gzip.BadGzipFile, ZLIB_ERROR) as error:
            raise CompressedDataError(f"gzip: {error}") from None
        except EOFError:
            raise CompressedDataError("gzip: the stream is cut off") from None
        if not piece:
            return
        size = _PIECE
        yield piece


_MAX_WINDOW_LOG = 27  # 128 MiB
_ZSTD_SLICE = 4 << 10


def new_zstd_frame() -> ZstdFrame:
    """Returns the decompressor of one zstd frame, which needs a bounded amount of memory."""
    return ZstdFrame(options={zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG})


def _unzstd(stored: _Stored) -> Iterator[bytes]:
    """Decompresses consecutive zstd frames (RFC 8878). Skippable frames are skipped."""
    frame = new_zstd_frame()
    is_between = True
    size = _FIRST_PIECE
    while data := stored.read(_PIECE):
        # The input after a frame is copied at the frame's end. Small inputs keep this cheap if frames are tiny.
        for start in range(0, len(data), _ZSTD_SLICE):
            rest = data[start : start + _ZSTD_SLICE]
            while rest or not (is_between or frame.needs_input):
                if is_between:
                    frame = new_zstd_frame()
                try:
                    piece = frame.decompress(rest, size)
                except ZSTD_ERROR as error:
                    raise CompressedDataError(f"zstd: {error}") from None
                is_between = frame.eof
                rest = frame.unused_data if is_between else b""
                if piece:
                    size = _PIECE
                    yield piece
    if not is_between:
        raise CompressedDataError("zstd: the stream is cut off")


_DECOMPRESSORS = {Compression.NONE: _plain, Compression.GZIP: _gunzip, Compression.ZSTD: _unzstd}


class HashedInput:
    """An iterator over the decompressed bytes of `raw` in pieces of about 1 MiB, which a thread reads ahead.

    After the last piece, `digest` is the SHA-256 of the stored bytes and `diff_id` that of the decompressed bytes (both
    "sha256:…"). `stored_size` and `size` are their lengths.

    Args:
        raw: the stream, which is read to its end and not closed.
        max_size: the most decompressed bytes (None: no limit).
        max_ratio: the most decompressed bytes for each stored byte (None: no limit).
        unrated_size: how many bytes are decompressed before the ratio is checked.
        known_digest: the digest of the stored bytes, which is not computed then. `raw` verifies it itself: it raises an
            error in the place of its end if the bytes have another one.
    """

    def __init__(
        self,
        raw: BinaryIO,
        *,
        max_size: int | None = None,
        max_ratio: int | None = None,
        unrated_size: int = 0,
        known_digest: str | None = None,
    ) -> None:
        self._stored = _Stored(raw)
        self._known_digest = known_digest
        self._max_size = max_size
        self._max_ratio = max_ratio
        self._unrated_size = unrated_size
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_QUEUE_PIECES)
        self._stop = threading.Event()
        self._done = False
        self._thread: threading.Thread | None = None
        self._hasher = Workers(1, "wclayer-hash")
        self._hexdigest = ""
        self.compression = Compression.NONE
        self.size = 0

    @property
    def stored_size(self) -> int:
        return self._stored.size

    @property
    def digest(self) -> str:
        # The bytes of a stream that is not compressed are hashed once.
        stored = self._hexdigest if self._stored.hash is None else self._stored.hash.hexdigest()
        return self._known_digest or f"sha256:{stored}"

    @property
    def diff_id(self) -> str:
        if self.compression is Compression.NONE:
            return self.digest
        return f"sha256:{self._hexdigest}"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if self._done:
            raise StopIteration
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wclayer-input", daemon=True)
            with starting_threads():
                self._thread.start()
        item = self._next_item()
        if isinstance(item, bytes):
            return item
        self._done = True
        if item is not None:
            raise item
        raise StopIteration

    def _next_item(self) -> bytes | BaseException | None:
        assert self._thread is not None
        while True:
            is_alive = self._thread.is_alive()
            try:
                return self._queue.get(timeout=1)
            except queue.Empty:
                # If there is no memory, a thread may end without an error.
                if not is_alive:
                    return MemoryError("the thread that reads has died")

    def close(self) -> None:
        """Stops reading ahead. The rest of `raw` is not read."""
        self._stop.set()
        self._done = True
        while self._thread is not None and self._thread.is_alive():
            # The thread may be waiting for space in the queue.
            with suppress(queue.Empty):
                while True:
                    self._queue.get_nowait()
            self._thread.join(0.05)

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            self._pump()
        except Exception as error:  # noqa: BLE001 (raised again in the reading thread)
            end = error
        finally:
            self._hasher.close()
        self._put(end)

    def _put(self, item: bytes | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def _pump(self) -> None:
        self.compression = detect(self._stored.peek())
        is_plain = self.compression is Compression.NONE
        if self._known_digest is None and not is_plain:
            self._stored.hash = hashlib.sha256()
        is_hashed = self._known_digest is None or not is_plain
        hash_ = BackgroundHash(self._hasher)
        for piece in _DECOMPRESSORS[self.compression](self._stored):
            self.size += len(piece)
            self._check_limits()
            if is_hashed:
                hash_.update(piece)
            # The queue is bounded by the number of pieces, so no piece may be large.
            for start in range(0, len(piece), _PIECE):
                self._put(piece[start : start + _PIECE] if len(piece) > _PIECE else piece)
            if self._stop.is_set():
                return
        self._hexdigest = hash_.hexdigest()

    def _check_limits(self) -> None:
        if self._max_size is not None and self.size > self._max_size:
            raise ExpansionLimitError(f"more than {self._max_size} bytes come out {limit_hint('total_size')}")
        if self._max_ratio is not None:
            check_ratio(self.size, self.stored_size, self._unrated_size, self._max_ratio)
