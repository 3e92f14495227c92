"""Writers of layers that Windows keeps: a base layer straight into its place, a child through a transport folder.

Windows makes neither in one step. What a writer that fails has made is removed, and so is its temporary folder.
"""

from __future__ import annotations

import os
import tempfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from wclayer._types import Chain, StrPath
from wclayer.engines.hcs.files import BackupFile, restore_times
from wclayer.engines.hcs.functions import import_layer, process_base_layer, process_utility_vm_image
from wclayer.engines.hcs.privileges import privileges
from wclayer.engines.hcs.utility_vm import UtilityVm
from wclayer.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    InvalidDataError,
    InvalidParameterError,
    InvalidStateError,
    LayerError,
    PathNotFoundError,
    boundary,
    during,
    from_os_error,
)
from wclayer.host.root import HostRoot, remove_tree, write_all
from wclayer.layers.backup_stream import backup_stream
from wclayer.layers.base import WriterContext
from wclayer.layers.directory.chain import as_chain
from wclayer.layers.directory.utility_vm import BCD_BACKUPS
from wclayer.layers.names import LINK_ROOTS, Kind
from wclayer.layers.transport.layout import ATTRIBUTES, DIRECTORY_SUFFIX, write_times
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import BackupStreamParser, StreamHeader, StreamId
from wclayer.win32.names import decode_name, encode_name, illegal_reason, path_key


