"""Plain files of a new volume: data, record and name in one step.

Nearly every file is plain. Its record has the standard information, one name and one data stream. It differs from
others with a name of the same length only in a few fields, which one call of `pack_into` writes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import NamedTuple

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.allocator import ClusterAllocator
from wclayer.formats.ntfs.directories import Directories
from wclayer.formats.ntfs.file_metadata import FileMetadata
from wclayer.formats.ntfs.mft import MasterFileTable
from wclayer.formats.ntfs.records import FIRST_ATTRIBUTE, SEQUENCE_OFFSET, Attribute
from wclayer.formats.ntfs.runs import Run
from wclayer.formats.ntfs.secure import SecurityStore
from wclayer.formats.ntfs.streams import RESIDENT_LIMIT
from wclayer.formats.ntfs.structs import NOT_STORED, RECORD_SIZE, AttributeType, Namespace, RecordFlags
from wclayer.win32.attributes import FileBasicInfo

_RESIDENT_SIZE = structs.RESIDENT.size
_INFORMATION_SIZE = structs.STANDARD_INFORMATION.size
_END = structs.ATTRIBUTE_END.to_bytes(4, "little")
_END_SIZE = 8
_MAX_CLASSES = 4096
_DIRECTORY = 1 << 64
"""In the number of a class: the record is that of a directory."""
_TIMES = Struct("<4Q")
_pack_times = _TIMES.pack


def _resident(kind: AttributeType, number: int, size: int, indexed: int = 0) -> bytes:
    """Returns the header of a resident attribute without a name."""
    return structs.RESIDENT.pack(
        kind, _aligned(_RESIDENT_SIZE + size), 0, 0, _RESIDENT_SIZE, 0, number, size, _RESIDENT_SIZE, indexed, 0
    )


def _aligned(size: int) -> int:
    return (size + 7) & ~7


# The record up to the times: what is the same in all records, between the two fields that are not.
_RECORD = structs.RECORD.pack(
    structs.RECORD_SIGNATURE, SEQUENCE_OFFSET, RECORD_SIZE // structs.UPDATE_STRIDE + 1, 0, 1, 1, FIRST_ATTRIBUTE,
    RecordFlags.IN_USE, 0, RECORD_SIZE, 0, 3, 0, 0,
)  # fmt: skip
_BEFORE_USED = _RECORD[:24]
_BEFORE_USED_BY_DIRECTORY = _RECORD[:22] + int(RecordFlags.IN_USE | RecordFlags.DIRECTORY).to_bytes(2, "little")
_AFTER_USED = _RECORD[28:44]
_BEFORE_TIMES = bytes(FIRST_ATTRIBUTE - SEQUENCE_OFFSET) + _resident(
    AttributeType.STANDARD_INFORMATION, 0, _INFORMATION_SIZE
)


class _Shape(NamedTuple):
    """What the records of plain files with names of one length have in common."""

    pack_into: Callable[..., None]
    name_header: bytes
    length: bytes
    """The length of the name, and its namespace."""
    end: int
    """Where the data attribute begins."""


@cache
def _shape(units: int) -> _Shape:
    """Returns the shape for names of so many UTF-16 units, of which there are 255."""
    size = structs.FILE_NAME.size + 2 * units
    header = _resident(AttributeType.FILE_NAME, 1, size, structs.INDEXED)
    padded = _aligned(size) - structs.FILE_NAME.size
    fields = Struct(
        "<24sI"  # the head of the record up to its used size, and that
        "16sI"  # its rest up to the number, and that
        "32s32s40s"  # up to the times; the times; the rest of the standard information
        "24sQ32sQQ8s2s"  # the header of the name; its directory, times, sizes, attributes, length and namespace
        f"{padded}s"  # the name itself
    )
    return _Shape(fields.pack_into, header, bytes((units, Namespace.POSIX)), fields.size)


@cache
def _data_header(size: int) -> bytes:
    """Returns the header of a resident data attribute, of which there are few."""
    return _resident(AttributeType.DATA, 2, size)


_NON_RESIDENT = Struct(structs.NON_RESIDENT.format + "Q")
"""The header of an attribute in clusters, and mapping pairs of 8 bytes."""


def _data_in_clusters(run: Run, size: int, allocated: int) -> bytes:
    """Returns the data attribute of a file whose data are in one run."""
    start, count = run.start or 0, run.length
    # The pair of a run is three numbers of variable length, as in `encode_run`, and the end of the pairs is a zero.
    count_bits = (count.bit_length() // 8 + 1) * 8
    start_bits = (start.bit_length() // 8 + 1) * 8
    if count_bits + start_bits < 56:
        pairs = start_bits << 1 | count_bits >> 3 | count << 8 | start << 8 + count_bits
        return _NON_RESIDENT.pack(
            AttributeType.DATA, _NON_RESIDENT.size, 1, 0, structs.NON_RESIDENT.size, 0, 2, 0, count - 1,
            structs.NON_RESIDENT.size, 0, b"", allocated, size, size, pairs,
        )  # fmt: skip
    return Attribute(AttributeType.DATA, "", None, [run], size, allocated).encode(2)


class PlainFiles:
    """Adds plain files, and directories that have nothing but a name, to a volume."""

    def __init__(
        self, allocator: ClusterAllocator, mft: MasterFileTable, directories: Directories, security: SecurityStore
    ) -> None:
        self._allocator = allocator
        self._mft = mft
        self._directories = directories
        self._security = security
        self._classes: dict[int, tuple[bytes, bytes]] = {}
        """By kind, attributes and security id: what follows the times in the standard information, and in the name."""

    def put(self, directory: int, name: str, info: FileBasicInfo, descriptor: bytes, data: bytes) -> None:
        """Adds a file.

        Args:
            directory: the number of its directory.
            name: its name there.
            info: its times and attributes.
            descriptor: its security descriptor.
            data: all of its data.

        Raises:
            OutOfSpaceError: the volume is full.
        """
        encoded = name.encode("utf-16-le", "surrogatepass")
        shape = _shape(len(encoded) >> 1)
        size = len(data)
        stop = (shape.end + _RESIDENT_SIZE + size + 7) & ~7
        if size <= RESIDENT_LIMIT and stop + _END_SIZE <= RECORD_SIZE:
            allocated = (size + 7) & ~7
            self._add(directory, shape, encoded, info, descriptor, allocated, size, _data_header(size) + data, stop)
        else:
            self._allocator.write(self.put_reserved(directory, name, info, descriptor, size), data)

    def put_reserved(self, directory: int, name: str, info: FileBasicInfo, descriptor: bytes, size: int) -> int:
        """Adds a file whose data are in clusters, even if they are few, and are written by the caller. See `put`.

        Args:
            size: the bytes of the data; not 0.

        Returns:
            The offset of their place in the volume.
        """
        encoded = name.encode("utf-16-le", "surrogatepass")
        shape = _shape(len(encoded) >> 1)
        run, offset, allocated = self._allocator.allocate(size)
        attribute = _data_in_clusters(run, size, allocated)
        self._add(directory, shape, encoded, info, descriptor, allocated, size, attribute, shape.end + len(attribute))
        return offset

    def _add(
        self,
        directory: int,
        shape: _Shape,
        name: bytes,
        info: FileBasicInfo,
        descriptor: bytes,
        allocated: int,
        size: int,
        attribute: bytes,
        stop: int,
    ) -> None:
        number = self._mft.new_record()
        kind = info.attributes << 32 | self._security.id_of(descriptor)
        self._put(_BEFORE_USED, number, directory, shape, name, info, kind, allocated, size, attribute, stop)
        self._directories.add_file(directory, number)

    def put_directory(self, number: int, directory: int, name: str, metadata: FileMetadata, index: bytes) -> None:
        """Adds the record of a directory with an empty index.

        Args:
            number: the number of its record.
            directory: the number of the directory that has it.
            name: its name there.
            metadata: its times and attributes, and its security descriptor.
            index: the attribute of the empty index, whose number is 2.
        """
        encoded = name.encode("utf-16-le", "surrogatepass")
        shape = _shape(len(encoded) >> 1)
        kind = _DIRECTORY | metadata.attributes << 32 | self._security.id_of(metadata.security)
        self._put(
            _BEFORE_USED_BY_DIRECTORY, number, directory, shape, encoded, metadata, kind, 0, 0, index,
            shape.end + len(index),
        )  # fmt: skip

    def _put(
        self,
        before_used: bytes,
        number: int,
        directory: int,
        shape: _Shape,
        name: bytes,
        info: FileBasicInfo | FileMetadata,
        kind: int,
        allocated: int,
        size: int,
        attribute: bytes,
        stop: int,
    ) -> None:
        """Stores a record: what all have in common, and its last attribute, which ends at the offset `stop`."""
        pack_into, name_header, length, end = shape
        information, flags = self._classes.get(kind) or self._learn(kind)
        times = _pack_times(info.creation_time, info.last_write_time, info.change_time, info.last_access_time)
        page, start = self._mft.place(number)
        pack_into(
            page, start, before_used, stop + _END_SIZE, _AFTER_USED, number, _BEFORE_TIMES, times, information,
            name_header, self._directories.references[directory], times, allocated, size, flags, length, name,
        )  # fmt: skip
        page[start + end : start + end + len(attribute)] = attribute
        page[start + stop : start + stop + 4] = _END

    def _learn(self, kind: int) -> tuple[bytes, bytes]:
        stored = kind >> 32 & 0xFFFFFFFF & ~NOT_STORED
        flags = stored | structs.FILE_NAME_DIRECTORY if kind & _DIRECTORY else stored
        security = kind & 0xFFFFFFFF
        information = structs.STANDARD_INFORMATION.pack(0, 0, 0, 0, stored, 0, 0, 0, 0, security, 0, 0)[_TIMES.size :]
        if len(self._classes) >= _MAX_CLASSES:
            self._classes.clear()
        self._classes[kind] = found = information, flags.to_bytes(8, "little")
        return found
