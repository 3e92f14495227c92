"""The files and directories of a new volume: their common attributes, their records, and the volume's indexes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.allocator import ClusterAllocator, set_bits
from wclayer.formats.ntfs.directories import Directories
from wclayer.formats.ntfs.file_metadata import FileMetadata
from wclayer.formats.ntfs.index import build_index, view_entry
from wclayer.formats.ntfs.mft import MasterFileTable
from wclayer.formats.ntfs.names import Names
from wclayer.formats.ntfs.records import Attribute, reference, replace_attribute
from wclayer.formats.ntfs.runs import Run
from wclayer.formats.ntfs.secure import SecurityStore
from wclayer.formats.ntfs.streams import RESIDENT_LIMIT
from wclayer.formats.ntfs.structs import (
    INDEX_BLOCK_SIZE,
    NOT_STORED,
    AttributeType,
    Collation,
    FileTooComplexError,
    Namespace,
    RecordFlags,
    SystemFile,
)
from wclayer.win32.ea import FILE_NEED_EA, decode_eas

ROOT = 0
"""The number of the root directory among the directories."""
_ROOT_REFERENCE = reference(SystemFile.ROOT, SystemFile.ROOT)
_ROOT_ROOM = 480
"""Bytes for the entries of an index root."""
_I30 = "$I30"
_DIRECTORY_FLAGS = RecordFlags.IN_USE | RecordFlags.DIRECTORY


class Catalog:
    """Writes the records of files and directories, and the indexes of the volume.

    Args:
        allocator: the clusters of the volume.
        mft: the records of the volume.
    """

    def __init__(self, allocator: ClusterAllocator, mft: MasterFileTable) -> None:
        self._allocator = allocator
        self._mft = mft
        self.security = SecurityStore()
        self.directories = Directories()
        self.directories.add(_ROOT_REFERENCE)
        self.names = Names(mft, self.directories)
        (empty,) = self.index(_I30, AttributeType.FILE_NAME, Collation.FILE_NAME, ())
        self._empty_index = empty.value
        self.empty_index = empty.encode(2)
        """The attribute of the index of an empty directory, whose number is 2."""
        self.reparse_points: list[bytes] = []
        """The entries of `$Reparse`."""
        self.object_ids: list[bytes] = []
        """The entries of `$ObjId`."""

    # Attributes.

    def information(self, metadata: FileMetadata) -> bytes:
        """Returns the value of a STANDARD_INFORMATION attribute."""
        attributes = metadata.attributes & ~NOT_STORED
        return structs.STANDARD_INFORMATION.pack(
            metadata.creation_time, metadata.last_write_time, metadata.change_time, metadata.last_access_time,
            attributes, 0, 0, 0, 0, self.security.id_of(metadata.security), 0, 0,
        )  # fmt: skip

    def file_name(
        self, directory: int, name: str, metadata: FileMetadata, allocated: int, size: int, *, extra_flags: int = 0,
        namespace: Namespace = Namespace.POSIX,
    ) -> bytes:  # fmt: skip
        """Returns the value of a FILE_NAME attribute; `allocated` and `size` are bytes of the main stream."""
        encoded = name.encode("utf-16-le", "surrogatepass")
        flags = metadata.attributes & ~NOT_STORED | extra_flags
        tag = None if metadata.reparse is None else int.from_bytes(metadata.reparse[:4], "little")
        union = _ea_sizes(metadata.eas)[1] if tag is None else tag
        return (
            structs.FILE_NAME.pack(
                self.directories.references[directory], metadata.creation_time, metadata.last_write_time,
                metadata.change_time, metadata.last_access_time, allocated, size, flags, union, len(encoded) // 2,
                namespace,
            )
            + encoded
        )  # fmt: skip

    def common_attributes(self, file: int, metadata: FileMetadata) -> list[Attribute]:
        """Returns the attributes of a file or directory except its names, data and indexes.

        An object id and a reparse point are added to the volume's indexes.

        Args:
            file: its reference.
            metadata: everything besides its name and its data.
        """
        found = [Attribute(AttributeType.STANDARD_INFORMATION, value=self.information(metadata))]
        if metadata.object_id is not None:
            key = metadata.object_id[:16]
            found.append(Attribute(AttributeType.OBJECT_ID, value=key))
            data = file.to_bytes(8, "little") + metadata.object_id[16:64].ljust(48, b"\0")
            self.object_ids.append(view_entry(key, data))
        if metadata.reparse is not None:
            found.append(Attribute(AttributeType.REPARSE_POINT, value=metadata.reparse))
            key = metadata.reparse[:4] + file.to_bytes(8, "little")
            self.reparse_points.append(view_entry(key, b""))
        if metadata.eas:
            needed, packed = _ea_sizes(metadata.eas)
            information = structs.EA_INFORMATION.pack(packed, needed, len(metadata.eas))
            found.append(Attribute(AttributeType.EA_INFORMATION, value=information))
            found.append(Attribute(AttributeType.EA, value=metadata.eas))
        return found

    def index(
        self,
        name: str,
        indexed: AttributeType | int,
        collation: Collation,
        batches: Iterable[list[bytes]],
        room: int = _ROOT_ROOM,
    ) -> list[Attribute]:
        """Returns the attributes of an index over sorted entries; `indexed` is 0 for a view."""
        runs: list[Run] = []
        size = allocated = 0

        def put_blocks(blocks: bytearray) -> None:
            nonlocal size, allocated
            allocation = self._allocator.allocate(len(blocks))
            self._allocator.write(allocation.offset, blocks)
            if runs and runs[-1].joins(allocation.run):
                runs[-1] = Run(runs[-1].start, runs[-1].length + allocation.run.length)
            else:
                runs.append(allocation.run)
            size += len(blocks)
            allocated += allocation.size

        root = build_index(batches, indexed, collation, self._allocator.cluster_size, room, put_blocks)
        found = [Attribute(AttributeType.INDEX_ROOT, name, root)]
        if size:
            count = size // INDEX_BLOCK_SIZE
            found.append(Attribute(AttributeType.INDEX_ALLOCATION, name, None, runs, size, allocated))
            bits = bytearray(-(-count // 64) * 8)
            set_bits(bits, 0, count)
            if len(bits) <= RESIDENT_LIMIT // 4:
                found.append(Attribute(AttributeType.BITMAP, name, bytes(bits)))
            else:
                found.append(self._allocator.store(bits, AttributeType.BITMAP, name))
        return found

    # Records.

    def put_file(self, file: int, flags: RecordFlags | int, attributes: Sequence[Attribute]) -> None:
        """Writes the records of a file or directory.

        Args:
            file: its reference.
            flags: the flags of the base record.
            attributes: all of its attributes, in any order.

        Raises:
            FileTooComplexError: NTFS has no room for so many attributes of one file.
        """
        number, sequence = file & structs.RECORD_MASK, file >> structs.SEQUENCE_SHIFT
        names = [a.value for a in attributes if a.type == AttributeType.FILE_NAME and a.value is not None]
        try:
            self._mft.put_file(number, sequence, flags, len(names), attributes)
        except FileTooComplexError as error:
            raise FileTooComplexError(f"{self.names.path_of(names[0])!r}: {error}") from None

    def put_directory(
        self,
        directory: int,
        parent: int,
        name: str,
        metadata: FileMetadata,
        streams: Sequence[Attribute] = (),
        *,
        namespace: Namespace = Namespace.POSIX,
    ) -> None:
        """Writes the records of a directory with an empty index, which `put_index` replaces.

        Args:
            directory: its number.
            parent, name: its name, and the number of the directory that has it.
            metadata: everything besides its name and its streams.
            streams: its named streams.
            namespace: that of its name.
        """
        file = self.directories.references[directory]
        file_name = self.file_name(
            parent, name, metadata, 0, 0, extra_flags=structs.FILE_NAME_DIRECTORY, namespace=namespace
        )
        attributes = [
            *self.common_attributes(file, metadata),
            Attribute(AttributeType.FILE_NAME, value=file_name, is_indexed=True),
            *streams,
            Attribute(AttributeType.INDEX_ROOT, _I30, self._empty_index),
        ]
        self.put_file(file, _DIRECTORY_FLAGS, attributes)

    def put_index(self, directory: int) -> None:
        """Writes the records of a directory again, with the index of all names that are in it."""
        file = self.directories.references[directory]
        number = file & structs.RECORD_MASK
        # A long name leaves less room for the index in the record.
        room = _ROOT_ROOM - len(self.names.first_value(number)) // 2
        entries = self.names.sorted_entries(directory)
        index = self.index(_I30, AttributeType.FILE_NAME, Collation.FILE_NAME, entries, room)
        changed = replace_attribute(self._mft.record(number), AttributeType.INDEX_ROOT, index)
        if changed is not None:
            self._mft.put_record(number, changed)
            return
        attributes = [a for a in self._mft.take_file(number) if a.type != AttributeType.INDEX_ROOT]
        self.put_file(file, _DIRECTORY_FLAGS, attributes + index)


def stream_sizes(streams: Sequence[Attribute]) -> tuple[int, int]:
    """Returns the allocated and the real size of the main stream among `streams`, as a directory shows them."""
    main = next((stream for stream in streams if stream.type == AttributeType.DATA and not stream.name), None)
    if main is None:
        return 0, 0
    if main.value is not None:
        return (len(main.value) + 7) & ~7, len(main.value)
    return (main.on_disk if main.is_sparse else main.allocated), main.size


def _ea_sizes(eas: bytes) -> tuple[int, int]:
    """Returns how many EAs have the flag NEED_EA, and the size of all without the padding between them."""
    found = decode_eas(eas) if eas else []
    return sum(bool(ea.flags & FILE_NEED_EA) for ea in found), sum(5 + len(ea.name) + len(ea.value) for ea in found)
