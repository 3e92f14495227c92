"""The hcs engine's side of `FilterLayerReader` and `FilterLayerWriter`: the streaming exports of vmcompute.dll, which
only some builds of Windows have.

Reference: an older hcsshim, `FilterLayerReader` and `FilterLayerWriter`.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

from wclayer._types import Chain, StrPath
from wclayer.engines.hcs import vmcompute
from wclayer.engines.hcs.functions import descriptors, destroy_layer, layer_path
from wclayer.engines.hcs.privileges import privileges
from wclayer.engines.hcs.structs import FileBasicInfoBuffer
from wclayer.engines.hcs.vmcompute import call, driver_info
from wclayer.errors import InvalidStateError, LayerError, NotSupportedError, boundary, during
from wclayer.win32.attributes import FileBasicInfo

_PIECE = 1 << 20
_ERROR_NO_MORE_FILES = 18


class _Stream:
    """A context of Windows between a Begin and an End."""

    operation: str

    def __init__(self, path: StrPath, parents: Chain, begin: str, end: str) -> None:
        self._path = os.fspath(path)
        self._end = end
        self._context = ctypes.c_void_p()
        # Looked up first: without it, a stream that was begun could not be ended.
        vmcompute.export(end)
        above = descriptors(parents)
        place = layer_path(path)
        with privileges(self._path):
            self._call(begin, driver_info(), place, *above, ctypes.byref(self._context))
        self._is_open = True

    def _call(self, name: str, *arguments: object) -> None:
        call(self._path, name, *arguments)

    def _require_open(self) -> None:
        if not self._is_open:
            raise InvalidStateError(self._path, "it is closed")

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            with privileges(self._path):
                self._call(self._end, self._context)


@boundary
class HcsExport(_Stream):
    """Yields a layer entry by entry, as Windows exports it."""

    operation = "read layer"

    def __init__(self, path: StrPath, parents: Chain) -> None:
        self._has_entry = False
        super().__init__(path, parents, "ExportLayerBegin", "ExportLayerEnd")

    def next(self) -> tuple[str, int, FileBasicInfo | None] | None:
        self._require_open()
        self._has_entry = False
        name = ctypes.c_void_p()
        found = FileBasicInfoBuffer()
        size = ctypes.c_int64()
        deleted = ctypes.c_uint32()
        answers = ctypes.byref(name), ctypes.byref(found), ctypes.byref(size), ctypes.byref(deleted)
        try:
            with privileges(self._path):
                self._call("ExportLayerNext", self._context, *answers)
        except LayerError as error:
            if error.code == _ERROR_NO_MORE_FILES:
                return None
            raise
        self._has_entry = True
        # A path from the layer's root may start with the separator.
        entry = vmcompute.take_string(name.value).removeprefix("\\")
        return entry, size.value, None if deleted.value else found.to_info()

    def read(self, size: int = -1, /) -> bytes:
        self._require_open()
        if not self._has_entry:
            raise InvalidStateError(self._path, "no current entry: call next first")
        pieces = []
        while size:
            want = _PIECE if size < 0 else min(size, _PIECE)
            buffer = ctypes.create_string_buffer(want)
            done = ctypes.c_uint32()
            with privileges(self._path):
                self._call("ExportLayerRead", self._context, buffer, want, ctypes.byref(done))
            if not done.value:
                break
            if done.value > want:
                raise LayerError(self._path, f"ExportLayerRead gave {done.value} bytes for {want}")
            pieces.append(buffer.raw[: done.value])
            size -= done.value if size > 0 else 0
        return b"".join(pieces)


@boundary
class HcsImport(_Stream):
    """Passes a layer to Windows entry by entry, which imports it."""

    operation = "write layer"

    def __init__(self, path: StrPath, parents: Chain) -> None:
        self._has_entry = False
        super().__init__(path, parents, "ImportLayerBegin", "ImportLayerEnd")

    def add(self, name: str, info: FileBasicInfo) -> None:
        self._next(name, ctypes.byref(FileBasicInfoBuffer.from_info(info)))
        self._has_entry = True

    def add_link(self, name: str, target: str) -> None:
        raise NotSupportedError(self._path, f"entry {name!r}: ImportLayerNext has no hard links")

    def remove(self, name: str) -> None:
        self._next(name, None)

    def _next(self, name: str, info: object) -> None:
        self._require_open()
        self._has_entry = False
        path = "\\" + vmcompute.text(name).replace("/", "\\").removeprefix("\\")
        with privileges(self._path):
            self._call("ImportLayerNext", self._context, path, info)

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        self._require_open()
        if not self._has_entry:
            raise InvalidStateError(self._path, "no current entry: call add first")
        view = memoryview(data).cast("B")
        with privileges(self._path):
            for at in range(0, len(view), _PIECE):
                piece = bytes(view[at : at + _PIECE])
                self._call("ImportLayerWrite", self._context, piece, len(piece))
        return len(view)

    def abort(self) -> None:
        """Ends the import, and lets Windows remove the layer that it made."""
        if not self._is_open:
            return
        # There is no other way to end the import. Errors are ignored, because the cause is already being reported.
        with suppress(LayerError):
            self.close()
        destroy_layer(self._path)


@during("read layer")
def open_export(path: StrPath, parents: Chain = ()) -> HcsExport:
    """Returns an export of the layer for a `FilterLayerReader`."""
    return HcsExport(path, parents)


@during("write layer")
def open_import(path: StrPath, parents: Chain = ()) -> HcsImport:
    """Returns an import of the layer for a `FilterLayerWriter`."""
    return HcsImport(path, parents)
