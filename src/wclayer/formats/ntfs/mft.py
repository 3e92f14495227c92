"""The master file table of a new volume: it grows by runs that become longer, and its records are written in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.allocator import ClusterAllocator, WriteBuffer
from wclayer.formats.ntfs.records import Attribute, decode_record, encode_record, pack_records
from wclayer.formats.ntfs.runs import Run
from wclayer.formats.ntfs.structs import RECORD_SIZE, AttributeType, ListEntry, NtfsError, RecordFlags, SystemFile

_FIRST_RECORDS = 256
_LARGE_RUN = 64 << 20
_RECORD_GAP = 16 * RECORD_SIZE


def mft_growth(size: int) -> int:
    """Returns by how many bytes an MFT of `size` bytes grows.

    The runs of the largest possible MFT fit into its own record, which is read before any other.
    """
    return min(max(_FIRST_RECORDS * RECORD_SIZE, size // 2), max(_LARGE_RUN, size // 8))


class MasterFileTable:
    """The records of a new volume."""

    def __init__(self, allocator: ClusterAllocator) -> None:
        self._allocator = allocator
        self.runs: list[Run] = []
        self.records = 0
        """The number of records for which the allocated clusters have room."""
        self.next_record = int(structs.FIRST_USER_RECORD)
        """The number of the next record that `new_record` returns."""
        self._recycled: list[int] = []
        # The records of directories, which are written last, separate those of files.
        self._buffer = WriteBuffer(allocator.disk, _RECORD_GAP)
        self._buffered_run = range(0)
        """The bytes of the volume that belong to the run of the record that was written last."""
        self._last_run_start = self._last_run_shift = 0
        """The first byte of the MFT that is in its last run, and how far from there it is in the volume."""
        self.grow()

    def grow(self) -> None:
        """Allocates clusters for further records.

        Raises:
            OutOfSpaceError: the volume is full.
        """
        size = self.records * RECORD_SIZE
        allocation = self._allocator.allocate(mft_growth(size))
        self._last_run_start, self._last_run_shift = size, allocation.offset - size
        self.runs.append(allocation.run)
        self.records += allocation.size // RECORD_SIZE

    def new_record(self) -> int:
        """Returns the number of an unused record, whose sequence number is 1."""
        number = self.next_record
        self.next_record += 1
        while number >= self.records:
            self.grow()
        return number

    def record_offset(self, number: int) -> int:
        """Returns the byte offset of a record in the volume."""
        offset = number * RECORD_SIZE
        if offset >= self._last_run_start:
            return offset + self._last_run_shift
        for run in self.runs:
            found = self._bytes_of(run)
            if offset < len(found):
                return found.start + offset
            offset -= len(found)
        raise NtfsError(f"record {number} is outside of the MFT")

    def _bytes_of(self, run: Run) -> range:
        """Returns the bytes of the volume that a run of the MFT, which has no holes, takes."""
        size = self._allocator.cluster_size
        start = (run.start or 0) * size
        return range(start, start + run.length * size)

    def put_record(self, number: int, record: bytes) -> None:
        """Writes an encoded record."""
        offset = self.record_offset(number)
        if offset not in self._buffered_run:
            # Other data lie between two runs.
            self._buffer.flush()
            self._buffered_run = next(found for found in map(self._bytes_of, self.runs) if offset in found)
        self._buffer.write(offset, record)

    def put_file(
        self, number: int, sequence: int, flags: RecordFlags | int, links: int, attributes: Sequence[Attribute]
    ) -> None:
        """Writes the base record of a file, and extension records if one does not hold all attributes.

        Raises:
            FileTooComplexError: NTFS has no room for so many attributes of one file.
        """
        packed = pack_records(number, sequence, flags, links, attributes, self.new_record, self._allocator.store)
        self.put_record(number, packed.base)
        for extension, record in packed.extensions:
            self.put_record(extension, record)

    def read_file(self, number: int) -> list[Attribute]:
        """Reads the attributes of a file that is to be written again. Its extension records are marked as unused."""
        _, parts = self._read_record(number)
        extensions: dict[int, None] = {}
        for attribute in parts:
            if attribute.type == AttributeType.ATTRIBUTE_LIST:
                extensions |= dict.fromkeys(self._listed(attribute))
        extensions.pop(number, None)
        for extension in extensions:
            parts += self._read_record(extension)[1]
        self._recycled += extensions
        found: list[Attribute] = []
        runs: list[Run] = []
        for part in parts:
            if part.first_vcn:
                # The parts of an attribute are in order.
                runs.extend(part.runs)
            elif part.type != AttributeType.ATTRIBUTE_LIST:
                part.runs = runs = list(part.runs)
                found.append(part)
        return found

    def _read_record(self, number: int) -> tuple[int, list[Attribute]]:
        return decode_record(self._allocator.disk.read(self.record_offset(number), RECORD_SIZE))

    def _listed(self, attribute: Attribute) -> Iterator[int]:
        """Yields the records that an attribute list names. The clusters of a non-resident list are freed."""
        value = attribute.value
        if value is None:
            value = self._allocator.disk.read(self._bytes_of(attribute.runs[0]).start, attribute.size)
            self._allocator.free(attribute.runs)
        position = 0
        while position < len(value):
            entry = ListEntry._make(structs.LIST_ENTRY.unpack_from(value, position))
            position += entry.length
            yield entry.record & structs.RECORD_MASK

    def put_unused(self) -> None:
        """Writes the extension records that are no longer used."""
        for number in self._recycled:
            self.put_record(number, encode_record(number, 2, 0, 0, ()))

    def used_ranges(self) -> list[tuple[int, int]]:
        """Returns the records in use as ranges: the first record, and the one after the last."""
        ranges = [(0, int(structs.END_RESERVED)), (int(SystemFile.QUOTA), int(SystemFile.REPARSE) + 1)]
        start = int(structs.FIRST_USER_RECORD)
        for number in sorted(self._recycled):
            ranges.append((start, number))
            start = number + 1
        return [*ranges, (start, self.next_record)]

    def flush(self) -> None:
        """Writes the buffered data, then the buffered records, to the disk."""
        self._allocator.flush()
        self._buffer.flush()

    def keep_gaps(self) -> None:
        """Ends the joining of records that are not consecutive: the space between them has been written."""
        self._buffer.flush()
        self._buffer = WriteBuffer(self._allocator.disk, 0)
