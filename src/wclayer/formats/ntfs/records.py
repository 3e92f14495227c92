"""Encodes attributes and MFT records, with an attribute list where one record does not hold all of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.runs import Run, decode_runs, encode_run, encode_runs
from wclayer.formats.ntfs.structs import (
    RECORD_SIZE,
    AttributeType,
    FileTooComplexError,
    NonResidentHeader,
    NtfsError,
    RecordFlags,
    RecordHeader,
    ResidentHeader,
    StandardInformation,
)
from wclayer.win32.names import collation_key, utf16_length

SEQUENCE_OFFSET = structs.RECORD.size
"""The offset of the update sequence in a record."""
FIRST_ATTRIBUTE = 0x38
"""The offset of the first attribute in a record, after the header and the update sequence."""
SECOND_ATTRIBUTE = FIRST_ATTRIBUTE + structs.RESIDENT.size + structs.STANDARD_INFORMATION.size
"""The offset in a base record of what follows the standard information: the first name, or an attribute list."""
ROOM = RECORD_SIZE - FIRST_ATTRIBUTE - 8
"""Bytes for attributes in a record, without the end mark."""
_MAX_ATTRIBUTES = structs.MAX_LIST_SIZE // 32
"""Attributes of a file: each takes at least 32 bytes of an attribute list."""
_LIST_ID = _MAX_ATTRIBUTES + 1
"""The id of an attribute list: greater than the ids of the attributes in it."""
_END = structs.ATTRIBUTE_END.to_bytes(4, "little")


@dataclass(slots=True)
class Attribute:
    """An attribute without its id: its type and name, and either its value or its runs."""

    type: int
    name: str = ""
    value: bytes | None = b""
    runs: Sequence[Run] = ()
    size: int = 0
    """Bytes of the data (non-resident attributes)."""
    allocated: int = 0
    """Bytes of the clusters, holes included (non-resident attributes)."""
    is_sparse: bool = False
    on_disk: int = 0
    """Bytes of the clusters without holes (sparse attributes)."""
    is_indexed: bool = False
    is_initialized: bool = True
    """True if the clusters hold the data; False if it reads as zeros (non-resident attributes)."""
    first_vcn: int = 0
    """The first cluster of this part within the whole (non-resident attributes). Only the first part has sizes."""

    @property
    def order(self) -> tuple[int, tuple[bytes, bytes], int]:
        """The sort key of an attribute among those of its file."""
        return self.type, collation_key(self.name), self.first_vcn

    def parts(self) -> list[Attribute]:
        """Divides the attribute into parts that each fit into a record.

        Returns:
            The parts; only the attribute itself if it fits.

        Raises:
            FileTooComplexError: its value does not fit, and cannot be divided.
        """
        if len(self.encode(0)) <= ROOM:
            return [self]
        if self.value is not None:
            raise FileTooComplexError(f"{len(self.value)} bytes of an attribute {self.type:#x} in one record")
        runs: list[Run] = []
        parts = [replace(self, runs=runs)]
        room, used, previous, vcn = self._room_for_runs(), 0, 0, 0
        for run in self.runs:
            pair, previous = encode_run(run, previous)
            if used + len(pair) > room:
                runs = []
                parts.append(Attribute(self.type, self.name, None, runs, is_sparse=self.is_sparse, first_vcn=vcn))
                pair, previous = encode_run(run, 0)
                room, used = parts[-1]._room_for_runs(), 0
            runs.append(run)
            used += len(pair)
            vcn += run.length
        return parts

    def _room_for_runs(self) -> int:
        """Returns the bytes for mapping pairs in a record that holds nothing else, without the end of the pairs."""
        return ROOM - _aligned(self._header_size() + 2 * utf16_length(self.name)) - 8

    def _header_size(self) -> int:
        return structs.NON_RESIDENT.size + (8 if self.is_sparse and not self.first_vcn else 0)

    def encode(self, number: int) -> bytes:
        """Returns the attribute with its id, aligned to 8 bytes."""
        name = self.name.encode("utf-16-le", "surrogatepass")
        flags = structs.ATTRIBUTE_SPARSE if self.is_sparse else 0
        if self.value is not None:
            head = structs.RESIDENT.size
            value_offset = _aligned(head + len(name))
            length = _aligned(value_offset + len(self.value))
            header = structs.RESIDENT.pack(
                self.type, length, 0, len(name) // 2, head, 0, number, len(self.value), value_offset,
                structs.INDEXED if self.is_indexed else 0, 0,
            )  # fmt: skip
            return ((header + name).ljust(value_offset, b"\0") + self.value).ljust(length, b"\0")
        pairs = encode_runs(self.runs)
        head = self._header_size()
        runs_offset = _aligned(head + len(name))
        length = _aligned(runs_offset + len(pairs))
        clusters = sum(run.length for run in self.runs)
        header = structs.NON_RESIDENT.pack(
            self.type, length, 1, len(name) // 2, head, flags, number, self.first_vcn,
            (self.first_vcn + clusters - 1) & 0xFFFFFFFFFFFFFFFF, runs_offset, 0, b"", self.allocated, self.size,
            self.size if self.is_initialized else 0,
        )  # fmt: skip
        if head > structs.NON_RESIDENT.size:
            header += self.on_disk.to_bytes(8, "little")
        return ((header + name).ljust(runs_offset, b"\0") + pairs).ljust(length, b"\0")


def _aligned(size: int) -> int:
    return (size + 7) & ~7


def reference(record: int, sequence: int) -> int:
    """Returns a file reference: the record's number with its sequence number."""
    return record | sequence << structs.SEQUENCE_SHIFT


