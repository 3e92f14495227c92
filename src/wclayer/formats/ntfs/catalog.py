"""The files and directories of a new volume: their common attributes, the names in directories, and the records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.allocator import ClusterAllocator, set_bits
from wclayer.formats.ntfs.index import build_index, directory_entry, view_entry
from wclayer.formats.ntfs.mft import MasterFileTable
from wclayer.formats.ntfs.records import Attribute, reference
from wclayer.formats.ntfs.secure import SecurityStore
from wclayer.formats.ntfs.streams import RESIDENT_LIMIT
from wclayer.formats.ntfs.structs import (
    AttributeType,
    Collation,
    FileTooComplexError,
    Namespace,
    RecordFlags,
    SystemFile,
)
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.ea import FILE_NEED_EA, decode_eas
from wclayer.win32.names import collation_key, name_key

ROOT = reference(SystemFile.ROOT, SystemFile.ROOT)
"""The reference of the root directory."""
_ROOT_ROOM = 480
"""Bytes for the entries of an index root."""
_NOT_STORED = int(FileAttributes.DIRECTORY | FileAttributes.NORMAL)
"""Attributes that NTFS does not store, because other fields say the same."""
_I30 = "$I30"


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """The metadata of a file or directory: everything besides its name and its data. Times are FILETIMEs."""

    creation_time: int
    last_write_time: int
    change_time: int
    last_access_time: int
    attributes: int
    security: bytes
    eas: bytes = b""
    reparse: bytes | None = None
    object_id: bytes | None = None


@dataclass(slots=True)
class Directory:
    """A directory whose names are being collected."""

    parent: int
    name: str
    metadata: FileMetadata
    entries: bytearray = field(default_factory=bytearray)
    """The encoded index entries, in the order in which the names came."""
    index: dict[str, int] = field(default_factory=dict)
    """References by name key, for the first `indexed` bytes of the entries. It is filled when a name is looked up."""
    indexed: int = 0
    streams: list[Attribute] = field(default_factory=list)


class Catalog:
    """Writes the records of files and directories, and collects the entries of the volume's indexes.

    Args:
        allocator: the clusters of the volume.
        mft: the records of the volume.
        root: the metadata of the root directory.
    """

    def __init__(self, allocator: ClusterAllocator, mft: MasterFileTable, root: FileMetadata) -> None:
        self._allocator = allocator
        self._mft = mft
        self.security = SecurityStore()
        self.directories: dict[int, Directory] = {ROOT: Directory(ROOT, ".", root)}
        self.reparse_points: list[bytes] = []
        """The entries of `$Reparse`."""
        self.object_ids: list[bytes] = []
        """The entries of `$ObjId`."""

    # Names.

    def add_directory(self, number: int, parent: int, name: str, metadata: FileMetadata) -> Directory:
        """Adds an empty directory, without its name in the parent; `put_directory` writes it."""
        self.directories[number] = directory = Directory(parent, name, metadata)
        return directory

    def add_name(self, parent: int, file: int, file_name: bytes) -> None:
        """Adds the value of a FILE_NAME attribute to the directory `parent`."""
        self.directories[parent].entries += directory_entry(file, file_name)

    def find(self, parent: int, name: str) -> int | None:
        """Returns the file or directory with that name, in any case, in a directory, or None."""
        directory = self.directories[parent]
        for entry in _split_entries(memoryview(directory.entries)[directory.indexed :]):
            directory.index[name_key(_name_of(entry))] = int.from_bytes(entry[:8], "little")
        directory.indexed = len(directory.entries)
        return directory.index.get(name_key(name))

    def path_of(self, parent: int, name: str) -> str:
        """Returns the path of a name from the volume's root, for messages."""
        while parent != ROOT:
            directory = self.directories[parent]
            parent, name = directory.parent, f"{directory.name}/{name}"
        return name

    # Attributes.

    def information(self, metadata: FileMetadata) -> bytes:
        """Returns the value of a STANDARD_INFORMATION attribute."""
        attributes = metadata.attributes & ~_NOT_STORED
        return structs.STANDARD_INFORMATION.pack(
            metadata.creation_time, metadata.last_write_time, metadata.change_time, metadata.last_access_time,
            attributes, 0, 0, 0, 0, self.security.id_of(metadata.security), 0, 0,
        )  # fmt: skip

    def file_name(
        self, parent: int, name: str, metadata: FileMetadata, allocated: int, size: int, *, extra_flags: int = 0,
        namespace: Namespace = Namespace.POSIX,
    ) -> bytes:  # fmt: skip
        """Returns the value of a FILE_NAME attribute; `allocated` and `size` are bytes of the main stream."""
        encoded = name.encode("utf-16-le", "surrogatepass")
        flags = metadata.attributes & ~_NOT_STORED | extra_flags
        tag = None if metadata.reparse is None else int.from_bytes(metadata.reparse[:4], "little")
        union = _ea_sizes(metadata.eas)[1] if tag is None else tag
        return (
            structs.FILE_NAME.pack(
                parent, metadata.creation_time, metadata.last_write_time, metadata.change_time,
                metadata.last_access_time, allocated, size, flags, union, len(encoded) // 2, namespace,
            )
            + encoded
        )  # fmt: skip

    def common_attributes(self, number: int, sequence: int, metadata: FileMetadata) -> list[Attribute]:
        """Returns the attributes of a file or directory except its names, data and indexes.

        An object id and a reparse point are added to the volume's indexes.
        """
        found = [Attribute(AttributeType.STANDARD_INFORMATION, value=self.information(metadata))]
        if metadata.object_id is not None:
            key = metadata.object_id[:16]
            found.append(Attribute(AttributeType.OBJECT_ID, value=key))
            data = reference(number, sequence).to_bytes(8, "little") + metadata.object_id[16:64].ljust(48, b"\0")
            self.object_ids.append(view_entry(key, data))
        if metadata.reparse is not None:
            found.append(Attribute(AttributeType.REPARSE_POINT, value=metadata.reparse))
            key = metadata.reparse[:4] + reference(number, sequence).to_bytes(8, "little")
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
        entries: Sequence[bytes],
        room: int = _ROOT_ROOM,
    ) -> list[Attribute]:
        """Returns the attributes of an index over sorted entries; `indexed` is 0 for a view."""
        built = build_index(entries, indexed, collation, self._allocator.cluster_size, room)
        found = [Attribute(AttributeType.INDEX_ROOT, name, built.root)]
        if built.blocks:
            found.append(self._allocator.store(b"".join(built.blocks), AttributeType.INDEX_ALLOCATION, name))
            bits = bytearray(-(-len(built.blocks) // 64) * 8)
            set_bits(bits, 0, len(built.blocks))
            if len(bits) <= RESIDENT_LIMIT // 4:
                found.append(Attribute(AttributeType.BITMAP, name, bytes(bits)))
            else:
                found.append(self._allocator.store(bits, AttributeType.BITMAP, name))
        return found

    # Records.

    def put_file(
        self,
        file: int,
        flags: RecordFlags | int,
        links: int,
        attributes: Sequence[Attribute],
        *,
        parent: int,
        name: str,
    ) -> None:
        """Writes the records of a file.

        Args:
            file: the reference of the file.
            flags: the flags of the base record.
            links: how many names it has.
            attributes: all of its attributes, in any order.
            parent, name: one of its names, for messages.

        Raises:
            FileTooComplexError: NTFS has no room for so many attributes of one file.
        """
        number, sequence = file & structs.RECORD_MASK, file >> structs.SEQUENCE_SHIFT
        try:
            self._mft.put_file(number, sequence, flags, links, attributes)
        except FileTooComplexError as error:
            raise FileTooComplexError(f"{self.path_of(parent, name)!r}: {error}") from None

    def put_directory(self, file: int) -> None:
        """Writes the records of a directory, with the index of all names that were added to it."""
        directory = self.directories[file]
        namespace = Namespace.WIN32_AND_DOS if file == ROOT else Namespace.POSIX
        name = self.file_name(
            directory.parent, directory.name, directory.metadata, 0, 0,
            extra_flags=structs.FILE_NAME_DIRECTORY, namespace=namespace,
        )  # fmt: skip
        number, sequence = file & structs.RECORD_MASK, file >> structs.SEQUENCE_SHIFT
        attributes = self.common_attributes(number, sequence, directory.metadata)
        attributes.append(Attribute(AttributeType.FILE_NAME, value=name, is_indexed=True))
        attributes += directory.streams
        entries = sorted(_split_entries(directory.entries), key=_collation_key)
        # A long name leaves less room for the index in the record.
        attributes += self.index(
            _I30, AttributeType.FILE_NAME, Collation.FILE_NAME, entries, _ROOT_ROOM - len(name) // 2
        )
        flags = RecordFlags.IN_USE | RecordFlags.DIRECTORY
        self.put_file(file, flags, 1, attributes, parent=directory.parent, name=directory.name)


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


def _split_entries(entries: bytearray | memoryview) -> Iterator[bytes]:
    """Yields the single entries of encoded index entries."""
    position = 0
    while position < len(entries):
        length = int.from_bytes(entries[position + 8 : position + 10], "little")
        yield bytes(entries[position : position + length])
        position += length


def _name_of(entry: bytes) -> str:
    """Returns the name in an entry of a directory."""
    start = structs.INDEX_ENTRY.size + structs.FILE_NAME.size
    return entry[start : start + 2 * entry[start - 2]].decode("utf-16-le", "surrogatepass")


def _collation_key(entry: bytes) -> tuple[bytes, bytes]:
    return collation_key(_name_of(entry))
