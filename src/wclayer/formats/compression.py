"""Reads and writes gzip, zstd and plain streams, and hashes them. A magic number identifies the format.

Decompression and hashing run in a thread of their own, compression runs in several. zlib-ng, zstd and hashlib release
the interpreter's lock, so they run on another core while the caller parses or formats.
"""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from enum import Enum
from types import TracebackType
from typing import BinaryIO, Protocol, Self, TypeVar, cast

from zlib_ng import zlib_ng

from wclayer.errors import FormatError, FormatLimitError, limit_hint

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PIECE = 1 << 20
_FIRST_PIECE = 512
"""The length of the first piece: who reads it sees what the data begins with, also where the next bytes are damaged."""
_QUEUE_PIECES = 4
_PATIENCE = 1.0
"""Seconds after which a wait for a thread looks whether it is still alive."""
_Result = TypeVar("_Result")
_GZIP_BLOCK = 512 << 10
_WINDOW = 32 << 10
# RFC 1952: ID1 ID2, CM = deflate, no flags, no time, no extra flags, unknown system. No field varies.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


_ZLIB_ERROR = cast("type[Exception]", zlib_ng.error)  # its stubs declare an instance


@contextmanager
def _starting_threads() -> Iterator[None]:
    """Raises `OSError` where a thread cannot be started.

    Python raises `RuntimeError` for this. zstd raises its own error, which has no other cause during compression.
    """
    try:
        yield
    except (RuntimeError, zstd.ZstdError) as error:
        raise OSError(errno.ENOMEM, f"too many threads, or no memory for one ({error})") from error


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


class _Decompressor(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...
    def finish(self) -> None: ...


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        pass


class _Gunzip:
    """Decompresses consecutive gzip members (RFC 1952). Zero padding after the last one is allowed."""

    def __init__(self) -> None:
        self._inflate = zlib_ng.decompressobj(zlib_ng.MAX_WBITS | 16)
        self._between = False
        self._piece = _FIRST_PIECE

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._between:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._inflate = zlib_ng.decompressobj(zlib_ng.MAX_WBITS | 16)
                self._between = False
            try:
                out = self._inflate.decompress(data, self._piece)
            except _ZLIB_ERROR as error:
                raise CompressedDataError(f"gzip: {error}") from None
            data = self._inflate.unconsumed_tail
            if self._inflate.eof:
                data = self._inflate.unused_data
                self._between = True
            if out:
                self._piece = _PIECE
                yield out

    def finish(self) -> None:
        if not self._between:
            raise CompressedDataError("gzip: the stream is cut off")


class _Unzstd:
    """Decompresses consecutive zstd frames (RFC 8878). Skippable frames are skipped."""

    _MAX_WINDOW_LOG = 27  # 128 MiB
    _SLICE = 4 << 10

    def __init__(self) -> None:
        self._frame = self._new_frame()
        self._between = True
        self._piece = _FIRST_PIECE

    def _new_frame(self) -> zstd.ZstdDecompressor:
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: self._MAX_WINDOW_LOG})

    def feed(self, data: bytes) -> Iterator[bytes]:
        # The input after a frame is copied at the frame's end. Small inputs keep this cheap if frames are tiny.
        for start in range(0, len(data), self._SLICE):
            rest = data[start : start + self._SLICE]
            while rest or not (self._between or self._frame.needs_input):
                if self._between:
                    self._frame = self._new_frame()
                try:
                    out = self._frame.decompress(rest, self._piece)
                except zstd.ZstdError as error:
                    raise CompressedDataError(f"zstd: {error}") from None
                self._between = self._frame.eof
                rest = self._frame.unused_data if self._between else b""
                if out:
                    self._piece = _PIECE
                    yield out

    def finish(self) -> None:
        if not self._between:
            raise CompressedDataError("zstd: the stream is cut off")


