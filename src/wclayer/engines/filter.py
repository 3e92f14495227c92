"""`FilterLayerReader` and `FilterLayerWriter`: hcsshim's streaming access to a layer, without a transport folder."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from wclayer._types import StrPath
from wclayer.engines.selection import engine
from wclayer.layers.base import WriterContext
from wclayer.win32.attributes import FileBasicInfo

FilterEntry = tuple[str, int, FileBasicInfo | None]


class ExportStream(Protocol):
    """What an engine reads a layer by; see `FilterLayerReader`."""

    def next(self) -> FilterEntry | None: ...
    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class ImportStream(Protocol):
    """What an engine writes a layer by; see `FilterLayerWriter`."""

    def add(self, name: str, info: FileBasicInfo) -> None: ...
    def add_link(self, name: str, target: str) -> None: ...
    def remove(self, name: str) -> None: ...
    def write(self, data: bytes | bytearray | memoryview, /) -> int: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class FilterLayerReader:
    """Reads an on-disk layer entry by entry, in hcsshim's form.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
        InvalidParameterError: `parents` are not the layer's.
        NotSupportedError: this build of Windows does not have the functions (hcs engine).

    Reference: `ExportLayerBegin`, `ExportLayerNext`, `ExportLayerRead`, `ExportLayerEnd` of vmcompute.dll.
    """

    def __init__(self, path: StrPath, parents: Sequence[StrPath] = ()) -> None:
        self._stream: ExportStream = engine().open_export(path, parents)

    def next(self) -> FilterEntry | None:
        r"""The next entry's path relative to the layer (`Files\x`), size in bytes, and basic info; None at the end.

        The info is None for a tombstone. Parents come before their children.
        """
        return self._stream.next()

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes of the entry's Win32 backup stream; empty at its end."""
        return self._stream.read(size)

    def close(self) -> None:
        """Ends the reading."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class FilterLayerWriter(WriterContext):
    """Writes an on-disk layer entry by entry, in hcsshim's form. The layer is there when `close` returns.

    Raises:
        AlreadyExistsError, PathNotFoundError, NotALayerError, InvalidParameterError: see `new_layer_writer`.
        NotSupportedError: this build of Windows does not have the functions (hcs engine).

    Reference: `ImportLayerBegin`, `ImportLayerNext`, `ImportLayerWrite`, `ImportLayerEnd` of vmcompute.dll.
    """

    def __init__(self, path: StrPath, parents: Sequence[StrPath] = ()) -> None:
        self._stream: ImportStream = engine().open_import(path, parents)

    def add(self, name: str, info: FileBasicInfo) -> None:
        """Starts an entry; its Win32 backup stream follows through `write`."""
        self._stream.add(name, info)

    def add_link(self, name: str, target: str) -> None:
        """Adds `name` as a further name of the file `target`.

        Raises:
            NotSupportedError: the functions of Windows have no hard links (hcs engine).
        """
        self._stream.add_link(name, target)

    def remove(self, name: str) -> None:
        """Records that `name` is deleted from the parents."""
        self._stream.remove(name)

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Takes more of the current entry's backup stream; gives the number of bytes taken."""
        return self._stream.write(data)

    def close(self) -> None:
        """Ends the layer, which is there from now on."""
        self._stream.close()

    def abort(self) -> None:
        """Discards the layer."""
        self._stream.abort()
