"""Recovers a hive whose last write was not finished, from its transaction logs in the old and the new format.

Source: the specification's "Format of transaction log files", "Dirty state of a hive" and "Multiple transaction log
files". The structures are in `structs`.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wclayer.errors import limit_hint
from wclayer.formats.regf import structs
from wclayer.formats.regf.model import RegfError, RegfLimitError
from wclayer.formats.regf.structs import BASE_BLOCK_SIZE, BIN_ALIGNMENT, LOG_SECTOR, BaseBlock

_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Entry:
    """A verified log entry of the new format: the pages to write, and the state of the hive after them."""

    sequence: int
    flags: int
    bins_size: int
    pages: tuple[tuple[int, memoryview], ...]


@dataclass(frozen=True, slots=True)
class _Log:
    """A log file whose base block is sound."""

    base: BaseBlock
    data: memoryview


Buffer = bytes | bytearray | memoryview | mmap.mmap


def is_dirty(data: Buffer) -> bool:
    """Returns True if a hive's base block says that the last write was not finished, or is damaged itself."""
    base = _base_block(data)
    return base is None or base.primary_sequence != base.secondary_sequence


def recover(data: Buffer, logs: Sequence[Buffer], *, max_size: int = structs.MAX_HIVE_SIZE) -> Buffer:
    """Applies the logs of a hive to it as Windows would: they hold writes that the file lacks.

    The logs may make the hive larger, but no larger than the file and the logs together.

    Args:
        data: the hive file.
        logs: the contents of `.LOG`, `.LOG1` and `.LOG2`, those that exist, in this order.
        max_size: how many bytes the recovered hive may have.

    Returns:
        `data` itself if the hive is clean; else a clean hive.

    Raises:
        RegfError: the hive is dirty, and no log applies to it.
        RegfLimitError: the recovered hive would be larger than `max_size`.
    """
    if len(data) >= BASE_BLOCK_SIZE and not is_dirty(data):
        return data
    if len(data) > max_size:
        raise RegfLimitError(
            f"a hive of {len(data)} bytes whose last write was not finished; at most {max_size} can be recovered "
            f"{limit_hint('hive_size')}"
        )
    growth = min(max_size, len(data) + sum(len(log) for log in logs)) - BASE_BLOCK_SIZE
    sound = [log for log in map(_open_log, logs) if log is not None]
    new = [log for log in sound if log.base.file_type == structs.FILE_TYPE_NEW_LOG]
    recovered = _apply_new(data, new, growth) if new else None
    if recovered is None:
        old = [log for log in sound if log.base.file_type in structs.FILE_TYPE_OLD_LOGS]
        recovered = _apply_old(data, old, growth)
    if recovered is None:
        raise RegfError(
            f"the hive's last write was not finished, and none of its {len(logs)} logs applies to it"
            if logs
            else "the hive's last write was not finished, and it has no logs"
        )
    return recovered


def _base_block(data: Buffer) -> BaseBlock | None:
    """Returns the base block at the start of a hive or log, or None if its checksum or signature is wrong."""
    if len(data) < LOG_SECTOR:
        return None
    base = BaseBlock._make(structs.BASE_HEAD.unpack_from(data))
    (stored,) = structs.BASE_CHECKSUM.unpack_from(data, structs.BASE_CHECKSUM_OFFSET)
    if base.signature != structs.BASE_SIGNATURE or stored != structs.checksum(data[: structs.BASE_CHECKSUM_OFFSET]):
        return None
    return base


def _open_log(data: Buffer) -> _Log | None:
    base = _base_block(data)
    if base is None or base.primary_sequence != base.secondary_sequence:
        return None
    return _Log(base, memoryview(data))


def _finish(hive: bytearray, source: Buffer, bins_size: int, sequence: int, flags: int | None = None) -> bytearray:
    """Writes the base block of a recovered hive, made from the base block in `source`, and returns the hive."""
    head = bytearray(source[:LOG_SECTOR])
    if flags is not None:
        (old,) = structs.BASE_FLAGS.unpack_from(head, structs.BASE_FLAGS_OFFSET)
        merged = (old & ~structs.LOG_ENTRY_FLAGS_MASK) | (flags & structs.LOG_ENTRY_FLAGS_MASK)
        structs.BASE_FLAGS.pack_into(head, structs.BASE_FLAGS_OFFSET, merged)
    base = BaseBlock._make(structs.BASE_HEAD.unpack_from(head))._replace(
        primary_sequence=sequence + 1 & _MASK,
        secondary_sequence=sequence + 1 & _MASK,
        file_type=structs.FILE_TYPE_PRIMARY,
        bins_size=bins_size,
    )
    structs.BASE_HEAD.pack_into(head, 0, *base)
    structs.BASE_CHECKSUM.pack_into(
        head, structs.BASE_CHECKSUM_OFFSET, structs.checksum(head[: structs.BASE_CHECKSUM_OFFSET])
    )
    hive[:LOG_SECTOR] = head
    return hive


# The new format.


