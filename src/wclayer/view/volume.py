"""`Volume`: a node-based interface to the file system of a chain: merged tree, copy-up into a scratch, open files.

`LayerView` adds an interface by paths; a mount uses the volume itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from time import time_ns
from types import TracebackType
from typing import Self, TypeVar

from wclayer._types import Chain, StrPath
from wclayer.errors import (
    ERROR_ACCESS_DENIED,
    ERROR_FILE_NOT_FOUND,
    ERROR_INVALID_NAME,
    AlreadyExistsError,
    EntryIsDirectoryError,
    EntryNotDirectoryError,
    InvalidParameterError,
    LayerError,
    PathNotFoundError,
)
from wclayer.host import durability
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.layers.directory.chain import resolve_chain
from wclayer.layers.directory.database import BEING_WRITTEN, NOT_HASHED, EntryRow, info_columns
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.view.merged import MergedTree, Node
from wclayer.view.open_files import OpenFile, StagedContents, StreamBuffer
from wclayer.view.quota import Quota
from wclayer.view.resolve import Place, existing, link_path, resolve
from wclayer.view.spelling import layer_path
from wclayer.view.upper import FIXED, Upper
from wclayer.win32.attributes import DIRECTORY, REPARSE_POINT, FileAttributes, FileBasicInfo
from wclayer.win32.ea import decode_eas, encode_eas
from wclayer.win32.filetime import MAX_FILETIME, from_unix_ns
from wclayer.win32.names import names_equal, path_key, stream_illegal_reason, unusable_reason
from wclayer.win32.reparse import (
    LinkTarget,
    ReparsePoint,
    ReparseTag,
    decode_link,
    decode_lx_symlink,
    decode_reparse,
    is_name_surrogate,
)
from wclayer.win32.security import SecurityDescriptor

_SETTABLE = int(
    FileAttributes.READONLY
    | FileAttributes.HIDDEN
    | FileAttributes.SYSTEM
    | FileAttributes.ARCHIVE
    | FileAttributes.TEMPORARY
    | FileAttributes.OFFLINE
    | FileAttributes.NOT_CONTENT_INDEXED
    | FileAttributes.NO_SCRUB_DATA
    | FileAttributes.PINNED
    | FileAttributes.UNPINNED
)
"""The attributes that SetFileAttributes changes; the other ones state the kind of the file."""
_ARCHIVE = int(FileAttributes.ARCHIVE)
INODE_BITS = 40
"""The number of low bits of a file's number that hold its id in its layer (`Volume.file_id`)."""
_MAX_EAS = 0xFFFF
"""The maximal size of a file's EAs in bytes ($EA of NTFS)."""
_ILLEGAL_IN_EA_NAME = frozenset(range(32)) | frozenset(b'"*+,/:;<=>?[\\]|')
"""Bytes that Windows' file systems refuse in the name of an EA (Microsoft's fastfat sample, `FatIsEaNameValid`)."""
_Checked = TypeVar("_Checked")


