"""`FilterLayerReader` and `FilterLayerWriter`: hcsshim's streaming access to a layer, without a transport folder."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from wclayer._types import Chain, StrPath
from wclayer.engines.engine import Engine, ExportStream, FilterEntry, ImportStream
from wclayer.engines.selection import engine as selected
from wclayer.layers.base import WriterContext
from wclayer.win32.attributes import FileBasicInfo


class FilterLayerReader:
    """Reads an on-disk layer entry by entry, in hcsshim's form.

    Args:
        path: the layer directory.
        parents: the parent chain; see `new_layer_reader`.
        engine: the engine that reads; by default the chosen one.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
        InvalidParameterError: `parents` are not the layer's.
        NotSupportedError: this build of Windows does not have the functions (hcs engine).

    Reference: `ExportLayerBegin`, `ExportLayerNext`, `ExportLayerRead`, `ExportLayerEnd` of vmcompute.dll.
    """

    def __init__(self, path: StrPath, parents: Chain = (), *, engine: Engine | None = None) -> None:
        self._stream: ExportStream = (engine or selected()).open_export(path, parents)

    def next(self) -> FilterEntry | None:
        r"""Returns the next entry: its path below the layer (`Files\x`), size in bytes and basic info; None at the end.

        The info of a tombstone is None. Directories come before what is in them.
        """
        return self._stream.next()

    def read(self, size: int = -1, /) -> bytes:
        """Returns up to `size` bytes of the entry's Win32 backup stream; an empty object at its end."""
        return self._stream.read(size)

    def close(self) -> None:
        """Ends the export."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class FilterLayerWriter(WriterContext):
    """Writes an on-disk layer entry by entry, in hcsshim's form. The layer exists when `close` returns.

    Args:
        path, parents: see `new_layer_writer`.
        engine: the engine that writes; by default the chosen one.

    Raises:
        AlreadyExistsError, PathNotFoundError, NotALayerError, InvalidParameterError: see `new_layer_writer`.
        NotSupportedError: this build of Windows does not have the functions (hcs engine).

    Reference: `ImportLayerBegin`, `ImportLayerNext`, `ImportLayerWrite`, `ImportLayerEnd` of vmcompute.dll.
    """

    def __init__(self, path: StrPath, parents: Chain = (), *, engine: Engine | None = None) -> None:
        self._stream: ImportStream = (engine or selected()).open_import(path, parents)

    def add(self, name: str, info: FileBasicInfo) -> None:
        """Starts an entry. `write` takes its Win32 backup stream."""
        self._stream.add(name, info)

    def add_link(self, name: str, target: str) -> None:
        """Adds `name` as a further name of the file `target`.

        Raises:
            NotSupportedError: the functions of Windows do not support hard links (hcs engine).
        """
        self._stream.add_link(name, target)

    def remove(self, name: str) -> None:
        """Records that `name` is deleted from the parents."""
        self._stream.remove(name)

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Writes more of the current entry's backup stream. Returns the number of bytes."""
        return self._stream.write(data)

    def close(self) -> None:
        """Completes the layer."""
        self._stream.close()

    def abort(self) -> None:
        """Discards the layer."""
        self._stream.abort()
