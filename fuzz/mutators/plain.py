"""Changes to bytes and numbers that every mutator is made of."""

from __future__ import annotations

from random import Random

_PIECES = (b"\0", b"\xff" * 4, b"../", b"\0\0\0\0\0\0\0\0", b"\x01\0\0\0", b"\\", b"/", b"\x7f", b"\x80")
_NEAR = (-1, 1, -8, 8, 512)


def mutate_bytes(data: bytes, chance: Random, most: int) -> bytes:
    """The data with a few bytes changed, inserted, removed or repeated."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        at = chance.randrange(len(out) + 1)
        kind = chance.randrange(5)
        if kind == 0 and at < len(out):
            out[at] = chance.randrange(256)
        elif kind == 1 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del out[at : at + chance.choice((1, 2, 8, 512))]
        elif kind == 3:
            out[at:at] = chance.choice(_PIECES)
        else:
            out[at:at] = out[at : at + chance.choice((1, 8, 512))]
    return bytes(out[:most])


def overwrite(data: bytes, chance: Random) -> bytes:
    """The data with a few bytes changed, and as many as before."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4)) if out else 0):
        out[chance.randrange(len(out))] = chance.choice((0, 1, 0xFF, 0x7F, 0x80, chance.randrange(256)))
    return bytes(out)


def change_number(number: int, chance: Random, size: int) -> int:
    """Another unsigned number of `size` bytes: near to the old one, at a border, or any."""
    top = 1 << 8 * size
    kind = chance.randrange(4)
    if kind == 0:
        number += chance.choice(_NEAR)
    elif kind == 1:
        number = chance.choice((0, 1, top - 1, top >> 1, (top >> 1) - 1, 1 << chance.randrange(8 * size)))
    elif kind == 2:
        number ^= 1 << chance.randrange(8 * size)
    else:
        number = chance.randrange(1 << chance.randrange(1, 8 * size + 1))
    return number % top


def change_field(data: bytearray, offset: int, size: int, chance: Random, *, order: str = "little") -> None:
    """Changes a number of `size` bytes in its place."""
    is_little = order == "little"
    old = int.from_bytes(data[offset : offset + size], "little" if is_little else "big")
    data[offset : offset + size] = change_number(old, chance, size).to_bytes(size, "little" if is_little else "big")


def rearrange(pieces: list[bytes], chance: Random) -> list[bytes]:
    """Pieces of which one is removed, repeated, or put elsewhere."""
    if not pieces:
        return pieces
    out = list(pieces)
    at = chance.randrange(len(out))
    kind = chance.randrange(3)
    if kind == 0:
        del out[at]
    elif kind == 1:
        out.insert(chance.randrange(len(out) + 1), out[at])
    else:
        out.insert(chance.randrange(len(out)), out.pop(at))
    return out


def is_rare(chance: Random) -> bool:
    """Once in eight times: when the structure is to be left alone, and only bytes are changed."""
    return not chance.randrange(8)
