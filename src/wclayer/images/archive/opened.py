"""`ImageArchive`: a tar archive of images, open for reading at any place.

An archive that is compressed as a whole, or comes from a pipe, is first written to a temporary file without a name.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from wclayer._types import StrPath
from wclayer.errors import EntryIsDirectoryError, FormatError, NotRepresentableError, errors_at
from wclayer.formats.compression import Compression, HashedInput, detect
from wclayer.host import system
from wclayer.images.archive.members import ArchiveMember, Members, find_members
from wclayer.images.manifest import check_manifest_size
from wclayer.layers.inputs import has_any_place, is_standard_input, open_any_place, open_stream
from wclayer.model import limits_in_use

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_OTHER_COMPRESSIONS = {b"\xfd7zXZ": "xz", b"BZh": "bzip2"}
_LARGE_TEMPORARY_FILES = "/var/tmp"
"""Where large temporary files belong on POSIX hosts (Filesystem Hierarchy Standard); `/tmp` may be in memory."""


class ImageArchive:
    """A tar archive of images. Its members are read at any place, by several threads at once.

    Args:
        source: the file, or "-" for the standard input.

    Raises:
        PathNotFoundError, AccessDeniedError, EntryIsDirectoryError: the file cannot be read.
        InvalidDataError: it is not an archive of images (see `find_members`).
        LimitExceededError: it is larger than a limit of `Limits`.
    """

    def __init__(self, source: StrPath) -> None:
        self.path = os.fspath(source)
        with errors_at(self.path):
            self._file = self._opened()
            try:
                self._size = self._file.seek(0, os.SEEK_END)
                self.members: Members = find_members(self._read_at, self._size)
            except BaseException:
                self._file.close()
                raise

    def _opened(self) -> BinaryIO:
        """Returns the file, decompressed and at any place."""
        if not is_standard_input(self.path) and os.path.isdir(self.path):
            raise EntryIsDirectoryError(self.path, "is a directory; an archive of images is a file")
        if has_any_place(self.path):
            file = open_any_place(self.path)
            try:
                head = system.read_at(file.fileno(), 6, 0)
                _refuse_other_compression(head)
                if detect(head) is Compression.NONE:
                    return file
                # On Windows, `read_at` moves the position.
                file.seek(0)
                with file:
                    return _spooled(file)
            except BaseException:
                file.close()
                raise
        with open_stream(self.path) as stream:
            return _spooled(stream)

    def _read_at(self, size: int, offset: int) -> bytes:
        data = b""
        while len(data) < size and (piece := system.read_at(self._file.fileno(), size - len(data), offset + len(data))):
            data = data + piece if data else piece
        return data

    def read(self, member: ArchiveMember) -> bytes:
        """Returns the contents of a document: a manifest, an index, a configuration.

        Raises:
            FormatLimitError: it is larger than the limit `manifest_size`.
            FormatError: the archive has become shorter.
        """
        check_manifest_size(member.size)
        data = self._read_at(member.size, member.offset)
        if len(data) != member.size:
            raise FormatError(f"member {member.name!r} ends after {len(data)} of {member.size} bytes")
        return data

    def starts_with(self, member: ArchiveMember) -> bytes:
        """Returns the first bytes of a member, of which its compression is known."""
        return self._read_at(min(4, member.size), member.offset)

    def open(self, member: ArchiveMember, offset: int = 0) -> BinaryIO:
        """Opens a member for reading from a byte offset to its end. The caller closes the stream."""
        return io.BufferedReader(_MemberStream(self._file.fileno(), member, offset, self.path), 1 << 20)

    def close(self) -> None:
        """Closes the file. Streams that are open stay open."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _MemberStream(io.RawIOBase):
    """The bytes of a member from an offset on, through a descriptor of its own."""

    def __init__(self, fd: int, member: ArchiveMember, offset: int, path: str) -> None:
        self._path = path
        self._at = member.offset + min(offset, member.size)
        self._end = member.offset + member.size
        self._fd = os.dup(fd)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer)[: self._end - self._at]
        with errors_at(self._path):
            count = system.read_into_at(self._fd, view, self._at) if view else 0
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            system.close_read(self._fd)
        super().close()


def _refuse_other_compression(head: bytes) -> None:
    for magic, name in _OTHER_COMPRESSIONS.items():
        if head.startswith(magic):
            raise NotRepresentableError(f"is compressed with {name}, which is not read; decompress it first")


def _spooled(stream: BinaryIO) -> BinaryIO:
    """Returns a temporary file with the decompressed bytes of a stream.

    Raises:
        FormatError: the compressed data is damaged.
        FormatLimitError: more comes out than `total_size` and `ratio` allow.
    """
    limits = limits_in_use()
    spool = new_spool()
    source = HashedInput(
        stream, max_size=limits.total_size, max_ratio=limits.ratio, unrated_size=limits.unrated_size
    )  # fmt: skip
    try:
        head = b""
        for piece in source:
            if len(head) < len(b"\xfd7zXZ"):
                head = (head + piece)[:6]
                _refuse_other_compression(head)
            spool.write(piece)
        spool.flush()
    except BaseException as error:
        # Closing writes the rest of the buffer, which may fail if the disk is full.
        with suppress(OSError):
            spool.close()
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise OSError(
                error.errno,
                f"the temporary folder has no room for the decompressed archive ({error.strerror}); set TMPDIR to a"
                " folder on a larger disk",
            ) from error
        raise
    finally:
        source.close()
    return spool


def new_spool() -> BinaryIO:
    """Returns a temporary file without a name, which may become large."""
    folder = _LARGE_TEMPORARY_FILES if Path(_LARGE_TEMPORARY_FILES).is_dir() else None
    if any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")):
        folder = None
    return cast(BinaryIO, tempfile.TemporaryFile(dir=folder))
