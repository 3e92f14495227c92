"""Changes a registry hive cell by cell: fields of keys, values, lists and data, with cell sizes, bins and the base
block's checksum mended."""

from __future__ import annotations

from random import Random
from struct import Struct

from fuzz.mutators.plain import change_field, change_number, is_rare, mutate_bytes, overwrite
from wclayer.formats.regf import structs
from wclayer.formats.regf.structs import BASE_BLOCK_SIZE, BIN_HEADER, CELL_SIZE

# The offsets of the fields of each kind of cell, and their bytes.
_FIELDS: dict[bytes, Struct] = {
    structs.KEY_SIGNATURE: structs.KEY_NODE,
    structs.VALUE_SIGNATURE: structs.KEY_VALUE,
    structs.SECURITY_SIGNATURE: structs.KEY_SECURITY,
    structs.BIG_DATA_SIGNATURE: structs.BIG_DATA,
}
_SIZES = {"B": 1, "H": 2, "I": 4, "Q": 8}
_LISTS = (structs.INDEX_LEAF, structs.FAST_LEAF, structs.HASH_LEAF, structs.INDEX_ROOT)


def mutate_hive(data: bytes, chance: Random, most: int) -> bytes:
    """A hive in which one to three cells are changed."""
    if is_rare(chance) or len(data) < BASE_BLOCK_SIZE + BIN_HEADER.size:
        return mutate_bytes(data, chance, most)
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        _change(out, chance)
    return mend_hive(bytes(out[:most]))


def mend_hive(data: bytes) -> bytes:
    """A hive whose base block and bins agree with its length: size, checksum, the offset and size of each bin."""
    if len(data) < BASE_BLOCK_SIZE:
        return data
    out = bytearray(data)
    bins = (len(out) - BASE_BLOCK_SIZE) // structs.BIN_ALIGNMENT * structs.BIN_ALIGNMENT
    Struct("<I").pack_into(out, 40, bins)
    at = 0
    while at < bins:
        place = BASE_BLOCK_SIZE + at
        size = BIN_HEADER.unpack_from(out, place)[2]
        if not size or size % structs.BIN_ALIGNMENT or at + size > bins:
            size = bins - at
        Struct("<4sII").pack_into(out, place, structs.BIN_SIGNATURE, at, size)
        at += size
    structs.BASE_CHECKSUM.pack_into(out, structs.BASE_CHECKSUM_OFFSET, structs.checksum(out))
    return bytes(out)


def cells(data: bytes | bytearray) -> list[tuple[int, int]]:
    """The offset of each cell in the file, that of its size, and its bytes; as far as they follow each other."""
    found = []
    at = BASE_BLOCK_SIZE
    while at + BIN_HEADER.size <= len(data):
        size = BIN_HEADER.unpack_from(data, at)[2]
        end = min(len(data), at + (size or structs.BIN_ALIGNMENT))
        cell = at + BIN_HEADER.size
        while cell + CELL_SIZE.size <= end:
            length = abs(CELL_SIZE.unpack_from(data, cell)[0])
            if length < 8 or cell + length > end:
                break
            found.append((cell, length))
            cell += length
        at = end
    return found


def _change(data: bytearray, chance: Random) -> None:
    known = cells(data)
    if not known or not chance.randrange(10):
        # A field of the base block.
        change_field(data, chance.choice((4, 8, 12, 20, 24, 28, 32, 36, 40, 144)), 4, chance)
        return
    at, length = chance.choice(known)
    signature = bytes(data[at + 4 : at + 6])
    body = at + CELL_SIZE.size
    kind = chance.randrange(8)
    if kind == 0:
        # Its size, or whether it is in use.
        size = CELL_SIZE.unpack_from(data, at)[0]
        CELL_SIZE.pack_into(data, at, chance.choice((-size, size - 8, size + 8, -8, 8)))
    elif kind == 1:
        # The cell in the place of another one.
        other, other_length = chance.choice(known)
        count = min(length, other_length) - 4
        data[body : body + count] = data[other + 4 : other + 4 + count]
    elif signature in _FIELDS and kind < 7:
        _change_struct(data, body, _FIELDS[signature], known, chance)
    elif signature in _LISTS and kind < 7:
        _change_list(data, body, length, known, chance)
    else:
        data[body : at + length] = overwrite(bytes(data[body : at + length]), chance)


def _change_struct(data: bytearray, at: int, layout: Struct, known: list[tuple[int, int]], chance: Random) -> None:
    offset = 2
    fields = []
    for letter in layout.format.removeprefix("<2s"):
        fields.append((offset, _SIZES[letter]))
        offset += _SIZES[letter]
    offset, size = chance.choice(fields)
    if at + offset + size > len(data):
        return
    if size == 4 and not chance.randrange(2):
        # Most numbers of four bytes are the places of cells: another one's.
        Struct("<I").pack_into(data, at + offset, chance.choice(known)[0] - BASE_BLOCK_SIZE)
    else:
        change_field(data, at + offset, size, chance)


def _change_list(data: bytearray, at: int, length: int, known: list[tuple[int, int]], chance: Random) -> None:
    kind = chance.randrange(4)
    if kind == 0:
        data[at : at + 2] = chance.choice(_LISTS)
    elif kind == 1:
        change_field(data, at + 2, 2, chance)
    else:
        place = at + 4 + 4 * chance.randrange(max(1, (length - 8) // 4))
        if place + 4 > len(data):
            return
        old = int.from_bytes(data[place : place + 4], "little")
        new = chance.choice(known)[0] - BASE_BLOCK_SIZE if kind == 2 else change_number(old, chance, 4)
        Struct("<I").pack_into(data, place, new)
