r"""`LayerView`: the file system that a container would see of its layers, and the changes it makes to its scratch."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time_ns
from types import TracebackType
from typing import IO, Any, Self, TypeVar, cast

from wclayer._types import StrPath
from wclayer.errors import (
    ERROR_ACCESS_DENIED,
    ERROR_FILE_NOT_FOUND,
    ERROR_INVALID_NAME,
    AlreadyExistsError,
    EntryIsDirectoryError,
    EntryNotDirectoryError,
    InvalidParameterError,
    LayerBusyError,
    LayerError,
    PathNotFoundError,
    boundary,
    during,
)
from wclayer.host import durability
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.layers.directory.chain import resolve_chain
from wclayer.layers.directory.database import BEING_WRITTEN, NOT_HASHED, EntryRow
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.view.merged import MergedTree, Node, has_drive, layer_path
from wclayer.view.open_files import OpenFile, StagedContents, StagedStream, StreamBuffer, ViewFile
from wclayer.view.quota import Quota
from wclayer.view.resolve import Place, existing, link_path, resolve
from wclayer.view.upper import FIXED, Upper
from wclayer.win32.attributes import DIRECTORY, REPARSE_POINT, FileAttributes, FileBasicInfo
from wclayer.win32.ea import decode_eas, encode_eas
from wclayer.win32.filetime import MAX_FILETIME, from_unix_ns
from wclayer.win32.names import name_key, names_equal, path_key, stream_illegal_reason, unusable_reason
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

Where = StrPath | Node
"""An entry that is there: its path, or its node in the view's tree."""
NewPlace = StrPath | Place
"""Where an entry is to be made: its path, or its directory and name."""
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
"""What SetFileAttributes changes; the other attributes say what the file is."""
INODE_BITS = 40
_PIECE = 1 << 20
_TRIES = 100
_MAX_EAS = 0xFFFF
"""Bytes of EAs that a file has at most ($EA of NTFS)."""
_ILLEGAL_IN_EA_NAME = frozenset(range(32)) | frozenset(b'"*+,/:;<=>?[\\]|')
"""Bytes that Windows' file systems take in no name of an EA (Microsoft's fastfat sample, `FatIsEaNameValid`)."""
_Checked = TypeVar("_Checked")


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What is known of an entry: its path as it is spelled, its size in bytes, times and attributes, and more."""

    path: str
    size: int
    info: FileBasicInfo
    links: int
    """Under how many names the file shows."""
    file_id: int
    """The same number for all names of one file; it stays when a scratch takes the file over."""
    reparse: bytes | None
    layer: Path
    """The layer that has it."""

    @property
    def is_directory(self) -> bool:
        return self.info.is_directory

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link or a mount point."""
        return self.reparse is not None and link_path(self.reparse) is not None


