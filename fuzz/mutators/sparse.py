"""Disks as inputs: the few bytes in which a disk differs from one that is known, so that inputs are small.

An input is a row of pieces, each its offset (4 bytes, little-endian), its length (2 bytes) and its bytes.
"""

from __future__ import annotations

from random import Random
from struct import Struct

from fuzz.mutators.plain import mutate_bytes, overwrite, rearrange

_PIECE = Struct("<IH")
_UNIT = 64
_MAX_LENGTH = 0xFFFF // _UNIT * _UNIT


def pack(disk: bytes, known: bytes) -> bytes:
    """The input that stands for `disk` where `known` is known; both have the same length."""
    pieces = []
    start = None
    for at in range(0, len(disk) + _UNIT, _UNIT):
        is_equal = at >= len(disk) or disk[at : at + _UNIT] == known[at : at + _UNIT]
        if start is not None and (is_equal or at - start >= _MAX_LENGTH):
            pieces.append((start, disk[start:at]))
            start = None
        if start is None and not is_equal:
            start = at
    return join_pieces(pieces)


def join_pieces(pieces: list[tuple[int, bytes]]) -> bytes:
    """The input of those pieces: offsets and bytes."""
    return b"".join(_PIECE.pack(offset & 0xFFFF_FFFF, len(data)) + data for offset, data in pieces)


def split_pieces(data: bytes) -> list[tuple[int, bytes]]:
    """The pieces of an input; the last one may be cut off."""
    pieces = []
    at = 0
    while at + _PIECE.size <= len(data):
        offset, length = _PIECE.unpack_from(data, at)
        at += _PIECE.size
        pieces.append((offset, data[at : at + length]))
        at += length
    return pieces


def unpack(data: bytes, known: bytes) -> bytearray:
    """The disk that an input stands for, as long as `known`; what lies beyond is left out."""
    disk = bytearray(known)
    for offset, piece in split_pieces(data):
        if offset < len(disk):
            end = min(len(disk), offset + len(piece))
            disk[offset:end] = piece[: end - offset]
    return disk


def mutate_pieces(data: bytes, chance: Random, most: int) -> bytes:
    """An input with pieces changed, repeated, removed, moved or put elsewhere on the disk."""
    pieces = split_pieces(data)
    if not pieces:
        return mutate_bytes(data, chance, most)
    kind = chance.randrange(6)
    at = chance.randrange(len(pieces))
    offset, piece = pieces[at]
    if kind == 0:
        joined = rearrange([join_pieces([one]) for one in pieces], chance)
        return b"".join(joined)[:most]
    if kind == 1:
        pieces[at] = (chance.choice((chance.choice(pieces)[0], offset + chance.choice((-512, 512, 1024, 4096)))), piece)
    elif kind == 2:
        pieces[at] = (offset, mutate_bytes(piece, chance, _MAX_LENGTH))
    else:
        pieces[at] = (offset, overwrite(piece, chance))
    return join_pieces(pieces)[:most]
