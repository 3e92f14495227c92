"""`TableFiles`: the only files that SQL can read, as a file system of fsspec that DuckDB asks.

It shows the Parquet files of the fleets that were opened, under names such as `fleet://main/images/…`, and nothing else
in their folders. It has no way to write.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO

from fsspec.spec import AbstractFileSystem

from wclayer.errors import AccessDeniedError, FormatError, LayerError, errors_at
from wclayer.fleet.tables import parquet
from wclayer.fleet.tables.dataset import Dataset
from wclayer.fleet.tables.schema import Table

PROTOCOL = "fleet"
_UNCHANGED = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of all files: those of a fleet never change, they are replaced by others."""


class TableFiles(AbstractFileSystem):  # type: ignore[misc]
    """The Parquet files of fleets, read-only.

    Args:
        fleets: the fleets, by the names of the schemas in which SQL has their tables.

    Attributes:
        failure: the last error of a file. DuckDB reports it as a text, without its class.
    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self, fleets: Mapping[str, Dataset]) -> None:
        super().__init__()
        self._fleets = fleets
        self._sizes: dict[str, int] = {}
        self.failure: LayerError | None = None

    def urls(self, schema: str) -> dict[Table, list[str]]:
        """Returns the URLs of the files that each table is, and lets DuckDB read them from now on."""
        found = self._fleets[schema].parquet_files()
        self._sizes |= {f"{schema}/{name}": size for files in found.values() for name, size in files.items()}
        return {table: [f"{PROTOCOL}://{schema}/{name}" for name in files] for table, files in found.items()}

    def find_damage(self) -> None:
        """Reads the footers of all files, for an error of DuckDB that names none.

        Raises:
            InvalidDataError, PathNotFoundError: a file is damaged, or is not there.
        """
        for path in self._sizes:
            schema, _, name = path.partition("/")
            with self._fleets[schema].folder.open(name) as stream:
                parquet.read_footer(stream, self.place(path))

    def place(self, name: str) -> str:
        """Returns the path or URL of a file that DuckDB knows by a name or URL."""
        schema, _, inner = self._strip_protocol(name).partition("/")
        return self._fleets[schema].folder.place(inner)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Returns what is known of a file.

        Raises:
            AccessDeniedError: it is no file of a table.
        """
        name = self._strip_protocol(path)
        if name not in self._sizes:
            self.failure = AccessDeniedError(path, "is no file of a table, and SQL reads nothing else")
            raise self.failure
        return {"name": name, "size": self._sizes[name], "type": "file"}

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """Returns nothing: no folder is shown."""
        return []

    def glob(self, path: str, **options: Any) -> list[str]:
        """Returns a file under its own name. There are no patterns.

        Raises:
            AccessDeniedError: it is no file of a table.
        """
        return [self.info(path)["name"]]

    def modified(self, path: str) -> datetime:
        """Returns when a file was changed."""
        return _UNCHANGED

    def _open(self, path: str, mode: str = "rb", *arguments: Any, **options: Any) -> _SharedFile:
        size = self.info(path)["size"]
        with self._noted(path):
            if mode != "rb":
                raise AccessDeniedError(self.place(path), "SQL does not change the tables of a fleet")
            schema, _, name = path.partition("/")
            return _SharedFile(self._fleets[schema].folder.open(name), size, partial(self._noted, path))

    @contextmanager
    def _noted(self, path: str) -> Iterator[None]:
        try:
            with errors_at(self.place(path)):
                yield
        except LayerError as error:
            self.failure = error
            raise


class _SharedFile:
    """A file that several threads read, each from its own position.

    The threads of DuckDB share a file, and set the position and read in two calls.

    Args:
        stream: the file.
        size: its size in bytes.
        noted: gives the context in which errors are noted.
    """

    def __init__(self, stream: BinaryIO, size: int, noted: Callable[[], AbstractContextManager[None]]) -> None:
        self._stream = stream
        self._size = size
        self._noted = noted
        self._lock = threading.Lock()
        # By threads: what `threading.local` has for a thread of DuckDB ends with each call.
        self._positions: dict[int, int] = {}

    def tell(self) -> int:
        """Returns the position of this thread."""
        return self._positions.get(threading.get_ident(), 0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Sets the position of this thread, and returns it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        self._positions[threading.get_ident()] = position = max(0, start + offset)
        return position

    def read(self, size: int = -1) -> bytes:
        """Returns the bytes after the position of this thread.

        Raises:
            InvalidDataError: there are less than were wanted: the file is damaged, or has become shorter.
        """
        left = max(0, self._size - self.tell())
        wanted = left if size < 0 else size
        with self._noted(), self._lock:
            if wanted > left:
                raise FormatError(
                    f"is no intact Parquet file: it names {wanted - left} bytes after its end; scan again"
                )
            self._stream.seek(self.tell())
            data = self._stream.read(wanted)
            if len(data) < wanted:
                raise FormatError("it has become shorter while it was read; ask again when no scan is running")
        self.seek(len(data), os.SEEK_CUR)
        return data

    def close(self) -> None:
        self._stream.close()

    def __del__(self) -> None:
        # DuckDB drops most of its files without closing them.
        self.close()
