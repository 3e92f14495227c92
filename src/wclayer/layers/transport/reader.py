"""Reads a transport folder."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

from wclayer._types import StrPath
from wclayer._walk import Walk
from wclayer.errors import (
    IN_THE_WAY,
    FormatLimitError,
    InvalidDataError,
    LimitExceededError,
    NotALayerError,
    PathNotFoundError,
    boundary,
    errors_at,
    limit_hint,
)
from wclayer.host import system
from wclayer.layers.backup_stream import check_metadata, keep_metadata, plain_stream_name
from wclayer.layers.base import FirstNames
from wclayer.layers.budget import stored_size
from wclayer.layers.host_walk import HostWalkReader
from wclayer.layers.transport.layout import ATTRIBUTES, DIRECTORY_SUFFIX, TOMBSTONES, TOMBSTONES_HEADER, read_times
from wclayer.model import DataStream, Entry, Limits, LinkInfo
from wclayer.win32.attributes import DIRECTORY, FileAttributes, FileBasicInfo
from wclayer.win32.backup import BackupStreamReader, SparseBlocks, StreamId
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.names import decode_name, name_key, path_key

_PIECE = 1 << 20
_NO_FILE = (errno.ENOENT, *IN_THE_WAY)
"""Errors of the host for a link, a FIFO, a socket or a device that is opened as a file."""
_NOT_REGULAR = "not a regular file: a transport folder has directories and files"
_RECYCLE_BIN = name_key("$Recycle.Bin")
_SUFFIX_KEY = name_key(DIRECTORY_SUFFIX)


@boundary
class TransportLayerReader(HostWalkReader):
    """A `LayerReader` over a transport folder.

    The order is that of hcsshim: each directory's names sorted, a directory's tombstones right after it,
    `$Recycle.Bin` left out. Names compare without case: a `.$wcidirs$` file or a tombstone's directory may be spelled
    differently from the directory.

    Raises:
        PathNotFoundError: the folder does not exist.
        NotALayerError: it has no `tombstones.txt`, or not one of version 1.0.
    """

    operation = "read transport folder"

    def __init__(self, path: StrPath, *, is_base: bool = False, limits: Limits | None = None) -> None:
        place = Path(os.path.abspath(path))
        if not place.is_dir():
            raise PathNotFoundError(place, "the folder does not exist")
        super().__init__(place, is_base=is_base, limits=limits)
        self._fd = -1
        self._layout: list[_StreamAt] = []
        self._name = ""
        self._number_of_links = 1
        self._inode = 0
        try:
            with errors_at(place / TOMBSTONES):
                self._tombstones = self._read_tombstones()
        except BaseException:
            self._host.close()
            raise
        self._first_names = FirstNames()

    def _advance(self) -> Entry | None:
        self._close_file()
        return super()._advance()

    def _walk_all(self) -> Iterator[Entry]:
        tops = self._by_key(b"")
        for top in ("FILES", "HIVES", "UTILITYVM"):
            if (name := tops.get(top)) is not None:
                encoded = top == "FILES" or _suffixed(tops, top) is not None
                yield from self._walk_directory(name, decode_name(name), encoded, _suffixed(tops, top))
        # Deleted from a directory that the layer does not otherwise mention.
        for _, paths in sorted(self._tombstones.items()):
            for tombstone in paths:
                yield Entry(tombstone, None, place=TOMBSTONES)

    def _walk_directory(self, host: bytes, name: str, encoded: bool, sidecar: bytes | None) -> Iterator[Entry]:
        """Yields the entry of a directory, its tombstones, and everything below it."""
        yield self._directory_entry(host, name, sidecar)
        yield from self._tombstones_in(name)
        is_encoded = encoded and name_key(name) != "HIVES"
        # The length of a directory's path is enough: a deep tree must not hold the paths of all levels.
        walk = Walk(self._children(host), (len(host), len(name)))
        for (host_length, length), (own_host, sidecar) in walk:
            own = decode_name(own_host)
            is_bin = name_key(own) == _RECYCLE_BIN and name_key(name[:length]) == "FILES"
            host, name = host[:host_length] + b"/" + own_host, f"{name[:length]}/{own}"
            if not self._host.is_directory(host):
                if sidecar is not None:
                    raise self._bad(host[:host_length] + b"/" + sidecar, "the metadata of a directory, which is a file")
                yield self._file_entry(host, name, is_encoded)
            elif not is_bin:
                beside = None if sidecar is None else host[:host_length] + b"/" + sidecar
                yield self._directory_entry(host, name, beside)
                yield from self._tombstones_in(name)
                walk.enter(self._children(host), (len(host), len(name)))

    def _tombstones_in(self, directory: str) -> Iterator[Entry]:
        for tombstone in self._tombstones.pop(path_key(directory), ()):
            yield Entry(tombstone, None, place=TOMBSTONES)

    def _children(self, host: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """Yields the names in a directory in order, each with the name of a directory's own file if it has one."""
        children = self._by_key(host)
        found = []
        for key, child in sorted(children.items(), key=lambda item: item[1]):
            if not key.endswith(_SUFFIX_KEY):
                found.append((child, _suffixed(children, key)))
            elif key[: -len(_SUFFIX_KEY)] not in children:
                raise self._bad(host + b"/" + child, "a directory's metadata without the directory")
        return self._held(found, sum(map(len, children.values())))

    def _by_key(self, host: bytes) -> dict[str, bytes]:
        """Returns the names in a directory of the host by the keys that Windows compares.

        Raises:
            InvalidDataError: two of them are the same for Windows.
        """
        names: dict[str, bytes] = {}
        for text in self._host.names(host):
            name = os.fsencode(text)
            other = names.setdefault(name_key(decode_name(name)), name)
            if other != name:
                one, two = sorted((os.fsdecode(other), text))
                raise self._bad(host, f"{one!r} and {two!r} differ only in case: to Windows they are one name")
        return names

    def _directory_entry(self, host: bytes, name: str, sidecar: bytes | None) -> Entry:
        if sidecar is not None:
            entry = self._file_entry(sidecar, name, True, may_link=False)
            assert entry.info is not None
            entry.info.attributes |= DIRECTORY
            return entry
        # The tops of a folder that hcsshim wrote have no file of their own: only the host's times are known.
        stat = self._host.stat(host)
        write = from_unix_ns(stat.st_mtime_ns)
        return Entry(name, FileBasicInfo(DIRECTORY, write, write, write, write))

    def _file_entry(self, host: bytes, name: str, encoded: bool, *, may_link: bool = True) -> Entry:
        self._close_file()
        try:
            self._fd = self._host.open(host)
        except OSError as error:
            if error.errno in _NO_FILE:
                raise self._bad(host, _NOT_REGULAR) from None
            raise
        stat = os.fstat(self._fd)
        self._number_of_links, self._inode = stat.st_nlink, stat.st_ino
        self._stored.store(stored_size(stat))
        info = read_times(self._fd, stat, is_hive=not encoded)
        entry = Entry(name, info)
        if may_link and stat.st_nlink > 1:
            if self._first_names.link(entry, (stat.st_dev, stat.st_ino)):
                if encoded:
                    info.attributes = self._read_attributes(host)
                return entry
            self._hold(1, len(name))
        if not encoded:
            # As Windows makes files.
            info.attributes = int(FileAttributes.ARCHIVE)
            self._layout = [_StreamAt("", stat.st_size, 0, 0, sparse=False)]
            entry.size = stat.st_size
            return entry
        info.attributes = self._read_attributes(host)
        self._name = name
        try:
            self._scan(entry, stat.st_size)
        except LimitExceededError:
            raise
        except ValueError as error:
            raise self._bad(host, str(error)) from None
        return entry

    def _exceeded(self, problem: str, limit: str) -> LimitExceededError:
        return LimitExceededError(self.source, f"entry {self._name!r}: {problem} {limit_hint(limit)}")

    def _read_attributes(self, host: bytes) -> int:
        data = os.read(self._fd, ATTRIBUTES.size)
        if len(data) != ATTRIBUTES.size:
            raise self._bad(host, "shorter than the four bytes of its attributes")
        return int(ATTRIBUTES.unpack(data)[0])

    def _scan(self, entry: Entry, size: int) -> None:
        """Reads the metadata of the backup stream into the entry, and records the offsets of its data."""
        file = os.fdopen(self._fd, "rb", 64 << 10, closefd=False)
        file.seek(ATTRIBUTES.size)
        reader = BackupStreamReader(file)
        names: set[str] = set()
        blocks = SparseBlocks()
        metadata = 0
        for header in reader:
            at = ATTRIBUTES.size + reader.position
            if header.id in (StreamId.DATA, StreamId.ALTERNATE_DATA):
                name = plain_stream_name(header) if header.id == StreamId.ALTERNATE_DATA else ""
                if (key := name_key(name)) in names:
                    raise ValueError(f"a second stream {name!r}" if name else "a second main data stream")
                names.add(key)
                if len(names) > self.limits.streams + 1:
                    raise self._exceeded(f"more than {self.limits.streams} streams", "streams")
                is_sparse = blocks.start(header)
                self._layout.append(_StreamAt(name, header.size, header.attributes, at, sparse=is_sparse))
            elif header.id == StreamId.SPARSE_BLOCK:
                blocks.hole(header)
                self._layout[-1].size = header.offset + header.size
            else:
                metadata = check_metadata(header, metadata, self.limits, self._exceeded)
                blocks.start(header)
                keep_metadata(entry, header, reader.read())
                continue
            if os.fstat(self._fd).st_size < at + header.size:
                raise ValueError(f"backup stream: ends inside the data stream at offset {at}")
            # Data is not read now, but skipped by a seek; the check keeps the seek within the file.
            file.seek(at + header.size)
            reader.skipped()
        if ATTRIBUTES.size + reader.position < size:
            raise ValueError(f"became shorter while it was read ({size - ATTRIBUTES.size - reader.position} bytes)")
        entry.size = next((stream.size for stream in self._layout if not stream.name), 0)
        if entry.has_data and not any(not stream.name for stream in self._layout):
            self._layout.insert(0, _StreamAt("", 0, 0, 0, sparse=False))

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        if entry.link_target is not None:
            return
        for stream in self._layout:
            yield DataStream(stream.name, stream.size, self._chunks(stream), stream.attributes)

    def _chunks(self, stream: _StreamAt) -> Iterator[bytes]:
        if not stream.sparse:
            yield from self._range(stream.at, stream.size)
            return
        # The blocks are read again: there may be very many.
        position = 0
        source = _ReadAt(self._fd, stream.at)
        reader = BackupStreamReader(source)
        while position < stream.size and (header := reader.next()) is not None:
            while position < header.offset:
                hole = min(header.offset - position, _PIECE)
                yield bytes(hole)
                position += hole
            yield from self._range(source.at, header.size)
            position += header.size
            source.at += header.size
            reader.skipped()

    def _range(self, at: int, size: int) -> Iterator[bytes]:
        while size:
            with errors_at(self.path / self._name):
                data = system.read_at(self._fd, min(size, _PIECE), at)
            if not data:
                raise InvalidDataError(self.path, f"a file became shorter while it was read ({size} bytes)")
            yield data
            at += len(data)
            size -= len(data)

    def _read_tombstones(self) -> dict[str, list[str]]:
        """Reads the paths that are deleted, by the key of their directory.

        Raises:
            NotALayerError: the file is missing, or not version 1.0.
        """
        try:
            data = self._host.read_bytes(TOMBSTONES.encode(), self.limits.names_size)
        except FileNotFoundError:
            raise NotALayerError(self.path, f"not a transport folder: it has no {TOMBSTONES}") from None
        except OSError as error:
            if error.errno in _NO_FILE:
                raise self._bad(TOMBSTONES.encode(), _NOT_REGULAR) from None
            raise
        except FormatLimitError as error:
            raise LimitExceededError(self.path, f"{error} {limit_hint('names_size')}") from None
        self._hold(0, len(data))
        lines = io.BytesIO(data)
        if lines.readline().rstrip(b"\r\n") != TOMBSTONES_HEADER:
            raise NotALayerError(self.path / TOMBSTONES, "does not start with the header of version 1.0")
        tombstones: dict[str, list[str]] = {}
        for number, ended in enumerate(lines, 2):
            line = ended.rstrip(b"\r\n")
            if not line:
                continue
            if not line.startswith(b"\\"):
                raise InvalidDataError(self.path / TOMBSTONES, f"line {number} does not start with a backslash")
            try:
                path = "Files/" + decode_name(line[1:]).replace("\\", "/")
            except UnicodeDecodeError:
                raise InvalidDataError(self.path / TOMBSTONES, f"line {number} is not UTF-8") from None
            self._hold(2, 2 * len(path))
            tombstones.setdefault(path_key(path.rpartition("/")[0]), []).append(path)
        return tombstones

    def _link_info(self) -> LinkInfo:
        return LinkInfo(self._number_of_links, self._inode.to_bytes(16, "little"))

    def _bad(self, host: bytes, problem: str) -> InvalidDataError:
        return InvalidDataError(self.path / os.fsdecode(host), problem)

    def _close_file(self) -> None:
        self._layout = []
        self._number_of_links, self._inode = 1, 0
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            system.close_read(fd)

    def _release(self) -> None:
        self._close_file()
        super()._release()


class _StreamAt:
    """The offset of a data stream in its host file; for a sparse stream, the offset of its first block."""

    __slots__ = ("at", "attributes", "name", "size", "sparse")

    def __init__(self, name: str, size: int, attributes: int, at: int, *, sparse: bool) -> None:
        self.name = name
        self.size = size
        self.attributes = attributes
        self.at = at
        self.sparse = sparse


class _ReadAt:
    """Reads an open file from an offset on, and leaves the position of the file alone."""

    def __init__(self, fd: int, at: int) -> None:
        self._fd = fd
        self.at = at

    def read(self, size: int, /) -> bytes:
        data = system.read_at(self._fd, size, self.at)
        self.at += len(data)
        return data


def _suffixed(names: dict[str, bytes], key: str) -> bytes | None:
    return names.get(key + _SUFFIX_KEY)
