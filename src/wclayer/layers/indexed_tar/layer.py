"""`IndexedTarLayer`: a layer's tar as a layer directory, whose contents are read from the tar."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from wclayer._types import StrPath
from wclayer.errors import CorruptLayerError, FormatError, FormatLimitError, during, errors_at, limit_hint
from wclayer.layers.directory.database import EntryRow, is_elsewhere
from wclayer.layers.directory.finished import FinishedLayer
from wclayer.layers.directory.opening import open_layer_folder
from wclayer.layers.directory.rows import StreamRow
from wclayer.layers.hives import HIVE_PATHS, LOG_SUFFIXES, MAX_LOG
from wclayer.layers.indexed_tar.index import TarIndex
from wclayer.layers.progress import Cancelled, ProgressCallback
from wclayer.layers.range_stream import open_range
from wclayer.model import limits_in_use
from wclayer.win32.attributes import DIRECTORY


def index_tar(
    path: StrPath, *, progress: ProgressCallback | None = None, cancelled: Cancelled | None = None
) -> TarIndex:
    """Reads a layer's tar once, so that `IndexedTarLayer` can show its files and its registry.

    Args and errors are those of `TarIndex`.
    """
    index = TarIndex(path, progress=progress, cancelled=cancelled)
    try:
        with during("read layer tar", index.path), IndexedTarLayer(index) as layer:
            layer.keep_hives()
    except BaseException:
        index.close()
        raise
    return index


class IndexedTarLayer(FinishedLayer):
    """A layer's tar, without the layers below it, open for reading. One thread at a time uses it.

    Args:
        index: the index of the tar, which stays open as long as this layer.

    Raises:
        LayerBusyError: the tar was changed since it was read.
        PathNotFoundError, AccessDeniedError: it is gone, or may not be read any more.
    """

    def __init__(self, index: TarIndex) -> None:
        super().__init__(open_layer_folder(index.folder))
        self._index = index
        try:
            self._opened_tar, self._tar = index.open()
        except BaseException:
            super().close()
            raise

    def close(self) -> None:
        self._opened_tar.close()
        super().close()

    def keep_hives(self) -> None:
        """Writes the hives of the registry, and their logs, into the folder of the index.

        Raises:
            FormatLimitError: a hive is larger than the limit `hive_size`.
        """
        for path in HIVE_PATHS:
            row = self._hive_row(path)
            if row is None:
                continue
            if row.size > limits_in_use().hive_size:
                raise FormatLimitError(f"entry {path!r}: a hive of {row.size} bytes {limit_hint('hive_size')}")
            logs = [self._hive_row(path + suffix) for suffix in LOG_SUFFIXES]
            for each in (row, *(log for log in logs if log is not None and log.size <= MAX_LOG)):
                self._index.keep_file(self.host_path(each), self.data_chunks(each))

    def _hive_row(self, path: str) -> EntryRow | None:
        row = self.lookup(path)
        return None if row is None or row.attributes & DIRECTORY or not row.size else row

    def open_contents(self, row: EntryRow) -> BinaryIO:
        place = self._place(row)

        def read(start: int, end: int) -> bytes:
            return b"".join(self._pieces(place + start, end - start))

        return open_range(row.size, read)

    def data_chunks(self, row: EntryRow, *, verify: bool = True) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for piece in self._pieces(self._place(row), row.size):
            digest.update(piece)
            yield piece
        if verify and digest.digest() != row.sha256:
            raise self._changed(f"the contents of {self.path_of(row)!r} do not have the SHA-256 that they had")

    def _whole_file(self, row: EntryRow, *, verify: bool = True) -> bytes:
        return b"".join(self.data_chunks(row, verify=verify))

    def open_file(self, row: EntryRow, *, writable: bool = False) -> int:
        # What needs a descriptor gets one of a file without a name.
        with tempfile.TemporaryFile() as file:
            for piece in self.data_chunks(row):
                file.write(piece)
            file.seek(0)
            return os.dup(file.fileno())

    def stream_chunks(self, stream: StreamRow) -> Iterator[bytes]:
        place = self._index.place_of_stream(stream.id)
        if place is None:
            # One that a tar has not as data, such as an object id.
            yield from super().stream_chunks(stream)
            return
        digest = hashlib.sha256()
        for piece in self._pieces(place, stream.size):
            digest.update(piece)
            yield piece
        if digest.digest() != stream.sha256:
            raise self._changed(f"the contents of the stream {stream.name!r} do not have the SHA-256 that they had")

    def _place(self, row: EntryRow) -> int:
        place = self._index.place_of_file(row.link or row.id)
        if place is None:
            raise FormatError(
                "has no contents here: it is a further name of a file of a layer below" if is_elsewhere(row)
                else "has no contents: it is a directory, or a reparse point"
            )  # fmt: skip
        return place

    def _pieces(self, place: int, size: int) -> Iterator[bytes]:
        """Yields bytes of the tar.

        Raises:
            CorruptLayerError: it ends before, or is damaged: it is not the file that was read.
        """
        left = size
        with errors_at(self._index.path, damage=CorruptLayerError):
            for piece in self._tar.pieces(place, size):
                left -= len(piece)
                yield piece
        if left:
            raise self._changed("ends inside of the contents of an entry")

    def _changed(self, problem: str) -> CorruptLayerError:
        return CorruptLayerError(self._index.path, f"{problem}: the file was changed while it was open")
