"""Reads NTFS volumes: records, attributes, directories, and the data of streams.

Offsets and lengths that a volume states are checked against the volume's size before they are used. Memory is bounded:
it holds a file's records, a path of blocks through an index, a piece of data, and some descriptors.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from wclayer.formats.disk import Disk
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.lznt1 import decompress
from wclayer.formats.ntfs.runs import Run, RunList, decode_runs
from wclayer.formats.ntfs.structs import (
    RECORD_MASK,
    SECTOR_SIZE,
    AttributeType,
    Namespace,
    NonResidentHeader,
    NtfsError,
    RecordFlags,
    RecordHeader,
    SystemFile,
)

_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)
_MAX_VALUE = 1 << 20
"""Bytes of the largest attribute that is read as one object: descriptors, lists, reparse data, EAs."""
_MAX_RECORD_SIZE = 4096
"""Bytes; volumes have records of 1,024 bytes, or of 4,096 on disks with sectors of that size."""
_MAX_INDEX_BLOCK = 1 << 16
_MAX_INDEX_DEPTH = 24
_MAX_ATTRIBUTES = 1 << 14
"""Attributes in all records of a file: twice the number that an attribute list can name."""
_MAX_COMPRESSION_UNIT = 1 << 20
"""Bytes; NTFS has units of 16 clusters of up to 4 KiB."""
_DESCRIPTOR_CACHE = 16 << 20
_GUID_SIZE = 16


_NO_RUNS = RunList()
_DIRECTORY = int(RecordFlags.DIRECTORY)
_IN_USE = int(RecordFlags.IN_USE)


@dataclass(slots=True)
class StreamAttribute:
    """An attribute, joined from its parts in all records of its file."""

    type: int
    name: str
    flags: int
    value: bytes | None
    """The value of a resident attribute; None for a non-resident one."""
    size: int = 0
    initialized: int = 0
    compression_unit: int = 0
    """Clusters of a compression unit, as a power of two (compressed attributes)."""
    runs: RunList = _NO_RUNS
    """The clusters; empty for a resident attribute."""

    @property
    def is_compressed(self) -> bool:
        return bool(self.flags & structs.ATTRIBUTE_COMPRESSED) and self.value is None


class FileName(NamedTuple):
    """A name of a file: the reference of the parent directory, the name, and its namespace."""

    parent: int
    name: str
    namespace: int


class DirectoryEntry(NamedTuple):
    """An entry of a directory."""

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
        return bool(self.flags & _DIRECTORY)

    def find(self, kind: int, name: str = "") -> StreamAttribute | None:
        """Returns the attribute of that type and name, or None."""
        return next((a for a in self.attributes if a.type == kind and a.name == name), None)

    def information(self) -> StandardInformation:
        """Returns the standard information of the file.

        Raises:
            NtfsError: the file has no standard information.
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
        """Returns the names of the file.

        Raises:
            NtfsError: a name is damaged.
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
        NtfsError: the disk holds no sound NTFS volume.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        boot = disk.read(0, SECTOR_SIZE) if disk.size >= SECTOR_SIZE else b""
        if len(boot) < SECTOR_SIZE or boot[3:11] != structs.BOOT_OEM_ID:
            raise NtfsError("no NTFS volume: the boot sector does not say so")
        fields = structs.BootSector._make(structs.BOOT.unpack_from(boot))
        sector, clusters = fields.sector_size, fields.sectors_per_cluster
        self.sector_size: int = sector
        self.cluster_size: int = sector * (clusters if clusters <= 128 else 1 << (256 - clusters))
        self.serial = fields.serial
        if sector not in (512, 1024, 2048, 4096) or self.cluster_size & (self.cluster_size - 1):
            raise NtfsError(f"sectors of {sector} bytes, clusters of {self.cluster_size}")
        if not 512 <= self.cluster_size <= 2 << 20:
            raise NtfsError(f"clusters of {self.cluster_size} bytes")
        self.sectors = fields.sectors
        self.clusters = min(self.sectors * sector, disk.size) // self.cluster_size
        self.record_size = self._unit(fields.record_size)
        self._index_size = self._unit(fields.index_block_size)
        if not 512 <= self.record_size <= _MAX_RECORD_SIZE or not 512 <= self._index_size <= _MAX_INDEX_BLOCK:
            raise NtfsError(f"records of {self.record_size} bytes, index blocks of {self._index_size}")
        self._mft = StreamAttribute(
            AttributeType.DATA, "", 0, None, self.record_size, self.record_size,
            runs=RunList([Run(fields.mft_cluster, -(-self.record_size // self.cluster_size))]),
        )  # fmt: skip
        self._mft = self._find_mft()
        self._secure: FileRecord | None = None
        self._object_ids: FileRecord | None = None
        self._descriptors: OrderedDict[int, bytes] = OrderedDict()
        self._descriptor_bytes = 0

    def _unit(self, number: int) -> int:
        """Returns the bytes of a size in the boot sector, which is in clusters or a negative power of two."""
        return number * self.cluster_size if number > 0 else 1 << min(-number, 31)

    @property
    def records(self) -> int:
        """The number of records that the MFT has room for."""
        return self._mft.size // self.record_size

    @property
    def label(self) -> str:
        """The volume's name."""
        found = self.record(SystemFile.VOLUME).find(AttributeType.VOLUME_NAME)
        return "" if found is None or found.value is None else found.value.decode("utf-16-le", "replace")

    # Records.

    def _find_mft(self) -> StreamAttribute:
        """Returns the data attribute of the MFT.

        The records with the further parts of its runs are in the parts before.
        """
        _, parts = self._raw_record(SystemFile.MFT)
        whole = next(
            (a for _, a in _pieces(parts, SystemFile.MFT) if a.type == AttributeType.DATA and not a.name), None
        )
        if whole is None or whole.value is not None:
            raise NtfsError("the MFT has no data")
        self._mft = whole
        size, whole.size = whole.size, min(whole.size, whole.runs.clusters * self.cluster_size)
        for kind, vcn, record in self._list_entries(SystemFile.MFT, parts):
            if kind == AttributeType.DATA and vcn:
                part = next(
                    (a for first, a in _pieces(self._extension(record, SystemFile.MFT), record)
                     if a.type == kind and not a.name and first == vcn == whole.runs.clusters),
                    None,
                )  # fmt: skip
                if part is None:
                    raise NtfsError(f"record {record}: the MFT's clusters from {whole.runs.clusters} are not in it")
                whole.runs.extend(part.runs)
                whole.size = min(size, whole.runs.clusters * self.cluster_size)
        if whole.size < size:
            raise NtfsError(f"an MFT of {size} bytes in {whole.runs.clusters} clusters of {self.cluster_size} bytes")
        return whole

    def record(self, number: int) -> FileRecord:
        """Returns the file whose base record has the number `number`.

        Raises:
            NtfsError: the record is damaged, not in use, or not a base record.
        """
        header, parts = self._raw_record(number)
        if header.base & RECORD_MASK:
            raise NtfsError(f"record {number}: part of record {header.base & RECORD_MASK}")
        others = {record for _, _, record in self._list_entries(number, parts)} - {number}
        for other in sorted(others):
            parts += self._extension(other, number)
            if len(parts) > _MAX_ATTRIBUTES:
                raise NtfsError(f"record {number}: a file of more than {_MAX_ATTRIBUTES} attributes")
        return FileRecord(number, header.sequence, header.flags, _joined(parts, number))

    def record_offset(self, number: int) -> int:
        """Returns the byte offset of a record in the volume.

        Raises:
            NtfsError: the MFT has no such record, or the record is in several pieces.
        """
        return self._checked_place(self._mft, number)

    def mirror_offset(self, number: int) -> int | None:
        """Returns the byte offset, in the volume, of the copy of a record in `$MFTMirr`; None if there is no copy.

        Raises:
            NtfsError: `$MFTMirr` is damaged.
        """
        mirror = self.record(SystemFile.MFT_MIRROR).find(AttributeType.DATA)
        if mirror is None or mirror.value is not None:
            raise NtfsError("$MFTMirr has no clusters")
        self._check(mirror)
        return self._checked_place(mirror, number) if (number + 1) * self.record_size <= mirror.size else None

    def _checked_place(self, records: StreamAttribute, number: int) -> int:
        place = self._place(records, number)
        if place is None:
            raise NtfsError(f"record {number}: not in one piece of the MFT")
        return place

    def _place(self, records: StreamAttribute, number: int) -> int | None:
        """Returns the byte offset of a record in the volume; None if the record is not in one run."""
        cluster, within = divmod(number * self.record_size, self.cluster_size)
        run = next(records.runs.from_cluster(cluster), None)
        if run is None or run.start is None or within + self.record_size > run.length * self.cluster_size:
            return None
        if run.start + run.length > self.clusters:
            raise NtfsError(f"a run to cluster {run.start + run.length} of {self.clusters}")
        return run.start * self.cluster_size + within

    def _raw_record(self, number: int) -> tuple[RecordHeader, list[tuple[int, bytes]]]:
        """Returns a record's header and its encoded attributes, each with its type."""
        offset = number * self.record_size
        if number < 0 or offset + self.record_size > self._mft.size:
            raise NtfsError(f"record {number}: the MFT has {self.records}")
        place = self._place(self._mft, number)
        if place is not None:
            block = bytearray(self._disk.read(place, self.record_size))
        else:
            block = bytearray(b"".join(self.chunks(self._mft, offset, offset + self.record_size)))
        if block[:4] != structs.RECORD_SIGNATURE:
            raise NtfsError(f"record {number}: signature {bytes(block[:4])!r} instead of {structs.RECORD_SIGNATURE!r}")
        if not structs.unprotect(block):
            raise NtfsError(f"record {number}: it was not written as a whole")
        header = RecordHeader._make(structs.RECORD.unpack_from(block))
        if not header.flags & _IN_USE:
            raise NtfsError(f"record {number}: not in use")
        position, end = header.first_attribute, min(header.used, len(block))
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

    def _list_entries(self, number: int, parts: list[tuple[int, bytes]]) -> Iterator[tuple[int, int, int]]:
        """Yields the entries of the attribute list among a record's attributes: type, first cluster, record."""
        listing = next((data for kind, data in parts if kind == AttributeType.ATTRIBUTE_LIST), None)
        if listing is None:
            return
        _, attribute = _piece(listing, number)
        if attribute.size > structs.MAX_LIST_SIZE:
            raise NtfsError(f"record {number}: an attribute list of {attribute.size} bytes")
        data = self.value(attribute)
        position = 0
        while position + structs.LIST_ENTRY.size <= len(data):
            kind, length, _, _, vcn, reference, _ = structs.LIST_ENTRY.unpack_from(data, position)
            if length < structs.LIST_ENTRY.size:
                raise NtfsError(f"record {number}: an entry of {length} bytes in its attribute list")
            position += length
            yield kind, vcn, reference & RECORD_MASK

    def _extension(self, number: int, base: int) -> list[tuple[int, bytes]]:
        """Returns the attributes in a record that an attribute list names."""
        header, parts = self._raw_record(number)
        if number != base and header.base & RECORD_MASK != base:
            raise NtfsError(f"record {number}: named by record {base}, but not part of it")
        return parts

    # Data.

    def value(self, attribute: StreamAttribute) -> bytes:
        """Returns the whole value of an attribute other than the data of a file.

        Raises:
            NtfsError: the value is larger than any attribute of its type.
        """
        if attribute.value is not None:
            return attribute.value
        if attribute.size > _MAX_VALUE:
            raise NtfsError(f"an attribute {attribute.type:#x} of {attribute.size} bytes")
        return b"".join(self.chunks(attribute))

    def chunks(self, attribute: StreamAttribute, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yields the bytes of an attribute, or those from `start` to `end`. Holes and bytes never written are zeros.

        Raises:
            NtfsError: the runs are too short for it, or lead outside of the volume; compressed data is invalid, or is
                not read from its start.
        """
        end = attribute.size if end is None else min(end, attribute.size)
        if attribute.value is not None:
            if attribute.value[start:end]:
                yield attribute.value[start:end]
            return
        self._check(attribute)
        valid = max(start, min(end, attribute.initialized))
        if attribute.is_compressed:
            if start:
                raise NtfsError("a compressed stream is read from its start")
            yield from self._decompressed(attribute, valid)
        else:
            yield from self._read_runs(attribute, start, valid)
        yield from _zeros(end - valid)

    def _check(self, attribute: StreamAttribute) -> None:
        """Checks the sizes and runs of an attribute, before the first of its clusters is read."""
        if attribute.flags & structs.ATTRIBUTE_ENCRYPTED:
            raise NtfsError("an encrypted stream")
        if attribute.size > attribute.runs.clusters * self.cluster_size:
            raise NtfsError(
                f"{attribute.size} bytes in runs of {attribute.runs.clusters} clusters of {self.cluster_size} bytes"
            )
        if attribute.runs.allocated > self.clusters:
            raise NtfsError(f"{attribute.runs.allocated} clusters of a volume that has {self.clusters}")

    def _read_runs(self, attribute: StreamAttribute, start: int, end: int) -> Iterator[bytes]:
        size = self.cluster_size
        cluster, within = divmod(start, size)
        left = end - start
        for run in attribute.runs.from_cluster(cluster) if left else ():
            if run.start is None:
                count = min(left, run.length * size - within)
                yield from _zeros(count)
                left -= count
            else:
                if run.start + run.length > self.clusters:
                    raise NtfsError(f"a run to cluster {run.start + run.length} of {self.clusters}")
                position, stop = run.start * size + within, (run.start + run.length) * size
                while left and position < stop:
                    count = min(left, stop - position, _PIECE)
                    yield self._disk.read(position, count)
                    position += count
                    left -= count
            within = 0
            if not left:
                return

    def _decompressed(self, attribute: StreamAttribute, valid: int) -> Iterator[bytes]:
        """Yields the decompressed data by compression units.

        A unit with all of its clusters is stored plain; a unit without clusters is zeros.
        """
        unit = 1 << min(attribute.compression_unit, 32)
        if not attribute.compression_unit or unit * self.cluster_size > _MAX_COMPRESSION_UNIT:
            raise NtfsError(
                f"a compression unit of 2^{attribute.compression_unit} clusters of {self.cluster_size} bytes"
            )
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

    def entries(self, directory: FileRecord) -> Iterator[DirectoryEntry]:
        """Yields the names in a directory, without DOS names, in the order of its index.

        Raises:
            NtfsError: the index is damaged.
        """
        for data in self._index_entries(directory, "$I30"):
            entry = _directory_entry(data, directory.number)
            if entry.namespace != Namespace.DOS:
                yield entry

    def _index_entries(self, record: FileRecord, name: str) -> Iterator[bytes]:
        """Yields the entries of an index in their order. No block is read twice."""
        seen: set[int] = set()
        above = [self._root_node(record, name)]
        while above:
            found = next(above[-1], None)
            if found is None:
                above.pop()
                continue
            entry, block = found
            if block is None:
                if entry is not None:
                    yield entry
                continue
            if block in seen:
                raise NtfsError(f"record {record.number}: index {name} leads to block {block} twice")
            seen.add(block)
            # The entries in the block below an entry come before it.
            above.append(iter(((entry, None),)))
            above.append(self._block_node(record, name, block))
            if len(above) > 2 * _MAX_INDEX_DEPTH:
                raise NtfsError(f"record {record.number}: index {name} has more than {_MAX_INDEX_DEPTH} levels")

    def _find_in_view(self, record: FileRecord, name: str, key: bytes) -> bytes | None:
        """Returns the data of a key in a view whose order is by 32-bit numbers, or None."""
        wanted = _numbers(key)
        node = self._root_node(record, name)
        for _ in range(_MAX_INDEX_DEPTH):
            below: int | None = None
            for entry, block in node:
                below = block
                if entry is None:
                    break
                offset, length, _, _, key_length, _, _ = structs.VIEW_ENTRY.unpack_from(entry)
                start = structs.VIEW_ENTRY.size
                if start + key_length > len(entry) or offset + length > len(entry):
                    raise NtfsError(f"record {record.number}: an entry of index {name} that reaches out of it")
                found = _numbers(entry[start : start + key_length])
                if found == wanted:
                    return entry[offset : offset + length]
                if found > wanted:
                    break
            if below is None:
                return None
            node = self._block_node(record, name, below)
        raise NtfsError(f"record {record.number}: index {name} has more than {_MAX_INDEX_DEPTH} levels")

    def _root_node(self, record: FileRecord, name: str) -> Iterator[_NodeEntry]:
        root = record.find(AttributeType.INDEX_ROOT, name)
        if root is None or root.value is None:
            raise NtfsError(f"record {record.number}: no index {name}")
        return _node_entries(root.value, structs.INDEX_ROOT.size, record.number)

    def _block_node(self, record: FileRecord, name: str, number: int) -> Iterator[_NodeEntry]:
        allocation = record.find(AttributeType.INDEX_ALLOCATION, name)
        size = self._index_size
        start = number * (self.cluster_size if self.cluster_size <= size else SECTOR_SIZE)
        if allocation is None or start + size > allocation.size:
            raise NtfsError(f"record {record.number}: index {name} has no block {number}")
        block = bytearray(b"".join(self.chunks(allocation, start, start + size)))
        if block[:4] != structs.INDEX_BLOCK_SIGNATURE or not structs.unprotect(block):
            raise NtfsError(f"record {record.number}: index block {number} is damaged")
        return _node_entries(bytes(block), structs.INDEX_BLOCK.size, record.number)

    # Object ids.

    def object_id(self, record: FileRecord) -> bytes | None:
        """Returns the object id of a file with its three birth ids, 64 bytes; None if the file has no object id.

        Raises:
            NtfsError: `$ObjId` is damaged.
        """
        own = record.find(AttributeType.OBJECT_ID)
        if own is None or own.value is None or len(own.value) < _GUID_SIZE:
            return None
        key = own.value[:_GUID_SIZE]
        if self._object_ids is None:
            extend = self.record(SystemFile.EXTEND)
            number = next((e.reference & RECORD_MASK for e in self.entries(extend) if e.name == "$ObjId"), None)
            if number is None:
                return own.value[: 4 * _GUID_SIZE].ljust(4 * _GUID_SIZE, b"\0")
            self._object_ids = self.record(number)
        data = self._find_in_view(self._object_ids, "$O", key)
        births = own.value[_GUID_SIZE : 4 * _GUID_SIZE] if data is None else data[8 : 8 + 3 * _GUID_SIZE]
        return key + births.ljust(3 * _GUID_SIZE, b"\0")

    # Security.

    def security(self, record: FileRecord, security_id: int) -> bytes | None:
        """Returns the security descriptor of a file: its own, or the shared one with its id; None if it has neither.

        Raises:
            NtfsError: `$Secure` is damaged, or has no descriptor with that id.
        """
        own = record.find(AttributeType.SECURITY_DESCRIPTOR)
        if own is not None:
            return self.value(own)
        if not security_id:
            return None
        known = self._descriptors.get(security_id)
        if known is None:
            known = self._descriptors[security_id] = self._read_descriptor(record.number, security_id)
            self._descriptor_bytes += len(known)
            while self._descriptor_bytes > _DESCRIPTOR_CACHE:
                self._descriptor_bytes -= len(self._descriptors.popitem(last=False)[1])
        return known

    def _read_descriptor(self, number: int, security_id: int) -> bytes:
        if self._secure is None:
            self._secure = self.record(SystemFile.SECURE)
        stream = self._secure.find(AttributeType.DATA, "$SDS")
        place = self._find_in_view(self._secure, "$SII", security_id.to_bytes(4, "little"))
        if stream is None or place is None or len(place) < structs.SDS_ENTRY.size:
            raise NtfsError(f"record {number}: $Secure has no descriptor {security_id:#x}")
        _, _, offset, length = structs.SDS_ENTRY.unpack_from(place)
        if structs.SDS_ENTRY.size < length <= structs.SDS_BLOCK:
            # The next block has a copy of each entry.
            for start in (offset, offset + structs.SDS_BLOCK):
                data = b"".join(self.chunks(stream, start, start + length)) if start + length <= stream.size else b""
                if data[: structs.SDS_ENTRY.size] == place[: structs.SDS_ENTRY.size]:
                    return data[structs.SDS_ENTRY.size :]
        raise NtfsError(f"record {number}: $Secure has no sound descriptor {security_id:#x}")


_NodeEntry = tuple[bytes | None, int | None]
"""An entry of an index (None: the end of a node), and the block of the entries before it."""


def _zeros(count: int) -> Iterator[bytes]:
    for _ in range(count // _PIECE):
        yield _ZEROS
    if count % _PIECE:
        yield bytes(count % _PIECE)


def _numbers(key: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(key[at : at + 4], "little") for at in range(0, len(key), 4))


def _each_cluster(runs: RunList) -> Iterator[int | None]:
    for start, length in runs:
        for index in range(length):
            yield None if start is None else start + index


def _piece(data: bytes, number: int) -> tuple[int, StreamAttribute]:
    """Decodes an attribute, or a part of one, from a record.

    Returns:
        The first cluster of the part within the whole attribute, and the part.
    """
    kind, _, is_non_resident, name_length, name_offset, flags = structs.RESIDENT.unpack_from(data)[:6]
    if name_length and name_offset + 2 * name_length > len(data):
        raise NtfsError(f"record {number}: an attribute's name outside of it")
    name = data[name_offset : name_offset + 2 * name_length].decode("utf-16-le", "surrogatepass")
    if not is_non_resident:
        *_, length, offset, _, _ = structs.RESIDENT.unpack_from(data)
        if offset + length > len(data):
            raise NtfsError(f"record {number}: an attribute's value outside of it")
        return 0, StreamAttribute(kind, name, flags, data[offset : offset + length], length, length)
    if len(data) < structs.NON_RESIDENT.size:
        raise NtfsError(f"record {number}: a non-resident attribute of {len(data)} bytes")
    header = NonResidentHeader._make(structs.NON_RESIDENT.unpack_from(data))
    runs = RunList(decode_runs(memoryview(data)[header.runs_offset :]))
    # Only the first part of an attribute has the sizes.
    size, initialized = (0, 0) if header.first_vcn else (header.size, header.initialized)
    return header.first_vcn, StreamAttribute(
        kind, name, flags, None, size, initialized, header.compression_unit & 0xFF, runs
    )


def _pieces(parts: list[tuple[int, bytes]], number: int) -> Iterator[tuple[int, StreamAttribute]]:
    return (_piece(data, number) for _, data in parts)


def _joined(parts: list[tuple[int, bytes]], number: int) -> list[StreamAttribute]:
    """Returns the attributes, each with all of its runs. Non-resident parts of the same type and name are joined."""
    whole: dict[tuple[int, str], StreamAttribute] = {}
    found = []
    for first_vcn, attribute in sorted(_pieces(parts, number), key=lambda pair: pair[0]):
        if attribute.value is not None:
            found.append(attribute)
            continue
        key = (attribute.type, attribute.name)
        if not first_vcn:
            if key in whole:
                raise NtfsError(f"record {number}: two attributes {attribute.type:#x} {attribute.name!r}")
            whole[key] = attribute
            found.append(attribute)
        elif key not in whole or first_vcn != whole[key].runs.clusters:
            raise NtfsError(
                f"record {number}: attribute {attribute.type:#x} {attribute.name!r} lacks clusters before {first_vcn}"
            )
        else:
            whole[key].runs.extend(attribute.runs)
    return found


def _node_entries(data: bytes, header: int, number: int) -> Iterator[_NodeEntry]:
    """Yields the entries of an index root or block."""
    if header + structs.INDEX_HEADER.size > len(data):
        raise NtfsError(f"record {number}: an index of {len(data)} bytes")
    offset, used, _, _, _ = structs.INDEX_HEADER.unpack_from(data, header)
    position, end = header + offset, min(header + used, len(data))
    while position + structs.INDEX_ENTRY.size <= end:
        _, length, _, flags, _ = structs.INDEX_ENTRY.unpack_from(data, position)
        has_block = flags & structs.ENTRY_HAS_BLOCK
        if length < structs.INDEX_ENTRY.size + (8 if has_block else 0) or position + length > end:
            raise NtfsError(f"record {number}: an index entry of {length} bytes")
        entry = data[position : position + length]
        block = int.from_bytes(entry[-8:], "little") if has_block else None
        if flags & structs.ENTRY_IS_LAST:
            yield None, block
            return
        yield entry, block
        position += length


def _directory_entry(entry: bytes, number: int) -> DirectoryEntry:
    reference, _, key_length, _, _ = structs.INDEX_ENTRY.unpack_from(entry)
    name = _file_name(entry[structs.INDEX_ENTRY.size : structs.INDEX_ENTRY.size + key_length], number)
    return DirectoryEntry(reference, name.name, name.namespace)