@boundary
class LayerView:
    r"""The merged file system of layers, read-only, or over them a scratch that takes the changes.

    Paths are given as Windows or POSIX spell them: `C:\Windows`, `\Windows`, `/Windows` and `Windows` mean the same
    (see `layer_path`), in any case and by short names, too; `name:stream` means an alternate stream where a file's data
    are meant. Links are followed inside the layers.

    A view may be used by several threads. Several processes may have views of one scratch and change it at once, unless
    one has it `exclusive`, as a mount does.

    Args:
        layers: the layer directories, nearest first, or only the nearest one, whose parents follow; none for a
            scratch's own parents.
        scratch: the layer directory of a scratch.
        exclusive: no other process may change the scratch meanwhile.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: see `open_layer`.
        InvalidParameterError: the chain is in the wrong order; neither layers nor a scratch.
        LayerBusyError: another process has the scratch to itself.
    """

    operation = "view layers"

    def __init__(
        self, layers: Sequence[StrPath] = (), scratch: StrPath | None = None, *, exclusive: bool = False
    ) -> None:
        self._lock = threading.RLock()
        self._open: dict[tuple[int, int], OpenFile] = {}
        # What the entries that were taken over were before, once it is asked for.
        self._taken: dict[int, tuple[int, int]] | None = None
        # What brings open files back to where they were, if the change that is being made is taken back.
        self._undo: list[Callable[[], None]] = []
        with ExitStack() as stack:
            self.scratch: ScratchDirectory | None = None
            if scratch is not None:
                self.scratch = stack.enter_context(ScratchDirectory(scratch, exclusive=exclusive))
            chain = resolve_chain(layers, first_is_own=scratch is None)
            if not chain and self.scratch is not None:
                chain = self.scratch.parents()
            opened: list[LayerDirectory] = [] if self.scratch is None else [self.scratch]
            opened += [stack.enter_context(open_layer(layer)) for layer in chain]
            if not opened:
                raise InvalidParameterError("", "neither layers nor a scratch")
            self.space = None if self.scratch is None else Quota(self.scratch)
            self.tree = stack.enter_context(MergedTree(opened, remember=True))
            self._stack = stack.pop_all()
        self._is_open = True
        self._changes: Upper | None = None
        if self.scratch is not None and self.space is not None:
            self._changes = Upper(
                self.tree, self.scratch, reserve=self.space.reserve, taken_over=self._taken_over, gone=self._gone
            )

    @property
    def name(self) -> str:
        """What messages call it: the path of its nearest layer."""
        return str(self.tree.layers[0].path)

    @property
    def capacity(self) -> int | None:
        """Bytes of contents that the scratch's disk has room for; None where there is no disk."""
        return None if self.space is None else self.space.capacity

    @property
    def used(self) -> int:
        """Bytes of contents in the scratch."""
        return 0 if self.space is None else self.space.used

    @property
    def is_writable(self) -> bool:
        """Whether it has a scratch."""
        return self.scratch is not None

    @property
    def is_open(self) -> bool:
        """Whether it was not closed yet."""
        return self._is_open

    def close(self) -> None:
        """Ends the view: what was written is recorded, and everything is safe on disk."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            try:
                for file in tuple(self._open.values()):
                    file.shut()
                self._open.clear()
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
        """The tree as it is now, for as long as the context lasts, whatever other processes change meanwhile.

        Changes cannot be begun inside.
        """
        with self._lock, nullcontext() if self.scratch is None else self.scratch.reading():
            self._refresh()
            yield self.tree

    @property
    def is_shared(self) -> bool:
        """Whether other processes may change the scratch meanwhile."""
        return self.scratch is not None and self.scratch.is_shared

    def alone(self) -> AbstractContextManager[object]:
        """A context in which no other process changes the scratch, and what it changed before is known here."""
        return self.changing() if self.is_shared else self._lock

    def catch_up(self) -> None:
        """Takes note of what other processes have changed before now."""
        if self.is_shared:
            with self._lock:
                self._refresh()

    def _refresh(self) -> None:
        if self.scratch is not None and self.scratch.changed_elsewhere():
            self.tree.forget_tombstones()
            self.tree.forget_all()
            if self.space is not None:
                self.space.note_others()
            self._taken = None
            for key, file in tuple(self._open.items()):
                file.refresh()
                if file.file != key or file.is_detached:
                    del self._open[key]
                    if not file.is_detached:
                        self._open[file.file] = file

    def find(self, path: Where, *, follow: bool = True) -> Node:
        """The entry at a path; of a node, the node that stands for its name now, without following a link.

        Raises:
            PathNotFoundError, EntryNotDirectoryError, UnresolvedLinkError: see `resolve`.
        """
        if isinstance(path, Node):
            with self.reading() as tree:
                node = path if tree.knows(path) else tree.lookup(path.path)
            if node is None:
                raise PathNotFoundError(path.path, "is no longer there", code=ERROR_FILE_NOT_FOUND)
            return node
        inner = layer_path(os.fspath(path))
        with self.reading() as tree:
            node = tree.lookup(inner) if not follow else None
            return node or existing(tree, inner, follow=follow)

    def exists(self, path: StrPath) -> bool:
        """Whether there is something at a path; of a link, where it leads."""
        try:
            self.find(path)
        except LayerError:
            return False
        return True

    def stat(self, path: StrPath, *, follow: bool = True) -> FileStatus:
        """What is known of the entry at a path.

        Raises:
            see `find`.
        """
        with self.reading():
            return self.status(self.find(path, follow=follow))

    def current_row(self, node: Node) -> EntryRow:
        """What is known of an entry, with what was written to it and not yet recorded."""
        row, file = node.row, self._open.get(node.file)
        if self.scratch is not None and self.scratch.is_shared and node.layer == 0 and row.sha256 == NOT_HASHED:
            # Another process may be writing to it, which changes nothing but its file on the host.
            row = self.scratch.find(row.id) or row
        return row if file is None else file.now(row)

    def status(self, node: Node) -> FileStatus:
        """What is known of an entry."""
        row = self.current_row(node)
        layer = self.tree.layers[node.layer]
        links = self.tree.link_count(node)
        return FileStatus(node.path, row.size, row.info, links, self.file_id(node.file), row.reparse, layer.path)

    def file_id(self, file: tuple[int, int]) -> int:
        """A number for a file, which stays when the scratch takes it over."""
        depth, entry = self.origin(file)
        return depth << INODE_BITS | entry

    def origin(self, file: tuple[int, int]) -> tuple[int, int]:
        """What a file (`Node.file`) was first: its layer, counted from the base, which is 1, and its id there."""
        layer, entry = file
        first = self.tree.depth(layer), entry
        if layer or self.scratch is None:
            return first
        if self._taken is None:
            self._taken = self.scratch.taken()
        return self._taken.get(entry, first)

    def file_of_id(self, file_id: int) -> tuple[int, int] | None:
        """The file that has a number (`Node.file`), which need not have a name any more; None if there is no layer
        for it."""
        depth, entry = file_id >> INODE_BITS, file_id & (1 << INODE_BITS) - 1
        layer = len(self.tree.layers) - depth
        if not 0 <= layer < len(self.tree.layers):
            return None
        if layer and self.scratch is not None:
            taken = self.scratch.taken_as(depth, entry)
            if taken is not None:
                return 0, taken
        return layer, entry

    def listdir(self, path: StrPath) -> list[str]:
        """The names in a directory, in the order in which Windows lists them.

        Raises:
            see `scan`.
        """
        return [status.path.rpartition("/")[2] for status in self.scan(path)]

    def scan(self, path: StrPath) -> list[FileStatus]:
        """What is known of the entries of a directory.

        Raises:
            EntryNotDirectoryError: it is a file.
            see `find` for the rest.
        """
        with self.reading():
            return [self.status(node) for node in self.children(self.find(path))]

    def children(self, node: Node) -> list[Node]:
        """The entries of a directory."""
        if not node.is_directory:
            raise EntryNotDirectoryError(node.path, "is not a directory")
        return self.tree.children(node)

    def security(self, path: StrPath, *, follow: bool = True) -> bytes | None:
        """The self-relative security descriptor of an entry."""
        with self.reading() as tree:
            return tree.security(self.find(path, follow=follow))

    def eas(self, path: StrPath, *, follow: bool = True) -> bytes:
        """The FILE_FULL_EA_INFORMATION list of an entry, empty where it has none."""
        return self.find(path, follow=follow).row.eas or b""

    def read_link(self, path: StrPath) -> LinkTarget:
        """What the symbolic link or mount point at a path points to.

        Raises:
            InvalidParameterError: it is none.
        """
        node = self.find(path, follow=False)
        try:
            if node.row.reparse is None:
                raise ValueError("is no link")
            return decode_link(decode_reparse(node.row.reparse))
        except ValueError as error:
            raise InvalidParameterError(node.path, str(error)) from None

    def streams(self, path: StrPath, *, follow: bool = True) -> list[tuple[str, int]]:
        """Names and sizes of the alternate data streams of an entry."""
        with self.reading() as tree:
            node = self.find(path, follow=follow)
            return [(name, size) for name, size, _ in tree.stream_digests(node)]

    def has_stream(self, node: Node, name: str) -> bool:
        """Whether an entry has an alternate stream of that name, in any case."""
        return any(names_equal(known, name) for known, _, _ in self.tree.stream_digests(node))

    def stream_chunks(self, node: Node, name: str) -> Iterable[bytes | memoryview]:
        """The bytes of an alternate stream; none if it is not there."""
        layer = self.tree.layers[node.layer]
        # The main data may be changing: they are not asked for.
        for stream in layer.streams(layer.first_name(node.row), has_data=False):
            if names_equal(stream.name, name):
                return stream.chunks
        return ()

    # Reading and writing data.

    @during("open")
    def open(
        self, path: StrPath, mode: str = "rb", *, buffering: int = -1, encoding: str | None = None,
        errors: str | None = None, newline: str | None = None,
    ) -> IO[Any]:  # fmt: skip
        """Opens a file, or with `name:stream` an alternate stream, as the built-in `open` does.

        Args:
            mode: r, w, a or x, with + and b or t.

        Raises:
            PathNotFoundError: it is not there, and `mode` makes none.
            AlreadyExistsError: it is there, and `mode` is x.
            EntryIsDirectoryError: it is a directory.
            LayerError: the view is read-only; see `find` for the rest.
        """
        kinds = set(mode) - {"b", "t", "+"}
        if len(kinds) != 1 or not kinds <= set("rwax") or {"b", "t"} <= set(mode):
            raise InvalidParameterError(os.fspath(path), f"mode {mode!r}")
        kind = kinds.pop()
        writes = kind != "r" or "+" in mode
        raw = self.open_raw(
            path, can_read=kind == "r" or "+" in mode, can_write=writes, create=kind != "r", new=kind == "x",
            truncate=kind == "w", append=kind == "a",
        )  # fmt: skip
        if buffering == 0:
            return raw  # type: ignore[return-value]
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        buffered: IO[bytes]
        if raw.readable() and raw.writable():
            buffered = io.BufferedRandom(raw, size)
        elif raw.writable():
            buffered = io.BufferedWriter(raw, size)
        else:
            buffered = io.BufferedReader(raw, size)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)

    @during("open")
    def open_raw(
        self, path: StrPath, *, can_read: bool = True, can_write: bool = False, create: bool = False,
        new: bool = False, truncate: bool = False, append: bool = False,
    ) -> ViewFile:  # fmt: skip
        """`open` without buffering, by what is to be done with the file."""
        text = os.fspath(path)
        if can_write:
            self.writable_scratch()
        data = self._open_data(text, create=create, new=new)
        if truncate:
            try:
                data.truncate(0)
            except BaseException:
                data.close()
                raise
        return ViewFile(data, text, can_read=can_read, can_write=can_write, append=append)

    def _open_data(self, text: str, *, create: bool, new: bool) -> OpenFile | StreamBuffer:
        path, stream = split_stream(text)
        if create and not stream:
            return self.create_open(path, new=new)
        if create:
            with self.changing():
                return self._open_stream(self.create_file(path, new=False), stream, create=True, new=new)
        for _ in range(_TRIES):
            # Another process may have removed or replaced the contents since: then they are looked for once more.
            with suppress(LayerBusyError), self.reading() as tree:
                node = existing(tree, layer_path(path), follow=True)
                return self._open_stream(node, stream, create=False, new=False) if stream else self.open_node(node)
            if not self.is_shared:
                break
        raise LayerBusyError(path, "other processes change it all the time; try again")

    def _open_stream(self, node: Node, stream: str, *, create: bool, new: bool) -> StreamBuffer:
        if reason := stream_illegal_reason(stream):
            raise InvalidParameterError(node.path, reason, code=ERROR_INVALID_NAME)
        there = self.has_stream(node, stream)
        if not there and not create:
            raise PathNotFoundError(node.path, f"has no stream {stream!r}", code=ERROR_FILE_NOT_FOUND)
        if there and new:
            raise AlreadyExistsError(node.path, f"has a stream {stream!r} already")
        if not there:
            self.put_stream(node, stream, ())
        return StreamBuffer(self, node, stream)

    @during("open")
    def open_node(self, node: Node) -> OpenFile:
        """The data of a file, opened once more; each opening is given back by `close`.

        Raises:
            EntryIsDirectoryError: it is a directory.
            InvalidParameterError: it has no data, as a link has none.
            LayerBusyError: another process has replaced its contents since the node was looked up.
        """
        with self._lock:
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
        """The open data of a file (`Node.file`), if somebody has it open."""
        return self._open.get(file)

    def give_back(self, file: OpenFile) -> None:
        """One of those who have a file open has it no longer."""
        with self._lock:
            file.users -= 1
            if file.users == 0 and self._is_open:
                if self._open.get(file.file) is file:
                    del self._open[file.file]
                file.shut()

    def read_bytes(self, path: StrPath) -> bytes:
        """The contents of a file or alternate stream."""
        with self.open(path, "rb") as file:
            data: bytes = file.read()
            return data

    def write_bytes(self, path: StrPath, data: bytes | bytearray | memoryview) -> None:
        """Makes the contents of a file or alternate stream, all at once; it is made if it is not there."""
        with self.replacing(path) as file:
            file.write(data)

    @contextmanager
    def replacing(self, path: StrPath) -> Iterator[IO[bytes]]:
        """A file for the new contents of a file or alternate stream, which is made if it is not there.

        They take the place of the old ones in one step when the context ends: a reader finds the old
        contents or the new ones, also after a crash or a power cut. If the context is left by an exception, nothing is
        changed.

        Raises:
            EntryIsDirectoryError: it is a directory.
            InvalidParameterError: it has no data, as a link has none.
            DiskFullError: the scratch's disk has no room for both.
            see `open` for the rest.
        """
        file_path, stream = split_stream(os.fspath(path))
        if stream:
            with self._replacing_stream(file_path, stream) as file:
                yield file
            return
        scratch = self.writable_scratch()
        with self.reading():
            self._replaceable(path)
        with self._lock:
            host, fd = scratch.stage_file()
        contents = StagedContents(self, fd)
        try:
            with io.BufferedWriter(contents, _PIECE) as buffered:
                yield buffered
            with self.changing() as changes:
                opened = self._put_contents(changes, path, host, contents)
        except BaseException:
            with self._lock:
                scratch.drop_staged(host)
                if self.space is not None:
                    self.space.forget()
            raise
        if opened is not None:
            with self._lock:
                opened.refresh()

    @contextmanager
    def _replacing_stream(self, path: str, stream: str) -> Iterator[IO[bytes]]:
        """`replacing` for an alternate stream, whose contents are part of the records."""
        self.writable_scratch()
        with self.reading():
            place = self._place(path, follow=True)
            if place.node is None:
                self.check_name(place.directory, place.name)
            if reason := stream_illegal_reason(stream):
                raise InvalidParameterError(f"{path}:{stream}", reason, code=ERROR_INVALID_NAME)
        try:
            with StagedStream(self) as contents:
                yield cast(IO[bytes], contents)
                with self.changing():
                    node = self.create_file(path, new=False)
                    for name, size, _ in self.tree.stream_digests(node):
                        if names_equal(name, stream):
                            self.resize(size, 0)
                    self.put_stream(node, stream, contents.chunks())
        except BaseException:
            with self._lock:
                if self.space is not None:
                    self.space.forget()
            raise

    def _replaceable(self, path: StrPath) -> Place:
        place = resolve(self.tree, layer_path(os.fspath(path)), follow=True)
        if place.node is None:
            self.check_name(place.directory, place.name)
        elif place.node.is_directory:
            raise EntryIsDirectoryError(place.node.path, "is a directory")
        elif place.node.row.sha256 is None:
            raise InvalidParameterError(place.node.path, "has no data")
        return place

    def _put_contents(self, changes: Upper, path: StrPath, host: bytes, contents: StagedContents) -> OpenFile | None:
        """Puts staged contents into the place of a file's, or makes a file of them; gives that file, if it is open."""
        scratch, place = self.writable_scratch(), self._replaceable(path)
        scratch.make_safe(host)
        if place.node is None:
            changes.create(
                place.directory, place.name, self.now(), host=host, size=contents.size, sha256=contents.digest()
            )  # fmt: skip
            return None
        node = place.node
        self.end_writing(node)
        changes.own(node)
        old = node.row.size
        scratch.replace_file(node.row, host, size=contents.size, sha256=contents.digest(), time=self.now())
        changes.update(node, attributes=node.row.attributes | int(FileAttributes.ARCHIVE))
        self.resize(old, 0)
        self.forget_names(node.row)
        return self._open.get(node.file)

    # Changing. Each of these happens as a whole, or with an error not at all.

    def writable_scratch(self) -> ScratchDirectory:
        """The scratch that takes changes.

        Raises:
            LayerError: there is none: access is denied.
        """
        if self.scratch is None:
            raise LayerError(self.name, "the view is read-only: it has no scratch", code=ERROR_ACCESS_DENIED)
        return self.scratch

    @contextmanager
    def changing(self) -> Iterator[Upper]:
        """The steps of changes; those made in the context happen all together."""
        with self._lock:
            scratch = self.writable_scratch()
            assert self._changes is not None
            try:
                with scratch.transaction():
                    # What other processes changed before now; from here on they wait.
                    self._refresh()
                    yield self._changes
                if not scratch.is_changing:
                    self._undo.clear()
            except BaseException:
                while self._undo and not scratch.is_changing:
                    self._undo.pop()()
                self.tree.forget_tombstones()
                self.tree.forget_all()
                self._taken = None
                if self.space is not None:
                    self.space.forget()
                raise

    def now(self) -> int:
        """The time that changes get (FILETIME)."""
        return from_unix_ns(time_ns())

    def new_place(self, path: NewPlace) -> Place:
        """Where something new is to be made.

        Raises:
            InvalidParameterError: Windows does not take the name.
            AlreadyExistsError: it is taken.
            see `find` for the rest.
        """
        place = self._place(path, follow=False)
        if place.node is not None:
            raise AlreadyExistsError(place.node.path, "already exists")
        self.check_name(place.directory, place.name)
        return place

    def _place(self, path: NewPlace, *, follow: bool) -> Place:
        if not isinstance(path, Place):
            return resolve(self.tree, layer_path(os.fspath(path)), follow=follow)
        directory = self.find(path.directory)
        return Place(directory, path.name, self.tree.child(directory, path.name))

    def check_name(self, directory: Node, name: str) -> None:
        """Checks that Windows takes a new name."""
        if not directory.key:
            raise InvalidParameterError(name, "a layer has no other root directories")
        if not directory.is_directory:
            raise EntryNotDirectoryError(directory.path, "is not a directory")
        if reason := unusable_reason(name):
            raise InvalidParameterError(f"{directory.path}/{name}", reason, code=ERROR_INVALID_NAME)

    @during("create file")
    def create_file(self, path: NewPlace, *, new: bool = True) -> Node:
        """Makes an empty file.

        Args:
            new: that there is something already is an error; else what is there stays.

        Raises:
            AlreadyExistsError: there is.
        """
        node, fd = self._create_file(path, new=new, size=0)
        if fd is not None:
            os.close(fd)
        return node

    @during("create file")
    def create_open(self, path: NewPlace, *, new: bool = True) -> OpenFile:
        """`create_file`, and opens it to be written to."""
        with self._lock:
            fd: int | None = None
            try:
                with self.changing():
                    node, fd = self._create_file(path, new=new, size=BEING_WRITTEN)
                    if fd is None:
                        return self.open_node(node)
            except BaseException:
                if fd is not None:
                    os.close(fd)
                raise
            file = self._open[node.file] = OpenFile(self, node, own_fd=fd)
            file.users = 1
            return file

    def _create_file(self, path: NewPlace, *, new: bool, size: int) -> tuple[Node, int | None]:
        """The node of a file, and if it was made, the descriptor of its contents."""
        with self.changing() as changes:
            place = self._place(path, follow=not new)
            if place.node is not None:
                if new:
                    raise AlreadyExistsError(place.node.path, "already exists")
                return place.node, None
            self.check_name(place.directory, place.name)
            host, fd = self.writable_scratch().new_file()
            try:
                node = changes.create(
                    place.directory, place.name, self.now(), host=host, size=size, sha256=NOT_HASHED
                )  # fmt: skip
            except BaseException:
                os.close(fd)
                raise
            return node, fd

    @during("create directory")
    def mkdir(self, path: NewPlace) -> None:
        """Makes a directory.

        Raises:
            AlreadyExistsError: there is something at the path.
        """
        with self.changing() as changes:
            place = self.new_place(path)
            changes.create(place.directory, place.name, self.now(), attributes=DIRECTORY)

    @during("create directory")
    def makedirs(self, path: StrPath) -> None:
        """Makes a directory, and those above it, where they are not there.

        Raises:
            EntryNotDirectoryError: one of them is a file.
        """
        inner = layer_path(os.fspath(path))
        parts = inner.split("/")
        with self.changing() as changes:
            for count in range(1, len(parts) + 1):
                place = resolve(self.tree, "/".join(parts[:count]), follow=True)
                if place.node is None:
                    self.check_name(place.directory, place.name)
                    changes.create(place.directory, place.name, self.now(), attributes=DIRECTORY)
                elif not place.node.is_directory:
                    raise EntryNotDirectoryError(place.node.path, "is not a directory")

    @during("create link")
    def symlink(self, path: StrPath, target: str, *, is_directory: bool | None = None) -> None:
        r"""Makes a symbolic link at `path` to `target`: `C:\…`, or a path from the link's directory.

        Args:
            is_directory: whether it leads to a directory, which Windows wants to know; by default, what is there now.
        """
        link = LinkTarget.from_path(target.replace("/", "\\"), is_mount_point=False)
        self.create_link(path, link, is_directory=is_directory)

    @during("create mount point")
    def mount_point(self, path: StrPath, target: str) -> None:
        r"""Makes a mount point (junction) at `path` to the directory `target`, an absolute path (`C:\…`).

        Raises:
            InvalidParameterError: `target` is not absolute.
        """
        link = LinkTarget.from_path(target.replace("/", "\\"), is_mount_point=True)
        if not link.substitute_name.startswith("\\??\\"):
            raise InvalidParameterError(target, "a mount point leads to an absolute path")
        self.create_link(path, link, is_directory=True)

    @during("create link")
    def create_link(self, path: NewPlace, link: LinkTarget, *, is_directory: bool | None = None) -> None:
        """Makes a symbolic link or mount point of a decoded target; see `symlink`."""
        reparse = link.encode()
        with self.changing() as changes:
            place = self.new_place(path)
            if is_directory is None:
                is_directory = self._leads_to_directory(place, reparse)
            changes.create(
                place.directory, place.name, self.now(), attributes=DIRECTORY if is_directory else 0, reparse=reparse
            )

    def _leads_to_directory(self, place: Place, reparse: bytes) -> bool:
        target = link_path(reparse)
        if target is None or not target.parts:
            return False
        start = place.directory.path + "/" if target.is_relative else "Files/"
        try:
            found = resolve(self.tree, start + "/".join(target.parts), follow=True).node
        except LayerError:
            return False
        return found is not None and found.is_directory

    @during("create hard link")
    def link(self, path: NewPlace, target: Where) -> None:
        """Makes `path` a further name of the file at `target` (a hard link).

        Raises:
            EntryIsDirectoryError: that is a directory.
        """
        with self.changing() as changes:
            node = self.find(target, follow=False)
            place = self.new_place(path)
            changes.link(node, place.directory, place.name, self.now())

    @during("remove")
    def unlink(self, path: Where) -> None:
        """Removes a name of a file, or a link, or with `name:stream` an alternate stream.

        Raises:
            EntryIsDirectoryError: it is a directory.
        """
        if not isinstance(path, Node):
            path, stream = split_stream(os.fspath(path))
            if stream:
                self.remove_stream(path, stream)
                return
        with self.changing() as changes:
            node = self.find(path, follow=False)
            reparse = node.row.reparse
            if node.is_directory and (reparse is None or not is_name_surrogate(reparse)):
                raise EntryIsDirectoryError(node.path, "is a directory")
            changes.remove(node, self.now())

    @during("remove")
    def rmdir(self, path: Where) -> None:
        """Removes an empty directory.

        Raises:
            EntryNotDirectoryError: it is a file.
            DirectoryNotEmptyError: it has something in it.
        """
        with self.changing() as changes:
            node = self.find(path, follow=False)
            if not node.is_directory:
                raise EntryNotDirectoryError(node.path, "is not a directory")
            changes.remove(node, self.now())

    @during("remove")
    def rmtree(self, path: StrPath) -> None:
        """Removes an entry, and of a directory everything in it."""
        with self.changing() as changes:
            pending = [self.find(path, follow=False)]
            while pending:
                node = pending[-1]
                inside = self.tree.children(node) if node.is_directory else []
                if inside:
                    pending += inside
                else:
                    changes.remove(pending.pop(), self.now())

    @during("rename")
    def rename(self, source: Where, target: NewPlace, *, replace: bool = True) -> None:
        """Gives the entry at `source`, with everything below it, the path `target`.

        Args:
            replace: what is there makes way: a file for a file, an empty directory for a directory.

        Raises:
            AlreadyExistsError: something is there, and it is not to be replaced.
            EntryIsDirectoryError, EntryNotDirectoryError, DirectoryNotEmptyError: it cannot be replaced.
            InvalidParameterError: a directory would get into itself.
        """
        with self.changing() as changes:
            node = self.find(source, follow=False)
            place = self._place(target, follow=False)
            self.check_name(place.directory, place.name)
            changes.rename(node, place.directory, place.name, self.now(), replace=replace)

    @during("write")
    def truncate(self, path: Where, size: int) -> None:
        """Makes a file `size` bytes long."""
        with self._lock:
            self.writable_scratch()
            with self.alone():
                file = self.open_node(self.find(path))
            try:
                file.truncate(size)
            finally:
                file.close()

    @during("set attributes")
    def set_attributes(self, path: Where, attributes: int, *, follow: bool = True) -> None:
        """Sets the file attributes; what they say of the file's kind stays as it is."""
        with self.changing() as changes:
            node = self.find(path, follow=follow)
            kept = node.row.attributes & ~_SETTABLE
            changes.update(node, attributes=kept | attributes & _SETTABLE, change_time=self.now())

    @during("set times")
    def set_times(
        self, path: Where, *, creation: int | None = None, access: int | None = None, write: int | None = None,
        change: int | None = None, follow: bool = True,
    ) -> None:  # fmt: skip
        """Sets times of an entry (FILETIME); the change time is otherwise that of now.

        Raises:
            InvalidParameterError: a time that Windows does not take.
        """
        for time in (creation, access, write, change):
            if time is not None and not 0 <= time <= MAX_FILETIME:
                raise InvalidParameterError(_named(path), f"FILETIME {time}: must be 0 to {MAX_FILETIME}")
        times = {"creation_time": creation, "last_access_time": access, "last_write_time": write}
        with self.changing() as changes:
            node = self.find(path, follow=follow)
            self.end_writing(node)
            given: dict[str, int | bytes | None] = {c: value for c, value in times.items() if value is not None}
            changes.update(node, **given, change_time=self.now() if change is None else change)

    @during("set security")
    def set_security(self, path: Where, descriptor: bytes, *, follow: bool = True) -> None:
        """Gives an entry a self-relative security descriptor.

        Raises:
            InvalidParameterError: it is none.
        """
        _checked("security descriptor", path, descriptor, SecurityDescriptor.decode)
        with self.changing() as changes:
            changes.set_security(self.find(path, follow=follow), descriptor, self.now())

    @during("set EAs")
    def set_eas(self, path: Where, eas: bytes, *, follow: bool = True) -> None:
        """Gives an entry a FILE_FULL_EA_INFORMATION list; with an empty one, none.

        Raises:
            InvalidParameterError: NTFS does not take it: a name is missing or there twice, or the list is too long.
        """
        made = _checked("EAs", path, eas, _checked_eas)
        with self.changing() as changes:
            changes.update(self.find(path, follow=follow), eas=made or None, change_time=self.now())

    @during("set reparse point")
    def set_reparse(self, path: Where, reparse: bytes | None) -> None:
        """Makes an entry a reparse point (REPARSE_DATA_BUFFER), or with None no longer one.

        Raises:
            InvalidParameterError: the data are none, or none of their tag's form; an entry with something in it; a
                root directory of the layer.
        """
        if reparse is not None:
            _checked("reparse data", path, reparse, _checked_reparse)
        with self.changing() as changes:
            node = self.find(path, follow=False)
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
            changes.update(node, reparse=reparse, attributes=attributes, change_time=self.now(), **data)

    @during("write stream")
    def put_stream(self, node: Node, name: str, chunks: Iterable[bytes]) -> None:
        """Gives an entry an alternate stream, in the place of one of that name."""
        if reason := stream_illegal_reason(name):
            raise InvalidParameterError(node.path, reason, code=ERROR_INVALID_NAME)
        with self.changing() as changes:
            node = existing(self.tree, node.path, follow=False)
            changes.own(node)
            self.writable_scratch().put_stream(node.row, name, chunks)
            changes.update(node, change_time=self.now())

    @during("remove stream")
    def remove_stream(self, path: Where, name: str, *, follow: bool = True) -> None:
        """Removes an alternate stream.

        Raises:
            PathNotFoundError: the entry has none of that name.
        """
        with self.changing() as changes:
            node = self.find(path, follow=follow)
            changes.own(node)
            if not self.writable_scratch().remove_stream(node.row, name):
                raise PathNotFoundError(node.path, f"has no stream {name!r}", code=ERROR_FILE_NOT_FOUND)
            changes.update(node, change_time=self.now())

    def sync(self, fd: int | None = None) -> None:
        """Returns when all changes so far are safe on disk; with the host's open file `fd`, of all contents only
        those of that file."""
        with self._lock:
            if self.scratch is None:
                return
            if fd is None:
                for file in tuple(self._open.values()):
                    file.flush()
                self.scratch.sync_all()
            else:
                self.scratch.sync(fd)

    def sync_names(self) -> None:
        """Returns when all changes of names, metadata and alternate streams so far are safe on disk."""
        with self._lock:
            if self.scratch is not None:
                self.scratch.sync()

    # What open files need.

    def resize(self, old: int, new: int) -> None:
        """Counts that contents are about to take `new` bytes instead of `old`.

        Raises:
            DiskFullError: the scratch's disk has no room for them.
        """
        assert self.space is not None
        if new > old:
            self.space.reserve(new - old)
        elif new < old:
            self.space.release(old - new)

    def node_of(self, file: tuple[int, int]) -> Node | None:
        """A node under which a file (`Node.file`) shows; None if it has no name any more."""
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
        """The metadata of a file of the scratch have changed."""
        scratch = self.writable_scratch()
        names = [row] if row.link is None and scratch.link_count(row) == 1 else scratch.names(row)
        for name in names:
            self.tree.forget(path_key(scratch.path_of(name)))

    def end_writing(self, node: Node) -> None:
        """Records what was written to a file so far: what is set after it is to stay."""
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
        """An open file is again what it was before a change that is taken back."""
        if self._open.get(file.file) is file:
            del self._open[file.file]
        file.file, file.row, file.is_detached = was, row, False
        self._open[was] = file

    def _gone(self, node: Node) -> None:
        file = self._open.pop(node.file, None)
        if file is not None:
            file.flush()
            self._undo.append(partial(self._put_back, file, file.file, file.row))
            file.is_detached = True
        if node.layer == 0 and self._taken is not None:
            # Its number in the scratch may be given to another entry.
            self._taken.pop(node.file[1], None)
        if node.layer == 0 and self.space is not None:
            self.space.release(node.row.size)


