"""The log of a VHDX file: read when it was left behind, written one entry at a time ([MS-VHDX] 2.3)."""

from __future__ import annotations

from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.structs import SECTOR, LogEntryHeader

_MAX_ZEROS = 1 << 30


def read_log(log: bytes, guid: bytes, file_size: int, offset: int) -> tuple[list[tuple[int, bytes]], int]:
    """What a log says is to be written, in order, and the size that the file must have (2.3.3 "Log Replay").

    Args:
        log: the whole log, a ring of sectors.
        guid: of the current header; entries with another one are of the past.
        file_size: of the file, in bytes.
        offset: where the log is, for messages.

    Raises:
        VhdxError: it holds no complete sequence of entries, or the file is shorter than it was when they were written.
    """
    best: list[LogEntryHeader] = []
    best_bodies: list[bytes] = []
    for start in range(0, len(log), SECTOR):
        headers, bodies = _sequence(log, start, guid)
        if headers and (not best or headers[-1].sequence > best[-1].sequence):
            best, best_bodies = headers, bodies
    if not best:
        raise VhdxError("the log holds no complete entry", offset)
    if best[-1].flushed_file_offset > file_size:
        raise VhdxError(
            f"the file has {file_size} bytes, but had {best[-1].flushed_file_offset} when its log was written", offset
        )
    writes: list[tuple[int, bytes]] = []
    for header, body in zip(best, best_bodies, strict=True):
        writes += _decode(header, body, offset)
    return writes, best[-1].last_file_offset


def _sequence(log: bytes, start: int, guid: bytes) -> tuple[list[LogEntryHeader], list[bytes]]:
    """The entries that follow each other from a sector on, if the last one's tail is that sector."""
    headers: list[LogEntryHeader] = []
    bodies: list[bytes] = []
    position = start
    length = 0
    while length < len(log):
        found = _entry(log, position, guid)
        if found is None or (headers and found[0].sequence != headers[-1].sequence + 1):
            break
        headers.append(found[0])
        bodies.append(found[1])
        length += found[0].length
        position = (position + found[0].length) % len(log)
    # Only entries from the tail of the last one on are active.
    while headers and headers[-1].tail != start:
        headers.pop()
        bodies.pop()
    return headers, bodies


def _entry(log: bytes, position: int, guid: bytes) -> tuple[LogEntryHeader, bytes] | None:
    header = LogEntryHeader._make(structs.LOG_ENTRY.unpack_from(log, position))
    if header.signature != structs.LOG_ENTRY_SIGNATURE or header.log_guid != guid or not header.sequence:
        return None
    if header.length % SECTOR or not SECTOR <= header.length <= len(log) or header.tail % SECTOR:
        return None
    data = log[position : position + header.length]
    data += log[: header.length - len(data)]
    cleared = data[:4] + bytes(4) + data[8:]
    if crc32c(cleared) != header.checksum:
        return None
    return header, data


def _decode(header: LogEntryHeader, data: bytes, offset: int) -> list[tuple[int, bytes]]:
    table = structs.LOG_ENTRY.size + header.descriptor_count * structs.LOG_DESCRIPTOR_SIZE
    sector = -(-table // SECTOR) * SECTOR
    if sector > len(data):
        raise VhdxError(f"a log entry of {len(data)} bytes with {header.descriptor_count} descriptors", offset)
    writes = []
    for index in range(header.descriptor_count):
        at = structs.LOG_ENTRY.size + index * structs.LOG_DESCRIPTOR_SIZE
        signature = data[at : at + 4]
        if signature == structs.ZERO_DESCRIPTOR_SIGNATURE:
            _, _, length, target, sequence = structs.ZERO_DESCRIPTOR.unpack_from(data, at)
            if length > _MAX_ZEROS:
                raise VhdxError(f"a log descriptor of {length} zeros", offset)
            content = bytes(length)
        elif signature == structs.DATA_DESCRIPTOR_SIGNATURE and sector + SECTOR <= len(data):
            _, trailing, leading, target, sequence = structs.DATA_DESCRIPTOR.unpack_from(data, at)
            mark, high, middle, low = structs.DATA_SECTOR.unpack_from(data, sector)
            sector += SECTOR
            if mark != structs.DATA_SECTOR_SIGNATURE or high << 32 | low != header.sequence:
                raise VhdxError("a sector of the log is of another entry", offset)
            content = leading + middle + trailing
        else:
            raise VhdxError(f"a log descriptor with the signature {signature!r}", offset)
        if sequence != header.sequence or target % SECTOR or len(content) % SECTOR:
            raise VhdxError("a log descriptor is of another entry, or not aligned", offset)
        writes.append((target, content))
    return writes


def write_entry(sectors: list[tuple[int, bytes]], guid: bytes, file_size: int) -> bytes:
    """An entry at the start of the log that writes whole sectors at offsets of the file."""
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
