"""Writes a layer as the changes of an existing scratch; they replace the scratch's current changes."""

from __future__ import annotations

import hashlib
import os

from wclayer.errors import NotSupportedError, boundary
from wclayer.host.root import write_all
from wclayer.layers.base import LayerWriterBase
from wclayer.layers.directory.database import Origin
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.scratch import UNREAD, ScratchDirectory
from wclayer.layers.names import NameChecker
from wclayer.model import DataStream, Entry
from wclayer.win32.attributes import FileBasicInfo


@boundary
class ScratchWriter(LayerWriterBase):
    """A `LayerWriter` into an open scratch: when it is closed, the entries it got replace the scratch's own changes, in
    one transaction.

    Args:
        scratch: the scratch, which stays open.
        parents: its open parents, nearest first; targets of hard links may lie in them.
    """

    operation = "write scratch"

    def __init__(self, scratch: ScratchDirectory, parents: list[LayerDirectory]) -> None:
        super().__init__(str(scratch.path), NameChecker(str(scratch.path), is_base=False))
        self._scratch = scratch
        self._parents = parents
        scratch.begin(is_change=False)
        scratch.clear()
        scratch.set_record(UNREAD, None)
        self._entry = Entry("", None)
        self._row_id = 0
        self._is_link = False
        self._host: bytes | None = None
        self._fd = -1
        self._digest = hashlib.sha256()
        self._stream: tuple[DataStream, list[bytes]] | None = None
        self._streams: list[tuple[DataStream, list[bytes]]] = []

    def _begin(self, entry: Entry, key: str) -> None:
        self._entry = entry
        self._streams = []
        self._is_link = entry.link_target is not None
        self._host, self._digest = None, hashlib.sha256()
        if entry.info is None:
            self._scratch.add_tombstone(entry.name, key)

    def _open_stream(self, stream: DataStream) -> None:
        self._stream = None
        if self._is_link:
            return
        if stream.name:
            self._stream = (stream, [])
            self._streams.append(self._stream)
        else:
            self._host, self._fd = self._scratch.new_file()

    def _data(self, chunk: bytes | memoryview) -> None:
        if self._is_link:
            return
        if self._stream is not None:
            self._stream[1].append(bytes(chunk))
            return
        self._digest.update(chunk)
        write_all(self._fd, chunk)

    def _close_stream(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _end(self) -> None:
        entry, scratch = self._entry, self._scratch
        if entry.info is None:
            return
        parent_path, _, name = entry.name.rpartition("/")
        parent = scratch.lookup(parent_path)
        if parent is None:
            raise self._bad(entry, "its directory is not part of a scratch")
        if entry.link_target is not None:
            self._end_link(entry, entry.info, parent.id, name)
            return
        if entry.has_data and self._host is None:
            self._host, fd = scratch.new_file()
            os.close(fd)
        existing = scratch.child(parent.id, name)
        if existing is not None:
            # One of the root directories.
            self._row_id = existing.id
            self._set_root(existing.id, entry.info, entry.security)
        else:
            self._row_id = scratch.add(
                parent.id, name, entry.info, security=entry.security, size=entry.size,
                sha256=None if self._host is None else self._digest.digest(), eas=entry.eas or None,
                reparse=entry.reparse, host=self._host,
            ).id  # fmt: skip
        row = scratch.by_id(self._row_id)
        for stream, pieces in self._streams:
            scratch.put_stream(row, stream.name, pieces, attributes=stream.attributes)
            row = scratch.by_id(self._row_id)
        if entry.extra:
            raise NotSupportedError(self.target, f"entry {entry.name!r}: stream {entry.extra[0].id}")

    def _set_root(self, row_id: int, info: FileBasicInfo, security: bytes | None) -> None:
        row = self._scratch.by_id(row_id)
        self._scratch.set_info(row, info, origin=Origin.OWN)
        if security is not None:
            self._scratch.set_security(row, security, info.change_time)

    def _end_link(self, entry: Entry, info: FileBasicInfo, parent: int, name: str) -> None:
        assert entry.link_target is not None
        target = self._scratch.lookup(entry.link_target)
        if target is not None:
            self._scratch.add_link(parent, name, target)
            return
        for layer in self._parents:
            found = layer.lookup(entry.link_target)
            if found is None:
                continue
            source = layer.first_name(found)
            host = None
            if source.sha256 is not None:
                layer.stat_file(found)
                host = self._scratch.take_file(layer.host, layer.host_path(found))
            added = self._scratch.add(
                parent, name, info, security=layer.security(found), size=source.size, sha256=source.sha256,
                eas=source.eas, reparse=source.reparse, host=host,
            )  # fmt: skip
            self._scratch.copy_streams(layer, source, added.id)
            return
        raise self._bad(entry, f"hard link to {entry.link_target!r}, which is not there")

    def _finish(self) -> None:
        self._scratch.commit()

    def _discard(self) -> None:
        self._close_stream()
        if self._scratch.is_changing:
            self._scratch.rollback()
