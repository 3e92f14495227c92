"""Files that the Windows Overlay Filter compressed: a reparse point over an empty file, and a stream with the data.

Source: [MS-FSCC] 2.1.2.1 (IO_REPARSE_TAG_WOF), `WOF_EXTERNAL_INFO` and `FILE_PROVIDER_EXTERNAL_INFO_V1` of wof.h; the
stream is laid out as a compressed resource of a WIM file: the offsets of all chunks but the first, then the chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wclayer.formats.ntfs.lzx import decompress_lzx
from wclayer.formats.ntfs.structs import NtfsError
from wclayer.formats.ntfs.xpress import decompress_xpress
from wclayer.win32.reparse import ReparseTag, decode_reparse, decode_wof

STREAM = "WofCompressedData"
_PROVIDER_FILE = 2
_ALGORITHMS: dict[int, tuple[int, Callable[[bytes, int], bytes]]] = {
    0: (4 << 10, decompress_xpress),
    1: (32 << 10, decompress_lzx),
    2: (8 << 10, decompress_xpress),
    3: (16 << 10, decompress_xpress),
}
"""Algorithm: bytes of a chunk, and what decompresses one."""
_LARGE = 1 << 32


def algorithm_of(reparse: bytes) -> int | None:
    """The algorithm that a reparse point says a file is compressed with; None if it is not one of these.

    Raises:
        NtfsError: a file backed by something else, or an unknown algorithm.
    """
    if int.from_bytes(reparse[:4], "little") != ReparseTag.WOF:
        return None
    try:
        found = decode_wof(decode_reparse(reparse))
    except ValueError as error:
        raise NtfsError(str(error)) from None
    if found.provider != _PROVIDER_FILE or found.algorithm not in _ALGORITHMS:
        raise NtfsError(f"an overlay reparse point of provider {found.provider}, algorithm {found.algorithm}")
    return found.algorithm


def decompressed(algorithm: int, size: int, stream: Iterator[bytes], stored: int) -> Iterator[bytes]:
    """The `size` bytes of a file whose compressed stream has `stored` bytes, chunk by chunk.

    Raises:
        NtfsError: the stream is not what the algorithm makes.
    """
    chunk_size, decompress = _ALGORITHMS[algorithm]
    count = -(-size // chunk_size)
    width = 8 if size >= _LARGE else 4
    table_size = width * (count - 1) if count else 0
    if table_size > stored:
        raise NtfsError(f"{stored} bytes of compressed data with {count} chunks")
    source = _Source(stream)
    table = source.take(table_size)
    starts = [0, *(int.from_bytes(table[at : at + width], "little") for at in range(0, table_size, width))]
    ends = [*starts[1:], stored - table_size]
    for index, (start, end) in enumerate(zip(starts[:count], ends, strict=False)):
        length = min(chunk_size, size - index * chunk_size)
        if not 0 < end - start <= length:
            raise NtfsError(f"compressed chunk {index} has {end - start} bytes for {length}")
        data = source.take(end - start)
        yield data if len(data) == length else decompress(data, length)


class _Source:
    """Exact takes out of an iterator of pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._data = b""
        self._position = 0

    def take(self, count: int) -> bytes:
        while len(self._data) - self._position < count:
            piece = next(self._pieces, None)
            if piece is None:
                raise NtfsError("compressed data that ends too soon")
            self._data = self._data[self._position :] + piece
            self._position = 0
        self._position += count
        return self._data[self._position - count : self._position]