def encode_record(
    number: int,
    sequence: int,
    flags: RecordFlags | int,
    links: int,
    attributes: Sequence[bytes],
    *,
    base: int = 0,
    next_id: int = 0,
) -> bytes:
    """Returns a record with encoded attributes. `structs.protect` makes of it what is on the disk.

    Raises:
        NtfsError: the attributes do not fit.
    """
    body = b"".join(attributes)
    if len(body) > ROOM:
        raise NtfsError(f"record {number}: {len(body)} bytes of attributes")
    used = FIRST_ATTRIBUTE + len(body) + 8
    header = structs.RECORD.pack(
        structs.RECORD_SIGNATURE, SEQUENCE_OFFSET, RECORD_SIZE // structs.UPDATE_STRIDE + 1, 0, sequence, links,
        FIRST_ATTRIBUTE, flags, used, RECORD_SIZE, base, next_id, 0, number,
    )  # fmt: skip
    record = header.ljust(FIRST_ATTRIBUTE, b"\0") + body + _END
    return record.ljust(RECORD_SIZE, b"\0")


@dataclass(frozen=True, slots=True)
class PackedRecords:
    """The records of a file: the base record, and the extension records with their numbers, which hold the rest."""

    base: bytes
    extensions: list[tuple[int, bytes]]


def pack_records(
    number: int,
    sequence: int,
    flags: RecordFlags | int,
    links: int,
    attributes: Sequence[Attribute],
    new_record: Callable[[], int],
    store: Callable[[bytes, int], Attribute],
) -> PackedRecords:
    """Encodes the records of a file, its attributes in order of type and name.

    Args:
        number, sequence, flags, links: see `encode_record`.
        attributes: the attributes of the file, in any order.
        new_record: returns the number of a further record, whose sequence number is 1.
        store: writes a value into clusters, and returns the non-resident attribute of the given type that holds it.

    Raises:
        FileTooComplexError: NTFS has no room for so many attributes of one file.
    """
    if len(attributes) > _MAX_ATTRIBUTES:
        raise FileTooComplexError(f"{len(attributes)} names, streams and other attributes of one file")
    ordered = sorted(attributes, key=lambda attribute: attribute.order)
    encoded = [attribute.encode(index) for index, attribute in enumerate(ordered)]
    if sum(map(len, encoded)) <= ROOM:
        return PackedRecords(encode_record(number, sequence, flags, links, encoded, next_id=len(encoded)), [])
    # Large values are moved into clusters first; attributes that still do not fit go into further records.
    used = sum(map(len, encoded))
    for index in sorted(range(len(ordered)), key=lambda index: -len(ordered[index].value or b"")):
        attribute = ordered[index]
        if attribute.value is not None and attribute.type in _MOVABLE and len(attribute.value) > 48:
            stored = store(attribute.value, attribute.type)
            attribute.value, attribute.runs = None, stored.runs
            attribute.size, attribute.allocated = stored.size, stored.allocated
            used -= len(encoded[index])
            encoded[index] = attribute.encode(index)
            used += len(encoded[index])
            if used <= ROOM:
                return PackedRecords(encode_record(number, sequence, flags, links, encoded, next_id=len(encoded)), [])
    return _with_list(number, sequence, flags, links, ordered, new_record, store)


