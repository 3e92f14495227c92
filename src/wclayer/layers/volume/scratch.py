"""Reads the volume of a scratch as a layer: its difference from its parents.

Windows' container filter (WCI) leaves marks on a scratch's volume, in the form of reparse points: a *placeholder*
represents a file or directory of a parent, a *tombstone* a deleted name, a *link* a parent's file under another name.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from wclayer._types import Chain, StrPath
from wclayer.errors import boundary
from wclayer.formats.ntfs.structs import AttributeType, NtfsError
from wclayer.formats.ntfs.volume import FileRecord
from wclayer.layers.directory.chain import resolve_chain
from wclayer.layers.directory.database import EntryRow
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.opening import open_layer
from wclayer.layers.hives import HIVES_ROOT
from wclayer.layers.names import Kind
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.model import DataStream, Entry, Limits
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.backup import StreamId
from wclayer.win32.ea import with_last_marked
from wclayer.win32.names import name_key, path_key
from wclayer.win32.reparse import ReparseTag, decode_reparse, decode_wci

_PLACEHOLDERS = (ReparseTag.WCI, ReparseTag.WCI_1)
_LINKS = (ReparseTag.WCI_LINK, ReparseTag.WCI_LINK_1)
_FILTER_ATTRIBUTES = int(FileAttributes.REPARSE_POINT | FileAttributes.SPARSE_FILE)
_NOT_COMPARED = _FILTER_ATTRIBUTES | int(FileAttributes.ARCHIVE)
_ENCRYPTED = int(FileAttributes.ENCRYPTED)
STATE = "Files/WcSandboxState"
"""The directory with a container's own files on the volume. Only the delta hives in it are part of the layer."""
STATE_HIVES = f"{STATE}/{HIVES_ROOT}"

_Found = tuple[Entry, FileRecord, "tuple[LayerDirectory, EntryRow] | None"]


