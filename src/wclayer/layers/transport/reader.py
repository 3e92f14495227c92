"""Reads a transport folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from wclayer.errors import InvalidDataError, NotALayerError, PathNotFoundError
from wclayer.host import system
from wclayer.layers.base import keep_metadata, plain_stream_name
from wclayer.layers.host_walk import HostWalkReader
from wclayer.layers.transport.form import ATTRIBUTES, DIRECTORY_SUFFIX, TOMBSTONES, TOMBSTONES_HEADER, read_times
from wclayer.model import DataStream, Entry, Limits, LinkInfo
from wclayer.win32.attributes import DIRECTORY, FileBasicInfo
from wclayer.win32.backup import SPARSE_STREAM, BackupStreamReader, StreamId
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.names import decode_name, name_key, path_key

_PIECE = 1 << 20
_MAX_TOMBSTONES = 256 << 20
_MAX_METADATA = 16 << 20
_RECYCLE_BIN = name_key("$Recycle.Bin")


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

    def __init__(self, path: str | os.PathLike[str], *, is_base: bool = False, limits: Limits | None = None) -> None:
        place = Path(os.path.abspath(path))
        if not place.is_dir():
            raise PathNotFoundError(self.operation, place, "the folder does not exist")
        super().__init__(place, is_base=is_base, limits=limits)
        self._fd = -1
        self._layout: list[_StreamAt] = []
        self._number_of_links = 1
        self._inode = 0
        try:
            self._tombstones = self._read_tombstones()
        except BaseException:
            self._host.close()
            raise
        self._links: dict[tuple[int, int], str] = {}

    def _advance(self) -> Entry | None:
        self._close_file()
        return super()._advance()

    def _walk_all(self) -> Iterator[Entry]:
        tops = {name_key(decode_name(name)): name for name in self._names(b"")}
        for top in ("FILES", "HIVES", "UTILITYVM"):
            if (name := tops.get(top)) is not None:
                encoded = top == "FILES" or _suffixed(tops, top) is not None
                yield from self._walk_directory(name, decode_name(name), encoded, _suffixed(tops, top))
        # Deleted from a directory that the layer does not otherwise mention.
        for _, paths in sorted(self._tombstones.items()):
            for tombstone in paths:
                yield Entry(tombstone, None, place=TOMBSTONES)

    def _walk_directory(self, host: bytes, name: str, encoded: bool, sidecar: bytes | None) -> Iterator[Entry]:
        """The entry of a directory, its tombstones, and everything below it."""
        yield self._directory_entry(host, name, sidecar)
        yield from self._tombstones_in(name)
        pending = [(name, self._children(host))]
        while pending:
            name, children = pending[-1]
            child = next(children, None)
            if child is None:
                pending.pop()
                continue
            child_host, own, sidecar = child
            child_name = f"{name}/{own}"
            if not self._host.is_directory(child_host):
                yield self._file_entry(child_host, child_name, encoded and not path_key(name).startswith("HIVES"))
            elif name_key(own) != _RECYCLE_BIN or path_key(name) != "FILES":
                yield self._directory_entry(child_host, child_name, sidecar)
                yield from self._tombstones_in(child_name)
                pending.append((child_name, self._children(child_host)))

    def _tombstones_in(self, directory: str) -> Iterator[Entry]:
        for tombstone in self._tombstones.pop(path_key(directory), ()):
            yield Entry(tombstone, None, place=TOMBSTONES)

    def _children(self, host: bytes) -> Iterator[tuple[bytes, str, bytes | None]]:
        """What is in a directory: host path, name, and the host path of a directory's own file if it has one."""
        children = {name_key(decode_name(child)): child for child in self._names(host)}
        for key, child in sorted(children.items(), key=lambda item: item[1]):
            child_host = host + b"/" + child
            if key.endswith(name_key(DIRECTORY_SUFFIX)):
                if key[: -len(DIRECTORY_SUFFIX)] not in children:
                    raise self._bad(child_host, "a directory's metadata without the directory")
                continue
            sidecar = _suffixed(children, key)
            yield child_host, decode_name(child), None if sidecar is None else host + b"/" + sidecar

    def _names(self, host: bytes) -> list[bytes]:
        return [os.fsencode(name) for name in self._host.names(host)]

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
        self._fd = self._host.open(host)
        stat = os.fstat(self._fd)
        self._number_of_links, self._inode = stat.st_nlink, stat.st_ino
        info = read_times(self._fd, stat)
        if may_link and stat.st_nlink > 1:
            inode = (stat.st_dev, stat.st_ino)
            if (first := self._links.get(inode)) is not None:
                if encoded:
                    info.attributes = self._read_attributes(host)
                return Entry(name, info, link_target=first)
            self._links[inode] = name
        if not encoded:
            self._layout = [_StreamAt("", stat.st_size, 0, 0, None)]
            return Entry(name, info, stat.st_size)
        info.attributes = self._read_attributes(host)
        entry = Entry(name, info)
        try:
            self._scan(entry)
        except ValueError as error:
            raise self._bad(host, str(error)) from None
        return entry

    def _read_attributes(self, host: bytes) -> int:
        data = os.read(self._fd, ATTRIBUTES.size)
        if len(data) != ATTRIBUTES.size:
            raise self._bad(host, "shorter than the four bytes of its attributes")
        return int(ATTRIBUTES.unpack(data)[0])

    def _scan(self, entry: Entry) -> None:
        """Reads the backup stream's metadata into the entry, and notes where its data lies."""
        file = os.fdopen(self._fd, "rb", 64 << 10, closefd=False)
        file.seek(ATTRIBUTES.size)
        reader = BackupStreamReader(file)
        for header in reader:
            at = ATTRIBUTES.size + reader.position
            if header.id in (StreamId.DATA, StreamId.ALTERNATE_DATA):
                name = plain_stream_name(header) if header.id == StreamId.ALTERNATE_DATA else ""
                sparse = bool(header.attributes & SPARSE_STREAM) and not header.size
                self._layout.append(_StreamAt(name, header.size, header.attributes, at, [] if sparse else None))
            elif header.id == StreamId.SPARSE_BLOCK:
                if not self._layout or (blocks := self._layout[-1].blocks) is None:
                    raise ValueError("a sparse block without a sparse data stream before it")
                if header.offset < self._layout[-1].size:
                    raise ValueError(f"sparse block at offset {header.offset} lies before the end of the last one")
                blocks.append((header.offset, at, header.size))
                self._layout[-1].size = header.offset + header.size
            else:
                if header.size > _MAX_METADATA:
                    raise ValueError(f"metadata stream {header.id} of {header.size} bytes")
                keep_metadata(entry, header, reader.read())
                continue
            # Data is not read now: the file is sought past it.
            file.seek(at + header.size)
            reader.skipped()
            if os.fstat(self._fd).st_size < at + header.size:
                raise ValueError(f"backup stream: ends inside the data stream at offset {at}")
        entry.size = next((stream.size for stream in self._layout if not stream.name), 0)
        if entry.has_data and not any(not stream.name for stream in self._layout):
            self._layout.insert(0, _StreamAt("", 0, 0, 0, None))

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        if entry.link_target is not None:
            return
        for stream in self._layout:
            yield DataStream(stream.name, stream.size, self._chunks(stream), stream.attributes)

    def _chunks(self, stream: _StreamAt) -> Iterator[bytes]:
        if stream.blocks is None:
            yield from self._range(stream.at, stream.size)
            return
        position = 0
        for offset, at, size in stream.blocks:
            while position < offset:
                hole = min(offset - position, _PIECE)
                yield bytes(hole)
                position += hole
            yield from self._range(at, size)
            position += size

    def _range(self, at: int, size: int) -> Iterator[bytes]:
        while size:
            data = system.read_at(self._fd, min(size, _PIECE), at)
            if not data:
                raise InvalidDataError(
                    self.operation, self.path, f"a file became shorter while it was read ({size} bytes)"
                )
            yield data
            at += len(data)
            size -= len(data)

    def _read_tombstones(self) -> dict[str, list[str]]:
        """Directory key to the paths deleted in it.

        Raises:
            NotALayerError: the file is missing, or not version 1.0.
        """
        try:
            data = self._host.read_bytes(TOMBSTONES.encode(), _MAX_TOMBSTONES)
        except FileNotFoundError:
            raise NotALayerError(self.operation, self.path, f"not a transport folder: it has no {TOMBSTONES}") from None
        lines = data.replace(b"\r\n", b"\n").split(b"\n")
        if lines[0] != TOMBSTONES_HEADER:
            raise NotALayerError(
                self.operation, self.path / TOMBSTONES, "does not start with the header of version 1.0"
            )
        tombstones: dict[str, list[str]] = {}
        for number, line in enumerate(lines[1:], 2):
            if not line:
                continue
            if not line.startswith(b"\\"):
                raise InvalidDataError(
                    self.operation, self.path / TOMBSTONES, f"line {number} does not start with a backslash"
                )
            try:
                path = "Files/" + decode_name(line[1:]).replace("\\", "/")
            except UnicodeDecodeError:
                raise InvalidDataError(self.operation, self.path / TOMBSTONES, f"line {number} is not UTF-8") from None
            tombstones.setdefault(path_key(path.rpartition("/")[0]), []).append(path)
        return tombstones

    def link_info(self) -> LinkInfo:
        self._current()
        return LinkInfo(self._number_of_links, self._inode.to_bytes(16, "little"))

    def _bad(self, host: bytes, problem: str) -> InvalidDataError:
        return InvalidDataError(self.operation, self.path / os.fsdecode(host), problem)

    def _close_file(self) -> None:
        self._layout = []
        self._number_of_links, self._inode = 1, 0
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _release(self) -> None:
        self._close_file()
        super()._release()


class _StreamAt:
    """Where a data stream lies in its host file; `blocks` are (offset, place, size) of a sparse one."""

    __slots__ = ("at", "attributes", "blocks", "name", "size")

    def __init__(
        self, name: str, size: int, attributes: int, at: int, blocks: list[tuple[int, int, int]] | None
    ) -> None:
        self.name = name
        self.size = size
        self.attributes = attributes
        self.at = at
        self.blocks = blocks


def _suffixed(names: dict[str, bytes], key: str) -> bytes | None:
    return names.get(key + name_key(DIRECTORY_SUFFIX))
