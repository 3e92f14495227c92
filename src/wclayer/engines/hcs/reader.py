"""Readers of layers that Windows keeps: a base layer where it lies, a child by exporting it to a temporary folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from wclayer.engines.hcs.files import BackupFile
from wclayer.engines.hcs.functions import export_layer
from wclayer.engines.hcs.privileges import privileges
from wclayer.errors import InvalidDataError, NotALayerError, PathNotFoundError, from_os_error
from wclayer.host import system
from wclayer.host.root import HostRoot, remove_tree
from wclayer.layers.base import LayerReaderBase, keep_metadata, plain_stream_name
from wclayer.layers.transport import TransportLayerReader
from wclayer.model import DataStream, Entry, LinkInfo
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import SPARSE_STREAM, BackupStreamReader, StreamHeader, StreamId
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.names import decode_name, encode_name, names_equal, path_key

PathLike = str | os.PathLike[str]
_PIECE = 1 << 20
_MAX_METADATA = 16 << 20
_RECYCLE_BIN = "$Recycle.Bin"
UTILITY_VM, UTILITY_VM_FILES = b"UtilityVM", b"UtilityVM/Files"


class BaseLayerReader(LayerReaderBase):
    """A `LayerReader` over a base layer in its place: `Files`, then `UtilityVM` with its `Files` if it has them.

    Each directory's names come sorted as Go sorts them, by their UTF-8; `Files\\$Recycle.Bin` is left out; reparse
    points are not followed. A further name of a file that has been read is a link to the first.

    Raises:
        PathNotFoundError: there is no folder.
        NotALayerError: it has no `Files`.

    Reference: hcsshim, `baselayerreader.go`.
    """

    operation = "read base layer"

    def __init__(self, path: PathLike) -> None:
        place = os.path.abspath(path)
        super().__init__(place)
        if not os.path.isdir(place):
            raise PathNotFoundError(self.operation, place, "the folder does not exist")
        if not os.path.isdir(os.path.join(place, "Files")):
            raise NotALayerError(self.operation, place, "not a base layer: it has no folder Files")
        self._root = HostRoot(place)
        self._walk = self._walk_all()
        self._links: dict[bytes, str] = {}
        self._file: BackupFile | None = None
        self._source: _Recorded | None = None
        self._backup_stream: BackupStreamReader | None = None
        self._first: StreamHeader | None = None

    def _walk_all(self) -> Iterator[bytes]:
        yield from self._walk_directory(b"Files")
        if self._is_directory(UTILITY_VM_FILES):
            # Only Files: what else lies in UtilityVM was made from it.
            yield UTILITY_VM
            yield from self._walk_directory(UTILITY_VM_FILES)

    def _is_directory(self, path: bytes) -> bool:
        try:
            return self._root.is_directory(path)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _walk_directory(self, top: bytes) -> Iterator[bytes]:
        yield top
        pending = [self._children(top)]
        while pending:
            child = next(pending[-1], None)
            if child is None:
                pending.pop()
                continue
            path, is_directory = child
            yield path
            if is_directory:
                pending.append(self._children(path))

    def _children(self, path: bytes) -> Iterator[tuple[bytes, bool]]:
        found = [
            (encode_name(name), is_directory)
            for name, is_directory in system.list_directory(self._root.directory(path))
        ]
        for name, is_directory in sorted(found):
            is_bin = path == b"Files" and is_directory and names_equal(decode_name(name), _RECYCLE_BIN)
            if not is_bin:
                yield path + b"/" + name, is_directory

    def _advance(self) -> Entry | None:
        self._close_file()
        try:
            with privileges(self.operation, self.source):
                path = next(self._walk, None)
                return None if path is None else self._entry_at(path)
        except OSError as error:
            raise from_os_error(self.operation, self.source, error) from error
        except ValueError as error:
            raise self.bad(str(error)) from None

    def _entry_at(self, path: bytes) -> Entry:
        file = self._file = BackupFile(self._root, path)
        info = file.info()
        entry = Entry(decode_name(path), info)
        if not info.is_directory:
            links = file.link_info()
            if links.number_of_links > 1:
                first = self._links.setdefault(links.file_id, entry.name)
                if first != entry.name:
                    entry.link_target = first
                    return entry
            entry.size = file.size()
        self._source = _Recorded(file)
        self._backup_stream = BackupStreamReader(self._source)
        self._first = self._metadata(entry)
        if self._first is None or self._first.id != StreamId.DATA:
            # What FILE_STANDARD_INFO says of a reparse point is not in a stream.
            entry.size = 0
        elif self._first.size:
            entry.size = self._first.size
        return entry

    def _metadata(self, entry: Entry) -> StreamHeader | None:
        """Reads metadata into the entry; gives the header of the data that it came to, or None."""
        stream = self._backup_stream
        assert stream is not None
        while (header := stream.next()) is not None:
            if header.id in (StreamId.DATA, StreamId.ALTERNATE_DATA, StreamId.SPARSE_BLOCK):
                return header
            if header.size > _MAX_METADATA:
                raise ValueError(f"metadata stream {header.id} of {header.size} bytes")
            keep_metadata(entry, header, stream.read())
        return None

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        stream = self._backup_stream
        if stream is None:
            return
        if entry.has_data and (self._first is None or self._first.id != StreamId.DATA):
            yield DataStream("", 0, ())
        header, self._first = self._first, None
        while header is not None:
            sparse = bool(header.attributes & SPARSE_STREAM) and not header.size
            if header.id == StreamId.DATA:
                if sparse:
                    blocks = _SparseBlocks(self, entry.size)
                    yield DataStream("", entry.size, blocks.chunks, header.attributes)
                    header = blocks.skip_rest()
                else:
                    yield DataStream("", header.size, self.rest(), header.attributes)
                    header = self._following(entry)
            elif header.id == StreamId.ALTERNATE_DATA and sparse:
                # Its size shows at its last block.
                spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (closed below)
                blocks = _SparseBlocks(self, None)
                with spool:
                    for chunk in blocks.chunks:
                        spool.write(chunk)
                    size = spool.tell()
                    spool.seek(0)
                    name = plain_stream_name(header)
                    yield DataStream(name, size, _pieces(spool), header.attributes)
                header = blocks.skip_rest()
            elif header.id == StreamId.ALTERNATE_DATA:
                yield DataStream(plain_stream_name(header), header.size, self.rest(), header.attributes)
                header = self._following(entry)
            else:
                raise self.bad(f"entry {entry.name!r}: a sparse block without a sparse data stream before it")

    def _following(self, entry: Entry) -> StreamHeader | None:
        with privileges(self.operation, self.source):
            return self._metadata(entry)

    def next_header(self) -> StreamHeader | None:
        """The next header of the backup stream, whatever it is."""
        assert self._backup_stream is not None
        with privileges(self.operation, self.source):
            return self._backup_stream.next()

    def rest(self) -> Iterator[bytes]:
        """The data of the stream whose header was last read, as far as nobody has read it."""
        assert self._backup_stream is not None
        while data := self._piece():
            yield data

    def _piece(self) -> bytes:
        assert self._backup_stream is not None
        try:
            with privileges(self.operation, self.source):
                return self._backup_stream.read(_PIECE)
        except OSError as error:
            raise from_os_error(self.operation, self.source, error) from error
        except ValueError as error:
            raise self.bad(str(error)) from None

    def read(self, size: int = -1, /) -> bytes:
        """The backup stream, byte for byte as Windows gives it."""
        self._current()
        if self._source is None:
            return b""
        pieces: list[bytes] = []
        try:
            with privileges(self.operation, self.source):
                while size and (piece := self._source.again(_PIECE if size < 0 else min(size, _PIECE))):
                    pieces.append(piece)
                    size -= len(piece) if size > 0 else 0
        except OSError as error:
            raise from_os_error(self.operation, self.source, error) from error
        return b"".join(pieces)

    def link_info(self) -> LinkInfo:
        self._current()
        if self._file is None:
            return LinkInfo(1, bytes(16))
        try:
            return self._file.link_info()
        except OSError as error:
            raise from_os_error(self.operation, self.source, error) from error

    def bad(self, problem: str) -> InvalidDataError:
        """The error for a backup stream of the current file that is not sound."""
        place = "" if self._file is None else f"{decode_name(self._file.path)}: "
        return InvalidDataError(self.operation, self.source, place + problem)

    def _close_file(self) -> None:
        self._source = self._backup_stream = self._first = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _release(self) -> None:
        self._close_file()
        self._root.close()


class _Recorded:
    """A backup stream that remembers what was read of its metadata, for whoever wants its bytes from the start."""

    def __init__(self, file: BackupFile) -> None:
        self._file = file
        self._seen: bytearray | None = bytearray()

    def read(self, size: int, /) -> bytes:
        """More of the stream, in its parsed reading."""
        data = self._file.read(size)
        if self._seen is not None:
            if len(self._seen) + len(data) > 2 * _MAX_METADATA:
                # Nobody asks for the bytes who has asked for that much in the other way.
                self._seen = None
            else:
                self._seen += data
        return data

    def again(self, size: int) -> bytes:
        """More of the stream's bytes, from its start."""
        if self._seen:
            piece = bytes(self._seen[:size])
            del self._seen[:size]
            return piece
        self._seen = None
        return self._file.read(size)


