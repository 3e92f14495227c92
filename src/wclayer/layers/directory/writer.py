"""Writes a layer directory: built beside its place, renamed into it when it is whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from wclayer.errors import InvalidDataError
from wclayer.layers.base import LayerWriterBase
from wclayer.layers.directory import database
from wclayer.layers.directory.chain import resolve_chain
from wclayer.layers.directory.database import EntryRow, OrdinaryRow, Origin, from_column, to_column
from wclayer.layers.directory.file_pool import FilePool
from wclayer.layers.directory.layer import CHAIN_FILE, LayerDirectory
from wclayer.layers.host import MAX_HOST_NAME_BYTES, HostRoot
from wclayer.layers.staging import Stage, StagedDirectory
from wclayer.layers.tree import ROOTS, Kind, LayerTree
from wclayer.model import DataStream, Entry, Limits
from wclayer.win32.attributes import DIRECTORY, FileAttributes, FileBasicInfo
from wclayer.win32.backup import StreamId
from wclayer.win32.filetime import to_unix_ns
from wclayer.win32.names import encode_name, name_key, path_key

_BATCH = 1000
_STREAM_PIECE = 1 << 20
_SMALL_FILE = 128 << 10
_POOL_AFTER = 500
"""So many small files, and worker processes are worth their start."""
_KNOWN_DIRECTORIES = 16_384
_EMPTY_SHA256 = hashlib.sha256().digest()
_SPARSE_FILE = int(FileAttributes.SPARSE_FILE)
_ROOT_SPELLING = {path_key(root): root for root in ROOTS}

_SUBSTITUTE = b"wclayer~"
"""What the host name of an entry starts with whose own name the host cannot hold; the entry's id follows."""

BCD_BACKUPS = {
    "UtilityVM/Files/EFI/Microsoft/Boot/BCD": b"bcd.bak",
    "UtilityVM/Files/EFI/Microsoft/Boot/BCD.LOG": b"bcd.log.bak",
    "UtilityVM/Files/EFI/Microsoft/Boot/BCD.LOG1": b"bcd.log1.bak",
    "UtilityVM/Files/EFI/Microsoft/Boot/BCD.LOG2": b"bcd.log2.bak",
}
"""The utility VM's boot store, which processing changes, and where its imported state is kept."""
_MUTATED = frozenset(path_key(path) for path in BCD_BACKUPS)


_IGNORED = -1
"""The stream number of data that is not kept: a link's, which its target has already."""

_Maker = Callable[[bytes], None]


class _Current:
    """What is known of the entry being written, besides the entry itself."""

    __slots__ = (
        "buffer", "has_data", "host_name", "id", "is_link", "key", "name", "open_stream", "parent", "pooled", "pooled_data",
        "replaces_directory", "row", "sequence", "sha256", "size", "spelling", "stream", "stream_hash", "stream_size",
        "streams", "substitute",
    )  # fmt: skip

    def __init__(self) -> None:
        self.begin(0, 0, "", "", None)
        self.host_name = b""
        self.open_stream: DataStream | None = None
        self.buffer = bytearray()
        self.sequence = 0
        self.stream_size = 0
        self.stream_hash = hashlib.sha256()

    def begin(self, entry_id: int, parent: int, name: str, key: str, spelling: str | None) -> None:
        self.id = entry_id
        self.parent = parent
        self.name = name
        self.key = key
        self.spelling = spelling
        self.substitute: str | None = None
        self.pooled: bytes | None = None
        self.pooled_data = b""
        self.has_data = False
        self.is_link = False
        self.replaces_directory = False
        self.row: EntryRow | None = None
        self.size = 0
        self.sha256: hashlib._Hash | None = None
        self.stream = 0
        self.streams = 0


