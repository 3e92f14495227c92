"""Copies of files and directories: between host and view, and between views with all that Windows knows of them."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from wclayer.errors import (
    AlreadyExistsError,
    EntryIsDirectoryError,
    EntryNotDirectoryError,
    NotSupportedError,
    from_os_error,
)
from wclayer.layers.staging import OutputFile
from wclayer.view.layer_view import FileStatus, LayerView
from wclayer.win32.filetime import from_unix_ns, to_unix_ns

PathLike = str | os.PathLike[str]
Progress = Callable[[int], None]
_OPERATION = "copy"
_PIECE = 1 << 20


def copy_into(
    view: LayerView, source: PathLike, target: str, *, recursive: bool = False, progress: Progress | None = None
) -> int:
    """Copies a file of the host, or with `recursive` a directory with all that is in it, into a view.

    Files keep their time of modification; security is inherited. Symbolic links of the host are followed. A target that
    is a directory gets the copy below it.

    Args:
        progress: called with the number of files copied so far, after each.

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
            return _counted(_file_into(view, place, target), progress)
        if not stat.S_ISDIR(mode):
            raise NotSupportedError(_OPERATION, place, "neither a file nor a directory")
        if not recursive:
            raise EntryIsDirectoryError(_OPERATION, place, "is a directory; copy it with what is in it (-r)")
        return _counted(_tree_into(view, place, target), progress)
    except OSError as error:
        raise from_os_error(_OPERATION, place, error) from error


def _counted(steps: Iterator[None], progress: Progress | None) -> int:
    """Does the steps, of which each copies a file; gives their number."""
    count = 0
    for count, _ in enumerate(steps, start=1):
        if progress is not None:
            progress(count)
    return count


def _tree_into(view: LayerView, place: Path, target: str) -> Iterator[None]:
    if not _is_directory(view, target):
        view.mkdir(target)
    for child in sorted(place.iterdir()):
        below = f"{target}/{child.name}"
        yield from _tree_into(view, child, below) if child.is_dir() else _file_into(view, child, below)
    _set_time(view, target, place)


def _file_into(view: LayerView, place: Path, target: str) -> Iterator[None]:
    with place.open("rb") as source, view.replacing(target) as copy:
        shutil.copyfileobj(source, copy, _PIECE)
    _set_time(view, target, place)
    yield


def _set_time(view: LayerView, target: str, place: Path) -> None:
    view.set_times(target, write=from_unix_ns(place.stat().st_mtime_ns))


def copy_out(
    view: LayerView, source: str, target: PathLike, *, recursive: bool = False, progress: Progress | None = None
) -> int:
    """Copies a file of a view, or with `recursive` a directory with all that is in it, to the host.

    Files keep their time of modification, and nothing else that Windows knows of them. A link that is named is followed
    inside the view; links below a directory are left out. A target that is a directory gets the copy below it.

    Args:
        progress: called with the number of files copied so far, after each.

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
            return _counted(_file_out(view, status, source, place), progress)
        if not recursive:
            raise EntryIsDirectoryError(_OPERATION, source, "is a directory; copy it with what is in it (-r)")
        return _counted(_tree_out(view, source, place), progress)
    except OSError as error:
        raise from_os_error(_OPERATION, place, error) from error


def _tree_out(view: LayerView, source: str, place: Path) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    for child in view.scan(source):
        below = place / child.path.rpartition("/")[2]
        if child.is_link:
            continue
        yield from (
            _tree_out(view, child.path, below) if child.is_directory else _file_out(view, child, child.path, below)
        )


def _file_out(view: LayerView, status: FileStatus, source: str, place: Path) -> Iterator[None]:
    with (
        OutputFile(_OPERATION, place, sources=[layer.path for layer in view.tree.layers]) as output,
        view.open(source, "rb") as file,
    ):
        shutil.copyfileobj(file, output.stream, _PIECE)
    time = to_unix_ns(status.info.last_write_time)
    if time >= 0 and place.is_file():
        os.utime(place, ns=(time, time))
    yield


def copy_between(
    source: LayerView,
    path: str,
    target: LayerView,
    to: str,
    *,
    recursive: bool = False,
    progress: Progress | None = None,
) -> int:
    """Copies a file of a view, or with `recursive` a directory with all that is in it, into a view, with all that
    Windows knows of it: security, times, attributes, streams, EAs, links as they are.

    A target that is a directory gets the copy below it.

    Args:
        progress: called with the number of files copied so far, after each.

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
    return _counted(_entry_between(source, status, target, to), progress)


def _entry_between(source: LayerView, status: FileStatus, target: LayerView, to: str) -> Iterator[None]:
    path = status.path
    if status.is_link:
        if target.exists(to):
            raise AlreadyExistsError(_OPERATION, to, "already exists")
        target.create_link(to, source.read_link(path), is_directory=status.is_directory)
    elif status.is_directory:
        children = source.scan(path)
        if not target.exists(to):
            target.mkdir(to)
        elif not target.stat(to).is_directory:
            raise EntryNotDirectoryError(_OPERATION, to, "is not a directory")
        for child in children:
            yield from _entry_between(source, child, target, f"{to}/{child.path.rpartition('/')[2]}")
    else:
        with source.open(path, "rb") as file, target.replacing(to) as copy:
            shutil.copyfileobj(file, copy, _PIECE)
    _metadata_between(source, status, target, to)
    if not status.is_directory and not status.is_link:
        yield


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