class _SparseBlocks:
    """The data of a sparse stream, its holes as zeros; `size` is its whole length if that is known."""

    def __init__(self, reader: BaseLayerReader, size: int | None) -> None:
        self._reader = reader
        self._size = size
        self._following: StreamHeader | None = None
        self.chunks = self._read()

    def _read(self) -> Iterator[bytes]:
        at = 0
        while (header := self._reader.next_header()) is not None and header.id == StreamId.SPARSE_BLOCK:
            if header.offset < at:
                raise self._reader.bad(f"sparse block at offset {header.offset} lies before the end of the last one")
            yield from _zeros(header.offset - at)
            yield from self._reader.rest()
            at = header.offset + header.size
        self._following = header
        if self._size is not None and at < self._size:
            yield from _zeros(self._size - at)

    def skip_rest(self) -> StreamHeader | None:
        """Passes over what was not read; gives the header behind it, or None at the end."""
        for _ in self.chunks:
            pass
        return self._following


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _zeros(count: int) -> Iterator[bytes]:
    while count:
        piece = min(count, _PIECE)
        yield bytes(piece)
        count -= piece


class ExportedLayerReader(TransportLayerReader):
    """A `LayerReader` over a child layer: Windows exports it to a temporary folder, which goes when this is closed.

    Outside of `Files` a file's creation and access time are those of its last writing, and the folders `Files` and
    `Hives` have the times of `Hives\\System_Delta`: what the export makes of them is of no meaning.

    Reference: hcsshim, `NewLayerReader` and `legacyLayerReader`.
    """

    operation = "read layer"

    def __init__(self, path: PathLike, parents: Sequence[PathLike]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="hcs"))
        try:
            with privileges(self.operation, os.fspath(path)):
                export_layer(path, self._folder, parents)
            super().__init__(self._folder)
        except BaseException:
            remove_tree(self._folder)
            raise

    def _directory_entry(self, host: bytes, name: str, sidecar: bytes | None) -> Entry:
        entry = super()._directory_entry(host, name, sidecar)
        if sidecar is None and path_key(name) in ("FILES", "HIVES"):
            try:
                status = self._host.stat(b"Hives/System_Delta")
            except FileNotFoundError:
                raise InvalidDataError(self.operation, self.source, "the export has no Hives\\System_Delta") from None
            assert entry.info is not None
            entry.info = _written_at(entry.info.attributes, status)
        return entry

    def _file_entry(self, host: bytes, name: str, encoded: bool, *, may_link: bool = True) -> Entry:
        entry = super()._file_entry(host, name, encoded, may_link=may_link)
        if not encoded:
            status = self._host.stat(host)
            entry.info = _written_at(status.st_file_attributes, status)
        return entry

    def _release(self) -> None:
        super()._release()
        remove_tree(self._folder)


def _written_at(attributes: int, status: os.stat_result) -> FileBasicInfo:
    time = from_unix_ns(status.st_mtime_ns)
    return FileBasicInfo(attributes, time, time, time, time)


def new_layer_reader(path: PathLike, parents: Sequence[PathLike] = ()) -> BaseLayerReader | ExportedLayerReader:
    """A reader of the layer at `path`: of a base layer where it lies, of a child by exporting it.

    Args:
        path: the layer's folder.
        parents: the parent chain, nearest first; none for a base layer.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
        AccessDeniedError: the user does not have the privileges that backing up needs.
        LayerError: Windows could not export it.

    Reference: hcsshim, `NewLayerReader`.
    """
    return ExportedLayerReader(path, parents) if parents else BaseLayerReader(path)
