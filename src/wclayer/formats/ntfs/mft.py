"""The master file table of a new volume: it grows by runs that become longer, and a bounded part of it is in memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.allocator import ClusterAllocator
from wclayer.formats.ntfs.records import SEQUENCE_OFFSET, Attribute, decode_record, pack_records
from wclayer.formats.ntfs.runs import Run
from wclayer.formats.ntfs.structs import RECORD_SIZE, AttributeType, ListEntry, NtfsError, RecordFlags, SystemFile

PAGE_RECORDS = 16
"""Records of a page, the part of the MFT that is read or written at a time: few, since further names of files come in
any order."""
_PAGE = PAGE_RECORDS * RECORD_SIZE
_KEPT_PAGES = 512
_FIRST_PAGES = 16
_LARGE_RUN = 64 << 20


def mft_growth(size: int) -> int:
    """Returns by how many bytes an MFT of `size` bytes grows: whole pages.

    The runs of the largest possible MFT fit into its own record, which is read before any other.
    """
    return -(-min(max(_FIRST_PAGES * _PAGE, size // 2), max(_LARGE_RUN, size // 8)) // _PAGE) * _PAGE


class MasterFileTable:
    """The records of a new volume.

    In memory they are without their update sequences, which are inserted in all records of a page when it is written.
    """

    def __init__(self, allocator: ClusterAllocator) -> None:
        self._allocator = allocator
        self.runs: list[Run] = []
        self.next_record = int(structs.FIRST_USER_RECORD)
        """The number of the next record that `new_record` returns."""
        self._recycled = array("I")
        """Records that were extension records, and are unused."""
        self._places = array("Q")
        """The byte offsets in the volume of the pages for which clusters are allocated."""
        self._pages: dict[int, bytearray] = {}
        """The pages in memory, the one that was used last at the end."""
        self._changed: set[int] = set()
        self._made = 0
        """The number of the first page after those that are in memory or on the disk."""
        self._last = -1
        """The page that was used last, and is marked as changed; -1 for none."""
        self._last_data = bytearray()
        self.grow()

    @property
    def records(self) -> int:
        """The number of records for which the allocated clusters have room."""
        return len(self._places) * PAGE_RECORDS

    @property
    def offset(self) -> int:
        """The byte offset of the first record in the volume."""
        return self._places[0]

    def grow(self) -> None:
        """Allocates clusters for further records.

        Raises:
            OutOfSpaceError: the volume is full.
        """
        allocation = self._allocator.allocate(mft_growth(self.records * RECORD_SIZE))
        self.runs.append(allocation.run)
        self._places.extend(range(allocation.offset, allocation.offset + allocation.size, _PAGE))

    def new_record(self) -> int:
        """Returns the number of an unused record, whose sequence number is 1."""
        number = self.next_record
        self.next_record = number + 1
        return number

    def place(self, number: int) -> tuple[bytearray, int]:
        """Returns where a record is that will be changed: the bytes of its page, and its offset in them.

        They are valid until the next call of a method.
        """
        page = number // PAGE_RECORDS
        if page != self._last:
            self._last_data = self._page(page)
            self._changed.add(page)
            self._last = page
        return self._last_data, number % PAGE_RECORDS * RECORD_SIZE

    def records_from(self, number: int, count: int) -> Iterator[bytes]:
        """Yields the bytes of consecutive records without their update sequences, those of a page at a time."""
        while count:
            start = number % PAGE_RECORDS
            taken = min(count, PAGE_RECORDS - start)
            page = self._page(number // PAGE_RECORDS)
            yield bytes(page[start * RECORD_SIZE : (start + taken) * RECORD_SIZE])
            number += taken
            count -= taken

    def record(self, number: int) -> bytes:
        """Returns the bytes of a record without its update sequence."""
        return next(self.records_from(number, 1))

    def put_record(self, number: int, record: bytes) -> None:
        """Stores an encoded record."""
        page, offset = self.place(number)
        page[offset : offset + RECORD_SIZE] = record

    def _page(self, page: int) -> bytearray:
        data = self._pages.pop(page, None)
        if data is None:
            while page >= len(self._places):
                self.grow()
            if len(self._pages) >= _KEPT_PAGES:
                self._forget(next(iter(self._pages)))
            data = self._read_page(page) if page < self._made else bytearray(_PAGE)
            self._made = max(self._made, page + 1)
        self._pages[page] = data
        return data

    def _forget(self, page: int) -> None:
        if page in self._changed:
            self._write_page(page)
            self._changed.remove(page)
        if page == self._last:
            self._last = -1
        del self._pages[page]

    def _read_page(self, page: int) -> bytearray:
        data = bytearray(self._allocator.disk.read(self._places[page], _PAGE))
        if not structs.unprotect_all(data, RECORD_SIZE, SEQUENCE_OFFSET):
            raise NtfsError(f"the MFT page {page} reads differently from what was written")
        return data

    def _write_page(self, page: int) -> None:
        data = bytearray(self._pages[page])
        structs.protect_all(data, RECORD_SIZE, SEQUENCE_OFFSET)
        self._allocator.disk.write(self._places[page], data)

    def put_file(
        self, number: int, sequence: int, flags: RecordFlags | int, links: int, attributes: Sequence[Attribute]
    ) -> None:
        """Stores the base record of a file, and extension records if one does not hold all attributes.

        Raises:
            FileTooComplexError: NTFS has no room for so many attributes of one file.
        """
        packed = pack_records(number, sequence, flags, links, attributes, self._extension_record, self._allocator.store)
        self.put_record(number, packed.base)
        for extension, record in packed.extensions:
            self.put_record(extension, record)

    def _extension_record(self) -> int:
        return self._recycled.pop() if self._recycled else self.new_record()

    def attributes(self, number: int) -> Iterator[Attribute]:
        """Yields the attributes of a file, in parts where several records hold one, and its attribute list first."""
        _, parts = decode_record(self.record(number))
        yield from parts
        for extension in self._extensions(number, parts):
            yield from decode_record(self.record(extension))[1]

    def take_file(self, number: int) -> list[Attribute]:
        """Returns the attributes of a file that is to be stored again. Its extension records become unused."""
        _, parts = decode_record(self.record(number))
        extensions = self._extensions(number, parts)
        for extension in extensions:
            parts += decode_record(self.record(extension))[1]
        self._recycled.extend(extensions)
        found: list[Attribute] = []
        runs: list[Run] = []
        for part in parts:
            if part.first_vcn:
                # The parts of an attribute are in order.
                runs.extend(part.runs)
            elif part.type == AttributeType.ATTRIBUTE_LIST:
                self._allocator.free(part.runs)
            else:
                part.runs = runs = list(part.runs)
                found.append(part)
        return found

    def _extensions(self, number: int, parts: Sequence[Attribute]) -> list[int]:
        """Returns the extension records that the attribute list among the parts of a base record names, in order."""
        found: dict[int, None] = {}
        for part in parts:
            if part.type == AttributeType.ATTRIBUTE_LIST:
                found |= dict.fromkeys(self._listed(part))
        found.pop(number, None)
        return list(found)

    def _listed(self, attribute: Attribute) -> Iterator[int]:
        """Yields the records that an attribute list names."""
        value = attribute.value
        if value is None:
            self._allocator.flush()
            start = attribute.runs[0].start or 0
            value = self._allocator.disk.read(start * self._allocator.cluster_size, attribute.size)
        position = 0
        while position < len(value):
            entry = ListEntry._make(structs.LIST_ENTRY.unpack_from(value, position))
            position += entry.length
            yield entry.record & structs.RECORD_MASK

    def used_ranges(self) -> list[tuple[int, int]]:
        """Returns the records in use as ranges: the first record, and the one after the last."""
        ranges = [(0, int(structs.END_RESERVED)), (int(SystemFile.QUOTA), int(SystemFile.REPARSE) + 1)]
        start = int(structs.FIRST_USER_RECORD)
        for number in sorted(self._recycled):
            ranges.append((start, number))
            start = number + 1
        return [*ranges, (start, self.next_record)]

    def flush(self) -> None:
        """Writes the buffered data, then the changed records, to the disk."""
        self._allocator.flush()
        for page in sorted(self._changed):
            self._write_page(page)
        self._changed.clear()
        self._last = -1
