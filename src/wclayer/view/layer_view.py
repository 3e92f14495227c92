r"""`LayerView`: a path-based interface to the file system that a container sees, and to the changes in its scratch."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from wclayer._types import Chain, StrPath
from wclayer.errors import (
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
from wclayer.layers.directory.scratch import is_scratch
from wclayer.view.merged import Node
from wclayer.view.open_files import OpenFile, StagedStream, StreamBuffer, ViewFile
from wclayer.view.resolve import Place, is_link, resolve
from wclayer.view.spelling import layer_path, split_stream
from wclayer.view.volume import Volume
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.names import stream_illegal_reason
from wclayer.win32.reparse import LinkTarget, decode_link, decode_reparse

_PIECE = 1 << 20
_TRIES = 100


@dataclass(frozen=True, slots=True)
class FileStatus:
    """The metadata of an entry."""

    path: str
    """The path inside the layer, in the stored spelling."""
    size: int
    """The size of the contents in bytes."""
    info: FileBasicInfo
    """The times and attributes."""
    links: int
    """The number of visible names of the file."""
    file_id: int
    """A number that is the same for all names of one file, and stays the same when the file is copied up."""
    reparse: bytes | None
    """The REPARSE_DATA_BUFFER, or None if the entry is not a reparse point."""
    layer: Path
    """The layer directory that contains the entry."""

    @property
    def is_directory(self) -> bool:
        return self.info.is_directory

    @property
    def is_link(self) -> bool:
        """Whether the entry is a symbolic link or a mount point."""
        return is_link(self.reparse)


@boundary
class LayerView:
    r"""The merged file system of layers: read-only, or with a scratch on top that takes the changes.

    Paths are spelled as in Windows or POSIX: `C:\Windows`, `\Windows`, `/Windows` and `Windows` mean the same (see
    `layer_path`). Case is ignored, and short names are understood. Methods that read or write data take `name:stream`
    for an alternate stream. Links are followed inside the layers.

    A view may be used by several threads. Several processes may have views of one scratch and change it at once, unless
    one of them has opened it `exclusive`, as a mount does.

    Args:
        layers: the layer directories, nearest first, or only the nearest one, whose recorded parents are added. If it
            is empty, the parents of the scratch are used.
        scratch: the layer directory of a scratch.
        exclusive: no other process may change the scratch while this view is open.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: a layer cannot be opened.
        InvalidParameterError: the chain is in the wrong order; neither layers nor a scratch are given.
        LayerBusyError: another process has the scratch open exclusively.
    """

    operation = "view layers"

    def __init__(self, layers: Chain = (), scratch: StrPath | None = None, *, exclusive: bool = False) -> None:
        self.volume = Volume(layers, scratch, exclusive=exclusive)

    @classmethod
    def for_layer(cls, path: StrPath, *, writable: bool = True) -> Self:
        """Returns the view of one layer over its parents.

        Args:
            path: a finished layer, whose view is read-only, or a scratch.
            writable: whether the view of a scratch takes changes.

        Raises:
            PathNotFoundError, NotALayerError, CorruptLayerError: the layer or a parent cannot be opened.
            LayerBusyError: another process has the scratch open exclusively.
        """
        return cls(scratch=path) if writable and is_scratch(path) else cls(path)

    @property
    def name(self) -> str:
        """The name of the view in messages: the path of its nearest layer."""
        return self.volume.name

    @property
    def capacity(self) -> int | None:
        """The bytes of contents for which the scratch's disk has room; None if there is no disk."""
        return self.volume.capacity

    @property
    def used(self) -> int:
        """The bytes of contents in the scratch."""
        return self.volume.used

    @property
    def is_writable(self) -> bool:
        """Whether the view has a scratch."""
        return self.volume.is_writable

    @property
    def is_open(self) -> bool:
        """Whether the view is not closed yet."""
        return self.volume.is_open

    def close(self) -> None:
        """Closes the view, after all written data are recorded and safe on disk."""
        self.volume.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # Finding.

    def exists(self, path: StrPath) -> bool:
        """Returns whether something exists at a path; a link is followed."""
        try:
            self.volume.find(path)
        except LayerError:
            return False
        return True

    def stat(self, path: StrPath, *, follow: bool = True) -> FileStatus:
        """Returns the metadata of the entry at a path.

        Raises:
            PathNotFoundError: the entry, or a directory on the way, does not exist.
            EntryNotDirectoryError: a component on the way is a file.
            UnresolvedLinkError: links lead in a circle, or out of the layers.
        """
        with self.volume.reading():
            return self._status(self.volume.find(path, follow=follow))

    def _status(self, node: Node) -> FileStatus:
        volume = self.volume
        row = volume.current_row(node)
        layer = volume.tree.layers[node.layer]
        links = volume.tree.link_count(node)
        return FileStatus(node.path, row.size, row.info, links, volume.file_id(node.file), row.reparse, layer.path)

    def listdir(self, path: StrPath) -> list[str]:
        """Returns the names in a directory, in the order in which Windows lists them.

        Raises:
            PathNotFoundError: the directory does not exist.
            EntryNotDirectoryError: the path, or a component on the way, is a file.
            UnresolvedLinkError: links lead in a circle, or out of the layers.
        """
        return [status.path.rpartition("/")[2] for status in self.scan(path)]

    def scan(self, path: StrPath) -> list[FileStatus]:
        """Returns the metadata of the entries of a directory, in the order in which Windows lists them.

        Raises:
            PathNotFoundError: the directory does not exist.
            EntryNotDirectoryError: the path, or a component on the way, is a file.
            UnresolvedLinkError: links lead in a circle, or out of the layers.
        """
        with self.volume.reading():
            return [self._status(node) for node in self.volume.children(self.volume.find(path))]

    def security(self, path: StrPath, *, follow: bool = True) -> bytes | None:
        """Returns the self-relative security descriptor of an entry, or None if it has none."""
        with self.volume.reading() as tree:
            return tree.security(self.volume.find(path, follow=follow))

    def eas(self, path: StrPath, *, follow: bool = True) -> bytes:
        """Returns the FILE_FULL_EA_INFORMATION list of an entry, empty if it has no EAs."""
        return self.volume.find(path, follow=follow).row.eas or b""

    def read_link(self, path: StrPath) -> LinkTarget:
        """Returns the target of the symbolic link or mount point at a path.

        Raises:
            InvalidParameterError: the entry is not a symbolic link or mount point.
        """
        node = self.volume.find(path, follow=False)
        try:
            if node.row.reparse is None:
                raise ValueError("is no link")
            return decode_link(decode_reparse(node.row.reparse))
        except ValueError as error:
            raise InvalidParameterError(node.path, str(error)) from None

    def streams(self, path: StrPath, *, follow: bool = True) -> list[tuple[str, int]]:
        """Returns the names and sizes of the alternate data streams of an entry."""
        with self.volume.reading() as tree:
            node = self.volume.find(path, follow=follow)
            return [(name, size) for name, size, _ in tree.stream_digests(node)]

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
            PathNotFoundError: the file or stream does not exist, and `mode` does not create it.
            EntryNotDirectoryError: a component on the way is a file.
            UnresolvedLinkError: links lead in a circle, or out of the layers.
            AlreadyExistsError: the file or stream exists, and `mode` is x.
            EntryIsDirectoryError: the path is a directory.
            InvalidParameterError: `mode` is not valid; the name is not legal on Windows; the file has no data.
            LayerError: the view is read-only, and `mode` writes.
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
        """Opens a file or alternate stream without buffering; the arguments state what `mode` of `open` states.

        Args:
            create: the file or stream is created if it does not exist.
            new: with `create`, an existing file or stream is an error.
            truncate: the contents are removed.
            append: each write goes to the end.

        Raises:
            PathNotFoundError: the file or stream does not exist, and `create` is false.
            EntryNotDirectoryError: a component on the way is a file.
            UnresolvedLinkError: links lead in a circle, or out of the layers.
            AlreadyExistsError: the file or stream exists, and `new` is true.
            EntryIsDirectoryError: the path is a directory.
            InvalidParameterError: the name is not legal on Windows; the file has no data.
            LayerError: the view is read-only, and `can_write` is true.
        """
        text = os.fspath(path)
        if can_write:
            self.volume.writable_scratch()
        data = self._open_data(text, create=create, new=new)
        if truncate:
            try:
                data.truncate(0)
            except BaseException:
                data.close()
                raise
        return ViewFile(data, text, can_read=can_read, can_write=can_write, append=append)

    def _open_data(self, text: str, *, create: bool, new: bool) -> OpenFile | StreamBuffer:
        volume = self.volume
        path, stream = split_stream(text)
        if create and not stream:
            return volume.create_open(partial(volume.place, path, follow=not new), new=new)
        if create:
            with volume.changing():
                node = volume.create_file(volume.place(path, follow=True), new=False)
                return self._open_stream(node, stream, create=True, new=new)
        for _ in range(_TRIES):
            # Another process may have removed or replaced the contents since the lookup: then it is repeated.
            with suppress(LayerBusyError), volume.reading():
                node = volume.find(path)
                return self._open_stream(node, stream, create=False, new=False) if stream else volume.open_node(node)
            if not volume.is_shared:
                break
        raise LayerBusyError(path, "other processes change it all the time; try again")

    def _open_stream(self, node: Node, stream: str, *, create: bool, new: bool) -> StreamBuffer:
        if reason := stream_illegal_reason(stream):
            raise InvalidParameterError(node.path, reason, code=ERROR_INVALID_NAME)
        there = self.volume.has_stream(node, stream)
        if not there and not create:
            raise PathNotFoundError(node.path, f"has no stream {stream!r}", code=ERROR_FILE_NOT_FOUND)
        if there and new:
            raise AlreadyExistsError(node.path, f"has a stream {stream!r} already")
        if not there:
            self.volume.put_stream(node, stream, ())
        return self.volume.open_stream(node, stream)

    def read_bytes(self, path: StrPath) -> bytes:
        """Returns the contents of a file or alternate stream."""
        with self.open(path, "rb") as file:
            data: bytes = file.read()
            return data

    def write_bytes(self, path: StrPath, data: bytes | bytearray | memoryview) -> None:
        """Replaces the contents of a file or alternate stream in one step. It is created if it does not exist."""
        with self.replacing(path) as file:
            file.write(data)

    @contextmanager
    def replacing(self, path: StrPath) -> Iterator[IO[bytes]]:
        """Yields a writable file for the new contents of a file or alternate stream, which is created if necessary.

        The new contents replace the old ones in one step when the context ends: a reader finds the old contents or the
        new ones, also after a crash or a power cut. If the context is left by an exception, nothing is changed.

        Raises:
            PathNotFoundError: a directory on the way does not exist.
            EntryNotDirectoryError: a component on the way is a file.
            UnresolvedLinkError: links lead in a circle, or out of the layers.
            EntryIsDirectoryError: the path is a directory.
            InvalidParameterError: the entry has no data (a link, for example); the name is not legal on Windows.
            DiskFullError: the scratch's disk has no room for both the old and the new contents.
            LayerError: the view is read-only.
        """
        file_path, stream = split_stream(os.fspath(path))
        if stream:
            with self._replacing_stream(file_path, stream) as file:
                yield file
            return
        volume = self.volume
        volume.writable_scratch()
        with volume.reading():
            self._replaceable(path)
        with volume.staging() as contents:
            with io.BufferedWriter(contents, _PIECE) as buffered:
                yield buffered
            with volume.changing():
                opened = volume.put_contents(self._replaceable(path), contents)
        if opened is not None:
            volume.refresh(opened)

    @contextmanager
    def _replacing_stream(self, path: str, stream: str) -> Iterator[IO[bytes]]:
        """Does `replacing` for an alternate stream, whose contents are part of the records."""
        volume = self.volume
        volume.writable_scratch()
        with volume.reading():
            place = volume.place(path, follow=True)
            if place.node is None:
                volume.check_name(place.directory, place.name)
            if reason := stream_illegal_reason(stream):
                raise InvalidParameterError(f"{path}:{stream}", reason, code=ERROR_INVALID_NAME)
        try:
            with StagedStream(volume) as contents:
                yield cast(IO[bytes], contents)
                with volume.changing():
                    node = volume.create_file(volume.place(path, follow=True), new=False)
                    volume.resize(volume.stream_size(node, stream), 0)
                    volume.put_stream(node, stream, contents.chunks())
        except BaseException:
            volume.recount()
            raise

    def _replaceable(self, path: StrPath) -> Place:
        place = self.volume.place(path, follow=True)
        if place.node is None:
            self.volume.check_name(place.directory, place.name)
        elif place.node.is_directory:
            raise EntryIsDirectoryError(place.node.path, "is a directory")
        elif place.node.row.sha256 is None:
            raise InvalidParameterError(place.node.path, "has no data")
        return place

    # Changing. Each of these methods makes its whole change, or no change if it fails.

    @during("create file")
    def create_file(self, path: StrPath, *, new: bool = True) -> None:
        """Creates an empty file.

        Args:
            new: an existing entry is an error; otherwise it stays as it is.

        Raises:
            AlreadyExistsError: something exists at the path, and `new` is true.
        """
        with self.volume.changing():
            self.volume.create_file(self.volume.place(path, follow=not new), new=new)

    @during("create directory")
    def mkdir(self, path: StrPath) -> None:
        """Creates a directory.

        Raises:
            AlreadyExistsError: something exists at the path.
        """
        with self.volume.changing():
            self.volume.mkdir(self.volume.place(path, follow=False))

    @during("create directory")
    def makedirs(self, path: StrPath) -> None:
        """Creates a directory and those above it, where they do not exist.

        Raises:
            EntryNotDirectoryError: one of them is a file.
        """
        parts = layer_path(os.fspath(path)).split("/")
        with self.volume.changing():
            for count in range(1, len(parts) + 1):
                place = resolve(self.volume.tree, "/".join(parts[:count]), follow=True)
                if place.node is None:
                    self.volume.mkdir(place)
                elif not place.node.is_directory:
                    raise EntryNotDirectoryError(place.node.path, "is not a directory")

    @during("create link")
    def symlink(self, path: StrPath, target: str, *, is_directory: bool | None = None) -> None:
        r"""Creates a symbolic link at `path` to `target`: `C:\…`, or a path relative to the link's directory.

        Args:
            is_directory: whether the link is one to a directory, which Windows records in the link. By default, this
                is determined from the current target.
        """
        link = LinkTarget.from_path(target.replace("/", "\\"), is_mount_point=False)
        self.create_link(path, link, is_directory=is_directory)

    @during("create mount point")
    def mount_point(self, path: StrPath, target: str) -> None:
        r"""Creates a mount point (junction) at `path` to the directory `target`, an absolute path (`C:\…`).

        Raises:
            InvalidParameterError: `target` is not absolute.
        """
        link = LinkTarget.from_path(target.replace("/", "\\"), is_mount_point=True)
        if not link.substitute_name.startswith("\\??\\"):
            raise InvalidParameterError(target, "a mount point leads to an absolute path")
        self.create_link(path, link, is_directory=True)

    @during("create link")
    def create_link(self, path: StrPath, link: LinkTarget, *, is_directory: bool | None = None) -> None:
        """Creates a symbolic link or mount point with a decoded target. `is_directory` is that of `symlink`."""
        with self.volume.changing():
            self.volume.create_link(self.volume.place(path, follow=False), link, is_directory=is_directory)

    @during("create hard link")
    def link(self, path: StrPath, target: StrPath) -> None:
        """Makes `path` a further name of the file at `target` (a hard link).

        Raises:
            EntryIsDirectoryError: `target` is a directory.
        """
        with self.volume.changing():
            node = self.volume.find(target, follow=False)
            self.volume.link(self.volume.place(path, follow=False), node)

    @during("remove")
    def unlink(self, path: StrPath) -> None:
        """Removes a name of a file, a link, or with `name:stream` an alternate stream.

        Raises:
            EntryIsDirectoryError: the path is a directory.
        """
        path, stream = split_stream(os.fspath(path))
        if stream:
            self.remove_stream(path, stream)
            return
        with self.volume.changing():
            self.volume.unlink(self.volume.find(path, follow=False))

    @during("remove")
    def rmdir(self, path: StrPath) -> None:
        """Removes an empty directory.

        Raises:
            EntryNotDirectoryError: the path is a file.
            DirectoryNotEmptyError: the directory is not empty.
        """
        with self.volume.changing():
            self.volume.rmdir(self.volume.find(path, follow=False))

    @during("remove")
    def rmtree(self, path: StrPath) -> None:
        """Removes an entry, and everything in it if it is a directory."""
        volume = self.volume
        with volume.changing() as upper:
            pending = [volume.find(path, follow=False)]
            while pending:
                node = pending[-1]
                inside = volume.tree.children(node) if node.is_directory else []
                if inside:
                    pending += inside
                else:
                    upper.remove(pending.pop(), volume.now())

    @during("rename")
    def rename(self, source: StrPath, target: StrPath, *, replace: bool = True) -> None:
        """Renames the entry at `source`, with everything below it, to the path `target`.

        Args:
            replace: an existing entry at `target` is replaced: a file by a file, an empty directory by a directory.

        Raises:
            AlreadyExistsError: something exists at `target`, and `replace` is false.
            EntryIsDirectoryError, EntryNotDirectoryError, DirectoryNotEmptyError: the entry at `target` cannot be
                replaced.
            InvalidParameterError: a directory would be moved into itself.
        """
        with self.volume.changing():
            node = self.volume.find(source, follow=False)
            self.volume.rename(node, self.volume.place(target, follow=False), replace=replace)

    @during("write")
    def truncate(self, path: StrPath, size: int) -> None:
        """Cuts a file off at `size` bytes, or extends it to `size` with zeros."""
        self.volume.writable_scratch()
        self.volume.truncate(self.volume.find(path), size)

    @during("set attributes")
    def set_attributes(self, path: StrPath, attributes: int, *, follow: bool = True) -> None:
        """Sets the file attributes, except those that state the file's kind."""
        with self.volume.changing():
            self.volume.set_attributes(self.volume.find(path, follow=follow), attributes)

    @during("set times")
    def set_times(
        self, path: StrPath, *, creation: int | None = None, access: int | None = None, write: int | None = None,
        change: int | None = None, follow: bool = True,
    ) -> None:  # fmt: skip
        """Sets times of an entry (FILETIME). The change time becomes now if it is not given.

        Raises:
            InvalidParameterError: a time is outside the range of FILETIME.
        """
        with self.volume.changing():
            node = self.volume.find(path, follow=follow)
            self.volume.set_times(node, creation=creation, access=access, write=write, change=change)

    @during("set security")
    def set_security(self, path: StrPath, descriptor: bytes, *, follow: bool = True) -> None:
        """Sets the self-relative security descriptor of an entry.

        Raises:
            InvalidParameterError: `descriptor` is not a valid security descriptor.
        """
        with self.volume.changing():
            self.volume.set_security(self.volume.find(path, follow=follow), descriptor)

    @during("set EAs")
    def set_eas(self, path: StrPath, eas: bytes, *, follow: bool = True) -> None:
        """Sets the FILE_FULL_EA_INFORMATION list of an entry; an empty list removes its EAs.

        Raises:
            InvalidParameterError: NTFS does not accept the list: a name is missing or occurs twice, or the list is too
                long.
        """
        with self.volume.changing():
            self.volume.set_eas(self.volume.find(path, follow=follow), eas)

    @during("set reparse point")
    def set_reparse(self, path: StrPath, reparse: bytes | None) -> None:
        """Makes an entry a reparse point (REPARSE_DATA_BUFFER), or with None an ordinary file or directory again.

        Raises:
            InvalidParameterError: `reparse` is not valid for its tag; the directory is not empty; the entry is a root
                directory of the layer.
        """
        with self.volume.changing():
            self.volume.set_reparse(self.volume.find(path, follow=False), reparse)

    @during("remove stream")
    def remove_stream(self, path: StrPath, name: str, *, follow: bool = True) -> None:
        """Removes an alternate stream.

        Raises:
            PathNotFoundError: the entry has no stream of that name.
        """
        with self.volume.changing():
            self.volume.remove_stream(self.volume.find(path, follow=follow), name)

    def sync(self) -> None:
        """Waits until all changes so far are safe on disk."""
        self.volume.sync()
