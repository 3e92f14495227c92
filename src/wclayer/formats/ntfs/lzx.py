"""LZX as WIM files and the Windows Overlay Filter use it: chunks of 32 KiB, each on its own.

Source: [MS-PATCH] section 2 (LZX DELTA), without its deltas. Windows images differ in this: a window of 32 KiB, a bit
for the usual block size, and call translation that is always on, for a file size of 12,000,000.
"""

from __future__ import annotations

from wclayer.formats.ntfs.bits import BitReader, Huffman
from wclayer.formats.ntfs.structs import NtfsError
from wclayer.formats.ntfs.xpress import copy

CHUNK = 1 << 15
_LITERALS = 256
_SLOTS = 30
_MAIN_SYMBOLS = _LITERALS + 8 * _SLOTS
_LENGTH_SYMBOLS = 249
_PRETREE_SYMBOLS = 20
_ALIGNED_SYMBOLS = 8
_LONG = 7
_SHORTEST = 2
_VERBATIM, _ALIGNED, _UNCOMPRESSED = 1, 2, 3
_CALL = 0xE8
_CALL_FILE_SIZE = 12_000_000
_CALL_TAIL = 10

# How many bits follow each slot, and the offset at which the slot starts. A stored offset is the real one plus 2.
_EXTRA = tuple(0 if slot < 4 else slot // 2 - 1 for slot in range(_SLOTS))
_BASE = tuple(sum(1 << bits for bits in _EXTRA[:slot]) for slot in range(_SLOTS))


def decompress_lzx(data: bytes, size: int) -> bytes:
    """Returns the `size` bytes (up to 32 KiB) of a decompressed chunk.

    Raises:
        NtfsError: the chunk is not LZX.
    """
    if size > CHUNK:
        raise NtfsError(f"an LZX chunk of {size} bytes")
    bits = BitReader(data)
    out = bytearray()
    recent = [1, 1, 1]
    main = [0] * _MAIN_SYMBOLS
    lengths = [0] * _LENGTH_SYMBOLS
    while len(out) < size:
        kind = bits.read(3)
        end = len(out) + (CHUNK if bits.read(1) else bits.read(16))
        if not len(out) < end <= size and end != CHUNK:
            raise NtfsError(f"an LZX block to {end} of {size} bytes")
        end = min(end, size)
        if kind == _UNCOMPRESSED:
            _plain(bits, out, recent, end)
            continue
        if kind not in (_VERBATIM, _ALIGNED):
            raise NtfsError(f"an LZX block of the kind {kind}")
        aligned = Huffman([bits.read(3) for _ in range(_ALIGNED_SYMBOLS)]) if kind == _ALIGNED else None
        _read_lengths(bits, main, 0, _LITERALS)
        _read_lengths(bits, main, _LITERALS, _MAIN_SYMBOLS)
        _read_lengths(bits, lengths, 0, _LENGTH_SYMBOLS)
        _block(bits, out, recent, end, Huffman(main), Huffman(lengths), aligned)
    return _untranslate(out)


def _read_lengths(bits: BitReader, lengths: list[int], first: int, end: int) -> None:
    """Reads code lengths: differences from the lengths of the block before, in a Huffman code of their own."""
    code = Huffman([bits.read(4) for _ in range(_PRETREE_SYMBOLS)])
    position = first
    while position < end:
        symbol = code.read(bits)
        if symbol < 17:
            lengths[position] = (lengths[position] - symbol) % 17
            position += 1
            continue
        if symbol == 19:
            count = 4 + bits.read(1)
            value = (lengths[position] - code.read(bits)) % 17
        else:
            count = 4 + bits.read(4) if symbol == 17 else 20 + bits.read(5)
            value = 0
        count = min(count, end - position)
        lengths[position : position + count] = [value] * count
        position += count


def _block(
    bits: BitReader,
    out: bytearray,
    recent: list[int],
    end: int,
    main: Huffman,
    lengths: Huffman,
    aligned: Huffman | None,
) -> None:
    while len(out) < end:
        symbol = main.read(bits)
        if symbol < _LITERALS:
            out.append(symbol)
            continue
        symbol -= _LITERALS
        length = symbol & 7
        if length == _LONG:
            length += lengths.read(bits)
        length += _SHORTEST
        slot = symbol >> 3
        if slot < len(recent):
            offset = recent[slot]
            recent[slot] = recent[0]
        else:
            extra = _EXTRA[slot]
            if aligned is not None and extra >= 3:
                low = bits.read(extra - 3) << 3
                low |= aligned.read(bits)
            else:
                low = bits.read(extra)
            offset = _BASE[slot] + low - 2
            recent[1], recent[2] = recent[0], recent[1]
        recent[0] = offset
        if not 0 < offset <= len(out) or len(out) + length > end:
            raise NtfsError("an LZX match outside of the data")
        copy(out, offset, length)


def _plain(bits: BitReader, out: bytearray, recent: list[int], end: int) -> None:
    """Reads an uncompressed block: the three recent offsets, then its bytes, padded to a whole word."""
    bits.align()
    recent[:] = [bits.read_beside(4) for _ in recent]
    count = end - len(out)
    out += bits.take(count)
    if count & 1:
        bits.take(1)


def _untranslate(out: bytearray) -> bytes:
    """Undoes the compressor's translation of x86 calls: their absolute targets become relative again."""
    position = 0
    last = len(out) - _CALL_TAIL
    while True:
        position = out.find(_CALL, position)
        if position < 0 or position >= last:
            return bytes(out)
        target = int.from_bytes(out[position + 1 : position + 5], "little", signed=True)
        if -position <= target < _CALL_FILE_SIZE:
            relative = target - position if target >= 0 else target + _CALL_FILE_SIZE
            out[position + 1 : position + 5] = relative.to_bytes(4, "little", signed=True)
        position += 5