class Volume:
    """The merged file system of layers: read-only, or with a scratch as the upper layer, which takes the changes.

    A volume may be used by several threads. Several processes may have volumes of one scratch and change it at once,
    unless one of them has opened it `exclusive`, as a mount does.

    Args:
        layers: the layer directories, nearest first, or only the nearest one, whose recorded parents are added. If it
            is empty, the parents of the scratch are used.
        scratch: the layer directory of a scratch.
        exclusive: no other process may change the scratch while this volume is open.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: a layer cannot be opened.
        InvalidParameterError: the chain is in the wrong order; neither layers nor a scratch are given.
        LayerBusyError: another process has the scratch open exclusively.
    """

    def __init__(self, layers: Chain = (), scratch: StrPath | None = None, *, exclusive: bool = False) -> None:
        self.lock = threading.RLock()
        self._open: dict[tuple[int, int], OpenFile] = {}
        # For each copied-up entry, its depth and id before copy-up; None until it is needed.
        self._taken: dict[int, tuple[int, int]] | None = None
        # Whether changes of other processes have not reached all open files, because the host refused something.
        self._is_behind = False
        # Calls that restore the open files, if the current change is rolled back.
        self._undo: list[Callable[[], None]] = []
        self._moment: int | None = None
        with ExitStack() as stack:
            self.scratch: ScratchDirectory | None = None
            if scratch is not None:
                self.scratch = stack.enter_context(ScratchDirectory(scratch, exclusive=exclusive))
            chain = resolve_chain(layers, first_is_own=scratch is None)
            if not chain and self.scratch is not None:
                chain = self.scratch.parents_in_place()
            opened: list[LayerDirectory] = [] if self.scratch is None else [self.scratch]
            opened += [stack.enter_context(open_layer(layer)) for layer in chain]
            if not opened:
                raise InvalidParameterError("", "neither layers nor a scratch")
            self.quota = None if self.scratch is None else Quota(self.scratch)
            self.tree = stack.enter_context(MergedTree(opened, remember=True))
            self._stack = stack.pop_all()
        self._is_open = True
        self._upper: Upper | None = None
        if self.scratch is not None and self.quota is not None:
            self._upper = Upper(
                self.tree, self.scratch, reserve=self.quota.reserve, taken_over=self._taken_over, gone=self._gone
            )

    @property
    def name(self) -> str:
        """The name of the volume in messages: the path of its nearest layer."""
        return str(self.tree.layers[0].path)

    @property
    def capacity(self) -> int | None:
        """The bytes of contents for which the scratch's disk has room; None if there is no disk."""
        return None if self.quota is None else self.quota.capacity

    @property
    def used(self) -> int:
        """The bytes of contents in the scratch."""
        return 0 if self.quota is None else self.quota.used

    @property
    def is_writable(self) -> bool:
        """Whether the volume has a scratch."""
        return self.scratch is not None

    @property
    def is_open(self) -> bool:
        """Whether the volume is not closed yet."""
        return self._is_open

    def close(self) -> None:
        """Closes the volume, after all written data are recorded and safe on disk."""
        with self.lock:
            if not self._is_open:
                return
            self._is_open = False
            try:
                with ExitStack() as files:
                    # One that cannot be recorded does not keep the others from it.
                    for file in self._open.values():
                        files.callback(self._shut, file)
                if self.scratch is not None and durability.is_wanted():
                    self.scratch.sync_all()
            finally:
                self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # Finding.

    @contextmanager
    def reading(self) -> Iterator[MergedTree]:
        """Yields the current tree. Changes of other processes become visible only after the context has ended.

        No change can be started inside the context.
        """
        with self.lock, nullcontext() if self.scratch is None else self.scratch.reading():
            self._refresh()
            yield self.tree

    @property
    def is_shared(self) -> bool:
        """Whether other processes may change the scratch while this process has it open."""
        return self.scratch is not None and self.scratch.is_shared

    def alone(self) -> AbstractContextManager[object]:
        """Returns a context in which no other process changes the scratch; all earlier changes are visible in it."""
        return self.changing() if self.is_shared else self.lock

    def catch_up(self) -> None:
        """Makes the changes that other processes have made before now visible here."""
        if self.is_shared:
            with self.lock:
                self._refresh()

    def _refresh(self) -> None:
        if self.scratch is None or not (self.scratch.changed_elsewhere() or self._is_behind):
            return
        self._is_behind = True
        self.tree.forget_tombstones()
        self.tree.forget_all()
        if self.quota is not None:
            self.quota.note_others()
        self._taken = None
        for key, file in tuple(self._open.items()):
            file.refresh()
            if file.file != key or file.is_detached:
                del self._open[key]
                if not file.is_detached:
                    self._open[file.file] = file
        self._is_behind = False

    def find(self, path: StrPath, *, follow: bool = True) -> Node:
        """Returns the entry at a path in any spelling that `layer_path` accepts.

        Raises:
            PathNotFoundError: the entry, or a directory on the way, does not exist.
            EntryNotDirectoryError: a component on the way is a file.
            UnresolvedLinkError: links lead in a circle, or out of the layers.
        """
        inner = layer_path(os.fspath(path))
        with self.lock:
            self._refresh()
            # What is in memory needs no transaction.
            known = self.tree.known(inner, follow=follow)
        if known is not None:
            return known
        with self.reading() as tree:
            node = tree.lookup(inner) if not follow else None
            return node or existing(tree, inner, follow=follow)

    def place(self, path: StrPath, *, follow: bool) -> Place:
        """Resolves a path in any spelling that `layer_path` accepts; the entry need not exist."""
        return resolve(self.tree, layer_path(os.fspath(path)), follow=follow)

    def current(self, node: Node) -> Node:
        """Returns the current node for the name of a node.

        Raises:
            PathNotFoundError: the name no longer exists.
        """
        with self.lock:
            self._refresh()
            # What is in memory needs no transaction.
            if self.tree.knows(node):
                return node
        with self.reading() as tree:
            found = tree.lookup(node.path)
        if found is None:
            raise PathNotFoundError(node.path, "is no longer there", code=ERROR_FILE_NOT_FOUND)
        return found

    def current_row(self, node: Node) -> EntryRow:
        """Returns the metadata of an entry, including the effects of writes that are not recorded yet."""
        row, file = node.row, self._open.get(node.file)
        if self.scratch is not None and self.scratch.is_shared and node.layer == 0 and row.sha256 == NOT_HASHED:
            # Another process may be writing to the file, which changes only its file on the host.
            row = self.scratch.find(row.id) or row
        return row if file is None else file.now(row)

    def file_id(self, file: tuple[int, int]) -> int:
        """Returns the number of a file, which stays the same when the file is copied up."""
        depth, entry = self.origin(file)
        return depth << INODE_BITS | entry

    def origin(self, file: tuple[int, int]) -> tuple[int, int]:
        """Returns the layer, counted from the base (1), and the id that a file (`Node.file`) had before copy-up."""
        layer, entry = file
        first = self.tree.depth(layer), entry
        if layer or self.scratch is None:
            return first
        if self._taken is None:
            self._taken = self.scratch.taken()
        return self._taken.get(entry, first)

    def file_of_id(self, file_id: int) -> tuple[int, int] | None:
        """Returns the file (`Node.file`) that has a number, or None if its layer is not in the chain.

        The file may have no name any more.
        """
        depth, entry = file_id >> INODE_BITS, file_id & (1 << INODE_BITS) - 1
        layer = len(self.tree.layers) - depth
        if not 0 <= layer < len(self.tree.layers):
            return None
        if layer and self.scratch is not None:
            taken = self.scratch.taken_as(depth, entry)
            if taken is not None:
                return 0, taken
        return layer, entry

    def children(self, node: Node) -> list[Node]:
        """Returns the entries of a directory, in the order in which Windows lists them.

        Raises:
            EntryNotDirectoryError: the node is a file.
        """
        if not node.is_directory:
            raise EntryNotDirectoryError(node.path, "is not a directory")
        return self.tree.children(node)

    def has_stream(self, node: Node, name: str) -> bool:
        """Returns whether an entry has an alternate stream of that name, without regard to case."""
        return any(names_equal(known, name) for known, _, _ in self.tree.stream_digests(node))

    def stream_size(self, node: Node, name: str) -> int:
        """Returns the size of an alternate stream, or 0 if the entry has no such stream."""
        return sum(size for known, size, _ in self.tree.stream_digests(node) if names_equal(known, name))

    def stream_chunks(self, node: Node, name: str) -> Iterable[bytes | memoryview]:
        """Returns the bytes of an alternate stream, or an empty iterable if the entry has no such stream."""
        layer = self.tree.layers[node.layer]
        # The main data are left out, because they may be changing.
        for stream in layer.streams(layer.first_name(node.row), has_data=False):
            if names_equal(stream.name, name):
                return stream.chunks
        return ()

    # Open files.

    def open_node(self, node: Node) -> OpenFile:
        """Opens the data of a file. Each returned file must be closed, also if it is the same object again.

        Raises:
            EntryIsDirectoryError: the node is a directory.
            InvalidParameterError: the node has no data (a link, for example).
            LayerBusyError: another process has replaced its contents since the node was looked up.
        """
        with self.lock:
            if node.is_directory:
                raise EntryIsDirectoryError(node.path, "is a directory")
            if node.row.sha256 is None:
                raise InvalidParameterError(node.path, "has no data")
            file = self._open.get(node.file)
            if file is None:
                file = self._open[node.file] = OpenFile(self, node)
            file.users += 1
            return file

    def open_file(self, file: tuple[int, int]) -> OpenFile | None:
        """Returns the open data of a file (`Node.file`), or None if it is not open."""
        return self._open.get(file)

    @property
    def has_open_files(self) -> bool:
        """Whether the data of any file are open."""
        return bool(self._open)

    def give_back(self, file: OpenFile) -> None:
        """Ends one use of an open file; the last one closes it."""
        with self.lock:
            file.users -= 1
            if file.users == 0 and self._is_open:
                self._shut(file)

    def _shut(self, file: OpenFile) -> None:
        """Closes an open file, after its last use."""
        try:
            # Before its writes are recorded, it learns what other processes have changed (`_refresh`), as long as it is
            # in `_open`.
            file.shut()
        finally:
            if self._open.get(file.file) is file:
                del self._open[file.file]

    def open_stream(self, node: Node, name: str) -> StreamBuffer:
        """Opens an alternate stream, which must exist."""
        return StreamBuffer(self, node, name)

    @contextmanager
    def staging(self) -> Iterator[StagedContents]:
        """Yields a writable file for the new contents of a file, which `put_contents` then installs.

        If the context is left by an exception, the new contents are removed.
        """
        scratch = self.writable_scratch()
        with self.lock:
            host, fd = scratch.stage_file()
        try:
            yield StagedContents(self, host, fd)
        except BaseException:
            with self.lock:
                scratch.drop_staged(host)
            self.recount()
            raise

    def create_with(
        self, place: Place, contents: StagedContents, *, written: int | None = None, security: bytes | None = None
    ) -> None:
        """Creates a file with staged contents in a place that is free.

        Args:
            written: the time of the last write; by default now.
            security: the security descriptor; by default the inherited one.

        Raises:
            EntryNotDirectoryError: the directory is a file.
            InvalidParameterError: Windows does not accept the name; the time is outside the range of FILETIME.
        """
        _check_time(place.name, written)
        self.check_name(place.directory, place.name)
        with self.changing() as upper:
            self.writable_scratch().make_safe(contents.host)
            upper.create(
                place.directory, place.name, self.now(), host=contents.host, size=contents.size,
                sha256=contents.digest(), written=written, security=security,
            )  # fmt: skip

    def put_contents(self, place: Place, contents: StagedContents) -> OpenFile | None:
        """Replaces the contents of a file by staged ones, or creates a file with them.

        Returns:
            The open file whose contents were replaced, or None if the file is not open. Its `refresh` must be called
            after the transaction.
        """
        node = place.node
        if node is None:
            self.create_with(place, contents)
            return None
        scratch = self.writable_scratch()
        with self.changing() as upper:
            scratch.make_safe(contents.host)
            self.end_writing(node)
            upper.copy_up(node)
            old = node.row.size
            scratch.replace_file(
                node.row, contents.host, size=contents.size, sha256=contents.digest(), time=self.now()
            )  # fmt: skip
            upper.update(node, attributes=node.row.attributes | _ARCHIVE)
            self.resize(old, 0)
            self.forget_names(node.row)
            return self._open.get(node.file)

    def refresh(self, file: OpenFile) -> None:
        """Makes an open file read its record again, because its contents were replaced."""
        with self.lock:
            file.refresh()

    def recount(self) -> None:
        """Makes the used bytes be counted again, because counted contents were dropped."""
        if self.quota is not None:
            with self.lock:
                self.quota.forget()

    # Changing. Each of these methods makes its whole change, or no change if it fails.

    def writable_scratch(self) -> ScratchDirectory:
        """Returns the scratch.

        Raises:
            LayerError: there is no scratch; the code is ERROR_ACCESS_DENIED.
        """
        if self.scratch is None:
            raise LayerError(self.name, "the view is read-only: it has no scratch", code=ERROR_ACCESS_DENIED)
        return self.scratch

    def changing(self) -> AbstractContextManager[Upper]:
        """Returns a context with the upper layer, whose methods are the steps of a change. All steps in the context are
        made, or none.

        Raises:
            LayerError: there is no scratch; the code is ERROR_ACCESS_DENIED.
        """
        return _Change(self, self.writable_scratch())

    def begin_change(self, *, is_whole: bool) -> Upper:
        """Prepares a change, inside a transaction of the scratch, and returns the upper layer.

        Args:
            is_whole: False if the change is a part of another one.
        """
        if is_whole:
            # Reads the earlier changes of other processes, which must wait from here on.
            self._refresh()
            self._moment = from_unix_ns(time_ns())
        assert self._upper is not None
        return self._upper

    def end_change(self, *, is_whole: bool, is_made: bool) -> None:
        """Ends a change, after its transaction.

        Args:
            is_whole: False if the change is a part of another one.
            is_made: False if it failed, so that what is in memory may be wrong.
        """
        if is_whole:
            self._moment = None
        if is_made:
            if is_whole:
                self._undo.clear()
            return
        while self._undo and is_whole:
            self._undo.pop()()
        self.tree.forget_tombstones()
        self.tree.forget_all()
        self._taken = None
        if self._upper is not None:
            self._upper.forget()
        if self.quota is not None:
            self.quota.forget()

    def now(self) -> int:
        """Returns the current time (FILETIME). All that one transaction changes has the time of its beginning."""
        return from_unix_ns(time_ns()) if self._moment is None else self._moment

    def free(self, place: Place) -> Place:
        """Looks a place up again and returns it, after checks that nothing exists there and Windows accepts the name.

        Raises:
            PathNotFoundError: the directory no longer exists.
            EntryNotDirectoryError: the directory is a file.
            AlreadyExistsError: the name is taken.
            InvalidParameterError: Windows does not accept the name.
        """
        place = self._again(place)
        if place.node is not None:
            raise AlreadyExistsError(place.node.path, "already exists")
        self.check_name(place.directory, place.name)
        return place

    def _again(self, place: Place) -> Place:
        directory = self.current(place.directory)
        node = place.node
        if node is None or not self.tree.knows(node):
            node = self.tree.child(directory, place.name)
        return Place(directory, place.name, node)

    def check_name(self, directory: Node, name: str) -> None:
        """Checks that Windows accepts a new name.

        Raises:
            EntryNotDirectoryError: `directory` is a file.
            InvalidParameterError: Windows does not accept the name, or it would be a root directory of the layer.
        """
        if not directory.key:
            raise InvalidParameterError(name, "a layer has no other root directories")
        if not directory.is_directory:
            raise EntryNotDirectoryError(directory.path, "is not a directory")
        if reason := unusable_reason(name):
            raise InvalidParameterError(f"{directory.path}/{name}", reason, code=ERROR_INVALID_NAME)

    def create_file(self, place: Place, *, new: bool = True) -> Node:
        """Creates an empty file.

        Args:
            new: an existing entry is an error; otherwise it stays as it is, and is returned.

        Raises:
            PathNotFoundError: the directory no longer exists.
            EntryNotDirectoryError: the directory is a file.
            AlreadyExistsError: the name is taken, and `new` is true.
            InvalidParameterError: Windows does not accept the name.
        """
        fd: int | None = None
        try:
            with self.changing() as upper:
                node, fd = self._create_file(upper, place, new=new, size=0)
                return node
        finally:
            if fd is not None:
                os.close(fd)

    def create_open(self, place: Callable[[], Place], *, new: bool = True) -> OpenFile:
        """Creates an empty file, as `create_file` does, and opens it for writing.

        Args:
            place: called inside the transaction; returns the place of the new file.
            new: an existing entry is an error; otherwise it is opened as it is.
        """
        with self.lock:
            fd: int | None = None
            try:
                with self.changing() as upper:
                    node, fd = self._create_file(upper, place(), new=new, size=BEING_WRITTEN)
                    if fd is None:
                        return self.open_node(node)
            except BaseException:
                if fd is not None:
                    os.close(fd)
                raise
            file = self._open[node.file] = OpenFile(self, node, own_fd=fd)
            file.users = 1
            return file

    def _create_file(self, upper: Upper, place: Place, *, new: bool, size: int) -> tuple[Node, int | None]:
        """Creates a file unless it exists, as a part of a change.

        Returns:
            The node of the file, and the descriptor of its contents, or None if the file existed.
        """
        place = self._again(place)
        if place.node is not None:
            if new:
                raise AlreadyExistsError(place.node.path, "already exists")
            return place.node, None
        self.check_name(place.directory, place.name)
        host, fd = self.writable_scratch().new_file()
        try:
            node = upper.create(place.directory, place.name, self.now(), host=host, size=size, sha256=NOT_HASHED)
        except BaseException:
            os.close(fd)
            raise
        return node, fd

    def mkdir(self, place: Place, *, security: bytes | None = None) -> None:
        """Creates a directory.

        Args:
            security: the security descriptor; by default the inherited one.

        Raises:
            PathNotFoundError, EntryNotDirectoryError: the directory no longer exists, or is a file.
            AlreadyExistsError: the name is taken.
            InvalidParameterError: Windows does not accept the name.
        """
        with self.changing() as upper:
            place = self.free(place)
            upper.create(place.directory, place.name, self.now(), attributes=DIRECTORY, security=security)

    def create_link(
        self, place: Place, link: LinkTarget, *, is_directory: bool | None = None, written: int | None = None,
        security: bytes | None = None,
    ) -> None:  # fmt: skip
        """Creates a symbolic link or mount point.

        Args:
            is_directory: whether the link is one to a directory; by default, this is determined from the current
                target.
            written: the time of the last write; by default now.
            security: the security descriptor; by default the inherited one.

        Raises:
            PathNotFoundError, EntryNotDirectoryError: the directory no longer exists, or is a file.
            AlreadyExistsError: the name is taken.
            InvalidParameterError: Windows does not accept the name; the time is outside the range of FILETIME.
        """
        _check_time(place.name, written)
        reparse = link.encode()
        with self.changing() as upper:
            place = self.free(place)
            if is_directory is None:
                is_directory = self.leads_to_directory(place, link)
            upper.create(
                place.directory, place.name, self.now(), attributes=DIRECTORY if is_directory else 0, reparse=reparse,
                written=written, security=security,
            )  # fmt: skip

    def leads_to_directory(self, place: Place, link: LinkTarget) -> bool:
        """Returns whether a link in a place would lead to a directory that exists now."""
        target = link_path(link.encode())
        if target is None or not target.parts:
            return False
        start = place.directory.path + "/" if target.is_relative else "Files/"
        try:
            found = resolve(self.tree, start + "/".join(target.parts), follow=True).node
        except LayerError:
            return False
        return found is not None and found.is_directory

    def link(self, place: Place, node: Node) -> None:
        """Creates a further name (a hard link) of a file.

        Raises:
            EntryIsDirectoryError: `node` is a directory.
            PathNotFoundError, EntryNotDirectoryError: the directory of the new name no longer exists, or is a file.
            AlreadyExistsError: the name is taken.
            InvalidParameterError: Windows does not accept the name.
        """
        with self.changing() as upper:
            node, place = self.current(node), self.free(place)
            upper.link(node, place.directory, place.name, self.now())

    def unlink(self, node: Node) -> None:
        """Removes a name of a file, or a link.

        Raises:
            EntryIsDirectoryError: the node is a directory, and not a link to one.
        """
        with self.changing() as upper:
            node = self.current(node)
            reparse = node.row.reparse
            if node.is_directory and (reparse is None or not is_name_surrogate(reparse)):
                raise EntryIsDirectoryError(node.path, "is a directory")
            upper.remove(node, self.now())

    def rmdir(self, node: Node) -> None:
        """Removes an empty directory.

        Raises:
            EntryNotDirectoryError: the node is a file.
            DirectoryNotEmptyError: the directory is not empty.
        """
        with self.changing() as upper:
            node = self.current(node)
            if not node.is_directory:
                raise EntryNotDirectoryError(node.path, "is not a directory")
            upper.remove(node, self.now())

    def rename(self, node: Node, place: Place, *, replace: bool = True) -> None:
        """Moves an entry, with everything below it, to another directory and name.

        Args:
            replace: an existing entry is replaced: a file by a file, an empty directory by a directory.

        Raises:
            PathNotFoundError: the entry or the new directory no longer exists.
            AlreadyExistsError: the name is taken, and `replace` is false.
            EntryIsDirectoryError, EntryNotDirectoryError, DirectoryNotEmptyError: the existing entry cannot be
                replaced.
            InvalidParameterError: a directory would be moved into itself; the entry is a root directory of the layer;
                Windows does not accept the name.
        """
        with self.changing() as upper:
            node, place = self.current(node), self._again(place)
            self.check_name(place.directory, place.name)
            upper.rename(node, place.directory, place.name, self.now(), replace=replace)

    def truncate(self, node: Node, size: int) -> None:
        """Cuts a file off at `size` bytes, or extends it to `size` with zeros."""
        with self.lock:
            self.writable_scratch()
            with self.alone():
                file = self.open_node(self.current(node))
            try:
                file.truncate(size)
            finally:
                file.close()

    def set_attributes(self, node: Node, attributes: int) -> None:
        """Sets the file attributes, except those that state the file's kind."""
        with self.changing() as upper:
            node = self.current(node)
            self.end_writing(node)
            kept = node.row.attributes & ~_SETTABLE
            upper.update(node, attributes=kept | attributes & _SETTABLE, change_time=self.now())

    def set_times(
        self, node: Node, *, creation: int | None = None, access: int | None = None, write: int | None = None,
        change: int | None = None,
    ) -> None:  # fmt: skip
        """Sets times of an entry (FILETIME). The change time becomes now if it is not given.

        Raises:
            InvalidParameterError: a time is outside the range of FILETIME.
        """
        for time in (creation, access, write, change):
            _check_time(node.path, time)
        times = {"creation_time": creation, "last_access_time": access, "last_write_time": write}
        with self.changing() as upper:
            node = self.current(node)
            self.end_writing(node)
            given: dict[str, int | bytes | None] = {c: value for c, value in times.items() if value is not None}
            upper.update(node, **given, change_time=self.now() if change is None else change)

    def set_security(self, node: Node, descriptor: bytes) -> None:
        """Sets the self-relative security descriptor of an entry.

        Raises:
            InvalidParameterError: `descriptor` is not a valid security descriptor.
        """
        _checked("security descriptor", node, descriptor, _decoded_security)
        with self.changing() as upper:
            upper.set_security(self.current(node), descriptor, self.now())

    def set_metadata(self, node: Node, info: FileBasicInfo, *, security: bytes | None = None, eas: bytes = b"") -> None:
        """Sets all times and attributes of an entry, except those attributes that state the file's kind.

        Args:
            security: its self-relative security descriptor; None keeps the one that it has.
            eas: its FILE_FULL_EA_INFORMATION list; an empty one keeps those that it has.

        Raises:
            InvalidParameterError: see `set_times`, `set_security` and `set_eas`.
        """
        for time in (info.creation_time, info.last_access_time, info.last_write_time, info.change_time):
            _check_time(node.path, time)
        columns: dict[str, int | bytes | None] = {}
        if eas:
            columns["eas"] = _checked("EAs", node, eas, _checked_eas)
        if security is not None:
            _checked("security descriptor", node, security, _decoded_security)
        with self.changing() as upper:
            node = self.current(node)
            self.end_writing(node)
            if security is not None:
                columns["security"] = self.writable_scratch().security_number(security)
            kept = node.row.attributes & ~_SETTABLE
            columns |= info_columns(replace(info, attributes=kept | info.attributes & _SETTABLE))
            upper.update(node, **columns)

    def set_eas(self, node: Node, eas: bytes) -> None:
        """Sets the FILE_FULL_EA_INFORMATION list of an entry; an empty list removes its EAs.

        Raises:
            InvalidParameterError: NTFS does not accept the list: a name is missing or occurs twice, or the list is too
                long.
        """
        made = _checked("EAs", node, eas, _checked_eas)
        with self.changing() as upper:
            upper.update(self.current(node), eas=made or None, change_time=self.now())

    def set_reparse(self, node: Node, reparse: bytes | None) -> None:
        """Makes an entry a reparse point (REPARSE_DATA_BUFFER), or with None an ordinary file or directory again.

        Raises:
            InvalidParameterError: `reparse` is not valid for its tag; the directory is not empty; the entry is a root
                directory of the layer.
        """
        if reparse is not None:
            _checked("reparse data", node, reparse, _checked_reparse)
        with self.changing() as upper:
            node = self.current(node)
            if node.key in FIXED:
                raise InvalidParameterError(node.path, "a root directory of the layer")
            if reparse is not None and node.is_directory and self.tree.children(node):
                raise InvalidParameterError(node.path, "the directory is not empty")
            attributes = node.row.attributes & ~REPARSE_POINT | (REPARSE_POINT if reparse is not None else 0)
            data: dict[str, int | bytes | str | None] = {}
            if reparse is None and not node.is_directory and node.row.sha256 is None:
                host, fd = self.writable_scratch().new_file()
                os.close(fd)
                data = {"sha256": NOT_HASHED, "host_name": host.decode()}
            upper.update(node, reparse=reparse, attributes=attributes, change_time=self.now(), **data)

    def put_stream(self, node: Node, name: str, chunks: Iterable[bytes]) -> None:
        """Creates or replaces an alternate stream of an entry. The caller has counted its bytes (`resize`)."""
        if reason := stream_illegal_reason(name):
            raise InvalidParameterError(node.path, reason, code=ERROR_INVALID_NAME)
        with self.changing() as upper:
            node = existing(self.tree, node.path, follow=False)
            upper.copy_up(node)
            self.writable_scratch().put_stream(node.row, name, chunks)
            upper.update(node, change_time=self.now())

    def remove_stream(self, node: Node, name: str) -> None:
        """Removes an alternate stream.

        Raises:
            PathNotFoundError: the entry has no stream of that name.
        """
        with self.changing() as upper:
            node = self.current(node)
            upper.copy_up(node)
            self.resize(self.stream_size(node, name), 0)
            if not self.writable_scratch().remove_stream(node.row, name):
                raise PathNotFoundError(node.path, f"has no stream {name!r}", code=ERROR_FILE_NOT_FOUND)
            upper.update(node, change_time=self.now())

    def sync(self, fd: int | None = None) -> None:
        """Waits until all changes so far are safe on disk.

        Args:
            fd: a descriptor of the host; if it is given, only this file's contents are synced, besides the records.
        """
        with self.lock:
            if self.scratch is None:
                return
            if fd is None:
                for file in tuple(self._open.values()):
                    file.flush()
                self.scratch.sync_all()
            else:
                self.scratch.sync(fd)

    def sync_names(self) -> None:
        """Waits until all changes of names, metadata and alternate streams so far are safe on disk."""
        with self.lock:
            if self.scratch is not None:
                self.scratch.sync()

    # For open files and the upper layer.

    def resize(self, old: int, new: int) -> None:
        """Counts that contents are about to take `new` bytes instead of `old`.

        Raises:
            DiskFullError: the scratch's disk has no room for them.
        """
        assert self.quota is not None
        if new > old:
            self.quota.reserve(new - old)
        elif new < old:
            self.quota.release(old - new)

    def node_of(self, file: tuple[int, int]) -> Node | None:
        """Returns the node of one visible name of a file (`Node.file`), or None if no name is visible any more."""
        index, entry = file
        layer = self.tree.layers[index]
        head = self.scratch.find(entry) if self.scratch is not None and index == 0 else layer.by_id(entry)
        if head is None:
            return None
        for row in [head] if layer.link_count(head) == 1 else layer.names(head):
            node = self.tree.lookup(layer.path_of(row))
            if node is not None and node.file == file:
                return node
        return None

    def forget_names(self, row: EntryRow) -> None:
        """Forgets the names of a file of the scratch, because its metadata have changed."""
        scratch = self.writable_scratch()
        names = [row] if row.link is None and scratch.link_count(row) == 1 else scratch.names(row)
        for name in names:
            self.tree.forget(path_key(scratch.path_of(name)))

    def when_undone(self, call: Callable[[], None]) -> None:
        """Registers a call for the case that the current change is rolled back."""
        self._undo.append(call)

    def show_row(self, row: EntryRow) -> None:
        """Notes the new metadata of a file of the scratch, given as the row of its first name."""
        scratch = self.writable_scratch()
        node = None
        if scratch.link_count(row) == 1 and not self.is_shared:
            node = self.tree.remembered(path_key(scratch.path_of(row)))
        if node is not None and node.file == (0, row.id):
            node.row = row
        else:
            self.forget_names(row)

    def end_writing(self, node: Node) -> None:
        """Records the earlier writes to a file, so that their record does not overwrite metadata that are set next."""
        file = self._open.get(node.file)
        if file is not None:
            file.flush()
            node.row = self.tree.layers[node.layer].by_id(node.row.id)

    def _taken_over(self, was: tuple[int, int], node: Node) -> None:
        if self._taken is not None:
            self._taken[node.file[1]] = self.tree.depth(was[0]), was[1]
        file = self._open.pop(was, None)
        if file is not None:
            self._undo.append(partial(self._put_back, file, file.file, file.row))
            file.file, file.row = node.file, node.row
            self._open[node.file] = file

    def _put_back(self, file: OpenFile, was: tuple[int, int], row: EntryRow) -> None:
        """Restores an open file after a change that was rolled back."""
        if self._open.get(file.file) is file:
            del self._open[file.file]
        file.file, file.row, file.is_detached = was, row, False
        self._open[was] = file

    def _gone(self, node: Node) -> None:
        file, size = self._open.pop(node.file, None), node.row.size
        if file is not None:
            size = file.now(node.row).size
            self._undo.append(partial(self._put_back, file, file.file, file.row))
            file.is_detached = True
        if node.layer == 0 and self._taken is not None:
            # Its number in the scratch may be given to another entry.
            self._taken.pop(node.file[1], None)
        if node.layer == 0 and self.quota is not None:
            layer = self.tree.layers[0]
            self.quota.release(size + layer.stream_bytes(layer.first_name(node.row)))


