"""`FactsWriter`: writes the facts of a layer from its entries, into a folder that `open_layer` opens.

The folder is a layer directory without the contents of files, but for its hives; `contents.db` has those that an
inventory needs.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

from wclayer.errors import FormatLimitError, boundary, limit_hint
from wclayer.inventory.facts.contents import ContentsWriter
from wclayer.inventory.facts.wanted import CONTENTS, READERS, is_looked_at, wanted
from wclayer.layers.base import all_of
from wclayer.layers.directory.database import EntryRow, Origin
from wclayer.layers.directory.host_files import ContentHash, HostFiles
from wclayer.layers.directory.records_writer import NoFiles, RecordsWriter
from wclayer.layers.hives import MAX_LOG, is_hive, is_log
from wclayer.model import Entry
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.backup import StreamId
from wclayer.win32.names import encode_name, path_key

HIVE = "hive"
"""What is wanted of a file that is a hive of the registry, or a log of one: the file itself."""
_IN_MEMORY = 8 << 20
"""The largest file that a reader gets in memory; a larger one is spooled to the disk."""


def spool(folder: Path) -> BinaryIO:
    """Returns a new file without a name for the contents of a file: in memory if it is not large, otherwise in a
    folder."""
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder)))


def keep(contents: ContentsWriter, wants: Iterable[str], path: str, sha256: bytes, file: BinaryIO, size: int) -> None:
    """Keeps what is wanted of a file.

    Args:
        contents: where it is kept.
        wants: what is wanted: names of readers, or its contents.
        path: the path of the file in its layer.
        sha256: the SHA-256 of the file.
        file: the file.
        size: its length in bytes.
    """
    is_wanted = False
    for want in wants:
        if want != CONTENTS:
            reading = contents.reading(want, sha256)
            if reading is None:
                file.seek(0)
                reading = READERS[want](file, size)
                contents.note(want, sha256, reading)
            is_wanted = is_wanted or is_looked_at(want, reading)
        elif not contents.has(sha256):
            file.seek(0)
            contents.keep(sha256, file)
    if is_wanted:
        contents.want(path)


class _ChosenFiles(NoFiles):
    """The files of a layer of which only chosen ones are made, and the directories that these need.

    Attributes:
        takes_next: True if the next file that is begun is made.
    """

    takes_next = False
    _is_made = False

    def begin_file(self, directory: bytes, name: bytes, entry_id: int, size: int, *, sparse: bool) -> bytes:
        self._is_made = self.takes_next
        if not self._is_made:
            return super().begin_file(directory, name, entry_id, size, sparse=sparse)
        self.root.make_directories(directory)
        return HostFiles.begin_file(self, directory, name, entry_id, size, sparse=sparse)

    def write(self, chunk: bytes | memoryview) -> None:
        if self._is_made:
            HostFiles.write(self, chunk)
        else:
            super().write(chunk)

    def end_file(self, access_time: int, write_time: int) -> ContentHash:
        if self._is_made:
            return HostFiles.end_file(self, access_time, write_time)
        return super().end_file(access_time, write_time)

    def _takes_file(self, size: int) -> bool:
        return False


@boundary
class FactsWriter(RecordsWriter):
    """A `LayerWriter` of the facts of a layer whose parents are unknown.

    What is wanted of a file that was already written when a further name says so, is missed (`ContentsWriter.miss`).

    Args:
        folder: the folder that gets the facts, which the caller makes visible or discards.
        contents: the new `contents.db` of the folder.
        source: what the layer is called in messages.
    """

    operation = "make facts"

    def __init__(self, folder: Path, contents: ContentsWriter, source: str) -> None:
        self._contents = contents
        self._chosen: _ChosenFiles
        self._wants: tuple[str, ...] = ()
        self._captured: BinaryIO | None = None
        self.hives: list[str] = []
        """The paths of the hives of the layer, without their logs."""
        super().__init__(folder, source)

    def _host_files(self) -> HostFiles:
        self._chosen = _ChosenFiles(self._staged.path, None)
        return self._chosen

    # An entry, step by step.

    def _put_plain(self, entry: Entry, key: str, data: bytes) -> bool:
        return not (is_hive(key) or is_log(key)) and super()._put_plain(entry, key, data)

    def _keep_plain(self, entry: Entry, key: str, data: bytes, content: ContentHash) -> None:
        if wants := wanted(key, entry.size):
            keep(self._contents, wants, entry.name, content.digest(), io.BytesIO(data), len(data))

    def _begin(self, entry: Entry, key: str) -> None:
        self._wants = self._wanted(entry, key, entry.size) if entry.has_data else ()
        self._chosen.takes_next = HIVE in self._wants
        super()._begin(entry, key)
        if self._wants and HIVE not in self._wants:
            self._captured = spool(self._staged.path)
        self._contents.count(len(entry.eas) + len(entry.reparse or b"") + sum(len(each.data) for each in entry.extra))

    def _wanted(self, entry: Entry, key: str, size: int) -> tuple[str, ...]:
        if is_hive(key):
            self.hives.append(entry.name)
            if size > self.limits.hive_size:
                raise FormatLimitError(f"entry {entry.name!r}: a hive of {size} bytes {limit_hint('hive_size')}")
        elif not is_log(key):
            wants = wanted(key, size)
            if wants and size > self.limits.facts_size:
                raise FormatLimitError(f"entry {entry.name!r}: {size} bytes to look into {limit_hint('facts_size')}")
            return wants
        elif size > MAX_LOG:
            return ()
        self._contents.count(size)
        return (HIVE,) if size else ()

    def _data(self, chunk: bytes | memoryview) -> None:
        super()._data(chunk)
        if self._captured is not None and self._recorder is None:
            self._captured.write(chunk)

    def _end(self) -> None:
        current, entry = self._current, self._entry
        super()._end()
        if self._captured is not None:
            with self._captured as file:
                self._captured = None
                assert current.sha256 is not None
                keep(self._contents, self._wants, entry.name, current.sha256.digest(), file, current.size)
        elif current.row is not None:
            row = current.row
            if current.sha256 is not None:
                row = row._replace(sha256=current.sha256.digest())
            self._end_link(entry, path_key(entry.name), row)

    def _end_link(self, entry: Entry, key: str, row: EntryRow) -> None:
        if row.link is None:
            # The file is in another layer. Its size, and what it is, are known when the layers are merged.
            if wanted(key, self.limits.facts_size) or wanted(key, 0):
                self._contents.want(entry.name)
            return
        if row.sha256 is None:
            return
        for want in self._wanted(entry, key, row.size):
            if want == HIVE:
                directory = self._directory(key.rpartition("/")[0])
                place = directory.host_child(encode_name(entry.name.rpartition("/")[2]))
                self._contents.miss(row.sha256, row.size, want, place)
            elif want == CONTENTS:
                if not self._contents.has(row.sha256):
                    self._contents.miss(row.sha256, row.size, want)
            elif (reading := self._contents.reading(want, row.sha256)) is None:
                self._contents.miss(row.sha256, row.size, want, encode_name(entry.name))
            elif is_looked_at(want, reading):
                self._contents.want(entry.name)

    # The end.

    def _discard(self) -> None:
        if self._captured is not None:
            all_of(self._captured.close)
        super()._discard()

    def counts(self) -> dict[str, int]:
        """Returns the counts of a `LayerSummary`, of the entries so far."""
        files, directories, links, size = self._records.query(
            "SELECT COUNT(1) FILTER (WHERE link_target IS NULL AND NOT attributes & ?1),"
            " COUNT(1) FILTER (WHERE attributes & ?1), COUNT(link_target),"
            " IFNULL(SUM(size) FILTER (WHERE link_target IS NULL), 0) FROM entries WHERE origin = ?2",
            (DIRECTORY, Origin.OWN),
        ).fetchone()
        (tombstones,) = self._records.query("SELECT COUNT(1) FROM tombstones").fetchone()
        (streams,) = self._records.query(
            "SELECT COUNT(1) FROM streams WHERE stream_id = ?", (StreamId.ALTERNATE_DATA,)
        ).fetchone()
        return {
            "entries": files + directories + links + tombstones,
            "files": files,
            "directories": directories,
            "links": links,
            "tombstones": tombstones,
            "bytes": size,
            "streams": streams,
        }
