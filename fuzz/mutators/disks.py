"""Mends the checksums of disks where one was changed: update sequences of NTFS, CRCs of GPT and VHDX, sums of VHD."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from struct import Struct

from wclayer.formats.gpt import structs as gpt
from wclayer.formats.ntfs import structs as ntfs
from wclayer.formats.vhd import structs as vhd
from wclayer.formats.vhdx import structs as vhdx
from wclayer.formats.vhdx.crc32c import crc32c

Ranges = list[tuple[int, int]]
"""Where a disk was changed: first bytes, and those behind the last."""
_SEQUENCE = 7


def mend_ntfs(disk: bytearray, changed: Ranges, start: int = 0) -> None:
    """Protects the records and index blocks that were changed, which the known disk and its changes have unprotected.

    Args:
        start: where the volume is on the disk.
    """
    for size, signature in ((ntfs.RECORD_SIZE, b"FILE"), (ntfs.INDEX_BLOCK_SIZE, b"INDX")):
        for at in _blocks(changed, size, start, len(disk)):
            if disk[at : at + 4] == signature:
                block = disk[at : at + size]
                if is_protectable(block):
                    ntfs.protect(block, _SEQUENCE)
                    disk[at : at + size] = block


def unprotect_ntfs(disk: bytes) -> bytearray:
    """The disk with the update sequences of all records and index blocks taken out."""
    plain = bytearray(disk)
    for size, signature in ((ntfs.RECORD_SIZE, b"FILE"), (ntfs.INDEX_BLOCK_SIZE, b"INDX")):
        at = plain.find(signature)
        while at >= 0:
            if at % ntfs.UPDATE_STRIDE == 0:
                block = plain[at : at + size]
                if ntfs.unprotect(block):
                    plain[at : at + size] = block
            at = plain.find(signature, at + 1)
    return plain


def is_protectable(block: bytearray) -> bool:
    """Whether the header of a record or index block says of an update sequence that has its place in it."""
    offset, count = Struct("<HH").unpack_from(block, 4)
    ends = offset + 2 * count, (count - 1) * ntfs.UPDATE_STRIDE
    return bool(count >= 2 and max(ends) <= len(block))


def mend_gpt(disk: bytearray, changed: Ranges) -> None:
    """Sets the checksums of both copies of a table whose header or entries were changed."""
    sector = 512
    last = len(disk) // sector - 1
    for place in (1, last):
        head = disk[place * sector : (place + 1) * sector]
        fields = gpt.Header._make(gpt.HEADER.unpack_from(head))
        start, length = fields.entries_place * sector, fields.entry_count * fields.entry_size
        is_own = _overlaps(changed, place * sector, (place + 1) * sector)
        if not is_own and not _overlaps(changed, start, start + length):
            continue
        if length < 1 << 20 and start + length <= len(disk):
            Struct("<I").pack_into(head, gpt.HEADER.size - 4, zlib.crc32(disk[start : start + length]))
        size = fields.size if gpt.HEADER.size <= fields.size <= sector else gpt.HEADER.size
        Struct("<I").pack_into(head, gpt.CHECKSUM_OFFSET, 0)
        Struct("<I").pack_into(head, gpt.CHECKSUM_OFFSET, zlib.crc32(head[:size]))
        disk[place * sector : (place + 1) * sector] = head


def mend_vhdx(disk: bytearray, changed: Ranges) -> None:
    """Sets the checksums of the headers, region tables and log entries that were changed."""
    structures = [(offset, vhdx.HEADER_SIZE) for offset in vhdx.HEADER_OFFSETS]
    structures += [(offset, vhdx.REGION_TABLE_SIZE) for offset in vhdx.REGION_TABLE_OFFSETS]
    for at in _blocks(changed, vhdx.SECTOR, 0, len(disk)):
        if disk[at : at + 4] == vhdx.LOG_ENTRY_SIGNATURE:
            length = Struct("<I").unpack_from(disk, at + 8)[0]
            structures.append((at, length if length <= vhdx.MIB else vhdx.SECTOR))
    for at, size in structures:
        if _overlaps(changed, at, at + size):
            Struct("<I").pack_into(disk, at + vhdx.CHECKSUM_OFFSET, 0)
            Struct("<I").pack_into(disk, at + vhdx.CHECKSUM_OFFSET, crc32c(disk[at : at + size]))


def mend_vhd(disk: bytearray, changed: Ranges) -> None:
    """Sets the checksums of the footer, its copy and the header of a dynamic disk."""
    for at, size, offset, cookie in (
        (0, vhd.FOOTER.size, vhd.FOOTER_CHECKSUM_OFFSET, vhd.COOKIE),
        (len(disk) - vhd.FOOTER.size, vhd.FOOTER.size, vhd.FOOTER_CHECKSUM_OFFSET, vhd.COOKIE),
        (vhd.FOOTER.size, vhd.HEADER.size, vhd.HEADER_CHECKSUM_OFFSET, vhd.HEADER_COOKIE),
    ):
        if _overlaps(changed, at, at + size) and disk[at : at + 8] == cookie:
            total = vhd.checksum(bytes(disk[at : at + size]), offset)
            Struct(">I").pack_into(disk, at + offset, total)


Mender = Callable[[bytearray, Ranges], None]


def _overlaps(changed: Ranges, start: int, end: int) -> bool:
    return any(first < end and start < behind for first, behind in changed)


def _blocks(changed: Ranges, size: int, start: int, end: int) -> Iterable[int]:
    """The offsets of all blocks of that size, counted from `start`, that lie in what was changed."""
    found = set()
    for first, behind in changed:
        at = start + (max(first, start) - start) // size * size
        while at < behind and at + size <= end:
            found.add(at)
            at += size
    return sorted(found)