_DECOMPRESSORS: dict[Compression, type[_Plain] | type[_Gunzip] | type[_Unzstd]] = {
    Compression.NONE: _Plain,
    Compression.GZIP: _Gunzip,
    Compression.ZSTD: _Unzstd,
}


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
        self._raw = raw
        self._known_digest = known_digest
        self._max_size = max_size
        self._max_ratio = max_ratio
        self._unrated_size = unrated_size
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_QUEUE_PIECES)
        self._stop = threading.Event()
        self._done = False
        self._thread: threading.Thread | None = None
        self._stored_hash = hashlib.sha256()
        self._hash = hashlib.sha256()
        self.compression = Compression.NONE
        self.stored_size = 0
        self.size = 0

    @property
    def digest(self) -> str:
        return self._known_digest or f"sha256:{self._stored_hash.hexdigest()}"

    @property
    def diff_id(self) -> str:
        if self.compression is Compression.NONE:
            return self.digest
        return f"sha256:{self._hash.hexdigest()}"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if self._done:
            raise StopIteration
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wclayer-input", daemon=True)
            with _starting_threads():
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
        self._put(end)

    def _put(self, item: bytes | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def _pump(self) -> None:
        data = self._raw.read(_PIECE)
        while 0 < len(data) < 4 and (more := self._raw.read(4 - len(data))):
            data += more
        self.compression = detect(data)
        decompressor: _Decompressor = _DECOMPRESSORS[self.compression]()
        plain = self.compression is Compression.NONE
        while data and not self._stop.is_set():
            if self._known_digest is None:
                self._stored_hash.update(data)
            self.stored_size += len(data)
            for piece in decompressor.feed(data):
                self.size += len(piece)
                self._check_limits()
                if not plain:
                    self._hash.update(piece)
                # The queue is bounded by the number of pieces, so no piece may be large.
                for start in range(0, len(piece), _PIECE):
                    self._put(piece[start : start + _PIECE] if len(piece) > _PIECE else piece)
                if self._stop.is_set():
                    return
            data = self._raw.read(_PIECE)
        decompressor.finish()

    def _check_limits(self) -> None:
        if self._max_size is not None and self.size > self._max_size:
            raise ExpansionLimitError(f"more than {self._max_size} bytes come out {limit_hint('total_size')}")
        if self._max_ratio is not None and self.size > self._unrated_size + self.stored_size * self._max_ratio:
            raise ExpansionLimitError(
                f"{self.size} bytes come out of {self.stored_size}: more than {self._max_ratio} for one"
                f" {limit_hint('ratio')}"
            )


class _Workers:
    """Threads that compute.

    Python's own pool waits for ever for the result of a thread that has died without memory.
    """

    def __init__(self, count: int, name: str) -> None:
        self._threads: list[threading.Thread] = []
        self._pool = ThreadPoolExecutor(count, name, initializer=self._begin)

    def _begin(self) -> None:
        self._threads.append(threading.current_thread())

    def submit(self, function: Callable[..., _Result], *arguments: object) -> Future[_Result]:
        """Has a thread call a function. Raises `OSError` where a thread cannot be started."""
        with _starting_threads():
            return self._pool.submit(function, *arguments)

    def result(self, future: Future[_Result]) -> _Result:
        """Waits for a result. Raises what the function raised, or `MemoryError` if a thread has died."""
        while True:
            is_whole = all(thread.is_alive() for thread in self._threads)
            try:
                return future.result(_PATIENCE)
            except BrokenExecutor as error:
                raise MemoryError(str(error)) from error
            except TimeoutError:
                if not is_whole:
                    raise MemoryError("a thread has died before its result was there") from None

    def close(self) -> None:
        """Ends the threads, when they are done with what they have begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class HashedOutput:
    """Compresses bytes into `raw`, and computes both digests.

    gzip is compressed in blocks of 512 KiB, each primed with the 32 KiB before it. So the size is that of one long
    stream, and the bytes do not depend on the number of threads. After `finish`, `diff_id`, `digest`, `size` and
    `stored_size` are as in `HashedInput`.

    Args:
        raw: what takes the compressed bytes.
        compression: how they are compressed.
        level: the level of the compression; None for the usual one.
        threads: how many threads compress; by default one for each core.
    """

    def __init__(
        self,
        raw: BinaryIO,
        compression: Compression = Compression.NONE,
        level: int | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        self.compression = compression
        self._raw = raw
        self._stored_hash = hashlib.sha256()
        self._hash = hashlib.sha256()
        self._hasher = _Workers(1, "wclayer-hash")
        self._hashing: deque[Future[None]] = deque()
        self._pieces: list[bytes] = []
        self._pieces_size = 0
        self._encoder: _Encoder = _ENCODERS[compression](level, threads or os.cpu_count() or 1)
        self.stored_size = 0
        self.size = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._stored_hash.hexdigest()}"

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends bytes. Raises what `raw.write` raises."""
        # The caller may change the memory under a view.
        self._pieces.append(data if isinstance(data, bytes) else bytes(data))
        self._pieces_size += len(data)
        if self._pieces_size >= _GZIP_BLOCK:
            # All blocks have the same size, regardless of the portions in which the caller writes.
            joined = b"".join(self._pieces)
            whole = len(joined) - len(joined) % _GZIP_BLOCK
            for start in range(0, whole, _GZIP_BLOCK):
                self._block(joined[start : start + _GZIP_BLOCK])
            self._pieces = [joined[whole:]]
            self._pieces_size = len(joined) - whole

    def finish(self) -> None:
        """Writes the remaining bytes. `raw` stays open."""
        self._block(b"".join(self._pieces))
        self._pieces = []
        self._pieces_size = 0
        while self._hashing:
            self._hasher.result(self._hashing.popleft())
        for out in self._encoder.finish():
            self._emit(out)
        self._raw.flush()

    def close(self) -> None:
        """Ends the threads. Without an earlier `finish`, the output is incomplete."""
        self._hasher.close()
        self._encoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _block(self, block: bytes) -> None:
        if not block:
            return
        self.size += len(block)
        # One thread hashes the blocks in order, and never lags far behind.
        self._hashing.append(self._hasher.submit(self._hash.update, block))
        if len(self._hashing) > _QUEUE_PIECES:
            self._hasher.result(self._hashing.popleft())
        for out in self._encoder.feed(block):
            self._emit(out)

    def _emit(self, out: bytes) -> None:
        self._stored_hash.update(out)
        self.stored_size += len(out)
        self._raw.write(out)


class _Encoder(Protocol):
    def feed(self, block: bytes) -> Iterator[bytes]: ...
    def finish(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


class _PlainEncoder:
    def __init__(self, level: int | None, threads: int) -> None:
        pass

    def feed(self, block: bytes) -> Iterator[bytes]:
        yield block

    def finish(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        pass


class _GzipEncoder:
    def __init__(self, level: int | None, threads: int) -> None:
        self._level = 6 if level is None else level
        self._pool = _Workers(threads, "wclayer-gzip")
        self._ahead = threads + 2
        self._pending: deque[Future[bytes]] = deque()
        self._window = b""
        self._crc = 0
        self._size = 0
        self._started = False

    def feed(self, block: bytes) -> Iterator[bytes]:
        if not self._started:
            self._started = True
            yield _GZIP_HEADER
        self._crc = zlib_ng.crc32(block, self._crc)
        self._size += len(block)
        self._pending.append(self._pool.submit(_deflate, block, self._window, self._level, zlib_ng.Z_SYNC_FLUSH))
        self._window = block[-_WINDOW:]
        while len(self._pending) > self._ahead:
            yield self._pool.result(self._pending.popleft())

    def finish(self) -> Iterator[bytes]:
        if not self._started:
            yield _GZIP_HEADER
        while self._pending:
            yield self._pool.result(self._pending.popleft())
        yield _deflate(b"", b"", self._level, zlib_ng.Z_FINISH)
        yield struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)

    def close(self) -> None:
        self._pool.close()


def _deflate(block: bytes, window: bytes, level: int, flush: int) -> bytes:
    if window:
        deflate = zlib_ng.compressobj(level, zlib_ng.DEFLATED, -15, 8, zlib_ng.Z_DEFAULT_STRATEGY, window)
    else:
        deflate = zlib_ng.compressobj(level, zlib_ng.DEFLATED, -15)
    return deflate.compress(block) + deflate.flush(flush)


class _ZstdEncoder:
    def __init__(self, level: int | None, threads: int) -> None:
        parameter = zstd.CompressionParameter
        # Any number of threads from one up produces the same bytes. A zstd built without threads has a maximum of 0.
        threads = min(threads, parameter.nb_workers.bounds()[1])
        self._frame = zstd.ZstdCompressor(
            options={
                parameter.compression_level: 3 if level is None else level,
                parameter.checksum_flag: 1,
                parameter.nb_workers: threads,
            }
        )

    def feed(self, block: bytes) -> Iterator[bytes]:
        with _starting_threads():
            piece = self._frame.compress(block)
        yield piece

    def finish(self) -> Iterator[bytes]:
        with _starting_threads():
            piece = self._frame.flush()
        yield piece

    def close(self) -> None:
        # Its threads exist as long as it does, and it may be part of a reference cycle that is collected much later.
        del self._frame


_ENCODERS: dict[Compression, type[_PlainEncoder] | type[_GzipEncoder] | type[_ZstdEncoder]] = {
    Compression.NONE: _PlainEncoder,
    Compression.GZIP: _GzipEncoder,
    Compression.ZSTD: _ZstdEncoder,
}
