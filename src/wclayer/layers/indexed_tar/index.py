"""`TarIndex`: reads a layer's tar once, and knows then where the contents of each file are in it.

The entries are in a `layer.db` in a temporary folder, the places of contents in memory: 8 bytes for each entry. Of the
contents, only the hives of the registry are in the folder, because they are mapped into memory.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from wclayer._types import StrPath
from wclayer.errors import FormatError, LayerBusyError, during
from wclayer.formats.compressed_file import CompressedFile, Waypoints
from wclayer.formats.compression import Compression, check_ratio, detect
from wclayer.host.root import HostRoot
from wclayer.layers.atomic import StagedDirectory
from wclayer.layers.copy import copy_layer
from wclayer.layers.directory.records_writer import RecordsWriter
from wclayer.layers.inputs import open_any_place
from wclayer.layers.progress import Cancelled, ProgressCallback
from wclayer.layers.tar import TarLayerReader
from wclayer.model import DataStream, Entry, limits_in_use

_FOLDER = "wclayer-tar"
"""The name of the temporary folder, between what all such names have."""
_NOWHERE = -1


class TarIndex:
    """The index of a layer's tar (plain, gzip or zstd), a context manager. `IndexedTarLayer` shows its files.

    The temporary folder is removed when the index is closed. If the process is killed before, the next call that makes
    anything in the same place removes it.

    Args:
        path: the tar.
        progress: called from time to time while the tar is read; the entries and the bytes of files so far.
        cancelled: called as often; reading stops if it returns True.

    Attributes:
        path: the tar.
        folder: the folder with the `layer.db` of its entries.
        compression: how it is compressed.
        size: its bytes, decompressed.
        stored_size: the bytes of the file.
        diff_id: the SHA-256 of its bytes, decompressed ("sha256:…").

    Raises:
        PathNotFoundError, AccessDeniedError: the file does not exist, or the user may not read it.
        InvalidDataError: it is no tar of a layer, or damaged.
        LimitExceededError: it is larger than a limit.
        OperationCancelledError: `cancelled` returned True.
    """

    @during("read layer tar")
    def __init__(
        self, path: StrPath, *, progress: ProgressCallback | None = None, cancelled: Cancelled | None = None
    ) -> None:
        self.path = Path(os.path.abspath(path))
        self._points = Waypoints()
        self._files = array("q")
        self._streams = array("q")
        with ExitStack() as stack:
            file = stack.enter_context(open_any_place(path))
            self._identity = _identity(file)
            # It is never put into that place, so it does not matter what is there.
            staged = StagedDirectory(Path(tempfile.gettempdir(), _FOLDER), may_replace=lambda: True, is_private=True)
            stack.callback(staged.discard)
            self.folder = staged.path
            self._read(file, progress, cancelled)
            stack.pop_all()
        file.close()
        self._staged = staged

    def _read(self, file: BinaryIO, progress: ProgressCallback | None, cancelled: Cancelled | None) -> None:
        source = _Source(CompressedFile(file, self._points), os.fstat(file.fileno()).st_size)
        with (
            IndexWriter(
                self.folder, str(self.path), lambda name: reader.places[name], self._files, self._streams
            ) as writer,
            PlacedTarReader(cast(BinaryIO, source), self.path, names=writer.names) as reader,
        ):
            copy_layer(reader, writer, progress=progress, cancelled=cancelled)
            reader.finish()
            writer.record("diff_id", reader.diff_id)
        self.compression = source.compression
        self.size, self.stored_size, self.diff_id = reader.size, source.stored_size, reader.diff_id

    def open(self) -> tuple[BinaryIO, CompressedFile]:
        """Opens the tar again, for one thread. The caller closes the file.

        Raises:
            LayerBusyError: it was changed since it was read.
            PathNotFoundError, AccessDeniedError: it is gone, or may not be read any more.
        """
        file = open_any_place(self.path)
        with ExitStack() as stack:
            stack.callback(file.close)
            if _identity(file) != self._identity:
                raise LayerBusyError(self.path, "was changed while it was open; open it again")
            found = CompressedFile(file, self._points)
            stack.pop_all()
        return file, found

    def place_of_file(self, entry: int) -> int | None:
        """Returns where the main data of the entry with that id begins; None if it has none."""
        return _at(self._files, entry)

    def place_of_stream(self, stream: int) -> int | None:
        """Returns where the data of the stream with that id begins; None if there is none."""
        return _at(self._streams, stream)

    def keep_file(self, path: bytes, chunks: Iterable[bytes]) -> None:
        """Makes a file in the folder, with the directories above it: a hive, or a log of one."""
        with HostRoot(self.folder) as root:
            root.make_directories(path.rpartition(b"/")[0])
            root.write_chunks(path, chunks)

    def close(self) -> None:
        """Removes the folder."""
        self._staged.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _identity(file: BinaryIO) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _at(places: array[int], number: int) -> int | None:
    found = places[number] if 0 <= number < len(places) else _NOWHERE
    return None if found == _NOWHERE else found


def _note(places: array[int], number: int, place: int) -> None:
    while len(places) <= number:
        places.append(_NOWHERE)
    places[number] = place


class _Source:
    """The decompressed bytes of a tar, from its beginning to its end.

    Args:
        file: the tar.
        stored_size: the bytes of the file.
    """

    def __init__(self, file: CompressedFile, stored_size: int) -> None:
        self._file = file
        self._offset = 0
        self.stored_size = stored_size
        self.compression = file.compression
        self._limits = limits_in_use()

    def read(self, size: int) -> bytes:
        """Returns the next bytes; nothing at the end.

        Raises:
            FormatError: it is damaged, or compressed twice.
            ExpansionLimitError: too much comes out.
        """
        data = next(self._file.pieces(self._offset, size), b"")
        if not self._offset and self.compression is not Compression.NONE and detect(data) is not Compression.NONE:
            raise FormatError("is compressed twice; decompress it once")
        self._offset += len(data)
        if self.compression is not Compression.NONE:
            check_ratio(self._offset, self._file.stored, self._limits.unrated_size, self._limits.ratio)
        return data


class PlacedTarReader(TarLayerReader):
    """A reader that knows where in the tar the streams of the current entry are.

    Attributes:
        places: the offsets of the data of the streams so far, by their names.
    """

    _place = 0

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        self.places: dict[str, int] = {}
        for stream in super()._open_streams(entry):
            self.places[stream.name] = self._place
            yield stream

    def _chunks(self, size: int) -> Iterable[bytes | memoryview]:
        self._place = self._tar.offset
        return super()._chunks(size)


class IndexWriter(RecordsWriter):
    """A writer that notes the place of each stream.

    Args:
        folder, source: see `RecordsWriter`.
        place: returns where the data of a stream of the current entry begins, by its name.
        files: gets the place of the main data of each entry, by the id of the entry.
        streams: gets those of alternate streams, by the ids of the streams.
    """

    operation = "read layer tar"

    def __init__(
        self, folder: Path, source: str, place: Callable[[str], int], files: array[int], streams: array[int]
    ) -> None:
        self._place = place
        self._file_places = files
        self._stream_places = streams
        super().__init__(folder, source)

    def _put_plain(self, entry: Entry, key: str, data: bytes) -> bool:
        if not super()._put_plain(entry, key, data):
            return False
        _note(self._file_places, self._records.last_id, self._place(""))
        return True

    def _open_stream(self, stream: DataStream) -> None:
        super()._open_stream(stream)
        if self._current.is_link:
            return
        if stream.name:
            _note(self._stream_places, self._records.last_stream, self._place(stream.name))
        else:
            _note(self._file_places, self._current.id, self._place(""))
