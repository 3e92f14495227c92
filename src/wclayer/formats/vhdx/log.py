"""Reads a log that a writer left in a VHDX file, and writes logs of one entry ([MS-VHDX] 2.3)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.structs import SECTOR, LogEntryHeader

_MAX_ZEROS = 1 << 30
"""The most bytes of zeros that a whole log may write."""
_ZEROS = bytes(SECTOR)


def read_log(log: bytes, guid: bytes, file_size: int, offset: int) -> tuple[list[tuple[int, bytes]], int]:
    """Reads the writes that a log describes (2.3.3 "Log Replay").

    Args:
        log: the whole log, a ring of sectors.
        guid: the log GUID of the current header. Entries with another GUID are outdated.
        file_size: bytes of the file.
        offset: the file offset of the log, for messages.

    Returns:
        The sectors to write, in order, with their file offsets, and the bytes that the file must have.

    Raises:
        VhdxError: the log has no complete sequence of entries, or the file is shorter than when they were written.
    """
    active = _active_sequence(_entries(log, guid, offset), len(log))
    if not active:
        raise VhdxError("the log holds no complete entry", offset)
    last = active[-1][1]
    if last.flushed_file_offset > file_size:
        raise VhdxError(
            f"the file has {file_size} bytes, but had {last.flushed_file_offset} when its log was written", offset
        )
    end = max(file_size, last.last_file_offset)
    writes: list[tuple[int, bytes]] = []
    zeros = 0
    for position, header in active:
        for target, length, content in _decode(header, _content(log, position, header.length), offset):
            if target + length > end:
                raise VhdxError(f"the log writes {length} bytes at {target:#x} of a file of {end}", offset)
            zeros += length if content is None else 0
            if zeros > _MAX_ZEROS:
                raise VhdxError(f"the log writes more than {_MAX_ZEROS} zeros", offset)
            # All sectors of zeros are the same object.
            writes += [(at, _ZEROS if content is None else content) for at in range(target, target + length, SECTOR)]
    return writes, last.last_file_offset


def _entries(log: bytes, guid: bytes, offset: int) -> dict[int, LogEntryHeader]:
    """Returns the sound entries of a log by position."""
    found: dict[int, LogEntryHeader] = {}
    verified = 0
    for position in range(0, len(log), SECTOR):
        header = LogEntryHeader._make(structs.LOG_ENTRY.unpack_from(log, position))
        if header.signature != structs.LOG_ENTRY_SIGNATURE or header.log_guid != guid or not header.sequence:
            continue
        if header.length % SECTOR or not SECTOR <= header.length <= len(log) or header.tail % SECTOR:
            continue
        # Entries do not overlap, but a part of an old one may remain.
        verified += header.length
        if verified > 4 * len(log):
            raise VhdxError("the entries of the log overlap each other", offset)
        data = _content(log, position, header.length)
        if crc32c(data[:4] + bytes(4) + data[8:]) == header.checksum:
            found[position] = header
    return found


def _active_sequence(entries: dict[int, LogEntryHeader], size: int) -> list[tuple[int, LogEntryHeader]]:
    """Returns the entries to replay: the latest complete sequence, from the tail of its last entry to this entry.

    Args:
        entries: the sound entries by position.
        size: bytes of the log.
    """
    following = {}
    for position, header in entries.items():
        place = (position + header.length) % size
        if place in entries and entries[place].sequence == header.sequence + 1:
            following[position] = place
    best: list[tuple[int, LogEntryHeader]] = []
    for start in entries.keys() - set(following.values()):
        chain = [start]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        if best and entries[chain[-1]].sequence <= best[-1][1].sequence:
            continue
        ends = list(accumulate(entries[position].length for position in chain))
        indexes = {position: index for index, position in enumerate(chain)}
        for index in range(len(chain) - 1, -1, -1):
            header = entries[chain[index]]
            if best and header.sequence <= best[-1][1].sequence:
                break
            tail = indexes.get(header.tail)
            if tail is not None and tail <= index and ends[index] - ends[tail] + entries[chain[tail]].length <= size:
                best = [(position, entries[position]) for position in chain[tail : index + 1]]
                break
    return best


def _content(log: bytes, position: int, length: int) -> bytes:
    """Returns the bytes of an entry, which may continue at the start of the log."""
    data = log[position : position + length]
    return data + log[: length - len(data)]


def _decode(header: LogEntryHeader, data: bytes, offset: int) -> Iterator[tuple[int, int, bytes | None]]:
    """Yields the writes of an entry: file offset, number of bytes, and the bytes of a sector, or None for zeros."""
    table = structs.LOG_ENTRY.size + header.descriptor_count * structs.LOG_DESCRIPTOR_SIZE
    sector = -(-table // SECTOR) * SECTOR
    if sector > len(data):
        raise VhdxError(f"a log entry of {len(data)} bytes with {header.descriptor_count} descriptors", offset)
    for index in range(header.descriptor_count):
        at = structs.LOG_ENTRY.size + index * structs.LOG_DESCRIPTOR_SIZE
        signature = data[at : at + 4]
        content: bytes | None = None
        length = SECTOR
        if signature == structs.ZERO_DESCRIPTOR_SIGNATURE:
            _, _, length, target, sequence = structs.ZERO_DESCRIPTOR.unpack_from(data, at)
        elif signature == structs.DATA_DESCRIPTOR_SIGNATURE and sector + SECTOR <= len(data):
            _, trailing, leading, target, sequence = structs.DATA_DESCRIPTOR.unpack_from(data, at)
            mark, high, middle, low = structs.DATA_SECTOR.unpack_from(data, sector)
            sector += SECTOR
            if mark != structs.DATA_SECTOR_SIGNATURE or high << 32 | low != header.sequence:
                raise VhdxError("a sector of the log is of another entry", offset)
            content = leading + middle + trailing
        else:
            raise VhdxError(f"a log descriptor with the signature {signature!r}", offset)
        if sequence != header.sequence or target % SECTOR or length % SECTOR:
            raise VhdxError("a log descriptor is of another entry, or not aligned", offset)
        yield target, length, content


def write_entry(sectors: list[tuple[int, bytes]], guid: bytes, file_size: int) -> bytes:
    """Returns an entry at the start of the log that writes whole sectors at offsets of the file."""
    sequence = 1
    table = b"".join(
        structs.DATA_DESCRIPTOR.pack(structs.DATA_DESCRIPTOR_SIGNATURE, data[-4:], data[:8], offset, sequence)
        for offset, data in sectors
    )
    head = -(-(structs.LOG_ENTRY.size + len(table)) // SECTOR) * SECTOR
    body = b"".join(
        structs.DATA_SECTOR.pack(structs.DATA_SECTOR_SIGNATURE, sequence >> 32, data[8:-4], sequence & 0xFFFFFFFF)
        for _, data in sectors
    )
    header = LogEntryHeader(
        structs.LOG_ENTRY_SIGNATURE, 0, head + len(body), 0, sequence, len(sectors), 0, guid, file_size, file_size
    )
    entry = bytearray((structs.LOG_ENTRY.pack(*header) + table).ljust(head, b"\0") + body)
    entry[4:8] = crc32c(entry).to_bytes(4, "little")
    return bytes(entry)
