"""Builds an NTFS volume in one pass.

Clusters are allocated one after the other, so the data of a file are contiguous. Directories and the further names of
files are written at the end, when all names are known; the system files come last.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wclayer.formats.disk import Disk
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.allocator import ClusterAllocator
from wclayer.formats.ntfs.catalog import ROOT, Catalog, Directory, FileMetadata, stream_sizes
from wclayer.formats.ntfs.mft import MasterFileTable
from wclayer.formats.ntfs.records import Attribute, encode_plain_record, reference
from wclayer.formats.ntfs.streams import RESIDENT_LIMIT, StreamWriter, new_stream
from wclayer.formats.ntfs.structs import AttributeType, FileTooComplexError, Namespace, NtfsError, RecordFlags
from wclayer.formats.ntfs.system_files import SystemFiles, VolumeIdentity
from wclayer.win32.names import utf16_length

_MIB = 1 << 20
MIN_VOLUME_SIZE = 8 * _MIB
MAX_VOLUME_SIZE = 64 << 40
DEFAULT_CLUSTER_SIZE = 4096
CLUSTER_SIZES = tuple(512 << shift for shift in range(8))


@dataclass(slots=True)
class _OpenFile:
    """A file between `begin_node` and `end_node`."""

    reference: int
    parent: int
    name: str
    metadata: FileMetadata
    streams: list[Attribute] = field(default_factory=list)


class VolumeBuilder:
    """A new NTFS volume on `disk`.

    Args:
        disk: the space for the volume, all zeros.
        root: the metadata of the root directory.
        cluster_size: bytes; a power of two from 512 to 65,536.
        label: the volume's name.
        serial: the serial number. The same content, serial number and time result in the same bytes.
        time: FILETIME of the system files.
        hidden_sectors: sectors of the disk before the volume.

    Raises:
        NtfsError: a volume cannot have such sizes, or such a label.
    """

    def __init__(
        self,
        disk: Disk,
        root: FileMetadata,
        *,
        cluster_size: int = DEFAULT_CLUSTER_SIZE,
        label: str = "",
        serial: int = 0x7763_6C61_7965_7221,
        time: int = 0,
        hidden_sectors: int = 0,
    ) -> None:
        if cluster_size not in CLUSTER_SIZES:
            raise NtfsError(f"clusters of {cluster_size} bytes; possible are powers of two from 512 to 65536")
        if not MIN_VOLUME_SIZE <= disk.size <= MAX_VOLUME_SIZE:
            raise NtfsError(f"a volume of {disk.size} bytes; possible are 8 MiB to 64 TiB")
        if utf16_length(label) > structs.MAX_LABEL_UNITS:
            raise NtfsError(
                f"a label of {utf16_length(label)} UTF-16 units; a volume's has at most {structs.MAX_LABEL_UNITS}"
            )
        self._allocator = ClusterAllocator(disk, cluster_size)
        identity = VolumeIdentity(label, serial, time, hidden_sectors, root.security)
        self._system_files = SystemFiles(self._allocator, identity)
        self._mft = MasterFileTable(self._allocator)
        self._catalog = Catalog(self._allocator, self._mft, root)
        self._links: dict[int, list[tuple[int, str]]] = {}
        """The further names of files: directory and name."""
        self._open: _OpenFile | Directory = self._catalog.directories[ROOT]
        """The file or directory to which the next stream belongs."""
        self._stream: StreamWriter | None = None

    @property
    def root(self) -> int:
        """The reference of the root directory."""
        return ROOT

    def make_directory(self, parent: int, name: str, metadata: FileMetadata) -> int:
        """Makes a directory. Its named streams may follow.

        Args:
            parent: the reference of the parent directory.
            name: its name.
            metadata: everything else.

        Returns:
            Its reference.
        """
        number = reference(self._mft.new_record(), 1)
        file_name = self._catalog.file_name(
            parent, name, metadata, 0, 0, extra_flags=structs.FILE_NAME_DIRECTORY
        )  # fmt: skip
        self._catalog.add_name(parent, number, file_name)
        self._open = self._catalog.add_directory(number, parent, name, metadata)
        return number

    def set_root(self, metadata: FileMetadata) -> None:
        """Sets the metadata of the root directory. Its named streams may follow."""
        self._open = self._catalog.directories[ROOT]
        self._open.metadata = metadata

    def begin_node(self, parent: int, name: str, metadata: FileMetadata) -> int:
        """Starts a file. Its streams follow, then `end_node`.

        Returns:
            Its reference.
        """
        number = reference(self._mft.new_record(), 1)
        self._open = _OpenFile(number, parent, name, metadata)
        return number

    def begin_stream(self, name: str, size: int, *, is_sparse: bool = False) -> None:
        """Starts a data stream of `size` bytes; "" is the main one."""
        self._stream = new_stream(self._allocator, name, size, is_sparse=is_sparse)

    def write(self, data: bytes | memoryview) -> None:
        """Appends data to the stream that was begun."""
        assert self._stream is not None
        self._stream.write(data)

    def end_stream(self) -> None:
        """Ends the stream that was begun."""
        assert self._stream is not None
        self._open.streams.append(self._stream.end())
        self._stream = None

    def end_node(self) -> None:
        """Ends the file that was begun, and writes its record."""
        file = self._open
        assert isinstance(file, _OpenFile)
        allocated, size = stream_sizes(file.streams)
        file_name = self._catalog.file_name(file.parent, file.name, file.metadata, allocated, size)
        self._catalog.add_name(file.parent, file.reference, file_name)
        attributes = self._catalog.common_attributes(file.reference & structs.RECORD_MASK, 1, file.metadata)
        attributes.append(Attribute(AttributeType.FILE_NAME, value=file_name, is_indexed=True))
        attributes += file.streams
        self._catalog.put_file(
            file.reference, RecordFlags.IN_USE, 1, attributes, parent=file.parent, name=file.name
        )  # fmt: skip

    def put_plain_file(self, parent: int, name: str, metadata: FileMetadata, data: bytes) -> None:
        """Writes a file that has a main stream and no other data, EAs, reparse point or object id.

        The result is that of `begin_node`, a stream and `end_node`, in less time.
        """
        number = self._mft.new_record()
        size = len(data)
        information = self._catalog.information(metadata)
        record = None
        if size <= RESIDENT_LIMIT:
            allocated = (size + 7) & ~7
            file_name = self._catalog.file_name(parent, name, metadata, allocated, size)
            record = encode_plain_record(number, information, file_name, data, size, allocated)
        if record is None:
            allocation = self._allocator.allocate(size)
            if size:
                self._allocator.write(allocation.offset, data)
            file_name = self._catalog.file_name(parent, name, metadata, allocation.size, size)
            record = encode_plain_record(number, information, file_name, allocation.run, size, allocation.size)
            # Without its data, the longest name fits into a record.
            assert record is not None
        self._catalog.add_name(parent, reference(number, 1), file_name)
        self._mft.put_record(number, record)

    def add_link(self, parent: int, name: str, file: int) -> None:
        """Adds the name `name` in the directory `parent` to an existing file.

        Raises:
            FileTooComplexError: the file has as many names as NTFS allows.
        """
        links = self._links.setdefault(file, [])
        if len(links) + 1 >= structs.MAX_NAMES:
            raise FileTooComplexError(
                f"{self._catalog.path_of(parent, name)!r}: a further name of a file with {structs.MAX_NAMES}, the most "
                "that NTFS allows"
            )
        links.append((parent, name))

    def find(self, parent: int, name: str) -> int | None:
        """Returns the file or directory with that name, in any case, in a directory of this volume, or None.

        Names that `add_link` added are not found.
        """
        return self._catalog.find(parent, name)

    def finish(self) -> None:
        """Writes the directories, the files with several names, and the system files.

        Raises:
            OutOfSpaceError: the volume is full.
        """
        self._mft.flush()
        self._mft.keep_gaps()
        self._put_links()
        self._system_files.store_contents()
        for number in self._catalog.directories:
            if number != ROOT:
                self._catalog.put_directory(number)
        self._mft.flush()
        self._system_files.finish(self._catalog, self._mft)

    def _put_links(self) -> None:
        """Writes the files with several names again, with all of their names."""
        for file, links in self._links.items():
            attributes = self._mft.read_file(file & structs.RECORD_MASK)
            first = next(a.value for a in attributes if a.type == AttributeType.FILE_NAME and a.value is not None)
            # All but the parent and the name is the same in each name of a file.
            fields = first[8 : structs.FILE_NAME.size - 2]
            for parent, name in links:
                encoded = name.encode("utf-16-le", "surrogatepass")
                value = parent.to_bytes(8, "little") + fields + bytes((len(encoded) // 2, Namespace.POSIX)) + encoded
                attributes.append(Attribute(AttributeType.FILE_NAME, value=value, is_indexed=True))
                self._catalog.add_name(parent, file, value)
            parent, name = links[0]
            self._catalog.put_file(file, RecordFlags.IN_USE, len(links) + 1, attributes, parent=parent, name=name)
        self._mft.put_unused()
        self._mft.flush()
