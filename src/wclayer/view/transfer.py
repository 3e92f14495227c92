"""Copies of files and directories: between host and view, and between views with all that Windows knows of them."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from wclayer.errors import (
    AlreadyExistsError,
    EntryIsDirectoryError,
    EntryNotDirectoryError,
    NotSupportedError,
    from_os_error,
)
from wclayer.layers.staging import StagedFile
from wclayer.view.layer_view import FileStatus, LayerView
from wclayer.win32.filetime import from_unix_ns, to_unix_ns

PathLike = str | os.PathLike[str]
_OPERATION = "copy"
_PIECE = 1 << 20


def copy_into(view: LayerView, source: PathLike, target: str, *, recursive: bool = False) -> int:
    """Copies a file of the host, or with `recursive` a directory with all that is in it, into a view.

    Files keep their time of modification; security is inherited. Symbolic links of the host are followed. A target that
    is a directory gets the copy below it.

    Returns:
        how many files were copied.

    Raises:
        PathNotFoundError: the source, or the target's directory, is not there.
        EntryIsDirectoryError: the source is a directory, and `recursive` was not said.
        NotSupportedError: it is neither file nor directory.
    """
    place = Path(source)
    if _is_directory(view, target):
        target = f"{target.rstrip('/')}/{place.name}"
    try:
        mode = place.stat().st_mode
        if stat.S_ISREG(mode):
            _file_into(view, place, target)
            return 1
        if not stat.S_ISDIR(mode):
            raise NotSupportedError(_OPERATION, place, "neither a file nor a directory")
        if not recursive:
            raise EntryIsDirectoryError(_OPERATION, place, "is a directory; copy it with what is in it (-r)")
        return _tree_into(view, place, target)
    except OSError as error:
        raise from_os_error(_OPERATION, place, error) from error


def _tree_into(view: LayerView, place: Path, target: str) -> int:
    if not _is_directory(view, target):
        view.mkdir(target)
    count = 0
    for child in sorted(place.iterdir()):
        below = f"{target}/{child.name}"
        if child.is_dir():
            count += _tree_into(view, child, below)
        else:
            _file_into(view, child, below)
            count += 1
    _set_time(view, target, place)
    return count


def _file_into(view: LayerView, place: Path, target: str) -> None:
    with place.open("rb") as source, view.open(target, "wb") as copy:
        shutil.copyfileobj(source, copy, _PIECE)
    _set_time(view, target, place)


def _set_time(view: LayerView, target: str, place: Path) -> None:
    view.set_times(target, write=from_unix_ns(place.stat().st_mtime_ns))


def copy_out(view: LayerView, source: str, target: PathLike, *, recursive: bool = False) -> int:
    """Copies a file of a view, or with `recursive` a directory with all that is in it, to the host.

    Files keep their time of modification, and nothing else that Windows knows of them; links are followed inside the
    view. A target that is a directory gets the copy below it.

    Returns:
        how many files were copied.

    Raises:
        PathNotFoundError: the source, or the target's folder, is not there.
        EntryIsDirectoryError: the source is a directory, and `recursive` was not said.
    """
    place = Path(target)
    status = view.stat(source)
    if place.is_dir():
        place /= status.path.rpartition("/")[2]
    try:
        if not status.is_directory:
            _file_out(view, status, source, place)
            return 1
        if not recursive:
            raise EntryIsDirectoryError(_OPERATION, source, "is a directory; copy it with what is in it (-r)")
        return _tree_out(view, source, place)
    except OSError as error:
        raise from_os_error(_OPERATION, place, error) from error


def _tree_out(view: LayerView, source: str, place: Path) -> int:
    place.mkdir(exist_ok=True)
    count = 0
    for child in view.scan(source):
        below = place / child.path.rpartition("/")[2]
        if child.is_directory and not child.is_link:
            count += _tree_out(view, child.path, below)
        elif not child.is_link:
            _file_out(view, child, child.path, below)
            count += 1
    return count


def _file_out(view: LayerView, status: FileStatus, source: str, place: Path) -> None:
    with StagedFile(_OPERATION, place) as staged, view.open(source, "rb") as file:
        shutil.copyfileobj(file, staged.stream, _PIECE)
    time = to_unix_ns(status.info.last_write_time)
    if time >= 0:
        os.utime(place, ns=(time, time))


def copy_between(source: LayerView, path: str, target: LayerView, to: str, *, recursive: bool = False) -> int:
    """Copies a file of a view, or with `recursive` a directory with all that is in it, into a view, with all that
    Windows knows of it: security, times, attributes, streams, EAs, links as they are.

    A target that is a directory gets the copy below it.

    Returns:
        how many files were copied.

    Raises:
        PathNotFoundError: the source, or the target's directory, is not there.
        EntryIsDirectoryError: the source is a directory, and `recursive` was not said.
        EntryNotDirectoryError, AlreadyExistsError: what is there cannot make way.
    """
    status = source.stat(path, follow=False)
    if _is_directory(target, to):
        to = f"{to.rstrip('/')}/{status.path.rpartition('/')[2]}"
    if status.is_directory and not status.is_link and not recursive:
        raise EntryIsDirectoryError(_OPERATION, path, "is a directory; copy it with what is in it (-r)")
    return _entry_between(source, status, target, to)


def _entry_between(source: LayerView, status: FileStatus, target: LayerView, to: str) -> int:
    count = 0
    path = status.path
    if status.is_directory and not status.is_link:
        children = source.scan(path)
        if not target.exists(to):
            target.mkdir(to)
        elif not target.stat(to).is_directory:
            raise EntryNotDirectoryError(_OPERATION, to, "is not a directory")
        for child in children:
            count += _entry_between(source, child, target, f"{to}/{child.path.rpartition('/')[2]}")
    elif status.reparse is not None and status.is_link:
        if target.exists(to):
            raise AlreadyExistsError(_OPERATION, to, "already exists")
        target.create_link(to, source.read_link(path), is_directory=status.is_directory)
    else:
        with source.open(path, "rb") as file, target.open(to, "wb") as copy:
            shutil.copyfileobj(file, copy, _PIECE)
        count = 1
    _metadata_between(source, status, target, to)
    return count


def _metadata_between(source: LayerView, status: FileStatus, target: LayerView, to: str) -> None:
    path, info = status.path, status.info
    for name, _ in source.streams(path, follow=False):
        target.write_bytes(f"{to}:{name}", source.read_bytes(f"{path}:{name}"))
    descriptor = source.security(path, follow=False)
    if descriptor is not None:
        target.set_security(to, descriptor, follow=False)
    if eas := source.eas(path, follow=False):
        target.set_eas(to, eas, follow=False)
    target.set_attributes(to, info.attributes, follow=False)
    target.set_times(
        to, creation=info.creation_time, access=info.last_access_time, write=info.last_write_time,
        change=info.change_time, follow=False,
    )  # fmt: skip


def _is_directory(view: LayerView, path: str) -> bool:
    return view.exists(path) and view.stat(path).is_directory