class _Change:
    """A change of a volume, or a part of one (`Volume.changing`)."""

    __slots__ = ("_is_whole", "_scratch", "_transaction", "_volume")

    def __init__(self, volume: Volume, scratch: ScratchDirectory) -> None:
        self._volume = volume
        self._scratch = scratch

    def __enter__(self) -> Upper:
        self._volume.lock.acquire()
        self._is_whole = not self._scratch.is_changing
        self._transaction = self._scratch.transaction()
        try:
            self._transaction.__enter__()
        except BaseException:
            self._end(is_made=False)
            raise
        try:
            return self._volume.begin_change(is_whole=self._is_whole)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        is_made = False
        try:
            self._transaction.__exit__(kind, error, tb)
            is_made = error is None
        finally:
            self._end(is_made=is_made)

    def _end(self, *, is_made: bool) -> None:
        try:
            self._volume.end_change(is_whole=self._is_whole, is_made=is_made)
        finally:
            self._volume.lock.release()


def _check_time(path: str, time: int | None) -> None:
    if time is not None and not 0 <= time <= MAX_FILETIME:
        raise InvalidParameterError(path, f"FILETIME {time}: must be 0 to {MAX_FILETIME}")


def _checked(what: str, node: Node, data: bytes, decode: Callable[[bytes], _Checked]) -> _Checked:
    """Decodes new metadata of an entry, and returns the result.

    Raises:
        InvalidParameterError: the metadata are damaged.
    """
    try:
        return decode(data)
    except ValueError as error:
        raise InvalidParameterError(node.path, f"{what}: {error}") from None


