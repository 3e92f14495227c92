"""`FactsStore`: the facts of layers by the digests of their blobs, in a folder or at a URL of fsspec."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from wclayer._types import StrPath
from wclayer.errors import NotSupportedError, errors_at
from wclayer.images.descriptor import check_digest
from wclayer.layers.atomic import StagedFile, make_folder
from wclayer.layers.inputs import open_stream

_ALGORITHM, _SUFFIX = "sha256", ".tar.zst"
_NAME = re.compile(rf"{_ALGORITHM}/[0-9a-f]{{2}}/(?P<hex>[0-9a-f]{{64}}){re.escape(_SUFFIX)}\Z")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(//|:)")
_PIECE = 1 << 20


def _object_name(digest: str) -> str:
    hexadecimal = check_digest(digest, "the digest of a layer").partition(":")[2]
    return f"{_ALGORITHM}/{hexadecimal[:2]}/{hexadecimal}{_SUFFIX}"


class _Place(Protocol):
    """Where the objects of a store are: each is written as a whole, under a name with slashes."""

    def has(self, name: str) -> bool: ...
    def put(self, name: str, file: Path) -> None: ...
    def open(self, name: str) -> BinaryIO: ...
    def names(self) -> Iterator[str]: ...
    def remove(self, name: str) -> None: ...


class FactsStore:
    """Facts of layers, each in the file `sha256/AB/HEX.tar.zst`, where HEX is from the digest of the layer's blob.

    It can be pickled, and several processes may use it at the same time.

    Args:
        place: the path of a folder, which `put` makes if it is missing, or the URL of one for fsspec (`s3://…`).

    Raises:
        NotSupportedError: it is a URL, and fsspec, or the part of it for such URLs, is not installed.
    """

    def __init__(self, place: StrPath) -> None:
        self.place = os.fspath(place)
        self._place: _Place = _Url(self.place) if _URL.match(self.place) else _Folder(Path(os.path.abspath(place)))

    def __reduce__(self) -> tuple[object, ...]:
        return FactsStore, (self.place,)

    def has(self, digest: str) -> bool:
        """Returns whether there are facts of a layer."""
        return self._place.has(_object_name(digest))

    def put(self, digest: str, file: StrPath) -> None:
        """Copies a facts file into the store. It appears as a whole, and replaces another one of the same layer.

        Args:
            digest: the digest of the layer's blob.
            file: the facts file.
        """
        self._place.put(_object_name(digest), Path(file))

    def open(self, digest: str) -> BinaryIO:
        """Opens the facts of a layer for reading, from the beginning to the end.

        Raises:
            PathNotFoundError: there are no facts of that layer.
        """
        return self._place.open(_object_name(digest))

    def name_of(self, digest: str) -> str:
        """Returns the path or the URL of the facts of a layer, whether they are there or not."""
        return f"{self.place.rstrip('/')}/{_object_name(digest)}"

    def digests(self) -> set[str]:
        """Returns the digests of all layers of which there are facts. The store is listed once."""
        found = map(_NAME.match, self._place.names())
        return {f"{_ALGORITHM}:{match['hex']}" for match in found if match}

    def remove(self, digest: str) -> None:
        """Removes the facts of a layer, if they are there."""
        self._place.remove(_object_name(digest))


class _Folder:
    """A folder of the host."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def has(self, name: str) -> bool:
        return (self._path / name).is_file()

    def put(self, name: str, file: Path) -> None:
        target = self._path / name
        with errors_at(target):
            make_folder(target.parent, parents=True)
        with open_stream(file) as source, StagedFile(target) as staged:
            shutil.copyfileobj(source, staged.stream, _PIECE)

    def open(self, name: str) -> BinaryIO:
        return open_stream(self._path / name)

    def names(self) -> Iterator[str]:
        with suppress(FileNotFoundError), errors_at(self._path):
            for part in sorted((self._path / _ALGORITHM).iterdir()):
                if part.is_dir():
                    yield from (f"{_ALGORITHM}/{part.name}/{path.name}" for path in part.iterdir())

    def remove(self, name: str) -> None:
        with errors_at(self._path / name):
            (self._path / name).unlink(missing_ok=True)


class _Url:
    """A folder in a file system of fsspec."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._files, self._root = _file_system(self._url)

    def has(self, name: str) -> bool:
        with errors_at(f"{self._url}/{name}"):
            return bool(self._files.isfile(f"{self._root}/{name}"))

    def put(self, name: str, file: Path) -> None:
        target = f"{self._root}/{name}"
        # A store of objects shows one only when all of it is there. Other file systems show a growing file.
        beside = f"{target}.{secrets.token_hex(8)}.partial"
        with errors_at(f"{self._url}/{name}"):
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            try:
                self._files.put_file(os.fspath(file), beside)
                self._files.mv(beside, target)
            except BaseException:
                with suppress(OSError):
                    self._files.rm_file(beside)
                raise

    def open(self, name: str) -> BinaryIO:
        with errors_at(f"{self._url}/{name}"):
            return cast(BinaryIO, self._files.open(f"{self._root}/{name}", "rb"))

    def names(self) -> Iterator[str]:
        with errors_at(self._url):
            self._files.invalidate_cache()
            for path in self._files.find(f"{self._root}/{_ALGORITHM}"):
                yield str(path)[-(len(_ALGORITHM) + 4 + 64 + len(_SUFFIX)) :]

    def remove(self, name: str) -> None:
        with errors_at(f"{self._url}/{name}"), suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")


def _file_system(url: str) -> tuple[Any, str]:
    """Returns the file system of fsspec for a URL, and the path in it.

    Raises:
        NotSupportedError: it is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise NotSupportedError(url, "URLs need fsspec: pip install 'wclayer[fsspec]'") from None
    try:
        files, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise NotSupportedError(url, str(error)) from None
    return files, path.rstrip("/")