class DirectoryLayerWriter(LayerWriterBase):
    """A `LayerWriter` that makes a layer directory at `path`.

    Until `close` returns, nothing is at `path`; after a failure, or if the process dies, nothing ever is.

    Args:
        path: where the layer will be: nothing, or an empty folder, in a folder that exists.
        parents: the parent chain, nearest first, or only the nearest one; none for a base layer.

    Raises:
        AlreadyExistsError: `path` is taken.
        PathNotFoundError: the folder of `path`, or a parent, does not exist.
        NotALayerError: a parent is not a layer directory.
    """

    operation = "write layer"
    late_metadata = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        parents: Sequence[str | os.PathLike[str]] = (),
        *,
        limits: Limits | None = None,
    ) -> None:
        place = Path(os.path.abspath(path))
        self._parents: list[LayerDirectory] = []
        self.chain = resolve_chain(self.operation, parents)
        tree = LayerTree(
            self.operation,
            str(place),
            is_base=not self.chain,
            find_in_parents=self.find_in_parents if self.chain else None,
            limits=limits,
        )
        super().__init__(str(place), tree)
        try:
            for parent in self.chain:
                self._parents.append(LayerDirectory(parent, operation=self.operation))
            self._staged = self._stage(place)
        except BaseException:
            self._close_parents()
            raise
        self._host = HostRoot(self._staged.path)
        self._database = database.create(self._staged.database)
        self._rows: list[EntryRow] = []
        self._ordinary: list[OrdinaryRow] = []
        self._descriptors: dict[bytes, int] = {}
        self._next_id = 1
        self._next_stream = 1
        # Path key of a directory: its id, its path in the layer, its path on the host.
        self._directories: dict[str, tuple[int, str, bytes]] = {"": (database.ROOT, "", b"")}
        self._has_clone = False
        self._entry = Entry("", None)
        self._fd = -1
        self._small_files = 0
        self._pool: FilePool | None = None
        self._current = _Current()

    def record(self, key: str, value: str | int | bytes | None) -> None:
        """Keeps a fact about the layer as a whole ("diff_id", "digest", …)."""
        self._database.execute("INSERT OR REPLACE INTO layer VALUES (?, ?)", (key, value))

    def _stage(self, place: Path) -> Stage:
        return StagedDirectory(self.operation, place)

    # An entry, step by step.

    def _put(self, entry: Entry, streams: Iterable[DataStream]) -> None:
        if self._pool is None or not self._put_small(entry, streams):
            super()._put(entry, streams)

    def _put_small(self, entry: Entry, streams: Iterable[DataStream]) -> bool:
        """The whole way of a plain small file, which nearly every entry is; False if the entry is something else."""
        info = entry.info
        if (
            info is None
            or entry.size > _SMALL_FILE
            or info.attributes & (DIRECTORY | _SPARSE_FILE)
            or entry.reparse is not None
            or entry.eas
            or entry.link_target is not None
            or entry.extra
            or entry.form is not None
        ):
            return False
        key = self._tree.add(entry)
        parent_key, _, last_key = key.rpartition("/")
        directory = self._directories.get(parent_key)
        name = entry.name[len(parent_key) + 1 :]
        if directory is None or parent_key.startswith("UTILITYVM") or not name.isascii() or name.startswith("wclayer~"):
            return False
        parent_id, parent_path, parent_host = directory
        if len(name) > MAX_HOST_NAME_BYTES or not entry.name.startswith(parent_path):
            return False
        remaining = iter(streams)
        main = next(remaining, None)
        data = b"" if main is None else main.read_all()
        if len(data) != entry.size:
            raise InvalidDataError(
                self.operation, self.target, f"entry {entry.name!r}: {len(data)} bytes of data instead of {entry.size}"
            )
        entry_id = self._next_id
        self._next_id = entry_id + 1
        sha256 = hashlib.sha256(data).digest()
        assert self._pool is not None
        access, write = info.last_access_time, info.last_write_time
        self._pool.make(parent_host, name.encode(), data, to_unix_ns(access), to_unix_ns(write))
        security = entry.security
        security_id = None if security is None else self._descriptors.get(security) or self._security_id(security)
        following = next(remaining, None)
        if following is not None:
            self._put_streams_of_small(entry, (entry_id, parent_id, name, last_key, sha256), following, remaining)
            return True
        self._ordinary.append(
            (
                entry_id, parent_id, name, last_key, info.attributes, info.creation_time, access, write,
                info.change_time, security_id, entry.size, sha256,
            )
        )  # fmt: skip
        if len(self._ordinary) >= _BATCH:
            self._flush()
        return True

    def _put_streams_of_small(
        self,
        entry: Entry,
        made: tuple[int, int, str, str, bytes],
        first: DataStream,
        others: Iterator[DataStream],
    ) -> None:
        """The rest of a small file that has alternate streams."""
        entry_id, parent_id, name, key, sha256 = made
        self._entry = entry
        self._current.begin(entry_id, parent_id, name, key, None)
        for stream in chain((first,), others):
            self._open_stream(stream)
            for chunk in stream.chunks:
                self._data(chunk)
            self._close_stream()
        assert entry.info is not None
        self._rows.append(
            self._row(entry, entry.info, self._security_id(entry.security), entry.size, sha256, None, None)
        )

    def _begin(self, entry: Entry, key: str) -> None:
        self._entry = entry
        entry_id = self._next_id
        self._next_id = entry_id + 1
        in_utility_vm = key.startswith("UTILITYVM")
        if in_utility_vm and self._parents and not self._has_clone:
            self._clone_utility_vm()
        if entry.info is None:
            self._current.id = 0
            self._add_tombstone(entry_id, entry, key, in_utility_vm)
            return
        parent_key, slash, last_key = key.rpartition("/")
        parent_id, parent_path, parent_host = self._directory(parent_key)
        name = entry.name.rpartition("/")[2]
        path = parent_path + slash + name
        current = self._current
        current.begin(entry_id, parent_id, name, last_key, None if path == entry.name else entry.name)
        if in_utility_vm or key in _ROOT_SPELLING:
            if key in _ROOT_SPELLING:
                name = _ROOT_SPELLING[key].rpartition("/")[2]
            self._supersede(entry, key, parent_id, last_key, entry_id)
        current.host_name = encode_name(name)
        host_path = parent_host + b"/" + current.host_name if parent_host else current.host_name
        if entry.link_target is not None:
            self._make_link(entry, host_path)
        elif entry.info.attributes & DIRECTORY:
            host_path = self._make(parent_host, host_path, self._make_directory)
            self._remember(key, (entry_id, path, host_path))
        else:
            if entry.size > _SMALL_FILE or not self._takes_small_file(current.host_name):
                self._make(parent_host, host_path, self._make_file)
            else:
                current.pooled = parent_host
            current.has_data = entry.has_data
            current.sha256 = hashlib.sha256() if entry.size else None
            current.size = 0

    def _open_stream(self, stream: DataStream) -> None:
        current = self._current
        if current.is_link:
            current.stream = _IGNORED
        elif stream.name:
            current.stream = self._next_stream
            self._next_stream += 1
            current.streams += 1
            current.stream_size = 0
            current.stream_hash = hashlib.sha256()
            current.sequence = 0
            current.buffer = bytearray()
        elif self._entry.is_directory:
            raise InvalidDataError(self.operation, self.target, f"entry {self._entry.name!r}: a directory with data")
        else:
            current.stream = 0
            current.has_data = True
            if current.sha256 is None:
                current.sha256 = hashlib.sha256()
        current.open_stream = stream

    def _data(self, chunk: bytes | memoryview) -> None:
        current = self._current
        if not current.stream:
            assert current.sha256 is not None
            current.sha256.update(chunk)
            size = len(chunk)
            current.size += size
            self._store(chunk)
        elif current.stream != _IGNORED:
            current.stream_hash.update(chunk)
            current.stream_size += len(chunk)
            current.buffer += chunk
            while len(current.buffer) >= _STREAM_PIECE:
                self._put_stream_data(bytes(current.buffer[:_STREAM_PIECE]))
                del current.buffer[:_STREAM_PIECE]

    def _store(self, chunk: bytes | memoryview) -> None:
        """Appends to the entry's host file."""
        size = len(chunk)
        if self._current.pooled is not None:
            self._current.pooled_data += chunk
            return
        if self._entry.info is not None and self._entry.info.attributes & _SPARSE_FILE and not any(chunk):
            end = os.lseek(self._fd, size, os.SEEK_CUR)
            os.ftruncate(self._fd, end)
            return
        written = os.write(self._fd, chunk)
        while written < size:
            written += os.write(self._fd, memoryview(chunk)[written:])

    def _close_stream(self) -> None:
        current = self._current
        stream = current.open_stream
        assert stream is not None
        if current.stream == _IGNORED:
            current.stream = 0
            return
        size = current.stream_size if current.stream else current.size
        if size != stream.size:
            raise InvalidDataError(
                self.operation,
                self.target,
                f"entry {self._entry.name!r}: {size} bytes of data instead of {stream.size}",
            )
        if current.stream:
            if current.buffer:
                self._put_stream_data(bytes(current.buffer))
            self._insert_stream(
                StreamId.ALTERNATE_DATA, stream.attributes, stream.name, size, current.stream_hash.digest(), stream.form
            )
            current.stream = 0

    def _end(self) -> None:
        current, entry = self._current, self._entry
        if not current.id:
            return
        info = entry.info
        assert info is not None
        if current.pooled is not None:
            assert self._pool is not None
            times = (to_unix_ns(info.last_access_time), to_unix_ns(info.last_write_time))
            self._pool.make(current.pooled, current.host_name, current.pooled_data, *times)
        elif self._fd >= 0:
            self._set_times(info)
            os.close(self._fd)
            self._fd = -1
        for extra in entry.extra:
            current.stream = self._next_stream
            self._next_stream += 1
            current.streams += 1
            current.sequence = 0
            for start in range(0, len(extra.data), _STREAM_PIECE):
                self._put_stream_data(extra.data[start : start + _STREAM_PIECE])
            digest = hashlib.sha256(extra.data).digest()
            self._insert_stream(extra.id, extra.attributes, extra.name, len(extra.data), digest, None)
            current.stream = 0
        if current.row is None:
            sha256 = None
            if current.has_data:
                sha256 = current.sha256.digest() if current.sha256 is not None else _EMPTY_SHA256
            self._rows.append(
                self._row(
                    entry,
                    info,
                    self._security_id(entry.security),
                    current.size,
                    sha256,
                    entry.eas or None,
                    entry.reparse,
                )
            )
        else:
            self._rows.append(current.row)
        if len(self._rows) >= _BATCH:
            self._flush()

    def _row(
        self,
        entry: Entry,
        info: FileBasicInfo,
        security: int | None,
        size: int,
        sha256: bytes | None,
        eas: bytes | None,
        reparse: bytes | None,
        link: int | None = None,
    ) -> EntryRow:
        current = self._current
        return EntryRow(
            current.id,
            current.parent,
            to_column(current.name),
            to_column(current.key),
            info.attributes,
            info.creation_time,
            info.last_access_time,
            info.last_write_time,
            info.change_time,
            security,
            size,
            sha256,
            Origin.OWN,
            current.streams,
            eas,
            reparse,
            link,
            None if entry.link_target is None else to_column(entry.link_target),
            None if current.spelling is None else to_column(current.spelling),
            current.substitute,
            entry.form,
        )

    # Files on the host.

    def _make(self, parent_host: bytes, host_path: bytes, make: _Maker) -> bytes:
        """Makes the entry's host file or directory, under a substitute name if the host cannot hold its own."""
        current = self._current
        if len(current.host_name) <= MAX_HOST_NAME_BYTES and not current.host_name.startswith(_SUBSTITUTE):
            try:
                make(host_path)
                return host_path
            except FileExistsError:
                # On a host that compares names more loosely than Windows.
                pass
            except OSError as error:
                if error.errno not in (errno.EILSEQ, errno.EINVAL, errno.ENAMETOOLONG):
                    raise
        substitute = _SUBSTITUTE + b"%d" % current.id
        current.substitute = substitute.decode()
        host_path = parent_host + b"/" + substitute if parent_host else substitute
        make(host_path)
        return host_path

    def _make_directory(self, host_path: bytes) -> None:
        try:
            self._host.make_directory(host_path)
        except FileExistsError:
            # A root that was implied before its entry came, or a directory of the cloned utility VM.
            if not self._current.replaces_directory:
                raise

    def _make_file(self, host_path: bytes) -> None:
        self._fd = self._host.create(host_path)

    def _takes_small_file(self, host_name: bytes) -> bool:
        """Whether the pool makes this small file; it starts when there have been enough of them."""
        self._small_files += 1
        if self._small_files == _POOL_AFTER and self._may_pool():
            self._pool = FilePool(self._host.fd, self._staged.lock)
        return (
            self._pool is not None
            and len(host_name) <= MAX_HOST_NAME_BYTES
            and not host_name.startswith(_SUBSTITUTE)
        )

    def _may_pool(self) -> bool:
        # Where names can clash on the host, making a file must be able to fall back to a substitute name.
        return sys.platform == "linux" and self._host.distinguishes_case

    def _set_times(self, info: FileBasicInfo) -> None:
        # Only for people who look at the files: layer.db has the exact times.
        with suppress(OverflowError, OSError):
            os.utime(self._fd, ns=(to_unix_ns(info.last_access_time), to_unix_ns(info.last_write_time)))

    def _make_link(self, entry: Entry, host_path: bytes) -> None:
        assert entry.link_target is not None and entry.info is not None
        current = self._current
        current.is_link = True
        target_key = path_key(entry.link_target)
        parent_host = host_path.rpartition(b"/")[0]
        if self._tree.kind(target_key) is Kind.FILE or (self._has_clone and target_key.startswith("UTILITYVM")):
            parent_id, _, target_parent = self._directory(target_key.rpartition("/")[0])
            target = self._find(parent_id, target_key.rpartition("/")[2])
            if target is None:
                raise InvalidDataError(
                    self.operation,
                    self.target,
                    f"entry {entry.name!r}: hard link to {entry.link_target!r}, which is not there",
                )
            source = target_parent + b"/" + _host_name(target)
            if self._pool is None:
                self._make(parent_host, host_path, lambda path: self._link_or_copy(self._host, source, path))
            else:
                # The target may be on its way through the pool: the link is made when all files are.
                self._make(parent_host, host_path, lambda path: self._postpone_link(source, path))
            current.row = self._row(
                entry, entry.info, target.security, target.size, target.sha256, target.eas, target.reparse,
                target.link or target.id,
            )  # fmt: skip
            return
        for parent in self._parents:
            row = parent.lookup(entry.link_target)
            if row is not None:
                source = parent.host_path(row)
                self._make(parent_host, host_path, lambda path: self._link_or_copy(parent.host, source, path))
                self._copy_streams(parent, row, current.id)
                current.streams = row.streams
                current.row = self._row(
                    entry, entry.info, self._security_id(parent.security(row)), row.size, row.sha256, row.eas, row.reparse
                )  # fmt: skip
                return
        raise AssertionError("the tree has checked that the target is there")

    def _postpone_link(self, source: bytes, target: bytes) -> None:
        self._database.execute("INSERT INTO temp.links VALUES (?, ?)", (source, target))

    def _make_postponed_links(self) -> None:
        for source, target in self._database.execute("SELECT source, target FROM temp.links ORDER BY rowid"):
            self._link_or_copy(self._host, source, target)

    def _link_or_copy(self, root: HostRoot, source: bytes, target: bytes) -> None:
        try:
            self._host.link(source, target, source_root=root)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                raise
            self._host.copy(source, target, source_root=root)

    def _link_info(self, target: str) -> FileBasicInfo:
        row = self._locate(path_key(target.replace("\\", "/")))
        if row is None:
            for parent in self._parents:
                if (row := parent.lookup(target)) is not None:
                    break
        if row is None:
            return FileBasicInfo()
        return FileBasicInfo(
            row.attributes, row.creation_time, row.last_access_time, row.last_write_time, row.change_time
        )

    # The database.

    def _directory(self, key: str) -> tuple[int, str, bytes]:
        """Id, path and host path of a directory by its path key."""
        known = self._directories.get(key)
        if known is not None:
            return known
        parent_key, _, last = key.rpartition("/")
        parent_id, parent_path, parent_host = self._directory(parent_key)
        row = self._find(parent_id, last)
        if row is None:
            if key not in _ROOT_SPELLING:
                raise InvalidDataError(self.operation, self.target, f"directory {key!r} was not there before")
            return self._imply_root(key, parent_id)
        host = _host_name(row)
        name = from_column(row.name)
        found = (
            row.id,
            f"{parent_path}/{name}" if parent_path else name,
            parent_host + b"/" + host if parent_host else host,
        )
        self._remember(key, found)
        return found

    def _remember(self, key: str, directory: tuple[int, str, bytes]) -> None:
        if len(self._directories) >= _KNOWN_DIRECTORIES:
            self._directories = {"": self._directories[""]}
        self._directories[key] = directory

    def _imply_root(self, key: str, parent_id: int) -> tuple[int, str, bytes]:
        path = _ROOT_SPELLING[key]
        name = path.rpartition("/")[2]
        host_path = path.encode()
        self._current.replaces_directory = True
        self._make_directory(host_path)
        entry_id = self._next_id
        self._next_id += 1
        self._rows.append(_directory_row(entry_id, parent_id, name, Origin.IMPLIED))
        self._remember(key, (entry_id, path, host_path))
        return entry_id, path, host_path

    def _find(self, parent_id: int, key: str) -> EntryRow | None:
        """The entry of this layer with that parent and name key."""
        self._flush()
        row = self._database.execute(
            "SELECT * FROM entries WHERE parent = ? AND key = ?", (parent_id, to_column(key))
        ).fetchone()
        return EntryRow._make(row) if row else None

    def _locate(self, key: str) -> EntryRow | None:
        """The entry of this layer at a path key."""
        row_id = database.ROOT
        row = None
        for part in key.split("/"):
            row = self._find(row_id, part)
            if row is None:
                return None
            row_id = row.id
        return row

    def _flush(self) -> None:
        if self._rows:
            self._database.executemany(database.INSERT_ENTRY, self._rows)
            self._rows.clear()
        if self._ordinary:
            self._database.executemany(database.INSERT_ORDINARY_ENTRY, self._ordinary)
            self._ordinary.clear()

    def _security_id(self, descriptor: bytes | None) -> int | None:
        if descriptor is None:
            return None
        known = self._descriptors.get(descriptor)
        if known is None:
            cursor = self._database.execute("SELECT id FROM security WHERE descriptor = ?", (descriptor,))
            row = cursor.fetchone()
            if row is None:
                row = (self._database.execute("INSERT INTO security (descriptor) VALUES (?)", (descriptor,)).lastrowid,)
            known = int(row[0])
            # A few hundred in real layers; a hostile one must not fill memory with them.
            if len(self._descriptors) >= 4096:
                self._descriptors.clear()
            self._descriptors[descriptor] = known
        return known

    def _put_stream_data(self, data: bytes) -> None:
        current = self._current
        self._database.execute("INSERT INTO stream_data VALUES (?, ?, ?)", (current.stream, current.sequence, data))
        current.sequence += 1

    def _insert_stream(
        self, stream_id: int, attributes: int, name: str, size: int, sha256: bytes, form: bytes | None
    ) -> None:
        self._database.execute(
            "INSERT INTO streams VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (self._current.stream, self._current.id, stream_id, attributes, to_column(name), size, sha256, form),
        )

    def _copy_streams(self, source: LayerDirectory, row: EntryRow, entry_id: int) -> None:
        """The alternate and extra streams of a parent's entry, for an entry of this layer."""
        if not row.streams:
            return
        for number, *columns in source.query(
            "SELECT id, stream_id, attributes, name, size, sha256 FROM streams WHERE entry = ? ORDER BY id", (row.id,)
        ).fetchall():
            copy = self._next_stream
            self._next_stream += 1
            self._database.execute("INSERT INTO streams VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", (copy, entry_id, *columns))
            pieces = source.query("SELECT sequence, data FROM stream_data WHERE stream = ?", (number,))
            self._database.executemany(
                "INSERT INTO stream_data VALUES (?, ?, ?)", ((copy, sequence, data) for sequence, data in pieces)
            )

    # Tombstones, and the utility VM cloned from the parent.

    def _add_tombstone(self, entry_id: int, entry: Entry, key: str, in_utility_vm: bool) -> None:
        self._database.execute(
            "INSERT INTO tombstones VALUES (?, ?, ?, ?)", (entry_id, to_column(entry.name), to_column(key), entry.form)
        )
        if in_utility_vm:
            row = self._locate(key)
            if row is None or row.origin != Origin.CLONED:
                raise InvalidDataError(
                    self.operation, self.target, f"tombstone {entry.name!r}: the parent's utility VM has no such name"
                )
            self._remove_cloned(row, self._directory(key.rpartition("/")[0])[2])

    def _clone_utility_vm(self) -> None:
        """Takes over the nearest parent's utility VM: hard links, but copies of what processing changes."""
        self._has_clone = True
        for parent in self._parents:
            top = parent.lookup("UtilityVM/Files")
            if top is not None:
                break
        else:
            return
        self._directory("UTILITYVM")
        root_id, _, _ = self._directory("UTILITYVM/FILES")
        ids = {top.id: root_id}
        heads: dict[int, int] = {}
        for row in parent.walk(top):
            entry_id = self._next_id
            self._next_id += 1
            ids[row.id] = entry_id
            host_path = parent.host_path(row)
            if row.attributes & DIRECTORY:
                self._host.make_directory(host_path)
            elif row.reparse is not None or path_key(parent.path_of(row)) in _MUTATED:
                self._host.copy(host_path, host_path, source_root=parent.host)
            else:
                self._link_or_copy(parent.host, host_path, host_path)
            self._copy_streams(parent, row, entry_id)
            head = heads.setdefault(row.link or row.id, entry_id)
            self._rows.append(
                row._replace(
                    id=entry_id,
                    parent=ids[row.parent],
                    origin=Origin.CLONED,
                    security=self._security_id(parent.security(row)),
                    link=None if head == entry_id else head,
                    link_target=None,
                    spelling=None,
                    form=None,
                )
            )
        self._flush()

    def _supersede(self, entry: Entry, key: str, parent_id: int, last_key: str, entry_id: int) -> None:
        """Makes room for an entry where an implied root or a cloned entry is."""
        row = self._find(parent_id, last_key)
        if row is None:
            return
        if row.attributes & DIRECTORY and entry.is_directory:
            self._current.replaces_directory = True
            self._database.execute("DELETE FROM entries WHERE id = ?", (row.id,))
            self._database.execute("UPDATE entries SET parent = ? WHERE parent = ?", (entry_id, row.id))
            self._directories = {"": self._directories[""]}
        else:
            self._remove_cloned(row, self._directory(key.rpartition("/")[0])[2])

    def _remove_cloned(self, row: EntryRow, parent_host: bytes) -> None:
        """Removes a cloned entry and all below it, on the host and in the database."""
        self._host.remove(parent_host + b"/" + _host_name(row))
        pending = [row.id]
        while pending:
            entry_id = pending.pop()
            pending += [
                child for (child,) in self._database.execute("SELECT id FROM entries WHERE parent = ?", (entry_id,))
            ]
            self._database.execute("DELETE FROM entries WHERE id = ?", (entry_id,))
            (heir,) = self._database.execute("SELECT MIN(id) FROM entries WHERE link = ?", (entry_id,)).fetchone()
            if heir is not None:
                self._database.execute("UPDATE entries SET link = NULL WHERE id = ?", (heir,))
                self._database.execute("UPDATE entries SET link = ? WHERE link = ?", (heir, entry_id))
        self._directories = {"": self._directories[""]}

    def find_in_parents(self, key: str) -> Kind:
        """What the parents have at a path key, the nearest first."""
        for parent in self._parents:
            if kind := parent.kind(key):
                return kind
        return Kind.ABSENT

    # The end.

    def _finish(self) -> None:
        for root in ("FILES", "HIVES"):
            self._directory(root)
        self._flush()
        if self._pool is not None:
            self._pool.finish()
            self._pool = None
            self._make_postponed_links()
        for path, backup in BCD_BACKUPS.items():
            row = self._locate(path_key(path))
            if row is not None:
                directory = self._directory(path_key(path).rpartition("/")[0])[2]
                with suppress(FileExistsError):
                    self._host.copy(directory + b"/" + _host_name(row), backup)
        if self.chain:
            parents = json.dumps([str(parent) for parent in self.chain])
            self._host.write_bytes(CHAIN_FILE.encode(), parents.encode())
        self._database.execute("COMMIT")
        self._set_directory_times()
        self._database.close()
        self._close_parents()
        self._host.close()
        self._staged.commit()

    def _set_directory_times(self) -> None:
        """Last of all: making a file changes its directory's times."""
        rows = self._database.execute(
            "SELECT * FROM entries WHERE attributes & ? AND origin <> ?", (DIRECTORY, int(Origin.IMPLIED))
        )
        for row in map(EntryRow._make, rows):
            directory = self._path_of_id(row.id)
            self._host.set_times(directory, to_unix_ns(row.last_access_time), to_unix_ns(row.last_write_time))

    def _path_of_id(self, entry_id: int) -> bytes:
        parts = []
        while entry_id != database.ROOT:
            row = EntryRow._make(self._database.execute("SELECT * FROM entries WHERE id = ?", (entry_id,)).fetchone())
            parts.append(_host_name(row))
            entry_id = row.parent
        return b"/".join(reversed(parts))

    def _discard(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._pool is not None:
            self._pool.abort()
        with suppress(sqlite3.Error):
            self._database.close()
        self._close_parents()
        self._host.close()
        self._staged.discard()

    def _close_parents(self) -> None:
        for parent in self._parents:
            parent.close()


def _host_name(row: EntryRow) -> bytes:
    return row.host_name.encode() if row.host_name else encode_name(from_column(row.name))


def _directory_row(entry_id: int, parent_id: int, name: str, origin: Origin) -> EntryRow:
    return EntryRow(entry_id, parent_id, name, name_key(name), DIRECTORY, 0, 0, 0, 0, None, 0, None, origin)
