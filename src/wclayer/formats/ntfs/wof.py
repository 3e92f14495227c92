"""Reads files that the Windows Overlay Filter compressed: an empty file with a reparse point and a compressed stream.

Source: [MS-FSCC] 2.1.2.1 (IO_REPARSE_TAG_WOF), `WOF_EXTERNAL_INFO` and `FILE_PROVIDER_EXTERNAL_INFO_V1` of wof.h. The
stream has the layout of a compressed resource of a WIM file: the offsets of all chunks but the first, then the chunks.
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
"""For each algorithm, the bytes of a chunk, and the function that decompresses one."""
_LARGE = 1 << 32


def algorithm_of(reparse: bytes) -> int | None:
    """Returns the compression algorithm that a reparse point names; None if it is not a reparse point of this filter.

    Raises:
        NtfsError: the file's data is somewhere else than in the file, or the algorithm is unknown.
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


def decompressed(
    algorithm: int, size: int, read: Callable[[int, int], Iterator[bytes]], stored: int
) -> Iterator[bytes]:
    """Yields the `size` bytes of a file whose compressed stream has `stored` bytes, chunk by chunk.

    Args:
        algorithm: what `algorithm_of` returned.
        size: bytes of the file.
        read: yields the bytes of the compressed stream from one offset to another.
        stored: bytes of the compressed stream.

    Raises:
        NtfsError: the stream is not valid for the algorithm.
    """
    chunk_size, decompress = _ALGORITHMS[algorithm]
    count = -(-size // chunk_size)
    width = 8 if size >= _LARGE else 4
    table_size = width * (count - 1) if count else 0
    # Each chunk has at least one byte.
    if table_size + count > stored:
        raise NtfsError(f"{stored} bytes of compressed data with {count} chunks")
    # The table and the chunks are read in parallel, so neither is ever in memory as a whole.
    table, source = _Source(read(0, table_size)), _Source(read(table_size, stored))
    start = 0
    for index in range(count):
        is_last = index == count - 1
        end = stored - table_size if is_last else int.from_bytes(table.take(width), "little")
        length = min(chunk_size, size - index * chunk_size)
        if not 0 < end - start <= length:
            raise NtfsError(f"compressed chunk {index} has {end - start} bytes for {length}")
        data = source.take(end - start)
        start = end
        yield data if len(data) == length else decompress(data, length)


class _Source:
    """Takes exact numbers of bytes from an iterator of pieces."""

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
