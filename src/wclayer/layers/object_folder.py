"""`ObjectFolder`: a folder of this machine, or a place that fsspec reaches by a URL, in which files appear whole.

A file of this machine is a `StagedFile`. A store of objects (S3 and its like) shows an object when all of it is there;
in any other place, a file gets a temporary name first.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from wclayer._types import StrPath
from wclayer.errors import (
    TEMPORARY_NAME,
    AccessDeniedError,
    LayerError,
    NotSupportedError,
    PathNotFoundError,
    errors_at,
)
from wclayer.layers import atomic

_OBJECT_STORES = frozenset({"abfs", "abfss", "az", "gcs", "gs", "oci", "oss", "s3", "s3a"})
"""Protocols of fsspec whose stores show an object only when it is complete."""
_AT_ONCE = 32 << 20
"""Bytes of a file that is sent to a store of objects in one request."""


class ObjectFolder:
    """A folder with files that appear whole. It can be pickled: the unpickled one is the same place.

    Names are relative to it, with slashes. Folders between are made when they are needed.

    Args:
        url: a path, or a URL that fsspec knows (`s3://bucket/fleet`).

    Attributes:
        url: the path or URL.

    Raises:
        NotSupportedError: fsspec is not installed, or does not know the URL.
    """

    def __init__(self, url: StrPath) -> None:
        self.url = os.fspath(url)
        self._fs: Any = None
        self._root = self.url
        if "://" in self.url or "::" in self.url:
            self._connect()

    def __reduce__(self) -> tuple[object, ...]:
        return ObjectFolder, (self.url,)

    def _connect(self) -> None:
        try:
            from fsspec.core import url_to_fs
            from fsspec.implementations.local import LocalFileSystem
        except ImportError:
            raise NotSupportedError(
                self.url, "a URL needs the package fsspec: pip install 'wclayer[fleet]', or name a folder"
            ) from None
        try:
            fs, self._root = url_to_fs(self.url)
        except Exception as error:
            # That a package is missing, that the URL is none, and whatever its backend finds wrong with it.
            raise NotSupportedError(self.url, f"fsspec cannot use it: {error}") from error
        if not isinstance(fs, LocalFileSystem):
            self._fs = fs

    @property
    def path(self) -> Path | None:
        """The folder on this machine; None if it is elsewhere."""
        return Path(self._root) if self._fs is None else None

    def place(self, name: str) -> str:
        """Returns the path of a file, or its URL."""
        return str(Path(self._root, name)) if self._fs is None else f"{self.url.rstrip('/')}/{name}"

    def names(self, folder: str) -> dict[str, int]:
        """Returns the names of the complete files in a folder and below it, in order, with their sizes in bytes.

        A folder that does not exist has none.
        """
        found = self._local_sizes(folder) if self._fs is None else self._remote_sizes(folder)
        return {name: found[name] for name in sorted(found) if not TEMPORARY_NAME.search(name)}

    def exists(self, name: str) -> bool:
        """Returns whether there is a complete file with a name."""
        if self._fs is None:
            with errors_at(self.place(name)):
                return Path(self.place(name)).is_file()
        with self._remote_errors(name):
            return bool(self._fs.exists(self._at(name)))

    def open(self, name: str) -> BinaryIO:
        """Opens a file for reading, at any offset.

        Raises:
            PathNotFoundError: it does not exist.
        """
        if self._fs is None:
            with errors_at(self.place(name)):
                return Path(self.place(name)).open("rb")
        with self._remote_errors(name):
            stream: BinaryIO = self._fs.open(self._at(name), "rb")
            return stream

    @contextlib.contextmanager
    def new_file(self, name: str) -> Iterator[BinaryIO]:
        """A context manager that gives the stream of a new file. The file appears at the end, and replaces one that has
        the name; after an exception it does not appear."""
        if self._fs is None:
            target = Path(self.place(name))
            with errors_at(target):
                atomic.make_folder(target.parent, parents=True)
            # The caller removes leftovers of the whole place at once: it has too many folders to look at each time.
            with atomic.StagedFile(target, sweep=False) as staged:
                yield staged.stream
            return
        with tempfile.TemporaryFile() as temporary:
            stream = cast(BinaryIO, temporary)
            yield stream
            size = stream.tell()
            stream.seek(0)
            with self._remote_errors(name):
                self._send(name, stream, size)

    def remove(self, name: str) -> None:
        """Removes a file, if it exists."""
        if self._fs is None:
            target = Path(self.place(name))
            with errors_at(target), contextlib.suppress(FileNotFoundError):
                target.unlink()
                atomic.sync_name(target)
            return
        with self._remote_errors(name), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._at(name))

    def remove_leftovers(self, folder: str) -> None:
        """Removes what killed writers left in a folder and below it.

        On this machine, what living ones are writing stays. Elsewhere nobody knows whether a writer lives: the caller
        must know that there is none.
        """
        if self._fs is None:
            for path, _, _ in os.walk(self.place(folder)):
                atomic.remove_leftovers(Path(path))
            return
        for name in self._remote_sizes(folder):
            if TEMPORARY_NAME.search(name):
                self.remove(name)

    def _local_sizes(self, folder: str) -> dict[str, int]:
        found: dict[str, int] = {}
        with errors_at(self.place(folder)):
            for path, _, files in os.walk(self.place(folder), onerror=_raise):
                for file in files:
                    # A file of another process may go while it is listed.
                    with contextlib.suppress(FileNotFoundError):
                        place = Path(path, file)
                        found[place.relative_to(self._root).as_posix()] = place.stat().st_size
        return found

    def _remote_sizes(self, folder: str) -> dict[str, int]:
        with self._remote_errors(folder):
            self._fs.invalidate_cache()
            root = self._at("")
            try:
                found = self._fs.find(self._at(folder), detail=True)
            except FileNotFoundError:
                return {}
            return {path.removeprefix(root): int(facts["size"] or 0) for path, facts in found.items()}

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _send(self, name: str, stream: BinaryIO, size: int) -> None:
        place = self._at(name)
        protocols = (self._fs.protocol,) if isinstance(self._fs.protocol, str) else self._fs.protocol
        shows_whole = not _OBJECT_STORES.isdisjoint(protocols)
        folder, _, last = place.rpartition("/")
        target = place if shows_whole else f"{folder}/.wclayer-{last}-{secrets.token_hex(8)}.partial"
        if not shows_whole:
            self._fs.makedirs(folder, exist_ok=True)
        if size <= _AT_ONCE:
            self._fs.pipe_file(target, stream.read())
        else:
            self._stream(target, stream)
        if target != place:
            self._fs.mv(target, place)

    def _stream(self, place: str, stream: BinaryIO) -> None:
        """Sends a file in parts. What was sent before a failure never becomes an object."""
        from fsspec.spec import AbstractBufferedFile

        sent = self._fs.open(place, "wb")
        try:
            shutil.copyfileobj(stream, sent, 1 << 20)
            sent.close()
        except BaseException:
            with contextlib.suppress(Exception):
                sent.discard()
            if isinstance(sent, AbstractBufferedFile):
                # Otherwise it would be completed with what it has when it is collected.
                sent.closed = True
            raise

    @contextlib.contextmanager
    def _remote_errors(self, name: str) -> Iterator[None]:
        place = self.place(name)
        try:
            yield
        except LayerError:
            raise
        except FileNotFoundError as error:
            raise PathNotFoundError(place, f"does not exist ({error})") from error
        except PermissionError as error:
            raise AccessDeniedError(place, str(error)) from error
        # Each backend of fsspec raises what its own library has: no common class covers them.
        except Exception as error:
            raise LayerError(place, f"{type(error).__name__}: {error}") from error


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
