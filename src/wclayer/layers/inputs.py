"""Opens the files that a user names as input: at any offset, or only from beginning to end."""

from __future__ import annotations

import io
import os
import stat
from contextlib import suppress
from typing import BinaryIO

from wclayer._types import StrPath
from wclayer.errors import EntryIsDirectoryError, InvalidParameterError, errors_at
from wclayer.host import system


def has_any_place(path: StrPath) -> bool:
    """Returns whether `path` leads to a file that can be read at any offset: a regular one or a block device."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


def open_any_place(path: StrPath, *, writable: bool = False) -> BinaryIO:
    """Opens a file that is read, and perhaps written, at any offset. The call does not wait for the writer of a FIFO.

    Raises:
        PathNotFoundError, AccessDeniedError: the file does not exist, or the user may not open it.
        EntryIsDirectoryError: it is a directory.
        InvalidParameterError: it is a FIFO, a socket or a character device, which can only be read in order.
    """
    with errors_at(path):
        # Checked before the file is opened: the writer of a FIFO would lose the data that is read here.
        _refuse_others(path, os.stat(path).st_mode)
        fd = system.open_without_waiting(path, writable=writable)
        try:
            _refuse_others(path, os.fstat(fd).st_mode)
            return os.fdopen(fd, "r+b") if writable else io.BufferedReader(ReadFile(fd))
        except BaseException:
            system.close_read(fd)
            raise


def _refuse_others(path: StrPath, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise EntryIsDirectoryError(path, "is a directory; a file is needed")
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        raise InvalidParameterError(path, f"is {kind_of(mode)}, which can only be read on; write it to a file first")


def open_stream(path: StrPath) -> io.BufferedReader:
    """Opens a file that is read once, from its beginning to its end: a regular file, a device, a FIFO, a pipe.

    Raises:
        PathNotFoundError, AccessDeniedError: the file does not exist, or the user may not open it.
        EntryIsDirectoryError: it is a directory.
        InvalidParameterError: it is a socket.
    """
    with errors_at(path):
        try:
            return io.BufferedReader(ReadFile(path))
        except OSError:
            if _is_socket(path):
                raise InvalidParameterError(path, "is a socket, which cannot be opened; a file is needed") from None
            raise


def _is_socket(path: StrPath) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


class ReadFile(io.FileIO):
    """A file that is only read. Errors while it is closed are ignored."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def kind_of(mode: int) -> str:
    """Returns a description of a file that is neither a regular file nor a directory."""
    for is_kind, text in (
        (stat.S_ISFIFO, "a FIFO or pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    ):
        if is_kind(mode):
            return text
    return "neither a file nor a device"