_MOVABLE = frozenset(
    (AttributeType.DATA, AttributeType.REPARSE_POINT, AttributeType.EA, AttributeType.SECURITY_DESCRIPTOR,
     AttributeType.BITMAP)
)  # fmt: skip


def _with_list(
    number: int,
    sequence: int,
    flags: RecordFlags | int,
    links: int,
    ordered: Sequence[Attribute],
    new_record: Callable[[], int],
    store: Callable[[bytes, int], Attribute],
) -> PackedRecords:
    # The base record keeps the attributes that always come first, and the list; the others are distributed.
    kept: list[bytes] = []
    extensions: list[tuple[int, list[bytes]]] = []
    entries = bytearray()
    room = 0
    own = reference(number, sequence)
    # An id is unique within a record. Each part of a divided attribute has a record of its own.
    for index, part in enumerate(part for attribute in ordered for part in attribute.parts()):
        encoded = part.encode(index)
        place = own
        if part.type == AttributeType.STANDARD_INFORMATION:
            kept.append(encoded)
        else:
            if len(encoded) > room:
                extensions.append((new_record(), []))
                room = ROOM
            record, parts = extensions[-1]
            parts.append(encoded)
            room -= len(encoded)
            place = reference(record, 1)
        name = part.name.encode("utf-16-le", "surrogatepass")
        length = _aligned(structs.LIST_ENTRY.size + len(name))
        entry = structs.LIST_ENTRY.pack(
            part.type, length, len(name) // 2, structs.LIST_ENTRY.size, part.first_vcn, place, index
        )
        entries += (entry + name).ljust(length, b"\0")
        if len(entries) > structs.MAX_LIST_SIZE:
            raise FileTooComplexError(
                f"its names, streams and pieces take more than the {structs.MAX_LIST_SIZE} bytes of an attribute list"
            )
    listing = Attribute(AttributeType.ATTRIBUTE_LIST, value=bytes(entries))
    if sum(map(len, kept)) + len(listing.encode(0)) > ROOM:
        listing = store(bytes(entries), AttributeType.ATTRIBUTE_LIST)
    kept.insert(1, listing.encode(_LIST_ID))
    base = encode_record(number, sequence, flags, links, kept, next_id=_LIST_ID + 1)
    return PackedRecords(
        base,
        [
            (record, encode_record(record, 1, RecordFlags.IN_USE, 0, parts, base=own, next_id=_LIST_ID))
            for record, parts in extensions
        ],
    )


def decode_record(record: bytes) -> tuple[int, list[Attribute]]:
    """Decodes a record that `encode_record` made.

    Returns:
        The reference of its base record (0 if it is a base record), and its attributes.
    """
    header = RecordHeader._make(structs.RECORD.unpack_from(record))
    return header.base, [_decode_attribute(record[start:end]) for start, end in attribute_ranges(record)]


def attribute_ranges(record: bytes) -> Iterator[tuple[int, int]]:
    """Yields where each attribute of a record begins and ends."""
    start = FIRST_ATTRIBUTE
    while (head := record[start : start + 8])[:4] != _END:
        end = start + int.from_bytes(head[4:], "little")
        yield start, end
        start = end


def security_id(record: bytes) -> int:
    """Returns the security id in a base record."""
    offset = FIRST_ATTRIBUTE + structs.RESIDENT.size
    return StandardInformation._make(structs.STANDARD_INFORMATION.unpack_from(record, offset)).security_id