@boundary
class ScratchLayerReader(VolumeLayerReader):
    """A `LayerReader` over the difference between the volume in a disk file and its parent layers.

    A placeholder that is unchanged is left out. A placeholder whose attributes, security, EAs, alternate streams,
    creation time or write time have changed becomes the parent's file with the changed metadata. A directory is yielded
    if an entry below it is, or if one of these, its change time or its object id has changed. A link becomes a hard
    link to the parent's file. The delta hives in `WcSandboxState` become `Hives`.

    Args:
        path: the disk file, such as `sandbox.vhdx`.
        parents: the layer directories, nearest first, or only the nearest one.
        limits: how much is accepted; by default the limits in use.

    Raises:
        PathNotFoundError, NotALayerError: the file or a parent does not exist, or a parent is not a layer.
        LimitExceededError: the volume is larger than `limits`.
        InvalidDataError: the file does not hold an intact NTFS volume, or a placeholder has no file in the parents.
    """

    operation = "read scratch"

    def __init__(
        self,
        path: StrPath,
        parents: Chain,
        *,
        limits: Limits | None = None,
    ) -> None:
        chain = resolve_chain(parents)
        with ExitStack() as stack:
            self._parents = [stack.enter_context(open_layer(parent)) for parent in chain]
            super().__init__(path, limits=limits)
            self._layers = stack.pop_all()
        self._queue: deque[_Found] = deque()
        # Directories above the current path that were not yielded yet. They are yielded if an entry below them is.
        self._held: list[_Found] = []
        self._source: tuple[LayerDirectory, EntryRow] | None = None

    def _advance(self) -> Entry | None:
        while not self._queue:
            found = next(self._records, None)
            if found is None:
                return None
            path, record = found
            with self._errors(path):
                self._take(path, record)
        entry, self._record, self._source = self._queue.popleft()
        return entry

    def _take(self, path: str, record: FileRecord) -> None:
        """Translates a name of the volume into entries of the layer, and adds these to the queue."""
        key = path_key(path)
        if key == path_key(STATE) or key.startswith(path_key(STATE) + "/"):
            if not (key + "/").startswith(path_key(STATE_HIVES) + "/"):
                return
            path = HIVES_ROOT + path[len(STATE_HIVES) :]
        while self._held and not path.startswith(self._held[-1][0].name + "/"):
            self._held.pop()
        entry = self._entry_of(path, record)
        point = None if entry.reparse is None else decode_reparse(entry.reparse)
        if point is None or point.tag not in (*_PLACEHOLDERS, *_LINKS, ReparseTag.WCI_TOMBSTONE):
            if point is None and entry.is_directory and "/" in path and self._parents_have(path):
                # A directory without a placeholder's mark is opaque: no name of the parents is visible in it.
                self._give((Entry(path, None), record, None))
            self._give((entry, record, None))
        elif point.tag == ReparseTag.WCI_TOMBSTONE:
            self._give((Entry(path, None), record, None))
        elif point.tag in _LINKS:
            target = "Files/" + decode_wci(point).name.replace("\\", "/").strip("/")
            self._give((replace(self._without_filter(entry), link_target=target, size=0), record, None))
        else:
            self._placeholder(entry, record, "Files/" + decode_wci(point).name.replace("\\", "/").strip("/"))

    def _parents_have(self, path: str) -> bool:
        return any(layer.kind(path) is Kind.DIRECTORY for layer in self._parents)

    def _placeholder(self, entry: Entry, record: FileRecord, name: str) -> None:
        source = next(
            ((layer, row) for layer in self._parents if (row := layer.lookup(name or entry.name)) is not None), None
        )
        if source is None:
            raise NtfsError(f"a placeholder for {name!r}, which no parent has")
        layer, row = source
        theirs = layer.entry(row)
        entry = self._without_filter(entry)
        assert entry.info is not None
        assert theirs.info is not None
        # Attributes that a volume cannot store are kept from the parent.
        entry.info.attributes |= theirs.info.attributes & _ENCRYPTED
        changed = (
            (entry.info.attributes ^ theirs.info.attributes) & ~_NOT_COMPARED != 0
            or entry.security != theirs.security
            or entry.info.creation_time != theirs.info.creation_time
            or entry.info.last_write_time != theirs.info.last_write_time
        )
        eas = with_last_marked(theirs.eas)
        if theirs.is_directory:
            self._held.append((entry, record, None))
            if (
                changed
                or entry.info.change_time != theirs.info.change_time
                or entry.eas != eas
                or _object_id(entry) != _object_id(theirs)
                or not self._has_streams_of(record, layer, row)
            ):
                self._give_held()
            return
        # A placeholder of a file may lack EAs and streams; they are then the parent's.
        if entry.eas != eas and entry.eas:
            changed = True
        elif not entry.eas:
            entry = replace(entry, eas=eas)
        own_streams = any(a.type == AttributeType.DATA and a.name for a in record.attributes)
        if changed or (own_streams and not self._has_streams_of(record, layer, row)):
            self._give((replace(entry, size=row.size), record, source))

    def _has_streams_of(self, record: FileRecord, layer: LayerDirectory, row: EntryRow) -> bool:
        """Returns whether a file or directory of the volume has exactly the alternate streams of a parent's."""
        own = {name_key(a.name): a for a in record.attributes if a.type == AttributeType.DATA and a.name}
        for theirs in layer.streams(row, has_data=False):
            mine = own.pop(name_key(theirs.name), None)
            if mine is None or mine.size != theirs.size:
                return False
            if _digest(self.volume.chunks(mine)) != _digest(theirs.chunks):
                return False
        return not own

    @staticmethod
    def _without_filter(entry: Entry) -> Entry:
        assert entry.info is not None
        info = replace(entry.info, attributes=entry.info.attributes & ~_FILTER_ATTRIBUTES)
        return replace(entry, info=info, reparse=None)

    def _give(self, found: _Found) -> None:
        self._give_held()
        self._queue.append(found)

    def _give_held(self) -> None:
        self._queue.extend(self._held)
        self._held.clear()

    def _open_streams(self, entry: Entry) -> Iterator[DataStream]:
        if self._source is None:
            yield from super()._open_streams(entry)
            return
        layer, row = self._source
        own = [stream for stream in super()._open_streams(entry) if stream.name]
        for stream in layer.streams(row, has_data=row.sha256 is not None):
            if not stream.name or not own:
                yield stream
        yield from own

    def _release(self) -> None:
        super()._release()
        self._layers.close()


def _object_id(entry: Entry) -> bytes:
    return next((extra.data[:64].ljust(64, b"\0") for extra in entry.extra if extra.id == StreamId.OBJECT_ID), b"")


def _digest(chunks: Iterable[bytes | memoryview]) -> bytes:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()
