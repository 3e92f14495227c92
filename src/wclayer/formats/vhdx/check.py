"""Verifies a VHDX file: both copies of duplicated structures, and that no parts overlap."""

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
"""The most problems of offsets that are reported for one file."""


def check_vhdx(file: BinaryIO, disk: Vhdx) -> Iterator[str]:
    """Yields the defects of an open VHDX file. Defects that prevent opening it are not among them."""
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
    """Yields the parts of the file that are outside of it, or overlap.

    All parts begin and end at a whole MiB, so one byte for each MiB of the file says whether it is in use.
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