def has_list(page: bytearray, start: int) -> bool:
    """Returns whether the base record at an offset has an attribute list."""
    return page[start + SECOND_ATTRIBUTE] == AttributeType.ATTRIBUTE_LIST


def link_count(page: bytearray, start: int) -> int:
    """Returns how many names the file has whose base record is at an offset."""
    return RecordHeader._make(structs.RECORD.unpack_from(page, start)).links


def names_in(record: bytes) -> list[bytes]:
    """Returns the values of the names in a base record.

    Returns:
        Nothing if the record has an attribute list: the names are in other records.
    """
    found = []
    place = SECOND_ATTRIBUTE
    while record[place] == AttributeType.FILE_NAME:
        value = place + structs.RESIDENT.size
        name = value + structs.FILE_NAME.size
        found.append(record[value : name + 2 * record[name - 2]])
        place += int.from_bytes(record[place + 4 : place + 8], "little")
    return found


def replace_attribute(record: bytes, kind: AttributeType, attributes: Sequence[Attribute]) -> bytes | None:
    """Returns a record with other attributes in the place of one.

    Args:
        record: a base record.
        kind: the type of the attribute, of which the record has one.
        attributes: the new attributes, in their order.

    Returns:
        None if the record has no room for them, or has no such attribute.
    """
    place = FIRST_ATTRIBUTE
    while record[place : place + 4] != _END:
        end = place + int.from_bytes(record[place + 4 : place + 8], "little")
        if record[place] == kind:
            header = RecordHeader._make(structs.RECORD.unpack_from(record))
            encoded = b"".join(a.encode(number) for number, a in enumerate(attributes, header.next_id))
            used = header.used + len(encoded) - (end - place)
            if used > RECORD_SIZE:
                return None
            rest = record[end : header.used]
            header = header._replace(next_id=header.next_id + len(attributes), used=used)
            head = structs.RECORD.pack(*header) + record[structs.RECORD.size : place]
            return (head + encoded + rest).ljust(RECORD_SIZE, b"\0")
        place = end
    return None


def insert_name(page: bytearray, start: int, value: bytes) -> bool:
    """Adds a name to the file whose base record is at an offset, after its other names.

    Args:
        page: the bytes with the record.
        start: where the record begins in them.
        value: the FILE_NAME attribute.

    Returns:
        False if the record has no room; then nothing is changed.
    """
    header = RecordHeader._make(structs.RECORD.unpack_from(page, start))
    encoded = Attribute(AttributeType.FILE_NAME, value=value, is_indexed=True).encode(header.next_id)
    used = header.used + len(encoded)
    if used > RECORD_SIZE:
        return False
    header = header._replace(links=header.links + 1, next_id=header.next_id + 1, used=used)
    place = start + SECOND_ATTRIBUTE
    while page[place] == AttributeType.FILE_NAME:
        place += int.from_bytes(page[place + 4 : place + 8], "little")
    page[place : start + used] = encoded + page[place : start + used - len(encoded)]
    structs.RECORD.pack_into(page, start, *header)
    return True


def _decode_attribute(data: bytes) -> Attribute:
    resident = ResidentHeader._make(structs.RESIDENT.unpack_from(data))
    name_end = resident.name_offset + 2 * resident.name_length
    name = data[resident.name_offset : name_end].decode("utf-16-le", "surrogatepass")
    if not resident.is_non_resident:
        value = data[resident.value_offset : resident.value_offset + resident.value_length]
        return Attribute(resident.type, name, value, is_indexed=bool(resident.is_indexed))
    header = NonResidentHeader._make(structs.NON_RESIDENT.unpack_from(data))
    is_sparse = bool(header.flags & structs.ATTRIBUTE_SPARSE)
    on_disk = int.from_bytes(data[structs.NON_RESIDENT.size : structs.NON_RESIDENT.size + 8], "little")
    return Attribute(
        header.type, name, None, list(decode_runs(data[header.runs_offset :])), header.size, header.allocated,
        is_sparse, on_disk if is_sparse and not header.first_vcn else 0, first_vcn=header.first_vcn,
    )  # fmt: skip
