"""Builds an NTFS volume in one pass.

Clusters are allocated one after the other, so the data of a file are contiguous. The indexes of directories are written
at the end, when all names are known; the system files come last.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wclayer.formats.disk import Disk
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.allocator import ClusterAllocator, data_attribute
from wclayer.formats.ntfs.catalog import ROOT, Catalog, stream_sizes
from wclayer.formats.ntfs.file_metadata import FileMetadata
from wclayer.formats.ntfs.links import Links
from wclayer.formats.ntfs.mft import MasterFileTable
from wclayer.formats.ntfs.plain_files import PlainFiles
from wclayer.formats.ntfs.records import Attribute, reference, security_id
from wclayer.formats.ntfs.streams import StreamWriter, new_stream
from wclayer.formats.ntfs.structs import AttributeType, NtfsError, RecordFlags
from wclayer.formats.ntfs.system_files import SystemFiles, VolumeIdentity
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.names import utf16_length

_MIB = 1 << 20
MIN_VOLUME_SIZE = 8 * _MIB
MAX_VOLUME_SIZE = 64 << 40
DEFAULT_CLUSTER_SIZE = 4096
CLUSTER_SIZES = tuple(512 << shift for shift in range(8))


@dataclass(slots=True)
class _Node:
    """A file or directory whose streams may follow."""

    record: int
    parent: int
    name: str
    metadata: FileMetadata
    directory: int | None
    """The number of a directory; None for a file."""
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
        self._catalog = Catalog(self._allocator, self._mft)
        self._links = Links(self._mft, self._catalog)
        self._plain_files = PlainFiles(self._allocator, self._mft, self._catalog.directories, self._catalog.security)
        self._root = self._root_node(root)
        self._node: _Node | None = self._root
        """The file or directory to which the next stream belongs."""
        self._stream: StreamWriter | None = None

    @property
    def root(self) -> int:
        """The number of the root directory."""
        return ROOT

    @staticmethod
    def _root_node(metadata: FileMetadata) -> _Node:
        return _Node(int(structs.SystemFile.ROOT), ROOT, ".", metadata, ROOT)

    def make_directory(self, parent: int, name: str, metadata: FileMetadata) -> int:
        """Makes a directory. Its named streams may follow.

        Args:
            parent: the number of the parent directory.
            name: its name.
            metadata: everything else.

        Returns:
            Its number.
        """
        self._put_node()
        directories = self._catalog.directories
        record = self._mft.new_record()
        directories.add_file(parent, record)
        directory = directories.add(reference(record, 1))
        if metadata.is_plain:
            self._plain_files.put_directory(record, parent, name, metadata, self._catalog.empty_index)
        self._node = _Node(record, parent, name, metadata, directory)
        return directory

    def descriptor_of(self, directory: int) -> bytes:
        """Returns the security descriptor of a directory."""
        if self._node is not None and self._node.directory == directory:
            return self._node.metadata.security
        if directory == ROOT:
            return self._root.metadata.security
        record = self._mft.record(self._catalog.directories.references[directory] & structs.RECORD_MASK)
        return self._catalog.security.descriptor(security_id(record))

    def set_root(self, metadata: FileMetadata) -> None:
        """Sets the metadata of the root directory. Its named streams may follow."""
        self._put_node()
        self._root.metadata = metadata
        self._node = self._root

    def begin_node(self, parent: int, name: str, metadata: FileMetadata) -> None:
        """Starts a file. Its streams follow, then `end_node`."""
        self._put_node()
        record = self._mft.new_record()
        self._catalog.directories.add_file(parent, record)
        self._node = _Node(record, parent, name, metadata, None)

    def reserve_stream(self, name: str, size: int) -> int:
        """Adds a data stream of `size` bytes, which the caller writes to the disk.

        Returns:
            The offset of their place in the volume.
        """
        assert self._node is not None
        allocation = self._allocator.allocate(size)
        attribute = data_attribute(allocation, size)
        attribute.name = name
        self._node.streams.append(attribute)
        return allocation.offset

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
        assert self._node is not None
        self._node.streams.append(self._stream.end())
        self._stream = None

    def end_node(self) -> None:
        """Ends the file that was begun, and writes its record."""
        self._put_node()

    def _put_node(self) -> None:
        """Writes the records of the file or directory whose streams are complete now."""
        node, self._node = self._node, None
        if node is None or node is self._root:
            return
        catalog = self._catalog
        if node.directory is not None:
            if node.metadata.is_plain and not node.streams:
                # `make_directory` has written it.
                return
            catalog.put_directory(node.directory, node.parent, node.name, node.metadata, node.streams)
            return
        allocated, size = stream_sizes(node.streams)
        file_name = catalog.file_name(node.parent, node.name, node.metadata, allocated, size)
        file = reference(node.record, 1)
        attributes = catalog.common_attributes(file, node.metadata)
        attributes.append(Attribute(AttributeType.FILE_NAME, value=file_name, is_indexed=True))
        attributes += node.streams
        catalog.put_file(file, RecordFlags.IN_USE, attributes)

    def put_plain_file(self, directory: int, name: str, info: FileBasicInfo, security: bytes, data: bytes) -> None:
        """Writes a file that has a main stream and no other data, EAs, reparse point or object id.

        The result is that of `begin_node`, a stream and `end_node`, in less time.
        """
        if self._node is not None:
            self._put_node()
        self._plain_files.put(directory, name, info, security, data)

    def reserve_plain_file(self, directory: int, name: str, info: FileBasicInfo, security: bytes, size: int) -> int:
        """Adds a file as `put_plain_file` does, whose data the caller writes to the disk.

        Args:
            size: the bytes of the data: more than `RESIDENT_LIMIT`, so that they are in clusters.

        Returns:
            The offset of their place in the volume.
        """
        if self._node is not None:
            self._put_node()
        return self._plain_files.put_reserved(directory, name, info, security, size)

    def add_link(self, directory: int, name: str, file: int) -> None:
        """Adds the name `name` in a directory to an existing file.

        Args:
            directory: the number of the directory.
            name: the name.
            file: what `find` returned.

        Raises:
            FileTooComplexError: the file has as many names as NTFS allows.
        """
        self._put_node()
        self._links.add(directory, name, file)

    def find(self, directory: int, name: str) -> int | None:
        """Returns the file or directory with that name, in any case, in a directory of this volume, or None.

        Names that `add_link` added are not found.
        """
        self._put_node()
        return self._catalog.names.find(directory, name)

    def finish(self) -> None:
        """Writes the directories, the files with many names, and the system files.

        Raises:
            OutOfSpaceError: the volume is full.
        """
        self._put_node()
        self._links.finish()
        self._system_files.store_contents()
        directories = self._catalog.directories
        for directory in range(ROOT + 1, len(directories)):
            if not directories.is_empty(directory):
                self._catalog.put_index(directory)
        self._system_files.finish(self._catalog, self._mft, self._root.metadata, self._root.streams)
