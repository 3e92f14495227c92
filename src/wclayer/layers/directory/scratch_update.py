"""Replaces files of a scratch in place, and chooses the kind of update for a layer."""

from __future__ import annotations

import hashlib
import os

from wclayer._types import StrPath
from wclayer.errors import NotSupportedError
from wclayer.host import durability
from wclayer.layers import atomic
from wclayer.layers.directory.database import Origin
from wclayer.layers.directory.opening import open_layer
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.layers.directory.scratch_layer import ScratchLayer
from wclayer.layers.directory.update import FileChange, LayerUpdate, Update, own_directory
from wclayer.win32.attributes import DIRECTORY, FileAttributes, FileBasicInfo


def open_update(path: StrPath) -> Update:
    """Opens an update of the layer directory at `path`, which is a finished layer or a scratch.

    Raises:
        LayerBusyError: another process is changing the layer.
        PathNotFoundError, NotALayerError, CorruptLayerError: see `open_layer`.
    """
    with open_layer(path) as layer:
        is_scratch = isinstance(layer, ScratchLayer)
    return ScratchUpdate(path) if is_scratch else LayerUpdate(path)


class ScratchUpdate(Update):
    """An `Update` of a scratch, which it changes in place."""

    def __init__(self, path: StrPath) -> None:
        super().__init__()
        self._scratch = ScratchDirectory(path, exclusive=True, wait=atomic.PATIENCE)
        self._is_open = True

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._scratch.close()

    def _check(self, path: str) -> None:
        directory = self._scratch.lookup(path.rpartition("/")[0])
        if directory is None or not directory.attributes & DIRECTORY:
            raise NotSupportedError(self._scratch.path / path, "the layer has no such directory")

    def commit(self, time: int) -> None:
        scratch = self._scratch
        with scratch.transaction():
            for change in self._changes:
                self._apply(change, time)
            for path, descriptor in self._descriptors.items():
                row = scratch.lookup(path)
                assert row is not None
                scratch.set_security(row, descriptor, time)
            for key, value in self._records.items():
                scratch.set_record(key, value)
        if durability.is_wanted():
            scratch.sync_all()
        self.close()

    def _apply(self, change: FileChange, time: int) -> None:
        scratch = self._scratch
        parent_path, _, name = change.path.rpartition("/")
        directory, row = scratch.lookup(parent_path), scratch.lookup(change.path)
        assert directory is not None
        host, fd = scratch.new_file()
        with os.fdopen(fd, "wb") as file:
            file.write(change.data)
            file.flush()
        scratch.make_safe(host)
        digest = hashlib.sha256(change.data).digest()
        if row is None:
            info = FileBasicInfo(int(FileAttributes.ARCHIVE), time, time, time, time)
            scratch.add(
                directory.id, name, info, security=change.security, size=len(change.data), sha256=digest, host=host,
                origin=change.origin,
            )  # fmt: skip
        else:
            scratch.replace_file(row, host, size=len(change.data), sha256=digest, time=time)
        if change.origin is Origin.OWN and directory.origin == Origin.IMPLIED:
            # The directory of an exported entry must be exported, too.
            if change.directory_security is not None:
                scratch.set_security(directory, change.directory_security, time)
            scratch.set_info(directory, own_directory(time), origin=Origin.OWN)
