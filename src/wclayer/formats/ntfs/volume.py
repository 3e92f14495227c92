"""Reads NTFS volumes: records, attributes, directories, and the data of streams.

Everything that a volume says of places and lengths is checked against the volume's size before it is used, and a walk
visits no directory twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from wclayer.formats.disk import Disk
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.lznt1 import decompress
from wclayer.formats.ntfs.runs import Run, decode_runs
from wclayer.formats.ntfs.structs import (
    RECORD_MASK,
    SECTOR_SIZE,
    AttributeType,
    Namespace,
    NtfsError,
    RecordFlags,
    SystemFile,
)

_PIECE = 1 << 20
_MAX_VALUE = 256 << 20
"""The largest attribute that is read as one object: indexes and lists, not data."""
_MAX_RECORD_SIZE = 1 << 16
_GUID_SIZE = 16


@dataclass(slots=True)
class StreamAttribute:
    """An attribute, put together of its parts in all of its file's records."""

    type: int
    name: str
    flags: int
    value: bytes | None
    """Of a resident one."""
    size: int = 0
    initialized: int = 0
    compression_unit: int = 0
    """Of a compressed one: clusters, as a power of two."""
    runs: list[Run] = field(default_factory=list)

    @property
    def is_compressed(self) -> bool:
        return bool(self.flags & structs.ATTRIBUTE_COMPRESSED) and self.value is None


class FileName(NamedTuple):
    """A name of a file: the directory it is in, the name, its namespace."""

    parent: int
    name: str
    namespace: int


class DirectoryEntry(NamedTuple):
    """What a directory says of a name."""

    reference: int
    name: str
    namespace: int


class StandardInformation(NamedTuple):
    """The times (FILETIMEs), attributes and security id of a file."""

    creation_time: int
    last_write_time: int
    change_time: int
    last_access_time: int
    attributes: int
    security_id: int


@dataclass(slots=True)
class FileRecord:
    """A file: its number, flags, and attributes."""

    number: int
    sequence: int
    flags: int
    attributes: list[StreamAttribute]

    @property
    def is_directory(self) -> bool:
        return bool(self.flags & RecordFlags.DIRECTORY)

    def find(self, kind: int, name: str = "") -> StreamAttribute | None:
        """The attribute of that type and name, or None."""
        return next((a for a in self.attributes if a.type == kind and a.name == name), None)

    def information(self) -> StandardInformation:
        """Its standard information.

        Raises:
            NtfsError: it has none.
        """
        found = self.find(AttributeType.STANDARD_INFORMATION)
        if found is None or found.value is None or len(found.value) < 48:
            raise NtfsError(f"record {self.number}: no standard information")
        size = structs.STANDARD_INFORMATION.size
        creation, write, change, access, attributes, _, _, _, _, security, _, _ = structs.STANDARD_INFORMATION.unpack(
            found.value[:size].ljust(size, b"\0")
        )
        return StandardInformation(creation, write, change, access, attributes, security)

    def names(self) -> list[FileName]:
        """Its names.

        Raises:
            NtfsError: one of them is none.
        """
        return [
            _file_name(attribute.value, self.number)
            for attribute in self.attributes
            if attribute.type == AttributeType.FILE_NAME and attribute.value is not None
        ]


def _file_name(value: bytes, number: int) -> FileName:
    size = structs.FILE_NAME.size
    if len(value) < size or len(value) < size + 2 * value[size - 2]:
        raise NtfsError(f"record {number}: a name of {len(value)} bytes")
    name = value[size : size + 2 * value[size - 2]].decode("utf-16-le", "surrogatepass")
    return FileName(int.from_bytes(value[:8], "little"), name, value[size - 1])


