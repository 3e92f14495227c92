"""Copies one file as CopyFile of Windows does."""

from __future__ import annotations

from wclayer.builder.commands.state import Shell
from wclayer.errors import ERROR_ACCESS_DENIED, LayerError
from wclayer.view.layer_view import FileStatus
from wclayer.win32.attributes import FileAttributes

_PIECE = 1 << 20
_ARCHIVE = int(FileAttributes.ARCHIVE)
_READ_ONLY = int(FileAttributes.READONLY)
_HIDING = int(FileAttributes.HIDDEN | FileAttributes.SYSTEM)


def is_same_file(shell: Shell, source: str, target: str) -> bool:
    """Returns whether two paths name one file."""
    view = shell.view
    return view.exists(target) and view.exists(source) and view.stat(source).file_id == view.stat(target).file_id


def check_overwritable(status: FileStatus, attributes: int, *, force: bool = False) -> None:
    """Refuses what CreateFile refuses to create anew.

    Args:
        status: the existing entry.
        attributes: those of the new file: a hidden or system file is replaced only by one of the same kind.
        force: read-only files are replaced.

    Raises:
        LayerError: the entry is a directory, read-only, hidden or a system file.
    """
    existing = status.info.attributes
    if (
        status.is_directory
        or (existing & _READ_ONLY and not force)
        or existing & _HIDING & ~attributes
    ):  # fmt: skip
        raise LayerError(status.path, "is a directory, read-only, hidden or a system file", code=ERROR_ACCESS_DENIED)


def copy_file(shell: Shell, source: str, target: str, *, force: bool = False) -> None:
    """Copies a file: contents, alternate streams, EAs, attributes and the time of the last write.

    Security is inherited by a new file, and stays that of an existing one. The archive attribute is set. Links are
    followed at both ends. The directory of the target must exist.

    Args:
        force: an existing read-only file is replaced.

    Raises:
        LayerError: the target cannot be written.
    """
    view = shell.view
    status = view.stat(source)
    if view.exists(target):
        check_overwritable(existing := view.stat(target), status.info.attributes, force=force)
        for name, _ in view.streams(target):
            view.remove_stream(target, name)
        if existing.info.attributes & _READ_ONLY:
            view.set_attributes(target, existing.info.attributes & ~_READ_ONLY)
    _copy_data(shell, source, target)
    for name, _ in view.streams(source):
        _copy_data(shell, f"{source}:{name}", f"{target}:{name}")
    eas = view.eas(source)
    if eas or view.eas(target):
        view.set_eas(target, eas)
    view.set_attributes(target, status.info.attributes | _ARCHIVE)
    view.set_times(target, write=status.info.last_write_time)


def _copy_data(shell: Shell, source: str, target: str) -> None:
    with shell.view.open(source, "rb") as reader, shell.view.open(target, "wb") as writer:
        while piece := reader.read(_PIECE):
            writer.write(piece)
