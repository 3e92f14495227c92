"""Writes a tar as other systems have them: names, modes and times of modification, owned by root."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from wclayer.errors import FormatError
from wclayer.formats.tar import structs
from wclayer.formats.tar.writer import TarHeader, encode_header
from wclayer.win32.filetime import TICKS_PER_SECOND, UNIX_EPOCH, to_decimal_seconds

_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644
_READ_ONLY_MODE = 0o444
_LINK_MODE = 0o777


class PlainTar:
    """A tar that is written to a stream, member by member.

    Args:
        stream: is written to, never sought, and stays open.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = 0
        """The bytes written so far."""

    def add_directory(self, name: bytes, time: int) -> None:
        """Adds a directory.

        Args:
            name: its path from the root, without a slash at the end.
            time: of its last change, as a FILETIME; 0 for none.
        """
        self._member(TarHeader(name + b"/", structs.DIRECTORY, _DIRECTORY_MODE), time)

    def add_file(
        self, name: bytes, time: int, size: int, chunks: Iterable[bytes | memoryview], *, is_read_only: bool
    ) -> None:
        """Adds a file.

        Args:
            size: how many bytes `chunks` has.

        Raises:
            FormatError: `chunks` has another number of bytes.
        """
        mode = _READ_ONLY_MODE if is_read_only else _FILE_MODE
        self._member(TarHeader(name, structs.REGULAR, mode, size), time)
        written = 0
        for chunk in chunks:
            written += len(chunk)
            if written > size:
                break
            self._write(chunk)
        if written != size:
            raise FormatError(f"{written} bytes of data or more instead of {size}")
        self._write(bytes(structs.padding(size)))

    def add_hard_link(self, name: bytes, time: int, target: bytes) -> None:
        """Adds a further name of the file that has the name `target` already."""
        self._member(TarHeader(name, structs.LINK, _FILE_MODE, link_name=target), time)

    def add_symbolic_link(self, name: bytes, time: int, target: bytes) -> None:
        """Adds a symbolic link."""
        self._member(TarHeader(name, structs.SYMLINK, _LINK_MODE, link_name=target), time)

    def finish(self) -> None:
        """Writes the end of the archive."""
        self._write(structs.TRAILER)

    def _member(self, header: TarHeader, time: int) -> None:
        if time:
            seconds, ticks = divmod(time - UNIX_EPOCH, TICKS_PER_SECOND)
            header.mtime = seconds
            if ticks or not 0 <= seconds <= structs.MAX_OCTAL_11:
                header.pax = {b"mtime": to_decimal_seconds(time).encode()}
        self._write(encode_header(header))

    def _write(self, data: bytes | memoryview) -> None:
        self._stream.write(data)
        self.size += len(data)