@lru_cache(maxsize=128)
def _decoded_security(data: bytes) -> SecurityDescriptor:
    """Decodes a descriptor. It is cached, because layers have few distinct ones."""
    return SecurityDescriptor.decode(data)


def _checked_eas(data: bytes) -> bytes:
    """Returns a list of EAs in its stored encoding, after the checks that NTFS makes."""
    eas = decode_eas(data)
    made = encode_eas(eas)
    if len(made) > _MAX_EAS:
        raise ValueError(f"{len(made)} bytes of EAs; a file has at most {_MAX_EAS}")
    names = [ea.name.upper() for ea in eas]
    if len(set(names)) != len(names):
        raise ValueError("a name is there twice")
    if illegal := _ILLEGAL_IN_EA_NAME.intersection(b"".join(names)):
        raise ValueError(f"character {chr(min(illegal))!r} in a name")
    return made


def _checked_reparse(data: bytes) -> ReparsePoint:
    """Decodes a reparse point, and checks its data if the layout for its tag is known."""
    point = decode_reparse(data)
    if point.tag in (ReparseTag.SYMLINK, ReparseTag.MOUNT_POINT):
        decode_link(point)
    elif point.tag == ReparseTag.LX_SYMLINK:
        decode_lx_symlink(point)
    return point
