"""Computes the checksum of a PE file, as ImageHlp's CheckSumMappedFile does."""

from __future__ import annotations

from wclayer.formats.pe import structs
from wclayer.formats.pe.image import PeImage

_WORD = 0xFFFF


def computed_checksum(image: PeImage) -> int:
    """Returns the checksum that the header of the file should have; drivers and some DLLs must have it.

    It is the sum of all 16-bit words with the carries added back, without the checksum itself, and the file's size.
    """
    place = image.optional_offset + structs.CHECKSUM_OFFSET
    total = 0
    for start, end in ((0, place), (place + structs.CHECKSUM_SIZE, image.size)):
        offset = start
        for piece in image.pieces(start, end):
            # A sum with the carries added back is the number modulo 0xFFFF, whatever the width of its words is.
            total += int.from_bytes(piece, "little") << 8 * (offset & 1)
            offset += len(piece)
            total %= _WORD
    return (total or _WORD) + image.size
