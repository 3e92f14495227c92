"""Writes a layer directory: it is built beside its target path, and renamed to it when it is complete."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from wclayer._types import Chain, StrPath
from wclayer.errors import boundary, errors_at
from wclayer.layers.atomic import Stage, StagedDirectory
from wclayer.layers.base import LayerWriterBase, all_of
from wclayer.layers.directory import utility_vm
from wclayer.layers.directory.chain import check_same_chain, resolve_chain
from wclayer.layers.directory.chain_file import CHAIN_FILE, chain_text
from wclayer.layers.directory.database import EntryRow, Origin, host_name, to_column
from wclayer.layers.directory.folder import PARENT_DIFF_IDS
from wclayer.layers.directory.hives import BaseHiveMaker
from wclayer.layers.directory.host_files import ContentHash, HostFiles, is_possible_name
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.opening import open_layer
from wclayer.layers.directory.records import DirectoryPlace, LayerRecords
from wclayer.layers.directory.scratch import is_scratch
from wclayer.layers.directory.streams import StreamRecorder
from wclayer.layers.hives import HIVES_ROOT
from wclayer.layers.names import ROOTS, Kind, NameChecker
from wclayer.model import DataStream, Entry, Limits, limits_in_use
from wclayer.win32.attributes import DIRECTORY, SPARSE_FILE, FileBasicInfo
from wclayer.win32.backup import StreamId
from wclayer.win32.names import encode_name, path_key

_ROOT_SPELLING = {path_key(root): root for root in ROOTS}
_UTILITY_VM_KEY = path_key("UtilityVM")


class _Current:
    """The state of the entry that is being written."""

    __slots__ = (
        "has_data", "host_name", "id", "is_file", "is_link", "key", "name", "parent", "row", "sha256", "size",
        "spelling", "streams",
    )  # fmt: skip

    def __init__(self, entry_id: int, parent: int, name: str, key: str, spelling: str | None) -> None:
        self.id = entry_id
        self.parent = parent
        self.name = name
        self.key = key
        self.spelling = spelling
        self.host_name: bytes | None = None
        """The name of its file on the host, if it differs from the entry's own name."""
        self.has_data = False
        self.is_file = False
        self.is_link = False
        self.row: EntryRow | None = None
        """The row of a link, which is known from the start; None for any other entry."""
        self.size = 0
        self.sha256: ContentHash | None = None
        self.streams = 0


