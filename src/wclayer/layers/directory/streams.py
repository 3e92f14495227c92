"""Alternate streams in `layer.db`: a row of `streams` for each, its bytes in pieces of 1 MiB."""

from __future__ import annotations

import hashlib
import sqlite3

from wclayer.layers.directory.database import EntryRow, to_column
from wclayer.layers.directory.layer import LayerDirectory

STREAM_PIECE = 1 << 20


def copy_streams(
    source: LayerDirectory, row: EntryRow, target: sqlite3.Connection, entry_id: int, last_number: int
) -> int:
    """Copies the streams of another layer's entry to the entry `entry_id` of a database.

    The copies get the numbers that follow `last_number`.

    Returns:
        The last number.
    """
    for stream in source.stream_rows(row):
        last_number += 1
        columns = stream.stream_id, stream.attributes, to_column(stream.name)
        recorder = StreamRecorder(target, last_number, (entry_id, *columns))
        for chunk in source.stream_chunks(stream):
            recorder.write(chunk)
        recorder.close()
    return last_number


class StreamRecorder:
    """Hashes the bytes of one stream and writes them into the database.

    Args:
        keeps_data: False if only the size and the digest of the stream are recorded.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        number: int,
        columns: tuple[int, int, int, str | bytes],
        form: bytes | None = None,
        *,
        keeps_data: bool = True,
    ) -> None:
        self._keeps_data = keeps_data
        self._database = connection
        self._number = number
        self._columns = columns
        self._form = form
        self._buffer = bytearray()
        self._pieces = 0
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, chunk: bytes | memoryview) -> None:
        self._hash.update(chunk)
        self._size += len(chunk)
        if not self._keeps_data:
            return
        self._buffer += chunk
        while len(self._buffer) >= STREAM_PIECE:
            self._put(bytes(self._buffer[:STREAM_PIECE]))
            del self._buffer[:STREAM_PIECE]

    def close(self) -> None:
        """Ends the stream: it is complete."""
        if self._buffer:
            self._put(bytes(self._buffer))
        self._database.execute(
            "INSERT INTO streams (id, entry, stream_id, attributes, name, size, sha256, form)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (self._number, *self._columns, self._size, self._hash.digest(), self._form),
        )

    def _put(self, piece: bytes) -> None:
        self._database.execute(
            "INSERT INTO stream_data (stream, sequence, data) VALUES (?, ?, ?)", (self._number, self._pieces, piece)
        )
        self._pieces += 1
