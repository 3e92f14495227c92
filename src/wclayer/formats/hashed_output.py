"""Writes gzip, zstd and plain streams, and hashes them; `compression` reads them.

Compression and hashing run in threads, while the caller reads and formats the next bytes.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import deflate

from wclayer.formats.compression import Compression
from wclayer.formats.hashing import BackgroundHash
from wclayer.formats.threads import Workers, starting_threads

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BLOCK = 1 << 20
"""Bytes that are hashed and compressed in one step: of gzip, the data of one member."""
_LARGE = 256 << 10
"""The size from which a piece is not copied to join those before it."""
_GZIP_THREADS = 16
_ZSTD_THREADS = 8
"""More threads than these would wait for the hash of all bytes, and each takes memory: of zstd, 8 MiB."""
_ZSTD_JOB = 4 << 20
"""Bytes that one thread compresses in one step. The default, 8 MiB, takes twice the memory, for 0.4 % of the size."""


class HashedOutput:
    """Compresses bytes into `raw`, and computes both digests.

    gzip is written as a member (RFC 1952) for each MiB, which threads compress. The bytes depend neither on the number
    of threads nor on the portions in which the caller writes. After `finish`, `diff_id`, `digest`, `size` and
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
        self._hasher = Workers(1, "wclayer-hash")
        self._hash = BackgroundHash(self._hasher)
        self._pieces: list[bytes] = []
        self._pieces_size = 0
        self._encoder = _encoder(compression, level, threads or os.cpu_count() or 1)
        self.stored_size = 0
        self.size = 0

    @property
    def digest(self) -> str:
        return self.diff_id if self._encoder is None else f"sha256:{self._stored_hash.hexdigest()}"

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends bytes. Raises what `raw.write` raises."""
        # The caller may change the memory under a view.
        self._pieces.append(data if isinstance(data, bytes) else bytes(data))
        self._pieces_size += len(data)
        if self._pieces_size < _BLOCK:
            return
        if self._encoder is None:
            last = self._pieces.pop() if len(data) >= _LARGE else b""
            for block in (b"".join(self._pieces), last):
                self._block(block)
            self._pieces = []
            self._pieces_size = 0
            return
        # All blocks have the same size, regardless of the portions in which the caller writes.
        joined = b"".join(self._pieces)
        whole = len(joined) - len(joined) % _BLOCK
        for start in range(0, whole, _BLOCK):
            self._block(joined[start : start + _BLOCK])
        self._pieces = [joined[whole:]]
        self._pieces_size = len(joined) - whole

    def finish(self) -> None:
        """Writes the remaining bytes. `raw` stays open."""
        self._block(b"".join(self._pieces))
        self._pieces = []
        self._pieces_size = 0
        if self._encoder is not None:
            for out in self._encoder.finish():
                self._emit(out)
        self._hash.digest()
        self._raw.flush()

    def close(self) -> None:
        """Ends the threads. Without an earlier `finish`, the output is incomplete."""
        self._hasher.close()
        if self._encoder is not None:
            self._encoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _block(self, block: bytes) -> None:
        if not block:
            return
        self.size += len(block)
        self._hash.update(block)
        if self._encoder is None:
            self.stored_size += len(block)
            self._raw.write(block)
            return
        for out in self._encoder.feed(block):
            self._emit(out)

    def _emit(self, out: bytes | bytearray) -> None:
        self._stored_hash.update(out)
        self.stored_size += len(out)
        self._raw.write(out)


class _Encoder(Protocol):
    def feed(self, block: bytes) -> Iterator[bytes | bytearray]: ...
    def finish(self) -> Iterator[bytes | bytearray]: ...
    def close(self) -> None: ...


def _encoder(compression: Compression, level: int | None, threads: int) -> _Encoder | None:
    if compression is Compression.GZIP:
        return _GzipEncoder(6 if level is None else level, min(threads, _GZIP_THREADS))
    if compression is Compression.ZSTD:
        return _ZstdEncoder(3 if level is None else level, min(threads, _ZSTD_THREADS))
    return None


class _GzipEncoder:
    def __init__(self, level: int, threads: int) -> None:
        self._level = level
        self._pool = Workers(threads, "wclayer-gzip")
        self._ahead = threads + 2
        self._pending: deque[Future[bytes | bytearray]] = deque()
        self._is_empty = True

    def feed(self, block: bytes) -> Iterator[bytes | bytearray]:
        self._is_empty = False
        self._pending.append(self._pool.submit(_member, block, self._level))
        while len(self._pending) > self._ahead:
            yield self._pool.result(self._pending.popleft())

    def finish(self) -> Iterator[bytes | bytearray]:
        if self._is_empty:
            yield _member(b"", self._level)
        while self._pending:
            yield self._pool.result(self._pending.popleft())

    def close(self) -> None:
        self._pool.close()


def _member(block: bytes, level: int) -> bytes | bytearray:
    """Returns a gzip member: no field of its header but XFL, the speed of the level, varies."""
    try:
        return deflate.gzip_compress(block, level)
    except deflate.DeflateError as error:
        # Nothing else makes a compression fail.
        raise MemoryError(str(error)) from error


class _ZstdEncoder:
    def __init__(self, level: int, threads: int) -> None:
        parameter = zstd.CompressionParameter
        # Any number of threads from one up produces the same bytes. A zstd built without threads has a maximum of 0.
        threads = min(threads, parameter.nb_workers.bounds()[1])
        options: dict[int, int] = {
            parameter.compression_level: level, parameter.checksum_flag: 1, parameter.nb_workers: threads
        }  # fmt: skip
        if threads:
            options[parameter.job_size] = _ZSTD_JOB
        self._frame = zstd.ZstdCompressor(options=options)

    def feed(self, block: bytes) -> Iterator[bytes]:
        # zstd's error has no other cause during compression.
        with starting_threads(zstd.ZstdError):
            piece = self._frame.compress(block)
        yield piece

    def finish(self) -> Iterator[bytes]:
        with starting_threads(zstd.ZstdError):
            piece = self._frame.flush()
        yield piece

    def close(self) -> None:
        # Its threads exist as long as it does, and it may be part of a reference cycle that is collected much later.
        del self._frame
