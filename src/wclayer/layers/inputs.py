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

STANDARD_INPUT = "-"
"""The name of the standard input where a user names a file to read. A file of that name is `./-`, or a `Path`."""


def is_standard_input(path: StrPath) -> bool:
    """Returns whether a user means the standard input by a file to read: the text `-`."""
    return isinstance(path, str) and path == STANDARD_INPUT


def has_any_place(path: StrPath) -> bool:
    """Returns whether `path` leads to a file that can be read at any offset: a regular one or a block device."""
    try:
        mode = (os.fstat(0) if is_standard_input(path) else os.stat(path)).st_mode
    except (OSError, ValueError):
        return False
    return _has_any_place(mode)


def _has_any_place(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


def open_any_place(path: StrPath, *, writable: bool = False) -> BinaryIO:
    """Opens a file that is read, and perhaps written, at any offset. The call does not wait for the writer of a FIFO.

    Args:
        path: the file; "-" for the standard input, if a file was redirected to it that is only read.

    Raises:
        PathNotFoundError, AccessDeniedError: the file does not exist, or the user may not open it.
        EntryIsDirectoryError: it is a directory.
        InvalidParameterError: it is a FIFO, a socket or a character device, which can only be read in order.
    """
    with errors_at(path):
        if is_standard_input(path):
            return _redirected_file(path, writable=writable)
        # Checked before the file is opened: the writer of a FIFO would lose the data that is read here.
        _refuse_others(path, os.stat(path).st_mode)
        fd = system.open_without_waiting(path, writable=writable)
        try:
            _refuse_others(path, os.fstat(fd).st_mode)
            return os.fdopen(fd, "r+b") if writable else io.BufferedReader(ReadFile(fd))
        except BaseException:
            system.close_read(fd)
            raise


def _redirected_file(path: StrPath, *, writable: bool) -> BinaryIO:
    """Returns the file that was redirected to the standard input, at its beginning."""
    if writable or not _has_any_place(os.fstat(0).st_mode):
        raise InvalidParameterError(
            path, "is the standard input, which can only be read on; write it to a file first, and name that"
        )
    file = io.BufferedReader(ReadFile(os.dup(0)))
    file.seek(0)
    return file


def _refuse_others(path: StrPath, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise EntryIsDirectoryError(path, "is a directory; a file is needed")
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        raise InvalidParameterError(path, f"is {kind_of(mode)}, which can only be read on; write it to a file first")


def open_stream(path: StrPath) -> io.BufferedReader:
    """Opens a file that is read once, from its beginning to its end: a regular file, a device, a FIFO, a pipe.

    Args:
        path: the file; "-" for the standard input.

    Raises:
        PathNotFoundError, AccessDeniedError: the file does not exist, or the user may not open it.
        EntryIsDirectoryError: it is a directory.
        InvalidParameterError: it is a socket.
    """
    with errors_at(path):
        try:
            return io.BufferedReader(ReadFile(os.dup(0) if is_standard_input(path) else path))
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