def split_stream(path: str) -> tuple[str, str]:
    r"""A path and the name of an alternate stream in it: `C:\a:b`, `C:\a:b:$DATA`; "" for the main data."""
    start = 2 if has_drive(path) else 0
    last = max(path.rfind("/"), path.rfind("\\"), start - 1) + 1
    name, colon, stream = path[last:].partition(":")
    if not colon:
        return path, ""
    stream, colon, kind = stream.partition(":")
    if colon and name_key(kind) != "$DATA":
        raise InvalidParameterError(path, f"stream type {kind!r}; possible is $DATA", code=ERROR_INVALID_NAME)
    return path[:last] + name, stream


def _named(path: Where) -> str:
    return path.path if isinstance(path, Node) else os.fspath(path)


def _checked(what: str, path: Where, data: bytes, decode: Callable[[bytes], _Checked]) -> _Checked:
    """What a decoder makes of metadata that an entry is to get.

    Raises:
        InvalidParameterError: they are damaged.
    """
    try:
        return decode(data)
    except ValueError as error:
        raise InvalidParameterError(_named(path), f"{what}: {error}") from None


def _checked_eas(data: bytes) -> bytes:
    """A list of EAs that NTFS takes, as it is stored."""
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
    """A reparse point whose data have the form that its tag says, where that is known."""
    point = decode_reparse(data)
    if point.tag in (ReparseTag.SYMLINK, ReparseTag.MOUNT_POINT):
        decode_link(point)
    elif point.tag == ReparseTag.LX_SYMLINK:
        decode_lx_symlink(point)
    return point
