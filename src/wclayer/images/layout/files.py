"""`LayoutFiles`: the files of a layout, whether they lie in a directory or in a tar."""

from __future__ import annotations

import io
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from wclayer._types import StrPath
from wclayer.errors import FormatError, errors_at
from wclayer.host.root import HostRoot
from wclayer.images.archive.opened import ImageArchive
from wclayer.images.layout_names import blob_name
from wclayer.images.manifest import check_manifest_size
from wclayer.layers.inputs import ReadFile

_BUFFER = 1 << 20


class LayoutFiles(Protocol):
    """The files of a layout. Several threads may call the methods at the same time."""

    def document(self, name: str) -> bytes | None:
        """Returns the contents of a small file beside the blobs; None if it does not exist.

        Raises:
            FormatLimitError: it is larger than the limit `manifest_size`.
        """

    def blob_size(self, digest: str) -> int | None:
        """Returns the length of a blob; None if the layout does not have it.

        Raises:
            FormatError: a link or a directory has the name of the blob.
        """

    def open_blob(self, digest: str, offset: int = 0) -> BinaryIO:
        """Opens a blob that is there, from an offset on."""

    def close(self) -> None:
        """Ends the use of the files."""


class ArchiveFiles:
    """The files of a layout in a tar (`oci-archive`)."""

    def __init__(self, archive: ImageArchive, *, owned: bool = True) -> None:
        self._archive = archive
        self._owned = owned

    def document(self, name: str) -> bytes | None:
        member = self._archive.members.file(name)
        return None if member is None else self._archive.read(member)

    def blob_size(self, digest: str) -> int | None:
        member = self._archive.members.file(blob_name(digest))
        return None if member is None else member.size

    def open_blob(self, digest: str, offset: int = 0) -> BinaryIO:
        member = self._archive.members.file(blob_name(digest))
        if member is None:
            raise FormatError(f"the archive has no member {blob_name(digest)!r}")
        return self._archive.open(member, offset)

    def close(self) -> None:
        if self._owned:
            self._archive.close()


class DirectoryFiles:
    """The files of a layout in a directory. No link below the directory is followed.

    Args:
        path: the directory.
        shared_blobs: a directory `D` with blobs of several layouts, each at `D/sha256/HEX`; None if there is none.
    """

    def __init__(self, path: StrPath, shared_blobs: StrPath | None = None) -> None:
        self._lock = threading.Lock()
        self._root = HostRoot(path)
        self._shared: HostRoot | None = None
        if shared_blobs is not None:
            try:
                self._shared = HostRoot(shared_blobs)
            except BaseException:
                self._root.close()
                raise

    def document(self, name: str) -> bytes | None:
        with self._lock:
            try:
                status = self._root.stat(name.encode())
            except FileNotFoundError:
                return None
            _check_regular(name, status)
            check_manifest_size(status.st_size)
            return self._root.read_bytes(name.encode(), status.st_size)

    def blob_size(self, digest: str) -> int | None:
        with self._lock:
            place = self._place(digest)
            return None if place is None else place[2]

    def open_blob(self, digest: str, offset: int = 0) -> BinaryIO:
        with self._lock:
            place = self._place(digest)
            if place is None:
                raise FormatError(f"the layout has no file {blob_name(digest)!r}")
            root, name, _ = place
            fd = root.open(name)
        return io.BufferedReader(_BlobFile(fd, os.path.join(root.path, os.fsdecode(name)), offset), _BUFFER)

    def _place(self, digest: str) -> tuple[HostRoot, bytes, int] | None:
        """Returns where a blob lies, and its length: in the shared directory, or in the layout's own."""
        name = blob_name(digest).encode()
        shared = name.removeprefix(b"blobs/")
        for root, path in ((self._shared, shared), (self._root, name)):
            if root is None:
                continue
            with suppress(FileNotFoundError):
                try:
                    status = root.stat(path)
                except OSError as error:
                    if isinstance(error, FileNotFoundError):
                        raise
                    raise _unusual(root.path, path, error) from error
                _check_regular(os.fsdecode(path), status)
                return root, path, status.st_size
        return None

    def check_folders(self) -> None:
        """Checks that the folders of blobs are directories and no links, so that a new file lies in them.

        Raises:
            FormatError: one of them is something else.
        """
        with self._lock:
            for root, path in ((self._shared, b"sha256"), (self._root, b"blobs/sha256")):
                if root is not None:
                    try:
                        root.directory(path)
                    except OSError as error:
                        raise _unusual(root.path, path + b"/x", error) from error

    def close(self) -> None:
        with self._lock:
            self._root.close()
            if self._shared is not None:
                self._shared.close()


class _BlobFile(ReadFile):
    """The file of a blob, from an offset on. Errors of the host name the file."""

    def __init__(self, fd: int, path: str, offset: int) -> None:
        super().__init__(fd)
        self._path = path
        with errors_at(path):
            self.seek(offset)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with errors_at(self._path):
            return super().readinto(buffer)


def _check_regular(name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "not a file"
        raise FormatError(f"{name!r} in the layout is {kind}; the files of a layout are regular files")


def _unusual(root: Path, path: bytes, error: OSError) -> FormatError | OSError:
    """Returns the error for a folder of blobs that is a link or a file; other errors of the host unchanged."""
    folder = os.path.dirname(os.path.join(root, os.fsdecode(path)))
    for place in (os.path.dirname(folder), folder):
        if os.path.islink(place) or (os.path.lexists(place) and not os.path.isdir(place)):
            return FormatError(
                f"{place!r} is not a directory but a link or a file; blobs elsewhere are named as a shared directory"
            )
    return error
