"""Builds an NTFS volume in one pass: entries as they come, then everything that refers to them.

Clusters are given out in a row, so the data of a file is contiguous. The MFT grows by runs that double. Directories and
the files with several names are written at the end, when all of their names are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wclayer.formats.disk import Disk
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.index import build_index, directory_entry, view_entry
from wclayer.formats.ntfs.records import (
    Attribute,
    decode_record,
    encode_plain_record,
    encode_record,
    pack_records,
    reference,
)
from wclayer.formats.ntfs.runs import Run
from wclayer.formats.ntfs.secure import SecurityStore
from wclayer.formats.ntfs.structs import (
    RECORD_SIZE,
    SECTOR_SIZE,
    AttributeType,
    Collation,
    FileTooComplexError,
    Namespace,
    NtfsError,
    OutOfSpaceError,
    RecordFlags,
    SystemFile,
)
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.ea import FILE_NEED_EA, decode_eas
from wclayer.win32.names import collation_key, name_key, utf16_length
from wclayer.win32.sid import ADMINISTRATORS
from wclayer.win32.upcase import upcase_table

_MIB = 1 << 20
MIN_VOLUME_SIZE = 8 * _MIB
MAX_VOLUME_SIZE = 64 << 40
DEFAULT_CLUSTER_SIZE = 4096
CLUSTER_SIZES = tuple(512 << shift for shift in range(8))
_WRITE_BUFFER = 1 << 20
_FIRST_MFT_RECORDS = 256
_LARGE_MFT_RUN = 64 << 20
_RESIDENT_LIMIT = 640
"""A value up to this long stays in the record, if the record has room."""
_RECORD_GAP = 16 * RECORD_SIZE
_SPARE_RECORDS = 8
"""Free records at the end of the MFT, of which the root directory may need some."""
_ROOT_ROOM = 480
"""Bytes for the entries of an index root."""
_SPARSE_UNIT = 64 << 10
_SYSTEM_ATTRIBUTES = int(FileAttributes.HIDDEN | FileAttributes.SYSTEM)
_NOT_STORED = int(FileAttributes.DIRECTORY | FileAttributes.NORMAL)
"""Attributes that say nothing that is not said elsewhere."""
_I30 = "$I30"
_ROOT = reference(SystemFile.ROOT, SystemFile.ROOT)


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """What a file or directory is besides its data: FILETIMEs, attributes, the rest as Windows gives and takes it."""

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
class _Directory:
    """A directory whose names are being collected: index entries, one after the other."""

    parent: int
    name: str
    metadata: FileMetadata
    entries: bytearray = field(default_factory=bytearray)
    index: dict[str, int] = field(default_factory=dict)
    """Name to reference, for the entries up to `indexed`: made when a name is looked for."""
    indexed: int = 0
    streams: list[Attribute] = field(default_factory=list)


@dataclass(slots=True)
class _Stream:
    """A data stream that is being written."""

    name: str
    size: int
    is_sparse: bool
    position: int = 0
    pending: bytearray | None = None
    """Of a resident one: its bytes."""
    start: int = 0
    runs: list[Run] | None = None
    """Of a sparse one: what there is so far."""


def mft_growth(have: int) -> int:
    """By how many bytes an MFT of `have` bytes grows. The runs of the largest one still fit into its own record, which
    is read before any other."""
    return min(max(_FIRST_MFT_RECORDS * RECORD_SIZE, have // 2), max(_LARGE_MFT_RUN, have // 8))


class VolumeBuilder:
    """A new NTFS volume on `disk`, from its first byte to its last.

    Args:
        disk: the volume's place; it must read as zeros.
        cluster_size: bytes; a power of two from 512 to 65,536.
        label: the volume's name.
        serial: of the volume; the same content with the same serial and time gives the same bytes.
        time: FILETIME of the volume's own files.
        hidden_sectors: sectors of the disk before the volume.

    Raises:
        NtfsError: sizes that a volume cannot have.
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
        self._disk = disk
        self.cluster_size = cluster_size
        # The last sector has the copy of the boot sector, and is no cluster's.
        self._sectors = disk.size // SECTOR_SIZE - 1
        self._clusters = self._sectors * SECTOR_SIZE // cluster_size
        if self._clusters > structs.MAX_CLUSTERS:
            raise NtfsError(f"{self._clusters} clusters of {cluster_size} bytes; a volume has at most 2^32")
        if utf16_length(label) > structs.MAX_LABEL_UNITS:
            raise NtfsError(
                f"a label of {utf16_length(label)} UTF-16 units; a volume's has at most {structs.MAX_LABEL_UNITS}"
            )
        self._label = label
        self._serial = serial
        self._time = time
        self._hidden_sectors = hidden_sectors
        self._next_cluster = 0
        # Between two files lies the rest of a cluster; between two records, those of directories, which come later.
        self._data = _WriteBuffer(disk, cluster_size)
        self._record_buffer = _WriteBuffer(disk, _RECORD_GAP)
        self._record_run = (0, 0)
        """Where the run of the MFT is to which the last record went: its first byte, and the one after its last."""
        self._security = SecurityStore()
        self._system_security = root.security
        self._mft_runs: list[Run] = []
        self._mft_records = 0
        self._next_record = int(structs.FIRST_USER_RECORD)
        self._directories: dict[int, _Directory] = {
            _ROOT: _Directory(_ROOT, ".", root),
        }
        self._links: dict[int, list[tuple[int, str]]] = {}
        self._reparse: list[bytes] = []
        self._object_ids: list[bytes] = []
        self._recycled: list[int] = []
        self._given_back: list[Run] = []
        """Clusters that were written, and are not needed any more."""
        # What has a fixed place, or should be at the start.
        self._boot_run = self._allocate(structs.BOOT_SIZE)
        self._mirror_size = max(structs.MIRRORED_RECORDS * RECORD_SIZE, cluster_size)
        self._mirror_run = self._allocate(self._mirror_size)
        self._log_run = self._allocate(4 * _MIB if disk.size >= 256 * _MIB else 2 * _MIB)
        self._grow_mft()
        self._file: tuple[int, int, str, FileMetadata] | None = None
        self._streams: list[Attribute] = []
        self._stream: _Stream | None = None

    @property
    def root(self) -> int:
        """The reference of the root directory."""
        return _ROOT

    # Clusters.

    def _allocate(self, size: int) -> Run:
        """Clusters in a row for `size` bytes."""
        count = -(-size // self.cluster_size)
        start = self._next_cluster
        if start + count > self._clusters:
            raise OutOfSpaceError(f"the volume of {self._disk.size} bytes is full")
        self._next_cluster += count
        return Run(start, count)

    def _write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Writes data into clusters; what follows on what was written before goes out with it."""
        self._data.write(offset, data)

    def _flush(self) -> None:
        self._data.flush()
        self._record_buffer.flush()

    def _store(self, value: bytes | bytearray) -> Attribute:
        """A value in clusters of its own."""
        run = self._allocate(len(value))
        assert run.start is not None
        self._write(run.start * self.cluster_size, value)
        allocated = run.length * self.cluster_size
        return Attribute(0, value=None, runs=[run], size=len(value), allocated=allocated)

    def _stored(self, kind: AttributeType, name: str, value: bytes | bytearray) -> Attribute:
        stored = self._store(value)
        stored.type, stored.name = kind, name
        return stored

    # Records.

    def _grow_mft(self) -> None:
        size = mft_growth(self._mft_records * RECORD_SIZE)
        run = self._allocate(-(-size // self.cluster_size) * self.cluster_size)
        self._mft_runs.append(run)
        self._mft_records += run.length * self.cluster_size // RECORD_SIZE

    def _new_record(self) -> int:
        number = self._next_record
        self._next_record += 1
        while number >= self._mft_records:
            self._grow_mft()
        return number

    def _record_offset(self, number: int) -> int:
        """Where a record is in the volume."""
        offset = number * RECORD_SIZE
        last = self._mft_runs[-1]
        before = (self._mft_records * RECORD_SIZE) - last.length * self.cluster_size
        if offset >= before and last.start is not None:
            return last.start * self.cluster_size + offset - before
        for run in self._mft_runs:
            size = run.length * self.cluster_size
            if offset < size:
                assert run.start is not None
                return run.start * self.cluster_size + offset
            offset -= size
        raise NtfsError(f"record {number} is outside of the MFT")

    def _put_record(self, number: int, record: bytes) -> None:
        offset = self._record_offset(number)
        start, end = self._record_run
        if not start <= offset < end:
            # Between two runs lies what belongs to others.
            self._record_buffer.flush()
            size = self.cluster_size
            for run in self._mft_runs:
                if run.start is not None and run.start * size <= offset < (run.start + run.length) * size:
                    self._record_run = run.start * size, (run.start + run.length) * size
        self._record_buffer.write(offset, record)

    def _put_file(
        self,
        number: int,
        sequence: int,
        flags: RecordFlags | int,
        links: int,
        attributes: Sequence[Attribute],
        place: tuple[int, str],
    ) -> None:
        """Writes the records of a file; `place`, its directory and name, is for messages."""
        try:
            packed = pack_records(number, sequence, flags, links, attributes, self._new_record, self._store)
        except FileTooComplexError as error:
            raise FileTooComplexError(f"{self._path_of(*place)!r}: {error}") from None
        self._put_record(number, packed.base)
        for extension, record in packed.extensions:
            self._put_record(extension, record)

    def _path_of(self, parent: int, name: str) -> str:
        """The path of a name from the volume's root, for messages."""
        while parent != _ROOT:
            directory = self._directories[parent]
            parent, name = directory.parent, f"{directory.name}/{name}"
        return name

    def _standard_information(self, metadata: FileMetadata) -> Attribute:
        return Attribute(AttributeType.STANDARD_INFORMATION, value=self._information(metadata))

    def _information(self, metadata: FileMetadata) -> bytes:
        attributes = metadata.attributes & ~_NOT_STORED
        return structs.STANDARD_INFORMATION.pack(
            metadata.creation_time, metadata.last_write_time, metadata.change_time, metadata.last_access_time,
            attributes, 0, 0, 0, 0, self._security.id_of(metadata.security), 0, 0,
        )  # fmt: skip

    def _file_name(
        self, parent: int, name: str, metadata: FileMetadata, allocated: int, size: int, *, extra_flags: int = 0,
        namespace: Namespace = Namespace.POSIX,
    ) -> bytes:  # fmt: skip
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

    def _common(self, number: int, sequence: int, metadata: FileMetadata) -> list[Attribute]:
        """The attributes of files and directories that are not names, data or indexes."""
        found = [self._standard_information(metadata)]
        if metadata.object_id is not None:
            key = metadata.object_id[:16]
            found.append(Attribute(AttributeType.OBJECT_ID, value=key))
            data = reference(number, sequence).to_bytes(8, "little") + metadata.object_id[16:64].ljust(48, b"\0")
            self._object_ids.append(view_entry(key, data))
        if metadata.reparse is not None:
            found.append(Attribute(AttributeType.REPARSE_POINT, value=metadata.reparse))
            key = metadata.reparse[:4] + reference(number, sequence).to_bytes(8, "little")
            self._reparse.append(view_entry(key, b""))
        if metadata.eas:
            needed, packed = _ea_sizes(metadata.eas)
            information = structs.EA_INFORMATION.pack(packed, needed, len(metadata.eas))
            found.append(Attribute(AttributeType.EA_INFORMATION, value=information))
            found.append(Attribute(AttributeType.EA, value=metadata.eas))
        return found

    # Entries.

    def make_directory(self, parent: int, name: str, metadata: FileMetadata) -> int:
        """A new directory below the directory `parent`; gives its reference. Named streams of it may follow."""
        number = reference(self._new_record(), 1)
        self._add_name(parent, number, self._file_name(parent, name, metadata, 0, 0, extra_flags=_DIRECTORY_FLAG))
        self._directories[number] = directory = _Directory(parent, name, metadata)
        self._streams = directory.streams
        return number

    def set_root(self, metadata: FileMetadata) -> None:
        """What the root directory is. Named streams of it may follow."""
        self._directories[_ROOT].metadata = metadata
        self._streams = self._directories[_ROOT].streams

    def _add_name(self, parent: int, file: int, file_name: bytes) -> None:
        self._directories[parent].entries += directory_entry(file, file_name)

    def begin_node(self, parent: int, name: str, metadata: FileMetadata) -> int:
        """Starts a file, or the streams of one; gives its reference. Streams follow, then `end_node`."""
        number = reference(self._new_record(), 1)
        self._file = (number, parent, name, metadata)
        self._streams = []
        return number

    def begin_stream(self, name: str, size: int, *, is_sparse: bool = False) -> None:
        """Starts a data stream of `size` bytes; "" is the main one."""
        stream = _Stream(name, size, is_sparse)
        if size <= _RESIDENT_LIMIT:
            stream.pending = bytearray()
        elif is_sparse:
            stream.runs = []
            stream.pending = bytearray()
        else:
            run = self._allocate(size)
            assert run.start is not None
            stream.start = run.start
        self._stream = stream

    def write(self, data: bytes | memoryview) -> None:
        """More of the stream that was begun."""
        stream = self._stream
        assert stream is not None
        if stream.pending is not None:
            stream.pending += data
            if stream.runs is not None:
                self._put_sparse(stream, at_end=False)
        else:
            self._write(stream.start * self.cluster_size + stream.position, data)
        stream.position += len(data)

    def _put_sparse(self, stream: _Stream, *, at_end: bool) -> None:
        """Writes whole pieces of a sparse stream, those of zeros as holes."""
        assert stream.pending is not None
        assert stream.runs is not None
        unit = max(_SPARSE_UNIT, self.cluster_size)
        while len(stream.pending) >= unit or (at_end and stream.pending):
            piece = bytes(stream.pending[:unit])
            del stream.pending[:unit]
            count = -(-len(piece) // self.cluster_size)
            if not any(piece):
                run = Run(None, count)
            else:
                run = self._allocate(len(piece))
                assert run.start is not None
                self._write(run.start * self.cluster_size, piece)
            last = stream.runs[-1] if stream.runs else None
            if last is not None and last.start is None and run.start is None:
                stream.runs[-1] = Run(None, last.length + count)
            elif (
                last is not None
                and run.start is not None
                and last.start is not None
                and (last.start + last.length == run.start)
            ):
                stream.runs[-1] = Run(last.start, last.length + count)
            else:
                stream.runs.append(run)

    def end_stream(self) -> None:
        """Ends the stream that was begun."""
        stream = self._stream
        assert stream is not None
        self._stream = None
        if stream.runs is not None:
            self._put_sparse(stream, at_end=True)
            allocated = sum(run.length for run in stream.runs) * self.cluster_size
            on_disk = sum(run.length for run in stream.runs if run.start is not None) * self.cluster_size
            made = Attribute(AttributeType.DATA, stream.name, None, stream.runs, stream.size, allocated, True, on_disk)
        elif stream.pending is not None:
            made = Attribute(AttributeType.DATA, stream.name, bytes(stream.pending))
        else:
            count = -(-stream.size // self.cluster_size)
            runs = [Run(stream.start, count)]
            made = Attribute(AttributeType.DATA, stream.name, None, runs, stream.size, count * self.cluster_size)
        self._streams.append(made)

    def end_node(self) -> None:
        """Ends the file that was begun."""
        assert self._file is not None
        number, parent, name, metadata = self._file
        self._file = None
        main = next((stream for stream in self._streams if not stream.name), None)
        allocated, size = _sizes(main)
        file_name = self._file_name(parent, name, metadata, allocated, size)
        self._add_name(parent, number, file_name)
        record = number & structs.RECORD_MASK
        attributes = self._common(record, 1, metadata)
        attributes.append(Attribute(AttributeType.FILE_NAME, value=file_name, is_indexed=True))
        attributes += self._streams
        self._put_file(record, 1, RecordFlags.IN_USE, 1, attributes, (parent, name))

    def put_plain_file(self, parent: int, name: str, metadata: FileMetadata, data: bytes) -> None:
        """The whole way of an ordinary file: its main stream and nothing else."""
        number = self._new_record()
        size = len(data)
        information = self._information(metadata)
        if size <= _RESIDENT_LIMIT:
            allocated = (size + 7) & ~7
            file_name = self._file_name(parent, name, metadata, allocated, size)
            record = encode_plain_record(number, information, file_name, data, None, size, allocated)
        else:
            record = None
        if record is None:
            run = self._allocate(size)
            assert run.start is not None
            allocated = run.length * self.cluster_size
            if size:
                self._write(run.start * self.cluster_size, data)
            file_name = self._file_name(parent, name, metadata, allocated, size)
            record = encode_plain_record(number, information, file_name, None, run, size, allocated)
            assert record is not None
        self._add_name(parent, reference(number, 1), file_name)
        self._put_record(number, record)

    def add_link(self, parent: int, name: str, file: int) -> None:
        """Makes `name` in the directory `parent` a further name of a file that is there.

        Raises:
            FileTooComplexError: the file has as many names as NTFS allows.
        """
        links = self._links.setdefault(file, [])
        if len(links) + 1 >= structs.MAX_NAMES:
            raise FileTooComplexError(
                f"{self._path_of(parent, name)!r}: a further name of a file with {structs.MAX_NAMES}, the most that "
                "NTFS allows"
            )
        links.append((parent, name))

    def find(self, parent: int, name: str) -> int | None:
        """The file or directory of that name, in any case, in a directory of this volume, or None.

        Names that `add_link` made are not found.
        """
        directory = self._directories[parent]
        for entry in _names(memoryview(directory.entries)[directory.indexed :]):
            directory.index[name_key(_name_of(entry))] = int.from_bytes(entry[:8], "little")
        directory.indexed = len(directory.entries)
        return directory.index.get(name_key(name))

    # The end.

    def finish(self) -> None:
        """Writes everything that waits for all names to be known, and the volume's own files.

        Raises:
            OutOfSpaceError: the volume is full.
        """
        self._flush()
        # From here on, what lies between two records has been written.
        self._record_buffer = _WriteBuffer(self._disk, 0)
        self._finish_links()
        system = self._system_files()
        for number, directory in self._directories.items():
            if number != _ROOT:
                self._finish_directory(number, directory)
        self._flush()
        self._finish_system(system)

    def _finish_links(self) -> None:
        """Gives the files with several names their further ones."""
        for file, links in self._links.items():
            number = file & structs.RECORD_MASK
            attributes, extensions = self._read_file(number)
            information = next(a for a in attributes if a.type == AttributeType.STANDARD_INFORMATION).value
            first = next(a for a in attributes if a.type == AttributeType.FILE_NAME).value
            assert information is not None
            assert first is not None
            for parent, name in links:
                encoded = name.encode("utf-16-le", "surrogatepass")
                head = first[8 : structs.FILE_NAME.size - 2]
                value = parent.to_bytes(8, "little") + head + bytes((len(encoded) // 2, Namespace.POSIX)) + encoded
                attributes.append(Attribute(AttributeType.FILE_NAME, value=value, is_indexed=True))
                self._add_name(parent, file, value)
            self._recycled += extensions
            self._put_file(number, 1, RecordFlags.IN_USE, len(links) + 1, attributes, links[0])
        for number in self._recycled:
            self._put_record(number, encode_record(number, 2, 0, 0, ()))
        self._flush()

    def _read_file(self, number: int) -> tuple[list[Attribute], list[int]]:
        """The attributes of a file, and its extension records."""
        _, parts = decode_record(self._disk.read(self._record_offset(number), RECORD_SIZE))
        extensions: dict[int, None] = {}
        for attribute in parts:
            if attribute.type == AttributeType.ATTRIBUTE_LIST:
                extensions |= dict.fromkeys(self._listed(attribute))
        extensions.pop(number, None)
        for extension in extensions:
            parts += decode_record(self._disk.read(self._record_offset(extension), RECORD_SIZE))[1]
        found: list[Attribute] = []
        runs: list[Run] = []
        for part in parts:
            if part.first_vcn:
                # The parts of an attribute follow on each other.
                runs.extend(part.runs)
            elif part.type != AttributeType.ATTRIBUTE_LIST:
                part.runs = runs = list(part.runs)
                found.append(part)
        return found, list(extensions)

    def _listed(self, attribute: Attribute) -> Iterator[int]:
        """The records that an attribute list names."""
        value = attribute.value
        if value is None:
            start = attribute.runs[0].start
            assert start is not None
            value = self._disk.read(start * self.cluster_size, attribute.size)
            self._given_back += attribute.runs
        position = 0
        while position < len(value):
            _, length, _, _, _, record, _ = structs.LIST_ENTRY.unpack_from(value, position)
            position += length
            yield record & structs.RECORD_MASK

    def _finish_directory(self, number: int, directory: _Directory) -> None:
        record, sequence = number & structs.RECORD_MASK, number >> structs.SEQUENCE_SHIFT
        metadata = directory.metadata
        namespace = Namespace.WIN32_AND_DOS if number == _ROOT else Namespace.POSIX
        name = self._file_name(
            directory.parent, directory.name, metadata, 0, 0, extra_flags=_DIRECTORY_FLAG, namespace=namespace
        )
        attributes = self._common(record, sequence, metadata)
        attributes.append(Attribute(AttributeType.FILE_NAME, value=name, is_indexed=True))
        attributes += directory.streams
        entries = sorted(_names(directory.entries), key=_collation_key)
        # A long name leaves less room for the index in the record.
        attributes += self._index(
            _I30, AttributeType.FILE_NAME, Collation.FILE_NAME, entries, _ROOT_ROOM - len(name) // 2
        )
        place = directory.parent, directory.name
        self._put_file(record, sequence, RecordFlags.IN_USE | RecordFlags.DIRECTORY, 1, attributes, place)

    def _index(
        self,
        name: str,
        indexed: AttributeType | int,
        collation: Collation,
        entries: Sequence[bytes],
        room: int = _ROOT_ROOM,
    ) -> list[Attribute]:
        built = build_index(entries, indexed, collation, self.cluster_size, room)
        found = [Attribute(AttributeType.INDEX_ROOT, name, built.root)]
        if built.blocks:
            found.append(self._stored(AttributeType.INDEX_ALLOCATION, name, b"".join(built.blocks)))
            bits = _bitmap(len(built.blocks))
            if len(bits) <= _RESIDENT_LIMIT // 4:
                found.append(Attribute(AttributeType.BITMAP, name, bits))
            else:
                found.append(self._stored(AttributeType.BITMAP, name, bits))
        return found

    # The volume's own files.

    def _system_metadata(self, more_attributes: int = 0) -> FileMetadata:
        time = self._time
        return FileMetadata(time, time, time, time, _SYSTEM_ATTRIBUTES | more_attributes, self._system_security)

    def _system_files(self) -> dict[SystemFile, list[Attribute]]:
        """The volume's own files whose contents are known before the directories are."""
        definitions = b"".join(
            structs.ATTRIBUTE_DEFINITION.pack(
                row.name.encode("utf-16-le"), row.type, 0, row.collation, row.flags, row.minimum, row.maximum
            )
            for row in structs.ATTRIBUTE_DEFINITIONS
        ) + bytes(structs.ATTRIBUTE_DEFINITION.size)
        whole = self._clusters * self.cluster_size
        return {
            SystemFile.MFT_MIRROR: [self._placed(self._mirror_run, self._mirror_size)],
            SystemFile.LOG_FILE: [self._placed(self._log_run, self._log_run.length * self.cluster_size)],
            SystemFile.VOLUME: [
                Attribute(AttributeType.VOLUME_NAME, value=self._label.encode("utf-16-le")),
                Attribute(
                    AttributeType.VOLUME_INFORMATION, value=structs.VOLUME_INFORMATION.pack(0, *structs.VERSION, 0)
                ),
                Attribute(AttributeType.DATA),
            ],
            SystemFile.ATTRIBUTE_DEFINITIONS: [self._stored(AttributeType.DATA, "", definitions)],
            SystemFile.BOOT: [self._placed(self._boot_run, structs.BOOT_SIZE)],
            SystemFile.BAD_CLUSTERS: [
                Attribute(AttributeType.DATA),
                Attribute(
                    AttributeType.DATA, "$Bad", None, [Run(None, self._clusters)], whole, whole, is_initialized=False
                ),
            ],
            SystemFile.UPCASE: [self._stored(AttributeType.DATA, "", upcase_table())],
        }

    def _placed(self, run: Run, size: int) -> Attribute:
        return Attribute(AttributeType.DATA, "", None, [run], size, run.length * self.cluster_size)

    def _finish_system(self, files: dict[SystemFile, list[Attribute]]) -> None:
        extend = reference(SystemFile.EXTEND, SystemFile.EXTEND)
        self._directories[extend] = _Directory(_ROOT, "$Extend", self._system_metadata())
        views = {
            SystemFile.QUOTA: [("$O", Collation.SID, self._quota_owners()), ("$Q", Collation.NUMBER, self._quotas())],
            SystemFile.OBJECT_IDS: [("$O", Collation.NUMBERS, sorted(self._object_ids, key=_numbers_key))],
            SystemFile.REPARSE: [("$R", Collation.NUMBERS, sorted(self._reparse, key=_numbers_key))],
        }
        names = {SystemFile.QUOTA: "$Quota", SystemFile.OBJECT_IDS: "$ObjId", SystemFile.REPARSE: "$Reparse"}
        flags = RecordFlags.IN_USE | RecordFlags.IN_EXTEND | RecordFlags.VIEW_INDEX
        for number, indexes in views.items():
            attributes = [a for index in indexes for a in self._index(index[0], 0, index[1], index[2])]
            self._put_system(number, names[number], attributes, flags, parent=extend, sequence=1)
        # What is still to be written has the descriptor of the volume's own files, or is the root directory.
        self._security.id_of(self._system_security)
        self._security.id_of(self._directories[_ROOT].metadata.security)
        files[SystemFile.SECURE] = [
            self._stored(AttributeType.DATA, "$SDS", self._security.stream),
            *self._index("$SDH", 0, Collation.SECURITY_HASH, self._security.by_hash()),
            *self._index("$SII", 0, Collation.NUMBER, self._security.by_id()),
        ]
        self._finish_directory(extend, self._directories[extend])
        self._add_name(
            _ROOT, extend, self._file_name(_ROOT, "$Extend", self._system_metadata(), 0, 0, extra_flags=_DIRECTORY_FLAG)
        )
        for number, name in _SYSTEM_NAMES.items():
            view = RecordFlags.VIEW_INDEX if number is SystemFile.SECURE else 0
            self._put_system(number, name, files[number], RecordFlags.IN_USE | view)
        for reserved in range(structs.FIRST_RESERVED, structs.END_RESERVED):
            attributes = [self._standard_information(self._system_metadata()), Attribute(AttributeType.DATA)]
            self._put_file(reserved, reserved, RecordFlags.IN_USE, 0, attributes, (_ROOT, ""))
        self._finish_map()

    def _finish_map(self) -> None:
        """The root directory, the MFT and the cluster bitmap: what describes everything else."""
        bits = -(-self._clusters // 64) * 8
        bitmap = self._placed(self._allocate(bits), bits)
        # The MFT ends soon after the last record; what it has clusters for beyond that, it may grow into.
        per_unit = max(1, self.cluster_size // RECORD_SIZE)
        end = -(-(self._next_record + _SPARE_RECORDS) // per_unit) * per_unit
        while end > self._mft_records:
            self._grow_mft()
        mft_bits = -(-end // 64) * 8
        mft_bitmap = self._placed(self._allocate(mft_bits), mft_bits)
        mft_bitmap.type = AttributeType.BITMAP
        self._put_system(SystemFile.BITMAP, "$Bitmap", [bitmap], RecordFlags.IN_USE)
        allocated = self._mft_records * RECORD_SIZE
        mft = Attribute(AttributeType.DATA, "", None, self._mft_runs, end * RECORD_SIZE, allocated)
        self._put_system(SystemFile.MFT, "$MFT", [mft, mft_bitmap], RecordFlags.IN_USE)
        root = self._directories[_ROOT]
        name = self._file_name(
            _ROOT, ".", root.metadata, 0, 0, extra_flags=_DIRECTORY_FLAG, namespace=Namespace.WIN32_AND_DOS
        )
        self._add_name(_ROOT, _ROOT, name)
        self._finish_directory(_ROOT, root)
        if self._next_record > end:
            raise NtfsError("the root directory takes more records than were kept for it")
        used = self._record_ranges()
        for (_, free), (taken, _) in zip(used, [*used[1:], (end, end)], strict=True):
            for number in range(free, taken):
                self._put_record(number, encode_record(number, 1, 0, 0, ()))
        self._flush()
        self._write_bits(mft_bitmap, used, mft_bits * 8, mft_bits * 8)
        self._write_bits(bitmap, self._cluster_ranges(), bits * 8, self._clusters)
        self._write_fixed()

    def _record_ranges(self) -> list[tuple[int, int]]:
        """The records in use, as ranges."""
        ranges = [(0, int(structs.END_RESERVED)), (int(SystemFile.QUOTA), int(SystemFile.REPARSE) + 1)]
        start = int(structs.FIRST_USER_RECORD)
        for number in sorted(self._recycled):
            ranges.append((start, number))
            start = number + 1
        return [*ranges, (start, self._next_record)]

    def _cluster_ranges(self) -> list[tuple[int, int]]:
        """The clusters in use, as ranges."""
        ranges = []
        first = 0
        for start, length in sorted((run.start or 0, run.length) for run in self._given_back):
            ranges.append((first, start))
            first = start + length
        return [*ranges, (first, self._next_cluster)]

    def _write_bits(self, place: Attribute, ranges: list[tuple[int, int]], total: int, end: int) -> None:
        """Writes a bitmap in which the ranges are set, and what is beyond `end`; zeros are there already."""
        start = place.runs[0].start
        assert start is not None
        used = max(stop for _, stop in ranges)
        bits = bytearray(-(-used // 8))
        for first, stop in ranges:
            _set_bits(bits, first, stop)
        self._disk.write(start * self.cluster_size, bytes(bits))
        if total > end:
            first_byte = end // 8
            tail = bytearray(total // 8 - first_byte)
            if first_byte < len(bits):
                tail[: len(bits) - first_byte] = bits[first_byte:]
            _set_bits(tail, end - first_byte * 8, total - first_byte * 8)
            self._disk.write(start * self.cluster_size + first_byte, bytes(tail))

    def _write_fixed(self) -> None:
        """The log, empty; the mirror of the MFT's first records; the boot sector and its copy."""
        assert self._log_run.start is not None
        assert self._mirror_run.start is not None
        piece = b"\xff" * _MIB
        size = self._log_run.length * self.cluster_size
        for offset in range(0, size, _MIB):
            self._disk.write(self._log_run.start * self.cluster_size + offset, piece[: size - offset])
        mirror = self._disk.read(self._record_offset(0), self._mirror_size)
        self._disk.write(self._mirror_run.start * self.cluster_size, mirror)
        boot = self._boot_sector()
        self._disk.write(0, boot)
        self._disk.write(self._sectors * SECTOR_SIZE, boot[:SECTOR_SIZE])

    def _boot_sector(self) -> bytes:
        mft, mirror = self._mft_runs[0].start, self._mirror_run.start
        assert mft is not None
        assert mirror is not None
        per_cluster = self.cluster_size // SECTOR_SIZE
        sector = structs.BOOT.pack(
            structs.BOOT_JUMP, structs.BOOT_OEM_ID, SECTOR_SIZE, per_cluster, b"", structs.MEDIA_FIXED, b"", 63, 255,
            self._hidden_sectors, 0, structs.BOOT_MARK, self._sectors, mft, mirror,
            _per_unit(RECORD_SIZE, self.cluster_size), b"", _per_unit(structs.INDEX_BLOCK_SIZE, self.cluster_size),
            b"", self._serial, 0,
        )  # fmt: skip
        boot = bytearray(sector.ljust(structs.BOOT_SIZE, b"\0"))
        boot[structs.BOOT_SIGNATURE_OFFSET : structs.BOOT_SIGNATURE_OFFSET + 2] = structs.BOOT_SIGNATURE
        return bytes(boot)

    def _put_system(
        self,
        number: SystemFile,
        name: str,
        attributes: list[Attribute],
        flags: RecordFlags | int,
        *,
        parent: int = _ROOT,
        sequence: int | None = None,
    ) -> None:
        sequence = sequence or max(1, int(number))
        main = next((a for a in attributes if a.type == AttributeType.DATA and not a.name), None)
        allocated, size = _sizes(main)
        # Windows has the flag of a view in the standard information of these files, too.
        metadata = self._system_metadata(structs.FILE_NAME_VIEW_INDEX if flags & RecordFlags.VIEW_INDEX else 0)
        value = self._file_name(parent, name, metadata, allocated, size, namespace=Namespace.WIN32_AND_DOS)
        own = [
            self._standard_information(metadata),
            Attribute(AttributeType.FILE_NAME, value=value, is_indexed=True),
            *attributes,
        ]
        self._put_file(number, sequence, flags, 1, own, (parent, name))
        self._add_name(parent, reference(number, sequence), value)

    def _quotas(self) -> list[bytes]:
        """No limits by default, and the administrators' entry."""
        entries = []
        for owner, flags, sid in (
            (structs.QUOTA_DEFAULTS_ID, structs.QUOTA_DEFAULT_LIMITS, b""),
            (structs.FIRST_OWNER_ID, structs.QUOTA_DEFAULT_LIMITS, ADMINISTRATORS.encode()),
        ):
            value = structs.QUOTA_ENTRY.pack(structs.QUOTA_VERSION, flags, 0, self._time, -1, -1, 0) + sid
            entries.append(view_entry(owner.to_bytes(4, "little"), value))
        return entries

    @staticmethod
    def _quota_owners() -> list[bytes]:
        return [view_entry(ADMINISTRATORS.encode(), structs.FIRST_OWNER_ID.to_bytes(4, "little"))]


_SYSTEM_NAMES = {
    SystemFile.MFT_MIRROR: "$MFTMirr",
    SystemFile.LOG_FILE: "$LogFile",
    SystemFile.VOLUME: "$Volume",
    SystemFile.ATTRIBUTE_DEFINITIONS: "$AttrDef",
    SystemFile.BOOT: "$Boot",
    SystemFile.BAD_CLUSTERS: "$BadClus",
    SystemFile.SECURE: "$Secure",
    SystemFile.UPCASE: "$UpCase",
}


class _WriteBuffer:
    """Writes to a disk that follow each other, together; gaps of up to `gap` bytes are written as zeros."""

    def __init__(self, disk: Disk, gap: int) -> None:
        self._disk = disk
        self._gap = gap
        self._data = bytearray()
        self._start = 0

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        gap = offset - self._start - len(self._data)
        if self._data and 0 < gap < self._gap:
            self._data += bytes(gap)
        elif gap:
            self.flush()
        if not self._data:
            self._start = offset
        self._data += data
        if len(self._data) >= _WRITE_BUFFER:
            self.flush()

    def flush(self) -> None:
        if self._data:
            self._disk.write(self._start, bytes(self._data))
            self._data.clear()


_DIRECTORY_FLAG = structs.FILE_NAME_DIRECTORY


def _sizes(main: Attribute | None) -> tuple[int, int]:
    """Allocated and real size of a main stream, as a directory shows them."""
    if main is None:
        return 0, 0
    if main.value is not None:
        return (len(main.value) + 7) & ~7, len(main.value)
    return (main.on_disk if main.is_sparse else main.allocated), main.size


def _ea_sizes(eas: bytes) -> tuple[int, int]:
    """How many EAs are needed, and the packed size of all: without the padding between them."""
    found = decode_eas(eas) if eas else []
    return sum(bool(ea.flags & FILE_NEED_EA) for ea in found), sum(5 + len(ea.name) + len(ea.value) for ea in found)


def _names(entries: bytearray | memoryview) -> Iterator[bytes]:
    position = 0
    while position < len(entries):
        length = int.from_bytes(entries[position + 8 : position + 10], "little")
        yield bytes(entries[position : position + length])
        position += length


def _name_of(entry: bytes) -> str:
    """The name in an entry of a directory."""
    start = structs.INDEX_ENTRY.size + structs.FILE_NAME.size
    return entry[start : start + 2 * entry[start - 2]].decode("utf-16-le", "surrogatepass")


def _collation_key(entry: bytes) -> tuple[bytes, bytes]:
    return collation_key(_name_of(entry))


def _numbers_key(entry: bytes) -> tuple[int, ...]:
    """A view's key as the 32-bit numbers by which it is ordered."""
    length = structs.VIEW_ENTRY.unpack_from(entry)[4]
    start = structs.VIEW_ENTRY.size
    return tuple(int.from_bytes(entry[at : at + 4], "little") for at in range(start, start + length, 4))


def _bitmap(count: int) -> bytes:
    """A bitmap with its first bits set."""
    bits = bytearray(-(-count // 64) * 8)
    _set_bits(bits, 0, count)
    return bytes(bits)


def _set_bits(bits: bytearray, first: int, stop: int) -> None:
    while first < stop and first & 7:
        bits[first >> 3] |= 1 << (first & 7)
        first += 1
    whole = (stop - first) >> 3
    if whole > 0:
        bits[first >> 3 : (first >> 3) + whole] = b"\xff" * whole
        first += whole << 3
    while first < stop:
        bits[first >> 3] |= 1 << (first & 7)
        first += 1


def _per_unit(size: int, cluster_size: int) -> int:
    """How the boot sector says how large a record is: in clusters, or as a power of two if it is less than one."""
    return size // cluster_size if size >= cluster_size else -(size.bit_length() - 1)
