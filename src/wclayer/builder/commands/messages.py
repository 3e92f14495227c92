"""Messages of Windows and of cmd.exe, in the English of Microsoft's images."""

from __future__ import annotations

import sqlite3

from wclayer.errors import (
    ERROR_ACCESS_DENIED,
    ERROR_ALREADY_EXISTS,
    ERROR_DIR_NOT_EMPTY,
    ERROR_DIRECTORY,
    ERROR_DIRECTORY_NOT_SUPPORTED,
    ERROR_FILE_NOT_FOUND,
    ERROR_INVALID_NAME,
    ERROR_PATH_NOT_FOUND,
    LayerError,
)

FILE_NOT_FOUND = "The system cannot find the file specified."
PATH_NOT_FOUND = "The system cannot find the path specified."
ACCESS_DENIED = "Access is denied."
BAD_SYNTAX = "The syntax of the command is incorrect."
BAD_NAME = "The filename, directory name, or volume label syntax is incorrect."
NOT_EMPTY = "The directory is not empty."
BAD_DIRECTORY = "The directory name is invalid."
ALREADY_EXISTS = "Cannot create a file when that file already exists."
DUPLICATE_NAME = "A duplicate file name exists, or the file\r\ncannot be found."
IN_USE = "The process cannot access the file because it is being used by another process."
COPY_ONTO_ITSELF = "The file cannot be copied onto itself."

MESSAGES = {
    ERROR_FILE_NOT_FOUND: FILE_NOT_FOUND,
    ERROR_PATH_NOT_FOUND: PATH_NOT_FOUND,
    ERROR_ACCESS_DENIED: ACCESS_DENIED,
    ERROR_INVALID_NAME: BAD_NAME,
    ERROR_DIR_NOT_EMPTY: NOT_EMPTY,
    ERROR_DIRECTORY: BAD_DIRECTORY,
    ERROR_DIRECTORY_NOT_SUPPORTED: ACCESS_DENIED,
    ERROR_ALREADY_EXISTS: ALREADY_EXISTS,
}
"""The messages by Win32 error code (FormatMessage)."""


def message_of(error: LayerError) -> str | None:
    """Returns the message that Windows has for an error of a view, or None if it is not one of a command, but of the
    layers or the host: then the build cannot go on."""
    return None if is_of_host(error) else MESSAGES.get(error.code)


def is_of_host(error: LayerError) -> bool:
    """Returns whether the host refused something, so that the error tells nothing about the entry of a command."""
    cause: BaseException | None = error
    while isinstance(cause, LayerError):
        cause = cause.__cause__
    return isinstance(cause, (OSError, sqlite3.Error))
