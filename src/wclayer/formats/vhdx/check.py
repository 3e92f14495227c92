"""Verifies a VHDX file: both copies of what it has twice, and that nothing in it overlaps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.headers import checksum, decode_header
from wclayer.formats.vhdx.image import Vhdx
from wclayer.formats.vhdx.structs import MIB, BlockState

_MOST_PLACES = 2 * structs.MAX_DISK_SIZE // MIB
_MOST_PROBLEMS = 1000
"""Problems of places that are told of one file."""


def check_vhdx(file: BinaryIO, disk: Vhdx) -> Iterator[str]:
    """Everything that is wrong with an open VHDX file, besides what would not let it open."""
    sequences = []
    for name, offset in zip(("first", "second"), structs.HEADER_OFFSETS, strict=True):
        file.seek(offset)
        header = decode_header(file.read(structs.HEADER_SIZE))
        if header is None:
            yield f"the {name} header is not sound"
        else:
            sequences.append(header.sequence)
    if len(sequences) == 2 and sequences[0] == sequences[1]:
        yield "both headers have the same sequence number"
    tables = []
    for name, offset in zip(("first", "second"), structs.REGION_TABLE_OFFSETS, strict=True):
        file.seek(offset)
        data = file.read(structs.REGION_TABLE_SIZE)
        if checksum(data) != int.from_bytes(data[4:8], "little"):
            yield f"the {name} region table is not sound"
        tables.append(data)
    if tables[0] != tables[1]:
        yield "the two region tables differ"
    if disk.log_was_replayed:
        yield "its last writer was stopped: the log has changes that are not in the file yet"
    yield from islice(_check_places(disk), _MOST_PROBLEMS)


def _check_places(disk: Vhdx) -> Iterator[str]:
    """What is wrong with where the file's parts are: outside of it, or in each other.

    All begin and end at a whole MiB, so one byte for each MiB of the file says whether something is there.
    """
    taken = bytearray()

    def take(offset: int, length: int, name: str) -> Iterator[str]:
        start, end = offset // MIB, -(-(offset + length) // MIB)
        if end > _MOST_PLACES:
            yield f"{name} at {offset:#x} is farther into the file than a disk of 64 TiB needs"
            return
        if len(taken) < end:
            taken.extend(bytes(end - len(taken)))
        if taken.find(1, start, end) >= 0:
            yield f"{name} at {offset:#x} overlaps what is there already"
        taken[start:end] = b"\1" * (end - start)

    for offset, length, name in [(0, structs.HEADER_SECTION, "the header section"), *disk.own_regions()]:
        yield from take(offset, length, name)
    for block in disk.blocks_in_use():
        try:
            state, offset = disk.block_state(block)
            if state is BlockState.PARTIALLY_PRESENT:
                disk.bits_place(block)
        except VhdxError as error:
            yield str(error)
            continue
        if state >= BlockState.FULLY_PRESENT:
            yield from take(offset, disk.metadata.block_size, f"block {block}")