@boundary
class HcsLayerWriter(WriterContext):
    """What the writers of Windows' layers share: the language of backup streams, and what becomes of a failure.

    It is a `LayerWriter`; `put` says in backup streams what it is given in parsed form.
    """

    operation = "write layer"

    def __init__(self, path: StrPath, parents: Sequence[Path]) -> None:
        self.target = os.path.abspath(path)
        self.chain = list(parents)
        self._state = "open"
        self._file: BackupFile | None = None
        self._directories: list[tuple[bytes, FileBasicInfo]] = []
        for parent in self.chain:
            if not parent.is_dir():
                raise PathNotFoundError(parent, "the parent does not exist")
        if not os.path.isdir(os.path.dirname(self.target)):
            raise PathNotFoundError(self.target, "its folder does not exist")
        try:
            with suppress(FileExistsError):
                os.mkdir(self.target)
            if os.listdir(self.target):
                raise AlreadyExistsError(self.target, "already exists")
            self.root = HostRoot(self.target)
        except OSError as error:
            raise from_os_error(self.target, error) from error

    # What the two kinds do differently, each inside the privileges.

    @abstractmethod
    def _add(self, path: bytes, info: FileBasicInfo) -> None:
        """Starts an entry."""

    @abstractmethod
    def _add_link(self, path: bytes, target: bytes) -> None:
        """Adds a further name."""

    @abstractmethod
    def _remove(self, path: bytes) -> None:
        """Takes note of a tombstone."""

    @abstractmethod
    def _finish(self) -> None:
        """All entries were there."""

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        """Takes more of the entry's backup stream."""
        if self._file is None:
            raise InvalidStateError(self.target, "no current entry: call add first")
        self._file.write(memoryview(data))

    def _end_entry(self) -> None:
        """The entry that was started is whole, or is given up."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _give_up(self) -> None:
        """Closes and removes what lies outside of the target."""

    # The protocol.

    def add(self, name: str, info: FileBasicInfo) -> None:
        with self._step():
            self._end_entry()
            self._add(self._path(name), info)

    def add_link(self, name: str, target: str) -> None:
        with self._step():
            self._end_entry()
            self._add_link(self._path(name), self._path(target))

    def remove(self, name: str) -> None:
        with self._step():
            self._end_entry()
            self._remove(self._path(name))

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        with self._step():
            self._write(data)
        return len(data)

    def put(self, entry: Entry, streams: Iterable[DataStream] = ()) -> None:
        if entry.info is None:
            self.remove(entry.name)
        elif entry.link_target is not None:
            self.add_link(entry.name, entry.link_target)
        else:
            backup = BCD_BACKUPS.get(entry.name)
            with self._step():
                self.add(entry.name, entry.info)
                for chunk in backup_stream(entry, streams if backup is None else self._saved(backup, streams)):
                    self.write(chunk)

    def _saved(self, backup: bytes, streams: Iterable[DataStream]) -> Iterator[DataStream]:
        """The streams of a file that processing changes; its data is also kept as it is, at the layer's root."""
        for stream in streams:
            if not stream.name:
                stream.chunks = self._also_into(backup, stream.chunks)
            yield stream

    def _also_into(self, backup: bytes, chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        with os.fdopen(self.root.create(backup), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                yield chunk

    def close(self) -> None:
        if self._state == "closed":
            return
        with self._step():
            self._end_entry()
            self._finish()
            self._state = "closed"
            self._give_up()
            self.root.close()

    def abort(self) -> None:
        if self._state != "open":
            return
        self._state = "failed"
        with ExitStack() as stack:
            # A user who has not got them may still remove what is the user's own.
            with suppress(AccessDeniedError):
                stack.enter_context(privileges(self.target))
            for undo in (self._end_entry, self._give_up, self.root.close, lambda: remove_tree(Path(self.target))):
                with suppress(OSError):
                    undo()

    def find_in_parents(self, key: str) -> Kind:
        """What the parents have at a path key, the nearest first."""
        for parent in self.chain:
            with suppress(OSError), HostRoot(parent) as root:
                return Kind.DIRECTORY if root.is_directory(encode_name(key)) else Kind.FILE
        return Kind.ABSENT

    # Helpers.

    @contextmanager
    def _step(self) -> Iterator[None]:
        """One call: with the privileges, and if it fails, nothing is left."""
        if self._state != "open":
            raise InvalidStateError(self.target, f"the writer is {self._state}")
        try:
            with privileges(self.target):
                yield
        except LayerError:
            self.abort()
            raise
        except OSError as error:
            self.abort()
            raise from_os_error(self.target, error) from error
        except ValueError as error:
            self.abort()
            raise InvalidDataError(self.target, str(error)) from error
        except BaseException:
            self.abort()
            raise

    def _path(self, name: str) -> bytes:
        """A name in the form of the host's paths."""
        parts = name.replace("\\", "/").split("/")
        for part in parts:
            if reason := illegal_reason(part):
                raise InvalidDataError(self.target, f"entry {name!r}: {reason}")
        return encode_name("/".join(parts))

    def _restore(self, path: bytes, info: FileBasicInfo, *, create: bool) -> None:
        """Opens a file or directory of the target to be restored."""
        self._file = BackupFile(self.root, path, create=create, is_directory=info.is_directory, writable=True)
        self._file.set_info(info)

    def _process_utility_vm(self) -> None:
        # Windows is not led by a link in the layer.
        self.root.directory(b"UtilityVM")
        process_utility_vm_image(os.path.join(self.target, "UtilityVM"))


@boundary
class BaseLayerWriter(HcsLayerWriter):
    """A `LayerWriter` that makes a base layer at `path` and has Windows process it when it is closed.

    Raises:
        AlreadyExistsError: `path` is a folder with something in it.
        PathNotFoundError: its folder does not exist.
        AccessDeniedError: the user does not have the privileges that restoring needs.

    Reference: hcsshim, `baselayerwriter.go`.
    """

    operation = "write base layer"

    def __init__(self, path: StrPath) -> None:
        super().__init__(path, ())
        self._has_utility_vm = False

    def _add(self, path: bytes, info: FileBasicInfo) -> None:
        if path_key(decode_name(path)) == "UTILITYVM/FILES":
            self._has_utility_vm = True
        if info.is_directory:
            self._directories.append((path, info))
        self._restore(path, info, create=True)

    def _add_link(self, path: bytes, target: bytes) -> None:
        self.root.link(target, path)

    def _remove(self, path: bytes) -> None:
        raise InvalidDataError(self.target, f"entry {decode_name(path)!r}: a base layer has no tombstones")

    def _finish(self) -> None:
        restore_times(self.root, self._directories)
        process_base_layer(self.target)
        if self._has_utility_vm:
            self._process_utility_vm()


@boundary
class ChildLayerWriter(HcsLayerWriter):
    """A `LayerWriter` that makes a child layer at `path`: a transport folder that Windows imports at the end.

    What has no place in a transport folder is done in the layer itself: the utility VM, a clone of the parent's with
    the entries put into it; and after the import, tombstones, hard links and the directories' times.

    Raises:
        AlreadyExistsError: `path` is a folder with something in it.
        PathNotFoundError: its folder, or a parent, does not exist.
        AccessDeniedError: the user does not have the privileges that restoring needs.

    Reference: hcsshim, `legacyLayerWriter`.
    """

    operation = "write layer"

    def __init__(self, path: StrPath, parents: Sequence[StrPath]) -> None:
        super().__init__(path, [Path(os.path.abspath(parent)) for parent in parents])
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="hcs"))
        except OSError as error:
            self.root.close()
            os.rmdir(self.target)
            raise from_os_error(self.target, error) from error
        self._transport = HostRoot(self._folder)
        self._utility_vm = UtilityVm(self.root, self.chain[0])
        self._added: set[str] = set()
        self._tombstones: list[bytes] = []
        self._links: list[tuple[bytes, bytes, Path | None]] = []
        self._reparse_directories: list[bytes] = []
        self._transport_file: _TransportFile | None = None

    def _add(self, path: bytes, info: FileBasicInfo) -> None:
        key = path_key(decode_name(path))
        if key == "UTILITYVM":
            self._utility_vm.make()
            return
        if info.is_directory:
            self._directories.append((path, info))
        self._added.add(key)
        if key.startswith("UTILITYVM/"):
            if not self._utility_vm.is_made:
                raise self._invalid(path, "missing UtilityVM directory")
            if key != "UTILITYVM/FILES" and not key.startswith("UTILITYVM/FILES/"):
                raise self._invalid(path, "not in UtilityVM/Files")
            self._restore(path, info, create=self._utility_vm.make_room(path, info))
            return
        if key.startswith("HIVES/") and not info.is_directory:
            self._file = BackupFile(self._transport, path, create=True, writable=True, security=False)
            self._file.set_info(replace(info, attributes=0))
            return
        if info.is_directory:
            self._transport.make_directory(path)
        self._transport_file = _TransportFile(self._transport, path, info)

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        if self._transport_file is not None:
            self._transport_file.write(data)
        else:
            super()._write(data)

    def _end_entry(self) -> None:
        super()._end_entry()
        file, self._transport_file = self._transport_file, None
        if file is None:
            return
        file.close()
        if self._state == "open" and file.is_reparse_directory():
            # Nothing may be put where it leads: the folder itself comes back at the end.
            self._transport.remove(file.path)
            self._reparse_directories.append(file.path)

    def _add_link(self, path: bytes, target: bytes) -> None:
        key, target_key = path_key(decode_name(path)), path_key(decode_name(target))
        if not key.startswith(LINK_ROOTS) or not target_key.startswith(LINK_ROOTS):
            raise self._invalid(path, "a hard link outside of Files and UtilityVM/Files")
        # A target that is not this layer's own lies in a parent; of the utility VM all is in this layer already.
        root: Path | None = None
        if target_key not in self._added:
            candidates = self.chain if target_key.startswith("FILES/") else [Path(self.target)]
            root = next((place for place in candidates if _is_there(place, target)), None)
            if root is None:
                raise self._invalid(path, f"its link target {decode_name(target)!r} is nowhere")
        self._links.append((path, target, root))
        self._added.add(key)

    def _remove(self, path: bytes) -> None:
        key = path_key(decode_name(path))
        if key.startswith("FILES/"):
            self._tombstones.append(path)
        elif key.startswith("UTILITYVM/FILES/"):
            self._utility_vm.make()
            self.root.remove(path)
        else:
            raise self._invalid(path, "a tombstone outside of Files and UtilityVM/Files")

    def _finish(self) -> None:
        for path in self._reparse_directories:
            self._transport.make_directory(path)
        self._transport.close()
        import_layer(self.target, self._folder, self.chain)
        for path in self._tombstones:
            _remove_if_there(self.root, path)
        for path, target, root in self._links:
            _remove_if_there(self.root, path)
            if root is None:
                self.root.link(target, path)
            else:
                with HostRoot(root) as source:
                    self.root.link(target, path, source_root=source)
        restore_times(self.root, self._directories)
        if self._utility_vm.is_made:
            self._process_utility_vm()

    def _give_up(self) -> None:
        self._transport.close()
        remove_tree(self._folder)

    def _invalid(self, path: bytes, problem: str) -> InvalidDataError:
        return InvalidDataError(self.target, f"entry {decode_name(path)!r}: {problem}")