class NtfsVolume:
    """The NTFS volume on `disk`.

    Raises:
        NtfsError: there is none.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        boot = disk.read(0, SECTOR_SIZE) if disk.size >= SECTOR_SIZE else b""
        if len(boot) < SECTOR_SIZE or boot[3:11] != structs.BOOT_OEM_ID:
            raise NtfsError("no NTFS volume: the boot sector does not say so")
        fields = structs.BOOT.unpack_from(boot)
        sector, clusters = fields[2], fields[3]
        self.sector_size: int = sector
        self.cluster_size: int = sector * (clusters if clusters <= 128 else 1 << (256 - clusters))
        self.serial = fields[19]
        if sector not in (512, 1024, 2048, 4096) or self.cluster_size & (self.cluster_size - 1):
            raise NtfsError(f"sectors of {sector} bytes, clusters of {self.cluster_size}")
        if not 512 <= self.cluster_size <= 2 << 20:
            raise NtfsError(f"clusters of {self.cluster_size} bytes")
        self.sectors: int = fields[12]
        self.clusters = min(self.sectors * sector, disk.size) // self.cluster_size
        self.record_size = self._unit(fields[15])
        self._index_size = self._unit(fields[17])
        if not 512 <= self.record_size <= _MAX_RECORD_SIZE or not 512 <= self._index_size <= _MAX_RECORD_SIZE:
            raise NtfsError(f"records of {self.record_size} bytes, index blocks of {self._index_size}")
        self._mft = StreamAttribute(
            AttributeType.DATA, "", 0, None, self.record_size, self.record_size,
            runs=[Run(fields[13], -(-self.record_size // self.cluster_size))],
        )  # fmt: skip
        whole = self.record(SystemFile.MFT).find(AttributeType.DATA)
        if whole is None or whole.value is not None:
            raise NtfsError("the MFT has no data")
        self._mft = whole
        self._descriptors: dict[int, bytes] | None = None
        self._births: dict[bytes, bytes] | None = None

    def _unit(self, number: int) -> int:
        """A size from the boot sector: clusters, or a negative power of two."""
        return number * self.cluster_size if number > 0 else 1 << min(-number, 31)

    @property
    def records(self) -> int:
        """How many records the MFT has room for."""
        return self._mft.size // self.record_size

    @property
    def label(self) -> str:
        """The volume's name."""
        found = self.record(SystemFile.VOLUME).find(AttributeType.VOLUME_NAME)
        return "" if found is None or found.value is None else found.value.decode("utf-16-le", "replace")

    # Records.

    def record(self, number: int) -> FileRecord:
        """A file by the number of its base record.

        Raises:
            NtfsError: the record is damaged, not in use, or no base record.
        """
        header, parts = self._raw_record(number)
        if header[10] & RECORD_MASK:
            raise NtfsError(f"record {number}: part of record {header[10] & RECORD_MASK}")
        listing = next((part for part in parts if part[0] == AttributeType.ATTRIBUTE_LIST), None)
        if listing is not None:
            parts = [part for part in parts if part is not listing]
            parts += self._listed(number, _attribute(listing[1], number))
        return FileRecord(number, header[4], header[7], _joined(parts, number))

    def record_offset(self, number: int) -> int:
        """Where a record is in the volume.

        Raises:
            NtfsError: the MFT has no such record, or not in one piece.
        """
        offset = number * self.record_size
        for run in self._mft.runs:
            extent = run.length * self.cluster_size
            if offset + self.record_size <= extent and run.start is not None:
                return run.start * self.cluster_size + offset
            offset -= extent
            if offset < 0:
                break
        raise NtfsError(f"record {number}: not in one piece of the MFT")

    def _raw_record(self, number: int) -> tuple[tuple[int, ...], list[tuple[int, bytes]]]:
        """A record's header and its encoded attributes, each with its type."""
        offset = number * self.record_size
        if number < 0 or offset + self.record_size > self._mft.size:
            raise NtfsError(f"record {number}: the MFT has {self.records}")
        block = bytearray(b"".join(self._read_runs(self._mft, offset, self.record_size)))
        if block[:4] != structs.RECORD_SIGNATURE:
            raise NtfsError(f"record {number}: signature {bytes(block[:4])!r} instead of {structs.RECORD_SIGNATURE!r}")
        if not structs.unprotect(block):
            raise NtfsError(f"record {number}: it was not written as a whole")
        header = structs.RECORD.unpack_from(block)
        if not header[7] & RecordFlags.IN_USE:
            raise NtfsError(f"record {number}: not in use")
        position, end = header[6], min(header[8], len(block))
        parts = []
        while position + 8 <= end:
            kind = int.from_bytes(block[position : position + 4], "little")
            if kind == structs.ATTRIBUTE_END:
                break
            length = int.from_bytes(block[position + 4 : position + 8], "little")
            if length < structs.RESIDENT.size or position + length > end:
                raise NtfsError(f"record {number}: an attribute of {length} bytes at {position}")
            parts.append((kind, bytes(block[position : position + length])))
            position += length
        return header, parts

    def _listed(self, number: int, listing: StreamAttribute) -> list[tuple[int, bytes]]:
        """The attributes that a list names in other records."""
        data = self.value(listing)
        position = 0
        others: list[int] = []
        while position + structs.LIST_ENTRY.size <= len(data):
            _, length, _, _, _, reference, _ = structs.LIST_ENTRY.unpack_from(data, position)
            if length < structs.LIST_ENTRY.size:
                raise NtfsError(f"record {number}: an entry of {length} bytes in its attribute list")
            position += length
            record = reference & RECORD_MASK
            if record != number and record not in others:
                others.append(record)
        found = []
        for other in others:
            header, parts = self._raw_record(other)
            if header[10] & RECORD_MASK != number:
                raise NtfsError(f"record {other}: named by record {number}, but not part of it")
            found += parts
        return found

    # Data.

    def value(self, attribute: StreamAttribute) -> bytes:
        """A whole attribute, which is not the data of a file.

        Raises:
            NtfsError: it is too large to be what it is.
        """
        if attribute.value is not None:
            return attribute.value
        if attribute.size > _MAX_VALUE:
            raise NtfsError(f"an attribute {attribute.type:#x} of {attribute.size} bytes")
        return b"".join(self.chunks(attribute))

    def chunks(self, attribute: StreamAttribute) -> Iterator[bytes]:
        """The bytes of an attribute, holes and what was never written as zeros.

        Raises:
            NtfsError: its runs do not hold it, or lead outside of the volume; compressed data that is none.
        """
        if attribute.value is not None:
            if attribute.value:
                yield attribute.value
            return
        if attribute.flags & structs.ATTRIBUTE_ENCRYPTED:
            raise NtfsError("an encrypted stream")
        valid = min(attribute.size, attribute.initialized)
        if attribute.is_compressed:
            yield from self._decompressed(attribute, valid)
        else:
            yield from self._read_runs(attribute, 0, valid)
        left = attribute.size - valid
        while left:
            count = min(left, _PIECE)
            yield bytes(count)
            left -= count

    def _read_runs(self, attribute: StreamAttribute, offset: int, length: int) -> Iterator[bytes]:
        size = self.cluster_size
        for run in attribute.runs:
            extent = run.length * size
            if offset >= extent:
                offset -= extent
                continue
            place = None if run.start is None else run.start * size
            if place is not None and run.start is not None and run.start + run.length > self.clusters:
                raise NtfsError(f"a run to cluster {run.start + run.length} of {self.clusters}")
            while length and offset < extent:
                count = min(length, extent - offset, _PIECE)
                yield bytes(count) if place is None else self._disk.read(place + offset, count)
                offset += count
                length -= count
            offset = 0
            if not length:
                return
        if length:
            raise NtfsError(f"an attribute of {attribute.size} bytes whose runs end {length} bytes before")

    def _decompressed(self, attribute: StreamAttribute, valid: int) -> Iterator[bytes]:
        """By compression units: one with as many clusters as it stands for is plain, one without any is zeros."""
        if not 0 < attribute.compression_unit <= 8:
            raise NtfsError(f"a compression unit of 2^{attribute.compression_unit} clusters")
        unit = 1 << attribute.compression_unit
        clusters = _each_cluster(attribute.runs)
        for _ in range(0, valid, unit * self.cluster_size):
            places = [place for _, place in zip(range(unit), clusters, strict=False)]
            present = [place for place in places if place is not None]
            count = min(valid, unit * self.cluster_size)
            valid -= count
            if any(place >= self.clusters for place in present):
                raise NtfsError(f"a run to cluster {max(present)} of {self.clusters}")
            data = b"".join(self._disk.read(place * self.cluster_size, self.cluster_size) for place in present)
            if not present:
                yield bytes(count)
            elif len(present) == unit:
                yield data[:count]
            else:
                yield decompress(data, count)

    # Directories.

    def entries(self, directory: FileRecord) -> list[DirectoryEntry]:
        """The names in a directory, without those for DOS.

        Raises:
            NtfsError: its index is damaged.
        """
        found = (_directory_entry(entry, directory.number) for entry in self._index_entries(directory, "$I30"))
        return [entry for entry in found if entry.namespace != Namespace.DOS]

    def _index_entries(self, record: FileRecord, name: str) -> Iterator[bytes]:
        """The entries of an index: of its root, and of the blocks that are in use."""
        number = record.number
        root = record.find(AttributeType.INDEX_ROOT, name)
        if root is None or root.value is None:
            raise NtfsError(f"record {number}: no index {name}")
        yield from _node_entries(root.value, structs.INDEX_ROOT.size, number)
        allocation = record.find(AttributeType.INDEX_ALLOCATION, name)
        bitmap = record.find(AttributeType.BITMAP, name)
        if allocation is None or bitmap is None:
            return
        blocks, bits = self.value(allocation), self.value(bitmap)
        size = self._index_size
        for index in range(len(blocks) // size):
            if not (index >> 3 < len(bits) and bits[index >> 3] >> (index & 7) & 1):
                continue
            block = bytearray(blocks[index * size : (index + 1) * size])
            if block[:4] != structs.INDEX_BLOCK_SIGNATURE or not structs.unprotect(block):
                raise NtfsError(f"record {number}: index block {index} is damaged")
            yield from _node_entries(bytes(block), structs.INDEX_BLOCK.size, number)

    # Object ids.

    def object_id(self, record: FileRecord) -> bytes | None:
        """The object id of a file with the three ids of its birth, 64 bytes; None if it has none.

        Raises:
            NtfsError: `$ObjId` is damaged.
        """
        own = record.find(AttributeType.OBJECT_ID)
        if own is None or own.value is None or len(own.value) < _GUID_SIZE:
            return None
        key = own.value[:_GUID_SIZE]
        if self._births is None:
            self._births = dict(self._read_births())
        return key + self._births.get(key, own.value[_GUID_SIZE:64].ljust(3 * _GUID_SIZE, b"\0"))

    def _read_births(self) -> Iterator[tuple[bytes, bytes]]:
        extend = self.record(SystemFile.EXTEND)
        number = next((e.reference & RECORD_MASK for e in self.entries(extend) if e.name == "$ObjId"), None)
        if number is None:
            return
        for entry in self._index_entries(self.record(number), "$O"):
            offset, length, _, _, key_length, _, _ = structs.VIEW_ENTRY.unpack_from(entry)
            if key_length == _GUID_SIZE and offset + length <= len(entry) and length >= 8 + 3 * _GUID_SIZE:
                key = entry[structs.VIEW_ENTRY.size : structs.VIEW_ENTRY.size + _GUID_SIZE]
                yield key, entry[offset + 8 : offset + 8 + 3 * _GUID_SIZE]

    # Security.

    def security(self, record: FileRecord, security_id: int) -> bytes | None:
        """The security descriptor of a file: its own, or the shared one of its id.

        Raises:
            NtfsError: `$Secure` is damaged.
        """
        own = record.find(AttributeType.SECURITY_DESCRIPTOR)
        if own is not None:
            return self.value(own)
        if self._descriptors is None:
            self._descriptors = self._read_descriptors()
        return self._descriptors.get(security_id)

    def _read_descriptors(self) -> dict[int, bytes]:
        try:
            stream = self.record(SystemFile.SECURE).find(AttributeType.DATA, "$SDS")
        except NtfsError:
            return {}
        data = b"" if stream is None else self.value(stream)
        found: dict[int, bytes] = {}
        position = 0
        while position + structs.SDS_ENTRY.size <= len(data):
            _, number, offset, length = structs.SDS_ENTRY.unpack_from(data, position)
            # The rest of a block is empty; the next one is its copy.
            if offset != position or not structs.SDS_ENTRY.size < length <= structs.SDS_BLOCK:
                position = (position // (2 * structs.SDS_BLOCK) + 1) * 2 * structs.SDS_BLOCK
                continue
            found[number] = data[position + structs.SDS_ENTRY.size : position + length]
            position += -(-length // structs.SDS_ALIGNMENT) * structs.SDS_ALIGNMENT
            if position // structs.SDS_BLOCK % 2:
                position = (position // structs.SDS_BLOCK + 1) * structs.SDS_BLOCK
        return found


def _each_cluster(runs: list[Run]) -> Iterator[int | None]:
    for start, length in runs:
        for index in range(length):
            yield None if start is None else start + index


def _attribute(data: bytes, number: int) -> StreamAttribute:
    kind, _, is_non_resident, name_length, name_offset, flags = structs.RESIDENT.unpack_from(data)[:6]
    if name_length and name_offset + 2 * name_length > len(data):
        raise NtfsError(f"record {number}: an attribute's name outside of it")
    name = data[name_offset : name_offset + 2 * name_length].decode("utf-16-le", "surrogatepass")
    if not is_non_resident:
        *_, length, offset, _, _ = structs.RESIDENT.unpack_from(data)
        if offset + length > len(data):
            raise NtfsError(f"record {number}: an attribute's value outside of it")
        return StreamAttribute(kind, name, flags, data[offset : offset + length], length, length)
    if len(data) < structs.NON_RESIDENT.size:
        raise NtfsError(f"record {number}: a non-resident attribute of {len(data)} bytes")
    fields = structs.NON_RESIDENT.unpack_from(data)
    runs = list(decode_runs(data[fields[9] :]))
    # Of the parts of an attribute, the first one has the sizes.
    first = fields[7] == 0
    return StreamAttribute(
        kind, name, flags, None, fields[13] if first else 0, fields[14] if first else 0, fields[10] & 0xFF, runs
    )


def _joined(parts: list[tuple[int, bytes]], number: int) -> list[StreamAttribute]:
    """The attributes, each with all of its runs: those of one type and name that are not resident are one."""
    decoded = []
    for _, data in parts:
        attribute = _attribute(data, number)
        first_vcn = structs.NON_RESIDENT.unpack_from(data)[7] if attribute.value is None else 0
        decoded.append((first_vcn, attribute))
    whole: dict[tuple[int, str], StreamAttribute] = {}
    found = []
    for first_vcn, attribute in sorted(decoded, key=lambda pair: pair[0]):
        key = (attribute.type, attribute.name)
        if attribute.value is None and first_vcn and key in whole:
            whole[key].runs += attribute.runs
            continue
        if attribute.value is None:
            whole[key] = attribute
        found.append(attribute)
    return found


def _node_entries(data: bytes, header: int, number: int) -> Iterator[bytes]:
    """The entries of an index root or block, without the last, which holds none."""
    if header + structs.INDEX_HEADER.size > len(data):
        raise NtfsError(f"record {number}: an index of {len(data)} bytes")
    offset, used, _, _, _ = structs.INDEX_HEADER.unpack_from(data, header)
    position, end = header + offset, min(header + used, len(data))
    while position + structs.INDEX_ENTRY.size <= end:
        _, length, _, flags, _ = structs.INDEX_ENTRY.unpack_from(data, position)
        if flags & structs.ENTRY_IS_LAST:
            return
        if length < structs.INDEX_ENTRY.size or position + length > end:
            raise NtfsError(f"record {number}: an index entry of {length} bytes")
        yield data[position : position + length]
        position += length


def _directory_entry(entry: bytes, number: int) -> DirectoryEntry:
    reference, _, key_length, _, _ = structs.INDEX_ENTRY.unpack_from(entry)
    name = _file_name(entry[structs.INDEX_ENTRY.size : structs.INDEX_ENTRY.size + key_length], number)
    return DirectoryEntry(reference, name.name, name.namespace)
