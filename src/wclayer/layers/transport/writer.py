"""Writes a transport folder."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from wclayer._types import StrPath
from wclayer.errors import NotSupportedError, boundary, errors_at
from wclayer.host import system
from wclayer.host.root import HostRoot
from wclayer.layers.atomic import StagedDirectory
from wclayer.layers.backup_stream import backup_stream, stream_name
from wclayer.layers.base import LayerWriterBase, all_of
from wclayer.layers.cache import Cache
from wclayer.layers.names import ROOTS, Kind, NameChecker
from wclayer.layers.transport.layout import ATTRIBUTES, DIRECTORY_SUFFIX, TOMBSTONES, TOMBSTONES_HEADER, write_times
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import FileAttributes, attribute_names
from wclayer.win32.backup import SPARSE_STREAM, StreamHeader, StreamId
from wclayer.win32.filetime import to_unix_ns
from wclayer.win32.names import decode_name, encode_name, name_key, path_key

_BUFFER = 1 << 20
_ROOT_KEYS = frozenset(path_key(root) for root in ROOTS)
_ALWAYS_THERE = (path_key("Files"), path_key("Hives"))

_OF_A_PLAIN_FILE = int(FileAttributes.ARCHIVE | FileAttributes.NORMAL)


def _beyond_a_plain_file(entry: Entry) -> str | None:
    """Returns what a hive has that a plain file of the host cannot hold, or None."""
    assert entry.info is not None
    if entry.security is not None:
        return "a security descriptor"
    if entry.eas or entry.reparse is not None or entry.extra:
        return "EAs, reparse data and other streams"
    if entry.info.attributes & ~_OF_A_PLAIN_FILE:
        return f"attributes ({', '.join(attribute_names(entry.info.attributes))})"
    return None


@boundary
class TransportLayerWriter(LayerWriterBase):
    """A `LayerWriter` that makes a transport folder at `path`, which appears when it is whole.

    A hard link becomes a hard link of the host, as in a folder that Windows exported; where its target lies in a
    parent it becomes a file of its own, if the reader offers its data.
    """

    operation = "write transport folder"

    def __init__(self, path: StrPath) -> None:
        place = Path(os.path.abspath(path))
        self._checker = NameChecker(str(place), is_base=False)
        super().__init__(str(place), self._checker)
        self._staged = StagedDirectory(place)
        # Host paths of directories by path key: those last used, and all with their times, which may be very many.
        self._made: Cache[str, bytes] = Cache()
        # The same of the layer's roots, which may have no entry of their own, and any spelling.
        self._roots: dict[str, bytes] = {}
        with ExitStack() as stack:
            # On failure all steps that were begun are undone, also if undoing one fails.
            begun: list[Callable[[], object]] = [self._staged.discard]
            stack.callback(lambda: all_of(*begun))
            with errors_at(place):
                self._directories = sqlite3.connect("", isolation_level=None, check_same_thread=False)
                begun.insert(0, self._directories.close)
                self._directories.execute("PRAGMA journal_mode = OFF")
                self._directories.execute("CREATE TABLE made (key BLOB UNIQUE, host BLOB, access_time, write_time)")
                self._host = HostRoot(self._staged.path)
                begun.insert(0, self._host.close)
                self._tombstones = self._start_tombstones()
            stack.pop_all()
        self._file: BinaryIO | None = None
        self._entry = Entry("", None)
        self._plain = False

    def _start_tombstones(self) -> BinaryIO:
        try:
            file = os.fdopen(self._host.create(TOMBSTONES.encode()), "wb", _BUFFER)
        except BaseException:
            self._host.close()
            raise
        file.write(TOMBSTONES_HEADER + b"\r\n")
        return file

    def _begin(self, entry: Entry, key: str) -> None:
        self._entry = entry
        if entry.info is None:
            if not key.startswith("FILES/"):
                raise NotSupportedError(
                    self.target, f"tombstone {entry.name!r}: a transport folder has tombstones below Files only"
                )
            name = entry.name.partition("/")[2].replace("/", "\\")
            self._tombstones.write(b"\\" + encode_name(name) + b"\r\n")
            return
        host_path = self._host_path(entry.name, key)
        if entry.link_target is not None:
            self._add_link(entry, host_path)
            return
        self._plain = key.startswith("HIVES/") and not entry.is_directory
        if self._plain and (problem := _beyond_a_plain_file(entry)):
            raise NotSupportedError(
                self.target,
                f"entry {entry.name!r}: a transport folder has hives as plain files, without {problem}",
            )
        if entry.is_directory:
            self._host.make_directory(host_path)
            self._made.keep(key, host_path, len(key) + len(host_path))
            if key in _ROOT_KEYS:
                self._roots[key] = host_path
            times = entry.info.last_access_time, entry.info.last_write_time
            self._directories.execute("INSERT INTO made VALUES (?, ?, ?, ?)", (encode_name(key), host_path, *times))
            self._start_file(host_path + DIRECTORY_SUFFIX.encode())
        else:
            self._start_file(host_path)

    def _start_file(self, host_path: bytes) -> None:
        self._file = os.fdopen(self._host.create(host_path), "wb", _BUFFER)
        if self._plain:
            return
        info = self._entry.info
        assert info is not None
        self._file.write(ATTRIBUTES.pack(info.attributes))
        for piece in backup_stream(self._metadata_only(), ()):
            self._file.write(piece)

    def _metadata_only(self) -> Entry:
        entry = self._entry
        return Entry(entry.name, entry.info, 0, entry.security, entry.eas, entry.reparse)

    def _add_link(self, entry: Entry, host_path: bytes) -> None:
        assert entry.link_target is not None
        target_key = path_key(entry.link_target)
        if self._checker.kind(target_key) is Kind.FILE:
            target = self._existing(self._host_path(entry.link_target, target_key), target_key)
            try:
                self._host.link(target, host_path)
            except OSError as error:
                if not system.cannot_link(error):
                    raise
                raise NotSupportedError(
                    self.target,
                    f"{entry.name!r} is a hard link, and the file system of the folder has none; export a tar,"
                    " or to another file system",
                ) from error  # fmt: skip
        else:
            # Its target lies in a parent: the data, if the reader has it, makes it a file of its own.
            self._plain = False
            self._start_file(host_path)

    def _open_stream(self, stream: DataStream) -> None:
        if self._file is None or self._plain:
            if stream.name:
                raise NotSupportedError(self.target, f"entry {self._entry.name!r}: a plain hive file has no streams")
            return
        stream_id = StreamId.ALTERNATE_DATA if stream.name else StreamId.DATA
        name = stream_name(stream.name) if stream.name else ""
        self._file.write(StreamHeader(stream_id, stream.size, stream.attributes & ~SPARSE_STREAM, name).encode())

    def _data(self, chunk: bytes | memoryview) -> None:
        if self._file is not None:
            self._file.write(chunk)

    def _end(self) -> None:
        if self._file is None:
            return
        info = self._entry.info
        assert info is not None
        if not self._plain:
            for extra in self._entry.extra:
                self._file.write(StreamHeader(extra.id, len(extra.data), extra.attributes, extra.name).encode())
                self._file.write(extra.data)
        self._file.flush()
        write_times(self._file.fileno(), info)
        self._file.close()
        self._file = None

    def _host_path(self, name: str, key: str) -> bytes:
        """Returns the host path of an entry: its parents as they were spelled, and its own name."""
        parent_key, slash, _ = key.rpartition("/")
        own = name.rpartition("/")[2]
        host_name = encode_name(own)
        if reason := system.impossible_reason(host_name, room=len(DIRECTORY_SUFFIX)):
            raise NotSupportedError(self.target, f"entry {name!r}: {reason}")
        if not slash:
            return host_name
        parent = self._made.get(parent_key) or self._roots.get(parent_key)
        if parent is None and parent_key in _ROOT_KEYS:
            return self._make_root(parent_key) + b"/" + host_name
        if parent is None:
            row = self._directories.execute(
                "SELECT host FROM made WHERE key = ?", (encode_name(parent_key),)
            ).fetchone()
            assert row is not None
            parent = bytes(row[0])
            self._made.keep(parent_key, parent, len(parent_key) + len(parent))
        return parent + b"/" + host_name

    def _make_root(self, key: str) -> bytes:
        """Makes a root of the layer that has no entry of its own, unless it exists, and returns its host path."""
        known = self._roots.get(key)
        if known is None:
            above_key, slash, _ = key.rpartition("/")
            known = encode_name(next(root for root in ROOTS if path_key(root) == key).rpartition("/")[2])
            if slash:
                known = self._make_root(above_key) + b"/" + known
            self._host.make_directory(known)
            self._roots[key] = known
        return known

    def _existing(self, host_path: bytes, key: str) -> bytes:
        """Returns the host path of a file that exists; the last name of `host_path` may differ in case."""
        try:
            self._host.stat(host_path)
        except FileNotFoundError:
            directory = host_path.rpartition(b"/")[0]
            wanted = key.rpartition("/")[2]
            for name in self._host.names(directory):
                if name_key(decode_name(os.fsencode(name))) == wanted:
                    return directory + b"/" + os.fsencode(name)
            raise
        return host_path

    def _finish(self) -> None:
        self._tombstones.close()
        for root in _ALWAYS_THERE:
            self._make_root(root)
        for host_path, access_time, write_time in self._directories.execute(
            "SELECT host, access_time, write_time FROM made"
        ):
            self._host.set_times(host_path, to_unix_ns(access_time), to_unix_ns(write_time))
        self._directories.close()
        self._host.close()
        self._staged.commit()

    def _discard(self) -> None:
        file, self._file = self._file, None
        all_of(
            self._tombstones.close,
            *(() if file is None else (file.close,)),
            self._directories.close,
            self._host.close,
            self._staged.discard,
        )
