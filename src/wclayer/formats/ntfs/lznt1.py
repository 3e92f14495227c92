"""LZNT1, the compression of NTFS ([MS-XCA] section 2.5)."""

from __future__ import annotations

from wclayer.formats.ntfs.structs import NtfsError

_CHUNK = 4096
_IS_COMPRESSED = 0x8000
_SIZE_MASK = 0x0FFF


def decompress(data: bytes | memoryview, size: int) -> bytes:
    """Returns the first `size` bytes of the decompressed data, with zeros after its end.

    Raises:
        NtfsError: the data is not LZNT1.
    """
    out = bytearray()
    position = 0
    while position + 2 <= len(data) and len(out) < size:
        header = int.from_bytes(data[position : position + 2], "little")
        if not header:
            break
        end = position + 3 + (header & _SIZE_MASK)
        if end > len(data):
            raise NtfsError("a compressed chunk that is not all there")
        chunk = bytes(data[position + 2 : end])
        out += _chunk(chunk) if header & _IS_COMPRESSED else chunk
        position = end
        # Every chunk but the last decompresses to 4 KiB.
        if len(out) % _CHUNK and len(out) < size:
            out += bytes(_CHUNK - len(out) % _CHUNK)
    return bytes(out[:size]).ljust(size, b"\0")


def _chunk(data: bytes) -> bytearray:
    out = bytearray()
    position = 0
    while position < len(data):
        flags = data[position]
        position += 1
        for bit in range(8):
            if position >= len(data):
                break
            if not flags >> bit & 1:
                out.append(data[position])
                position += 1
                continue
            if position + 2 > len(data) or not out:
                raise NtfsError("a compressed chunk with a match that leads nowhere")
            token = int.from_bytes(data[position : position + 2], "little")
            position += 2
            # The more of the chunk is decompressed, the more bits has the distance.
            offset_bits = max(4, (len(out) - 1).bit_length())
            length = (token & (0xFFFF >> offset_bits)) + 3
            distance = (token >> (16 - offset_bits)) + 1
            if distance > len(out) or len(out) + length > _CHUNK:
                raise NtfsError("a compressed chunk with a match outside of it")
            if distance >= length:
                start = len(out) - distance
                out += out[start : start + length]
            else:
                for _ in range(length):
                    out.append(out[-distance])
    return out
