"""Encodes attributes and MFT records, with an attribute list where one record does not hold all of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
)
from wclayer.win32.names import collation_key, utf16_length

_SEQUENCE_OFFSET = structs.RECORD.size
_FIRST_ATTRIBUTE = 0x38
_ROOM = RECORD_SIZE - _FIRST_ATTRIBUTE - 8
"""Bytes for attributes in a record, without the end mark."""
_MAX_ATTRIBUTES = structs.MAX_LIST_SIZE // 32
"""Attributes of a file: each takes at least 32 bytes of an attribute list."""
_LIST_ID = _MAX_ATTRIBUTES + 1
"""The id of an attribute list: greater than the ids of the attributes in it."""
_RESIDENT_SIZE = structs.RESIDENT.size
_STANDARD_INFORMATION = int(AttributeType.STANDARD_INFORMATION)
_FILE_NAME = int(AttributeType.FILE_NAME)
_DATA = int(AttributeType.DATA)
_pack_resident = structs.RESIDENT.pack


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
        if len(self.encode(0)) <= _ROOM:
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
        return _ROOM - _aligned(self._header_size() + 2 * utf16_length(self.name)) - 8

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
    """Returns a record with encoded attributes.

    Raises:
        NtfsError: the attributes do not fit.
    """
    body = b"".join(attributes)
    if len(body) > _ROOM:
        raise NtfsError(f"record {number}: {len(body)} bytes of attributes")
    used = _FIRST_ATTRIBUTE + len(body) + 8
    header = structs.RECORD.pack(
        structs.RECORD_SIGNATURE, _SEQUENCE_OFFSET, RECORD_SIZE // structs.UPDATE_STRIDE + 1, 0, sequence, links,
        _FIRST_ATTRIBUTE, flags, used, RECORD_SIZE, base, next_id, 0, number,
    )  # fmt: skip
    record = bytearray(header.ljust(_FIRST_ATTRIBUTE, b"\0") + body + structs.ATTRIBUTE_END.to_bytes(4, "little"))
    record += bytes(RECORD_SIZE - len(record))
    structs.protect(record, 1)
    return bytes(record)


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
    if sum(map(len, encoded)) <= _ROOM:
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
            if used <= _ROOM:
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
                room = _ROOM
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
    if sum(map(len, kept)) + len(listing.encode(0)) > _ROOM:
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


def encode_plain_record(
    number: int, information: bytes, file_name: bytes, content: bytes | Run, size: int, allocated: int
) -> bytes | None:
    """Encodes the record of a plain file: standard information, one name and one data stream.

    Nearly every file is plain. The result is that of `encode_record` and `Attribute.encode`, in less time.

    Args:
        number: the record's number; its sequence number is 1.
        information: the value of the STANDARD_INFORMATION attribute.
        file_name: the value of the FILE_NAME attribute.
        content: the data, or the run that holds them.
        size: how many bytes of data there are.
        allocated: how many bytes the run has.

    Returns:
        The record; None if the attributes do not fit into one.
    """
    name_length = _aligned(_RESIDENT_SIZE + len(file_name))
    body = bytearray(
        _pack_resident(
            _STANDARD_INFORMATION, _RESIDENT_SIZE + len(information), 0, 0, _RESIDENT_SIZE, 0, 0, len(information),
            _RESIDENT_SIZE, 0, 0,
        )
    )  # fmt: skip
    body += information
    body += _pack_resident(
        _FILE_NAME, name_length, 0, 0, _RESIDENT_SIZE, 0, 1, len(file_name), _RESIDENT_SIZE, structs.INDEXED, 0
    )
    body += file_name.ljust(name_length - _RESIDENT_SIZE, b"\0")
    if isinstance(content, bytes):
        length = _aligned(_RESIDENT_SIZE + size)
        body += _pack_resident(_DATA, length, 0, 0, _RESIDENT_SIZE, 0, 2, size, _RESIDENT_SIZE, 0, 0)
        body += content.ljust(length - _RESIDENT_SIZE, b"\0")
    else:
        pairs = encode_runs((content,))
        offset = structs.NON_RESIDENT.size
        length = _aligned(offset + len(pairs))
        body += structs.NON_RESIDENT.pack(
            _DATA, length, 1, 0, offset, 0, 2, 0, content.length - 1, offset, 0, b"", allocated, size, size
        )
        body += pairs.ljust(length - offset, b"\0")
    if len(body) > _ROOM:
        return None
    used = _FIRST_ATTRIBUTE + len(body) + 8
    record = bytearray(RECORD_SIZE)
    structs.RECORD.pack_into(
        record, 0, structs.RECORD_SIGNATURE, _SEQUENCE_OFFSET, 3, 0, 1, 1, _FIRST_ATTRIBUTE, RecordFlags.IN_USE, used,
        RECORD_SIZE, 0, 3, 0, number,
    )  # fmt: skip
    end = _FIRST_ATTRIBUTE + len(body)
    record[_FIRST_ATTRIBUTE:end] = body
    record[end : end + 4] = b"\xff\xff\xff\xff"
    # The update sequence, of two sectors.
    record[_SEQUENCE_OFFSET : _SEQUENCE_OFFSET + 6] = b"\1\0" + record[510:512] + record[1022:1024]
    record[510:512] = record[1022:1024] = b"\1\0"
    return bytes(record)


def decode_record(record: bytes) -> tuple[int, list[Attribute]]:
    """Decodes a record that `encode_record` made.

    Returns:
        The reference of its base record (0 if it is a base record), and its attributes.

    Raises:
        NtfsError: the record was not written as a whole.
    """
    block = bytearray(record)
    if block[:4] != structs.RECORD_SIGNATURE or not structs.unprotect(block):
        raise NtfsError("not a record: the signature or the update sequence is wrong")
    header = RecordHeader._make(structs.RECORD.unpack_from(block))
    position = header.first_attribute
    found = []
    while int.from_bytes(block[position : position + 4], "little") != structs.ATTRIBUTE_END:
        length = int.from_bytes(block[position + 4 : position + 8], "little")
        found.append(_decode_attribute(bytes(block[position : position + length])))
        position += length
    return header.base, found


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