def _apply_new(data: Buffer, logs: list[_Log], max_bins: int) -> bytearray | None:
    """Returns the hive with the log entries that the file does not contain yet; None if there are no such entries."""
    base = _base_block(data)
    runs = [(log, run) for log in logs if (run := list(_entries(log, max_bins)))]
    if base is None:
        # Only the log with the latest entries is used; the base block is taken from it.
        runs = sorted(runs, key=lambda pair: pair[1][-1].sequence)[-1:]
    else:
        # A log whose first entry is older than the file's last whole write is outdated.
        runs = [pair for pair in runs if pair[1][0].sequence >= base.secondary_sequence]
        runs.sort(key=lambda pair: pair[1][0].sequence)
    if not runs:
        return None
    hive = _copy(data)
    last: _Entry | None = None
    for _, run in runs:
        if last is not None and run[0].sequence != last.sequence + 1:
            break
        for entry in run:
            _grow(hive, entry.bins_size)
            for offset, page in entry.pages:
                start = BASE_BLOCK_SIZE + offset
                hive[start : start + len(page)] = page
            last = entry
    assert last is not None
    source = data if base is not None else runs[0][0].data
    return _finish(hive, source, last.bins_size, last.sequence, last.flags)


def _entries(log: _Log, max_bins: int) -> Iterator[_Entry]:
    """Yields the sound consecutive entries of a log, from the one that its base block names."""
    position = LOG_SECTOR
    expected = log.base.primary_sequence
    while (entry := _entry(log.data[position:], max_bins)) is not None and entry[0].sequence == expected:
        yield entry[0]
        position += entry[1]
        expected += 1


def _entry(data: memoryview, max_bins: int) -> tuple[_Entry, int] | None:
    """Returns the entry at the start of `data` and its size; None if there is no sound entry."""
    header = structs.LOG_ENTRY
    if len(data) < header.size:
        return None
    signature, size, flags, sequence, bins_size, count, hash_1, hash_2 = header.unpack_from(data)
    if signature != structs.LOG_ENTRY_SIGNATURE or size % LOG_SECTOR or not header.size <= size <= len(data):
        return None
    if bins_size % BIN_ALIGNMENT or bins_size > max_bins:
        return None
    if hash_2 != marvin32(data[: structs.LOG_ENTRY_HASHED]) or hash_1 != marvin32(data[header.size : size]):
        return None
    position = header.size + count * structs.PAGE_REFERENCE.size
    if position > size:
        return None
    pages = []
    for offset, length in structs.PAGE_REFERENCE.iter_unpack(data[header.size : position]):
        if not length or position + length > size or offset + length > bins_size:
            return None
        pages.append((offset, data[position : position + length]))
        position += length
    return _Entry(sequence, flags, bins_size, tuple(pages)), size


def _copy(data: Buffer) -> bytearray:
    hive = bytearray(data)
    hive += bytes(max(0, BASE_BLOCK_SIZE - len(hive)))
    return hive


def _grow(hive: bytearray, bins_size: int) -> None:
    hive += bytes(max(0, BASE_BLOCK_SIZE + bins_size - len(hive)))


def marvin32(data: bytes | memoryview, seed: int = structs.MARVIN32_SEED) -> int:
    """Returns the Marvin32 hash of a log entry, as a 64-bit number whose low half is stored first."""
    low, high = seed & _MASK, seed >> 32
    whole = len(data) & ~3
    tail = bytes(data[whole:]) + b"\x80"
    for block in (data[:whole], tail.ljust(4, b"\0") + bytes(4)):
        for (word,) in structs.OFFSET_ELEMENT.iter_unpack(block):
            low = low + word & _MASK
            high ^= low
            low = ((low << 20 | low >> 12) + high) & _MASK
            high = (high << 9 | high >> 23) & _MASK
            high ^= low
            low = ((low << 27 | low >> 5) + high) & _MASK
            high = (high << 19 | high >> 13) & _MASK
    return high << 32 | low


# The old format.


def _apply_old(data: Buffer, logs: list[_Log], max_bins: int) -> bytearray | None:
    """Returns the hive with the dirty pages of its latest log; None if no log belongs to it."""
    base = _base_block(data)
    if base is not None:
        logs = [log for log in logs if log.base.last_written >= base.last_written]
    # The later of two logs holds everything since the last whole write; the first wins a tie.
    for log in sorted(logs, key=lambda log: log.base.last_written, reverse=True):
        pages = _dirty_pages(log, max_bins)
        if pages is None:
            continue
        hive = _copy(data)
        _grow(hive, log.base.bins_size)
        for number, page in pages:
            start = BASE_BLOCK_SIZE + number * structs.DIRTY_PAGE
            hive[start : start + structs.DIRTY_PAGE] = page
        return _finish(hive, log.data, log.base.bins_size, log.base.primary_sequence)
    return None


def _dirty_pages(log: _Log, max_bins: int) -> list[tuple[int, memoryview]] | None:
    """Returns the pages of a log with their numbers; None if the log is shorter than its dirty vector says."""
    data, bins_size = log.data, log.base.bins_size
    sector = LOG_SECTOR * max(1, log.base.clustering_factor)
    signature = structs.DIRTY_VECTOR_SIGNATURE
    if data[sector : sector + len(signature)] != signature or bins_size % BIN_ALIGNMENT or bins_size > max_bins:
        return None
    start = sector + len(signature)
    bitmap = data[start : start + bins_size // structs.DIRTY_PAGE // 8]
    if len(bitmap) * 8 * structs.DIRTY_PAGE != bins_size:
        return None
    position = -(-(start + len(bitmap)) // sector) * sector
    pages = []
    for index, byte in enumerate(bitmap):
        for bit in range(8):
            if byte >> bit & 1:
                page = data[position : position + structs.DIRTY_PAGE]
                if len(page) < structs.DIRTY_PAGE:
                    return None
                pages.append((index * 8 + bit, page))
                position += structs.DIRTY_PAGE
    return pages