class _TransportFile:
    """What the transport folder has of an entry, being written: its attributes, then its backup stream.

    That of a directory is read along: whether it is a reparse point decides what becomes of the directory.
    """

    def __init__(self, root: HostRoot, path: bytes, info: FileBasicInfo) -> None:
        self.path = path
        self._info = info
        self._parser = BackupStreamParser() if info.is_directory else None
        self._is_reparse = False
        self._fd = root.create(path + DIRECTORY_SUFFIX.encode() if info.is_directory else path)
        write_all(self._fd, ATTRIBUTES.pack(info.attributes))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        write_all(self._fd, data)
        if self._parser is not None:
            for item in self._parser.feed(data):
                if isinstance(item, StreamHeader) and item.id == StreamId.REPARSE_DATA:
                    self._is_reparse = True

    def close(self) -> None:
        try:
            write_times(self._fd, self._info)
        finally:
            os.close(self._fd)

    def is_reparse_directory(self) -> bool:
        """Whether it is one.

        Raises:
            ValueError: a directory's backup stream is not whole.
        """
        if self._parser is not None:
            self._parser.finish()
        return self._is_reparse


def _is_there(place: Path, path: bytes) -> bool:
    with HostRoot(place) as root, suppress(FileNotFoundError, NotADirectoryError):
        root.stat(path)
        return True
    return False


def _remove_if_there(root: HostRoot, path: bytes) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        root.remove(path)


@during("import layer")
def new_layer_writer(path: StrPath, parents: Chain = ()) -> HcsLayerWriter:
    """A writer that makes the layer at `path`; the layer is there when its `close` returns.

    Args:
        path: where the layer will be: nothing, or an empty folder, in a folder that exists.
        parents: the parent chain, nearest first; none for a base layer.

    Raises:
        AlreadyExistsError: `path` is taken.
        PathNotFoundError: the folder of `path`, or a parent, does not exist.
        AccessDeniedError: the user does not have the privileges that restoring needs.

    Reference: hcsshim, `NewLayerWriter`.
    """
    chain = as_chain(parents)
    if any("\0" in os.fspath(place) for place in (path, *chain)):
        raise InvalidParameterError("path", "a NUL in a name")
    return ChildLayerWriter(path, chain) if chain else BaseLayerWriter(path)
