"""XPRESS with Huffman codes, one of the compressions of the Windows Overlay Filter ([MS-XCA] section 2.2)."""

from __future__ import annotations

from wclayer.formats.ntfs.bits import BitReader, Huffman
from wclayer.formats.ntfs.structs import NtfsError

_TABLE_SIZE = 256
_LITERALS = 256
_LONG = 15
_SHORTEST = 3
MAX_BLOCK = 1 << 16
"""Bytes of decompressed data for which one table of codes is valid."""


def decompress_xpress(data: bytes, size: int) -> bytes:
    """Returns the `size` bytes of a decompressed block.

    Raises:
        NtfsError: the data is not XPRESS, or is more than one block.
    """
    if len(data) < _TABLE_SIZE or size > MAX_BLOCK:
        raise NtfsError(f"{len(data)} bytes of XPRESS data for {size}")
    lengths: list[int] = []
    for byte in data[:_TABLE_SIZE]:
        lengths += (byte & 0xF, byte >> 4)
    code = Huffman(lengths)
    bits = BitReader(data, _TABLE_SIZE)
    # The decoder loads two words at the start, and never holds less than one. Whole bytes are read after these words.
    bits.fill(32)
    out = bytearray()
    while len(out) < size:
        symbol = code.read(bits)
        bits.fill(16)
        if symbol < _LITERALS:
            out.append(symbol)
            continue
        length = _length(bits, symbol & 0xF)
        distance_bits = (symbol - _LITERALS) >> 4
        distance = 1 << distance_bits | bits.read(distance_bits)
        bits.fill(16)
        if distance > len(out) or len(out) + length > size:
            raise NtfsError("an XPRESS match outside of the data")
        copy(out, distance, length)
    return bytes(out)


def _length(bits: BitReader, length: int) -> int:
    """Returns the length of a match. If it does not fit into the symbol, the rest is read as whole bytes."""
    if length == _LONG:
        length = bits.read_beside(1)
        if length == 0xFF:
            length = bits.read_beside(2) or bits.read_beside(4)
            if length < _LONG:
                raise NtfsError("an XPRESS match with an impossible length")
            length -= _LONG
        length += _LONG
    return length + _SHORTEST


def copy(out: bytearray, distance: int, length: int) -> None:
    """Appends `length` bytes, copied from `distance` bytes back. The source may overlap the copy."""
    start = len(out) - distance
    if distance >= length:
        out += out[start : start + length]
        return
    piece = bytes(out[start:])
    out += (piece * (length // distance + 1))[:length]