@boundary
class DirectoryLayerWriter(LayerWriterBase):
    """A `LayerWriter` that makes a layer directory at `path`.

    The layer appears at `path` when `close` returns. After a failure, or if the process dies, it does not appear.

    Args:
        path: the path of the new layer, in an existing folder. Nothing, or an empty folder, may be there.
        parents: the parent chain, nearest first, or only the nearest one; empty for a base layer.
        limits: how much is accepted.
        over_scratch: the complete layer replaces a scratch on the same parents at `path`, in one step.
        source: the path that errors about illegal names report, from which the entries are read; by default `path`.

    Raises:
        AlreadyExistsError: `path` is taken.
        PathNotFoundError: the folder of `path`, or a parent, does not exist.
        NotALayerError: a parent is not a layer directory.
        InvalidParameterError: the chain is in the wrong order.
    """

    operation = "write layer"

    def __init__(
        self,
        path: StrPath,
        parents: Chain = (),
        *,
        limits: Limits | None = None,
        over_scratch: bool = False,
        source: StrPath | None = None,
    ) -> None:
        place = Path(os.path.abspath(path))
        self._over_scratch = over_scratch
        self._max_hive_size = (limits or limits_in_use()).hive_size
        self._parents: list[LayerDirectory] = []
        self.chain = resolve_chain(parents)
        self._checker = self._name_checker(str(place) if source is None else os.fspath(source), limits)
        super().__init__(str(place), self._checker)
        try:
            for parent in self.chain:
                self._parents.append(open_layer(parent))
            self._staged = self._stage(place)
        except BaseException:
            self._close_parents()
            raise
        with ExitStack() as stack, errors_at(place):
            stack.callback(self._staged.discard)
            stack.callback(self._close_parents)
            self._files = self._host_files()
            stack.callback(self._files.close)
            self._records = self._new_records()
            stack.pop_all()
        self._has_clone = False
        self._entry = Entry("", None)
        self._current = _Current(0, 0, "", "", None)
        self._recorder: StreamRecorder | None = None

    @property
    def names(self) -> NameChecker:
        """The checker of the entries' names. The reader may use it, too, so that each name is checked once."""
        return self._checker

    def record(self, key: str, value: str | int | bytes | None) -> None:
        """Stores a record about the layer as a whole ("diff_id", "digest", …)."""
        with self._discard_on_failure:
            self._records.record(key, value)

    def find_in_parents(self, key: str) -> Kind:
        """Returns the kind of a path key in the nearest parent that has it, or `Kind.ABSENT`."""
        for parent in self._parents:
            if kind := parent.kind(key):
                return kind
        return Kind.ABSENT

    def _name_checker(self, source: str, limits: Limits | None) -> NameChecker:
        return NameChecker(
            source,
            is_base=not self.chain,
            find_in_parents=self.find_in_parents if self.chain else None,
            limits=limits,
        )

    def _stage(self, place: Path) -> Stage:
        if not self._over_scratch:
            return StagedDirectory(place)
        return StagedDirectory(place, may_replace=lambda: is_scratch(place) and self._agrees(place))

    def _agrees(self, scratch: Path) -> bool:
        """Returns True if a scratch records the same parents as this layer.

        Raises:
            AlreadyExistsError: it does not.
        """
        check_same_chain(scratch, self.chain)
        return True

    def _host_files(self) -> HostFiles:
        return HostFiles(self._staged.path, self._staged.lock)

    def _new_records(self) -> LayerRecords:
        return LayerRecords(self._staged.database, self._checker.limits)

    # An entry, step by step.

    def _put_plain(self, entry: Entry, key: str, data: bytes) -> bool:
        info = entry.info
        if info is None or not self._files.makes_small_files:
            return False
        parent_key, _, last_key = key.rpartition("/")
        directory = self._records.known_directory(parent_key)
        name = entry.name[len(parent_key) + 1 :]
        if directory is None or parent_key.startswith(_UTILITY_VM_KEY) or not name.isascii():
            return False
        encoded = name.encode()
        if not is_possible_name(encoded) or not entry.name.startswith(directory.path):
            return False
        access, write = info.last_access_time, info.last_write_time
        content = self._files.make_small_file(directory.host, encoded, data, access, write)
        self._keep_plain(entry, key, data, content)
        security = self._records.security_id(entry.security)
        self._records.add_ordinary(
            (
                self._records.new_id(), directory.id, name, last_key, info.attributes, info.creation_time, access,
                write, info.change_time, security, entry.size,
            ),
            content,
        )  # fmt: skip
        return True

    def _keep_plain(self, entry: Entry, key: str, data: bytes, content: ContentHash) -> None:
        """A hook for writers that keep more of a small file than its row."""

    def _begin(self, entry: Entry, key: str) -> None:
        self._entry = entry
        entry_id = self._records.new_id()
        in_utility_vm = key.startswith(_UTILITY_VM_KEY)
        if in_utility_vm and self._parents and not self._has_clone:
            self._clone_utility_vm()
        parent_key, slash, last_key = key.rpartition("/")
        if entry.info is None:
            self._records.add_tombstone(entry_id, entry, key)
            if in_utility_vm:
                self._delete_from_clone(entry, parent_key, last_key)
            self._current = _Current(0, 0, "", "", None)
            return
        directory = self._directory(parent_key)
        name = entry.name.rpartition("/")[2]
        path = directory.path + slash + name
        self._current = current = _Current(
            entry_id, directory.id, name, last_key, None if path == entry.name else entry.name
        )
        own_host_name = encode_name(_ROOT_SPELLING[key].rpartition("/")[2] if key in _ROOT_SPELLING else name)
        replaced = None
        if (in_utility_vm and self._has_clone) or key in _ROOT_SPELLING:
            replaced = self._records.child(directory.id, last_key)
        if replaced is not None and not (replaced.attributes & entry.info.attributes & DIRECTORY):
            self._remove_cloned(replaced, directory)
            replaced = None
        if replaced is not None:
            self._records.replace_directory(replaced.id, entry_id)
            own_host_name = host_name(replaced)
        if entry.link_target is not None:
            current.is_link = True
            made = self._make_link(entry, directory, own_host_name)
        elif entry.info.attributes & DIRECTORY:
            made = own_host_name
            if replaced is None:
                made = self._files.make_directory(directory.host, own_host_name, entry_id)
            place = DirectoryPlace(entry_id, path, directory.host_child(made))
            self._records.remember_directory(key, place)
        else:
            sparse = bool(entry.info.attributes & SPARSE_FILE)
            made = self._files.begin_file(directory.host, own_host_name, entry_id, entry.size, sparse=sparse)
            current.is_file = True
            current.has_data = entry.has_data
        if made != encode_name(name):
            current.host_name = made
            if current.row is not None:
                current.row = current.row._replace(host_name=made.decode())

    def _open_stream(self, stream: DataStream) -> None:
        current = self._current
        if current.is_link:
            # The target of the link has the data already.
            return
        if stream.name:
            current.streams += 1
            self._recorder = self._records.open_stream(
                current.id, StreamId.ALTERNATE_DATA, stream.attributes, stream.name, stream.header_delta
            )
        elif self._entry.is_directory:
            raise self._bad(self._entry, "a directory with data")
        else:
            current.has_data = True

    def _data(self, chunk: bytes | memoryview) -> None:
        current = self._current
        if current.is_link:
            return
        if self._recorder is not None:
            self._recorder.write(chunk)
            return
        current.size += len(chunk)
        self._files.write(chunk)

    def _close_stream(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    def _end(self) -> None:
        current, entry = self._current, self._entry
        info = entry.info
        if info is None:
            return
        if current.is_file:
            current.sha256 = self._files.end_file(info.last_access_time, info.last_write_time)
        for extra in entry.extra:
            current.streams += 1
            recorder = self._records.open_stream(current.id, extra.id, extra.attributes, extra.name)
            recorder.write(extra.data)
            recorder.close()
        if current.row is not None:
            self._records.add(current.row, current.sha256)
            return
        security = self._records.security_id(entry.security)
        eas = entry.eas or None
        row = self._row(entry, info, security, current.size, None, current.streams, eas, entry.reparse)
        self._records.add(row, current.sha256 if current.has_data else None)

    def _row(
        self,
        entry: Entry,
        info: FileBasicInfo,
        security: int | None,
        size: int,
        sha256: bytes | None,
        streams: int,
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
            streams,
            eas,
            reparse,
            link,
            None if entry.link_target is None else to_column(entry.link_target),
            None if current.spelling is None else to_column(current.spelling),
            None if current.host_name is None else current.host_name.decode(),
            entry.header_delta,
        )

    # Hard links.

    def _make_link(self, entry: Entry, directory: DirectoryPlace, name: bytes) -> bytes:
        """Makes a link on the host, and its row, and returns its name on the host."""
        assert entry.link_target is not None
        assert entry.info is not None
        current = self._current
        target_key = path_key(entry.link_target)
        target = self._own_target(target_key)
        if target is not None:
            place, row, current.sha256 = target
            source = place.host_child(host_name(row))
            current.row = self._row(
                entry, entry.info, row.security, row.size, row.sha256, 0, row.eas, row.reparse, row.link or row.id
            )
            if self._files.is_pooling and row.origin != Origin.CLONED:
                made = self._files.name_for_later(directory.host, name, current.id)
                # A worker may not have made the target yet. A digest that is recorded tells that it has, but a link has
                # the digest of the file from the start.
                if row.sha256 is not None and row.link is None:
                    self._files.link_soon(directory.host, made, place.host, host_name(row))
                else:
                    self._records.postpone_link(source, directory.host_child(made))
                return made
            return self._files.link(source, directory.host, name, current.id, self._files.root)
        for parent in self._parents:
            found = parent.lookup(entry.link_target)
            if found is None:
                continue
            row_there = parent.first_name(found)
            parent.stat_file(found)
            self._records.copy_streams(parent, row_there, current.id)
            security = self._records.security_id(parent.security(row_there))
            current.row = self._row(
                entry,
                entry.info,
                security,
                row_there.size,
                row_there.sha256,
                row_there.streams,
                row_there.eas,
                row_there.reparse,
            )
            return self._files.link(parent.host_path(found), directory.host, name, current.id, parent.host)
        return self._link_elsewhere(entry, directory, name)

    def _link_elsewhere(self, entry: Entry, directory: DirectoryPlace, name: bytes) -> bytes:
        """A hook for layers whose parents are unknown: the same as `_make_link` if no known layer has the target."""
        raise self._bad(entry, f"hard link to {entry.link_target!r}, which is not there")

    def _own_target(self, key: str) -> tuple[DirectoryPlace, EntryRow, ContentHash | None] | None:
        """Returns a link's target in this layer: its directory, its row, and the hash that the row does not have yet;
        None if it is not in this layer."""
        if self._checker.kind(key) is not Kind.FILE and not (self._has_clone and key.startswith(_UTILITY_VM_KEY)):
            return None
        directory_key, _, last = key.rpartition("/")
        place = self._records.directory(directory_key)
        if place is None:
            return None
        row, content = self._records.child_and_content(place.id, last)
        return None if row is None else (place, row, content)

    def info_for_link(self, target: str) -> FileBasicInfo:
        row = self._records.locate(path_key(target))
        for parent in self._parents:
            if row is not None:
                break
            row = parent.lookup(target)
        return FileBasicInfo() if row is None else row.info

    # Directories.

    def _directory(self, key: str) -> DirectoryPlace:
        """Returns the location of a directory by its path key. A missing root directory is made."""
        place = self._records.directory(key)
        if place is not None:
            return place
        spelling = _ROOT_SPELLING.get(key)
        if spelling is None:
            spelling = self._elsewhere(key)
        parent_key, _, last = key.rpartition("/")
        parent = self._directory(parent_key)
        name = spelling.rpartition("/")[2]
        entry_id = self._records.new_id()
        made = self._files.make_directory(parent.host, name.encode(), entry_id)
        self._records.add(
            EntryRow(entry_id, parent.id, name, last, DIRECTORY, 0, 0, 0, 0, None, 0, None, Origin.IMPLIED)
        )
        place = DirectoryPlace(entry_id, spelling, parent.host_child(made))
        self._records.remember_directory(key, place)
        return place

    def _elsewhere(self, key: str) -> str:
        """A hook for layers whose parents are unknown: returns the spelling of a directory that only a parent has."""
        raise self._bad(self._entry, f"directory {key!r} was not there before")

    # The utility VM.

    def _clone_utility_vm(self) -> None:
        self._has_clone = True
        found = utility_vm.find_parent(self._parents)
        if found is not None:
            parent, top = found
            top_id = self._directory(path_key(utility_vm.FILES)).id
            utility_vm.clone(parent, top, self._records, self._files, top_id)

    def _delete_from_clone(self, entry: Entry, parent_key: str, last_key: str) -> None:
        directory = self._records.directory(parent_key)
        row = None if directory is None else self._records.child(directory.id, last_key)
        if directory is None or row is None or row.origin != Origin.CLONED:
            raise self._bad(entry, "the parent's utility VM has no such name")
        self._remove_cloned(row, directory)

    def _remove_cloned(self, row: EntryRow, directory: DirectoryPlace) -> None:
        try:
            self._records.remove(row)
        except ValueError as error:
            raise self._bad(self._entry, str(error)) from None
        self._files.root.remove(directory.host_child(host_name(row)))

    # The end.

    def _finish(self) -> None:
        for root in ("FILES", "HIVES"):
            self._directory(root)
        self._records.flush()
        self._files.finish()
        for source, target in self._records.postponed_links():
            self._files.link_or_copy(source, target, self._files.root)
        utility_vm.keep_boot_store(self._records, self._files)
        hives = self._directory(path_key(HIVES_ROOT))
        BaseHiveMaker(self._records, self._files.root, self._parents, max_size=self._max_hive_size).make_all(hives)
        self._before_commit()
        if self.chain:
            # The staged folder lies beside the layer's own place: what is relative to it is relative to that, too.
            self._files.root.write_bytes(CHAIN_FILE.encode(), chain_text(self._staged.path, self.chain))
            self._records.record(PARENT_DIFF_IDS, " ".join(parent.diff_id() or "-" for parent in self._parents))
        self._records.commit()
        for path, row in self._records.directories(besides=Origin.IMPLIED):
            self._files.set_directory_times(path, row.last_access_time, row.last_write_time)
        self._records.close()
        self._close_parents()
        self._files.close()
        self._before_rename()
        self._staged.commit()

    def _before_commit(self) -> None:
        """A hook for layers that consist of more than their entries."""

    def _before_rename(self) -> None:
        """A hook for layers that are not complete when their records are."""

    def _discard(self) -> None:
        all_of(
            self._files.abort, self._records.close, self._close_parents, self._files.close, self._staged.discard
        )  # fmt: skip

    def _close_parents(self) -> None:
        for parent in self._parents:
            parent.close()
