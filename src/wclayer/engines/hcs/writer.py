"""Writers of Windows' layers: a base layer is written in place, a child through a transport folder.

Windows makes neither of them in one step. If a writer fails, the incomplete layer and the temporary folder are removed.
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
    """The base class of the writers of Windows' layers: it writes backup streams, and cleans up after a failure.

    It is a `LayerWriter`. `put` converts parsed entries to backup streams.
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

    # The steps that differ between the two kinds. Each is called with the privileges.

    @abstractmethod
    def _add(self, path: bytes, info: FileBasicInfo) -> None:
        """Starts an entry."""

    @abstractmethod
    def _add_link(self, path: bytes, target: bytes) -> None:
        """Adds a further name."""

    @abstractmethod
    def _remove(self, path: bytes) -> None:
        """Adds a tombstone."""

    @abstractmethod
    def _finish(self) -> None:
        """Completes the layer after its last entry."""

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        """Accepts more of the entry's backup stream."""
        if self._file is None:
            raise InvalidStateError(self.target, "no current entry: call add first")
        self._file.write(memoryview(data))

    def _end_entry(self) -> None:
        """Ends the current entry, which is complete or given up."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _give_up(self) -> None:
        """Closes and removes the files outside of the target."""

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
        """Yields the streams of a file that processing changes. A copy of its data is also kept at the layer's root."""
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
            # A user without the privileges may still remove their own files.
            with suppress(AccessDeniedError):
                stack.enter_context(privileges(self.target))
            for undo in (self._end_entry, self._give_up, self.root.close, lambda: remove_tree(Path(self.target))):
                with suppress(OSError):
                    undo()

    def find_in_parents(self, key: str) -> Kind:
        """Returns the kind of a path key in the nearest parent that has it."""
        for parent in self.chain:
            with suppress(OSError), HostRoot(parent) as root:
                return Kind.DIRECTORY if root.is_directory(encode_name(key)) else Kind.FILE
        return Kind.ABSENT

    # Helpers.

    @contextmanager
    def _step(self) -> Iterator[None]:
        """A context for one call: it holds the privileges, and discards the layer if the call fails."""
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
        """Returns a name as a path of the host."""
        parts = name.replace("\\", "/").split("/")
        for part in parts:
            if reason := illegal_reason(part):
                raise InvalidDataError(self.target, f"entry {name!r}: {reason}")
        return encode_name("/".join(parts))

    def _restore(self, path: bytes, info: FileBasicInfo, *, create: bool) -> None:
        """Opens a file or directory of the target for the restore."""
        self._file = BackupFile(self.root, path, create=create, is_directory=info.is_directory, writable=True)
        self._file.set_info(info)

    def _process_utility_vm(self) -> None:
        # A link in the layer must not lead Windows to another path.
        self.root.directory(b"UtilityVM")
        process_utility_vm_image(os.path.join(self.target, "UtilityVM"))


@boundary
class BaseLayerWriter(HcsLayerWriter):
    """A `LayerWriter` that makes a base layer at `path`. When it is closed, Windows processes the layer.

    Raises:
        AlreadyExistsError: `path` is a folder that is not empty.
        PathNotFoundError: the folder of `path` does not exist.
        AccessDeniedError: the user does not have the privileges that a restore needs.

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

    A transport folder cannot hold everything. The rest is written to the layer itself: the utility VM, which is a clone
    of the parent's with the entries put into it, and after the import, tombstones, hard links and the times of
    directories.

    Raises:
        AlreadyExistsError: `path` is a folder that is not empty.
        PathNotFoundError: the folder of `path`, or a parent, does not exist.
        AccessDeniedError: the user does not have the privileges that a restore needs.

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
            # Nothing may be written through the reparse point: the folder itself is restored at the end.
            self._transport.remove(file.path)
            self._reparse_directories.append(file.path)

    def _add_link(self, path: bytes, target: bytes) -> None:
        key, target_key = path_key(decode_name(path)), path_key(decode_name(target))
        if not key.startswith(LINK_ROOTS) or not target_key.startswith(LINK_ROOTS):
            raise self._invalid(path, "a hard link outside of Files and UtilityVM/Files")
        # A target outside of this layer lies in a parent. All files of the utility VM are already in this layer.
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
    """The file of an entry in the transport folder, which is being written: its attributes, then its backup stream.

    The backup stream of a directory is also parsed, because a directory with a reparse point is treated differently.
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
        """Returns whether the entry is a directory with a reparse point.

        Raises:
            ValueError: the backup stream of a directory is incomplete.
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
    """Returns a writer that makes the layer at `path`. The layer is complete when `close` returns.

    Args:
        path: the path of the new layer, in an existing folder. Nothing, or an empty folder, may be there.
        parents: the parent chain, nearest first; empty for a base layer.

    Raises:
        AlreadyExistsError: `path` is taken.
        PathNotFoundError: the folder of `path`, or a parent, does not exist.
        AccessDeniedError: the user does not have the privileges that a restore needs.

    Reference: hcsshim, `NewLayerWriter`.
    """
    chain = as_chain(parents)
    if any("\0" in os.fspath(place) for place in (path, *chain)):
        raise InvalidParameterError("path", "a NUL in a name")
    return ChildLayerWriter(path, chain) if chain else BaseLayerWriter(path)
