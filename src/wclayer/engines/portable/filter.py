"""`FilterLayerReader` and `FilterLayerWriter`: hcsshim's streaming access to a layer, without a transport folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from wclayer.engines.portable.exporting import new_layer_reader
from wclayer.engines.portable.importing import new_layer_writer
from wclayer.win32.attributes import FileBasicInfo

PathLike = str | os.PathLike[str]


class FilterLayerReader:
    """Reads an on-disk layer entry by entry, in hcsshim's form.

    Raises:
        PathNotFoundError, NotALayerError: there is no layer at `path`.
        InvalidParameterError: `parents` are not the layer's.

    Reference: `ExportLayerBegin`, `ExportLayerNext`, `ExportLayerRead`, `ExportLayerEnd` of vmcompute.dll.
    """

    def __init__(self, path: PathLike, parents: Sequence[PathLike] = ()) -> None:
        self._reader = new_layer_reader(path, parents)

    def next(self) -> tuple[str, int, FileBasicInfo | None] | None:
        r"""The next entry's path relative to the layer (`Files\x`), size in bytes, and basic info; None at the end.

        The info is None for a tombstone. Parents come before their children.
        """
        entry = self._reader.next()
        return None if entry is None else (entry.name.replace("/", "\\"), entry.size, entry.info)

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes of the entry's Win32 backup stream; empty at its end."""
        return self._reader.read(size)

    def close(self) -> None:
        """Ends the reading."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class FilterLayerWriter:
    """Writes an on-disk layer entry by entry, in hcsshim's form. The layer is there when `close` returns.

    Raises:
        AlreadyExistsError, PathNotFoundError, NotALayerError, InvalidParameterError: see `new_layer_writer`.

    Reference: `ImportLayerBegin`, `ImportLayerNext`, `ImportLayerWrite`, `ImportLayerEnd` of vmcompute.dll.
    """

    def __init__(self, path: PathLike, parents: Sequence[PathLike] = ()) -> None:
        self._writer = new_layer_writer(path, parents)

    def add(self, name: str, info: FileBasicInfo) -> None:
        """Starts an entry; its Win32 backup stream follows through `write`."""
        self._writer.add(name, info)

    def add_link(self, name: str, target: str) -> None:
        """Adds `name` as a further name of the file `target`."""
        self._writer.add_link(name, target)

    def remove(self, name: str) -> None:
        """Records that `name` is deleted from the parents."""
        self._writer.remove(name)

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Takes more of the current entry's backup stream; gives the number of bytes taken."""
        return self._writer.write(data)

    def close(self) -> None:
        """Ends the layer, which is there from now on."""
        self._writer.close()

    def abort(self) -> None:
        """Discards the layer."""
        self._writer.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._writer.__exit__(kind, error, tb)
