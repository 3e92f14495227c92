"""Copies files and directories: between the host and a view, or between views with all their Windows metadata.

Where possible, entries that cannot be copied are found before anything is changed.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from wclayer._types import StrPath
from wclayer.errors import (
    AlreadyExistsError,
    EntryIsDirectoryError,
    EntryNotDirectoryError,
    InvalidParameterError,
    LayerError,
    NotSupportedError,
    during,
    errors_at,
)
from wclayer.host import durability
from wclayer.host.root import sync_directory
from wclayer.layers.atomic import OutputFile, make_folder, remove_leftovers
from wclayer.layers.budget import Budget, stored_size
from wclayer.layers.inputs import open_any_place
from wclayer.layers.progress import Cancelled, Progress, ProgressCallback, report
from wclayer.model import limits_in_use
from wclayer.view.layer_view import FileStatus, LayerView
from wclayer.view.merged import Node
from wclayer.view.open_files import ViewFile
from wclayer.view.resolve import existing, resolve
from wclayer.view.spelling import layer_path, split_stream
from wclayer.win32.filetime import from_unix_ns, to_unix_ns
from wclayer.win32.names import decode_name, encode_name, last_component, name_key, names_equal, unusable_reason
from wclayer.win32.reparse import decode_reparse

LeftOut = Callable[[str, str], None]
"""Is called with the path of an entry and a description of the part that was left out, as the host cannot store it."""
Steps = Iterator["Steps | None"]
"""The steps of a copy: None after each file, or a nested iterator for each directory; see `_each`."""
_PIECE = 1 << 20


@during("copy")
def copy_into(
    view: LayerView,
    source: StrPath,
    target: str,
    *,
    recursive: bool = False,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> int:
    """Copies a file of the host, or with `recursive` a directory and all its contents, into a view.

    Files keep their time of modification; security is inherited. Symbolic links of the host are followed. If the target
    is a directory, the copy is made inside it. If it is `path:stream`, the contents become that alternate stream.

    Args:
        progress: called after each file with the number of copied files.
        cancelled: called after each file; True stops the copy. The files that were copied so far stay.

    Returns:
        The number of copied files.

    Raises:
        PathNotFoundError: the source or the target's directory does not exist; a link in the source leads nowhere.
        EntryIsDirectoryError: the source is a directory, and `recursive` is false.
        EntryNotDirectoryError: the target ends in a separator and is not a directory.
        InvalidParameterError: a name in the source is not legal on Windows, or is a link to a directory that contains
            it.
        AlreadyExistsError: two names in a directory of the source are the same for Windows.
        NotSupportedError: an entry of the source is neither a file nor a directory.
    """
    place = Path(source)
    to = check_into(view, source, target, recursive=recursive)
    _, stream = split_stream(to)
    budget = Budget(str(place), limits_in_use())
    with errors_at(place):
        if place.is_dir():
            return _counted(_tree_into(view, place, to, budget), progress, cancelled)
        return _counted(_file_into(view, place, to, budget, is_stream=bool(stream)), progress, cancelled)


def check_into(view: LayerView, source: StrPath, target: str, *, recursive: bool) -> str:
    """Raises the errors of `copy_into` that are found before anything is written.

    Returns:
        The path in the view that the copy gets.
    """
    place = Path(source)
    with errors_at(place):
        mode = place.stat().st_mode
    is_directory = stat.S_ISDIR(mode)
    _, stream = split_stream(target)
    if not stream:
        _refuse_separator(view, target, is_directory=is_directory)
        if _is_directory(view, target):
            target = _below(target, _usable_name(Path(os.path.abspath(place))))
    elif is_directory:
        raise EntryIsDirectoryError(place, "is a directory; a stream has the contents of a file")
    with errors_at(place):
        if not is_directory:
            _refuse_others(place, mode)
            return target
        if not recursive:
            raise EntryIsDirectoryError(place, "is a directory; copy it with what is in it (-r)")
        for _ in _each(_check_tree(place, set())):
            pass
    return target


def _each(steps: Steps) -> Iterator[None]:
    """Runs the steps in order, with the nested steps of a directory where they occur. Yields once for each file."""
    pending = [steps]
    while pending:
        for step in pending[-1]:
            if step is not None:
                pending.append(step)
                break
            yield
        else:
            pending.pop()


def _counted(steps: Steps, progress: ProgressCallback | None, cancelled: Cancelled | None) -> int:
    """Runs the steps, and returns the number of files that they copied."""
    state = Progress()
    for _ in _each(steps):
        state.entries += 1
        report(state, progress, cancelled)
    return state.entries


def _refuse_others(place: Path, mode: int) -> None:
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise NotSupportedError(place, "is neither a file nor a directory")


def _usable_name(place: Path) -> str:
    """Returns the name in a layer for a file of the host, after a check that Windows accepts the name."""
    name = name_of_host(place.name)
    if reason := unusable_reason(name):
        raise InvalidParameterError(place, reason)
    return name


def name_of_host(name: str) -> str:
    """Returns the name in a layer for a name of the host: its bytes, decoded as UTF-8 in any locale.

    A byte that is not UTF-8 becomes a surrogate, U+DC80 to U+DCFF (Python's `surrogateescape`).
    """
    if os.name == "nt":
        return name
    data = os.fsencode(name)
    try:
        return decode_name(data)
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def name_on_host(name: str) -> str:
    """Returns the name of the host for a name in a layer: the inverse of `name_of_host`."""
    if os.name == "nt":
        return name
    try:
        data = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = encode_name(name)
    return os.fsdecode(data)


def _check_tree(place: Path, above: set[tuple[int, int]]) -> Steps:
    """Raises the error for an entry of a folder that cannot be copied, before anything is copied.

    Args:
        above: the device and inode of each folder that contains this one.
    """
    status = place.stat()
    identity = status.st_dev, status.st_ino
    if identity in above:
        raise InvalidParameterError(place, "is a link to a folder that it is in itself")
    above.add(identity)
    names: dict[str, str] = {}
    for child in place.iterdir():
        name = _usable_name(child)
        other = names.setdefault(name_key(name), child.name)
        if other != child.name:
            raise AlreadyExistsError(child, f"for Windows this is the same name as {other!r} beside it")
        mode = child.stat().st_mode
        _refuse_others(child, mode)
        if stat.S_ISDIR(mode):
            yield _check_tree(child, above)
    above.remove(identity)


def _tree_into(view: LayerView, place: Path, target: str, budget: Budget) -> Steps:
    if not _is_directory(view, target):
        view.mkdir(target)
    for child in sorted(place.iterdir()):
        below = _below(target, name_of_host(child.name))
        yield _tree_into(view, child, below, budget) if child.is_dir() else _file_into(view, child, below, budget)
    _set_time(view, target, place)


def _file_into(view: LayerView, place: Path, target: str, budget: Budget, *, is_stream: bool = False) -> Steps:
    with open_any_place(place) as source:
        found = os.fstat(source.fileno())
        budget.store(stored_size(found))
        budget.spend(found.st_size, str(place)[:300])
        _copy(source, view, target)
    if not is_stream:
        _set_time(view, target, place)
    yield None


def _copy(source: IO[bytes], view: LayerView, target: str) -> None:
    with view.replacing(target) as copy:
        shutil.copyfileobj(source, copy, _PIECE)


def _copy_verified(source: ViewFile, view: LayerView, target: str) -> None:
    with view.replacing(target) as copy:
        for piece in source.pieces(_PIECE):
            copy.write(piece)


def _set_time(view: LayerView, target: str, place: Path) -> None:
    view.set_times(target, write=from_unix_ns(place.stat().st_mtime_ns))


class CopiedFile(Protocol):
    """The contents of a file or stream that is copied, open for reading: a context manager."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Goes to a place in the contents, and returns it."""

    def stored_size(self) -> int:
        """Returns the bytes that they take where they are stored."""

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yields the contents in pieces of `size` bytes, from the beginning."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...


class CopySource(Protocol):
    """What files are copied from. Paths are as those of `LayerView`."""

    @property
    def name(self) -> str:
        """The name in messages."""

    @property
    def places(self) -> Sequence[StrPath]:
        """The files and folders of the host that are read, into which nothing is copied."""

    def stat(self, path: str) -> FileStatus:
        """Returns the metadata of what a path leads to; links are followed."""

    def scan(self, path: str) -> Sequence[FileStatus]:
        """Returns the metadata of what is in a directory."""

    def streams(self, path: str) -> Sequence[tuple[str, int]]:
        """Returns the names and sizes of the alternate streams of an entry; a link is not followed."""

    def has_data(self, path: str) -> bool:
        """Returns whether an entry has contents; a link is not followed."""

    def open(self, path: str) -> CopiedFile:
        """Opens the contents of a file, or with `name:stream` an alternate stream, if the source has these."""


class ViewSource:
    """A view as what files are copied from.

    Args:
        view: the view, which the caller closes.
    """

    def __init__(self, view: LayerView) -> None:
        self._view = view

    @property
    def name(self) -> str:
        return self._view.name

    @property
    def places(self) -> Sequence[StrPath]:
        return [layer.path for layer in self._view.volume.tree.layers]

    def stat(self, path: str) -> FileStatus:
        return self._view.stat(path)

    def scan(self, path: str) -> Sequence[FileStatus]:
        return self._view.scan(path)

    def streams(self, path: str) -> Sequence[tuple[str, int]]:
        return self._view.streams(path, follow=False)

    def has_data(self, path: str) -> bool:
        return _has_data(self._view, path)

    def open(self, path: str) -> CopiedFile:
        return self._view.open_raw(path)


@during("copy")
def copy_out(
    view: LayerView,
    source: str,
    target: StrPath,
    *,
    recursive: bool = False,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
    left_out: LeftOut | None = None,
) -> int:
    """Copies a file or alternate stream of a view, or with `recursive` a directory and all its contents, to the host.

    Files keep their time of modification, but no other Windows metadata. If `source` is a link, it is followed inside
    the view. A link below a directory becomes a symbolic link if its target is copied, too. If `target` is a directory,
    the copy is made inside it.

    Args:
        progress: called after each file with the number of copied files.
        cancelled: called after each file; True stops the copy. The files that were copied so far stay.
        left_out: called for each link, alternate stream and reparse point that is not copied.

    Returns:
        The number of copied files.

    Raises:
        PathNotFoundError: the source or the target's folder does not exist.
        EntryIsDirectoryError: the source is a directory, and `recursive` is false.
        EntryNotDirectoryError: the target ends in a separator and is not a folder; or a folder cannot be made, because
            a link of the host has its name.
    """
    return copy_from(
        ViewSource(view), source, target, recursive=recursive, progress=progress, cancelled=cancelled,
        left_out=left_out, name=name_of_copy(view, source),
    )  # fmt: skip


def name_of_copy(view: LayerView, source: str) -> str:
    """Returns the name that the copy of a path gets in a directory: that of a link, not of what it leads to."""
    return last_component(view.stat(split_stream(source)[0], follow=False).path)


@during("copy")
def copy_from(
    source: CopySource,
    path: str,
    target: StrPath,
    *,
    recursive: bool = False,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
    left_out: LeftOut | None = None,
    name: str = "",
) -> int:
    """Copies a file, or with `recursive` a directory and all its contents, to the host: see `copy_out`.

    Args:
        source: what it is copied from.
        path: its path there.
        name: the name that the copy gets in a directory; by default that of what the source leads to.
    """
    place = check_out(source, path, target, recursive=recursive, name=name)
    file, stream = split_stream(path)
    status = source.stat(file)
    is_directory = status.is_directory and not stream
    tell: LeftOut = left_out or (lambda path, what: None)
    budget = Budget(source.name, limits_in_use())
    with errors_at(place):
        if is_directory:
            return _counted(_tree_out(source, status, status.path, place, place, tell, budget), progress, cancelled)
        return _counted(
            _file_out(source, status, path, place, tell, budget, is_stream=bool(stream)), progress, cancelled
        )


def check_out(source: CopySource, path: str, target: StrPath, *, recursive: bool, name: str = "") -> Path:
    """Raises the errors of `copy_from` that are found before anything is written.

    Returns:
        The path on the host that the copy gets.
    """
    place = Path(target)
    file, stream = split_stream(path)
    status = source.stat(file)
    is_directory = status.is_directory and not stream
    if os.fspath(target).endswith(tuple(filter(None, (os.sep, os.altsep)))) and not (is_directory or place.is_dir()):
        raise EntryNotDirectoryError(target, "is not a directory")
    if is_directory and not recursive:
        raise EntryIsDirectoryError(path, "is a directory; copy it with what is in it (-r)")
    return place / name_on_host(name or last_component(status.path) or "root") if place.is_dir() else place


def _tree_out(
    source: CopySource, status: FileStatus, top: str, top_place: Path, place: Path, tell: LeftOut, budget: Budget
) -> Steps:
    if place != top_place and place.is_symlink():
        raise EntryNotDirectoryError(place, "is a symbolic link, where a folder is to be")
    make_folder(place)
    # Once per folder, not once per file: a listing for each file would make the time quadratic.
    remove_leftovers(place)
    _tell_streams(source, status, tell)
    written: dict[str, list[Path]] = {}
    for child in source.scan(status.path):
        name = name_on_host(last_component(child.path))
        below = place / name
        # A disk may have names that differ in case only, and the host may take them for one.
        others = written.setdefault(name_key(name), [])
        same = next((other for other in others if is_same_file(below, other)), None)
        if same is not None:
            tell(child.path, f"the host takes its name for that of {same}")
            continue
        others.append(below)
        if child.is_link:
            _link_out(source, child, top, top_place, below, tell)
        elif child.is_directory:
            if child.reparse is not None:
                tell(child.path, _reparse_text(child.reparse))
            yield _tree_out(source, child, top, top_place, below, tell, budget)
        else:
            yield _file_out(source, child, child.path, below, tell, budget, sweep=False)
    if durability.is_wanted():
        # Makes the names of the links in the folder safe on disk.
        sync_directory(place)


def is_same_file(place: Path, other: Path) -> bool:
    """Returns whether two paths of the host are of the same file, folder or link."""
    try:
        return os.path.samestat(place.lstat(), other.lstat())
    except OSError:
        return False


def _link_out(source: CopySource, status: FileStatus, top: str, top_place: Path, place: Path, tell: LeftOut) -> None:
    """Makes a symbolic link for a link whose target is in the copied tree; reports any other link as left out."""
    try:
        found = source.stat(status.path)
    except LayerError as error:
        tell(status.path, f"a link: {error.detail}")
        return
    leads_to = found.path
    if not _is_in(leads_to, top):
        tell(status.path, f"a link to {leads_to}, which is not in what is copied")
        return
    if os.path.lexists(place) and not place.is_symlink():
        tell(status.path, f"a link to {leads_to}: {place} exists and is no link")
        return
    inside = [name_on_host(part) for part in leads_to[len(top) :].split("/") if part]
    text = os.path.relpath(top_place.joinpath(*inside), place.parent)
    try:
        place.unlink(missing_ok=True)
        place.symlink_to(text, target_is_directory=found.is_directory)
    except OSError as error:
        tell(status.path, f"a link to {leads_to}: {error.strerror}")


def _file_out(
    source: CopySource,
    status: FileStatus,
    path: str,
    place: Path,
    tell: LeftOut,
    budget: Budget,
    *,
    is_stream: bool = False,
    sweep: bool = True,
) -> Steps:
    if not is_stream:
        if status.reparse is not None:
            tell(status.path, _reparse_text(status.reparse))
            if not source.has_data(status.path):
                return
        _tell_streams(source, status, tell)
    # The source is opened first: if it cannot be read, the target is not touched.
    with source.open(path) as file:
        budget.store(file.stored_size())
        budget.spend(file.seek(0, os.SEEK_END), path[:300])
        with OutputFile(place, sources=source.places, sweep=sweep) as output:
            for piece in file.pieces(_PIECE):
                output.stream.write(piece)
            time = to_unix_ns(status.info.last_write_time)
            if time >= 0:
                output.set_times(time, time)
    yield None


def _tell_streams(source: CopySource, status: FileStatus, tell: LeftOut) -> None:
    for name, size in source.streams(status.path):
        tell(f"{status.path}:{name}", f"an alternate stream of {size} bytes")


def _reparse_text(reparse: bytes) -> str:
    try:
        return f"a reparse point ({decode_reparse(reparse).tag_name})"
    except ValueError:
        return "a reparse point"


def _has_data(view: LayerView, path: str) -> bool:
    return view.volume.find(path, follow=False).row.sha256 is not None


@during("copy")
def copy_between(
    source: LayerView,
    path: str,
    target: LayerView,
    to: str,
    *,
    recursive: bool = False,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> int:
    """Copies a file of a view, or with `recursive` a directory and all its contents, into a view, with all Windows
    metadata: security, times, attributes, streams, EAs; links and reparse points are copied as they are.

    If the target is a directory, the copy is made inside it. A source `path:stream` copies one alternate stream; a
    target `path:stream` receives the contents as an alternate stream.

    Args:
        progress: called after each file with the number of copied files.
        cancelled: called after each file; True stops the copy. The files that were copied so far stay.

    Returns:
        The number of copied files.

    Raises:
        PathNotFoundError: the source or the target's directory does not exist.
        EntryIsDirectoryError: the source is a directory, and `recursive` is false.
        EntryNotDirectoryError, AlreadyExistsError: the existing entry at the target cannot be replaced.
        InvalidParameterError: source and target are the same file, or the target is in the source.
    """
    to = check_between(source, path, target, to, recursive=recursive)
    from_file, from_stream = split_stream(path)
    _, to_stream = split_stream(to)
    if from_stream or to_stream:
        with source.open_raw(path) as file:
            _copy_verified(file, target, to)
        return _counted(iter([None]), progress, cancelled)
    return _counted(_entry_between(source, source.stat(from_file, follow=False), target, to), progress, cancelled)


def check_between(source: LayerView, path: str, target: LayerView, to: str, *, recursive: bool) -> str:
    """Raises the errors of `copy_between` that are found before anything is written.

    Returns:
        The path in the target that the copy gets.
    """
    from_file, from_stream = split_stream(path)
    to_file, to_stream = split_stream(to)
    status = source.stat(from_file, follow=bool(from_stream))
    is_directory = status.is_directory and not status.is_link and not from_stream
    if is_directory and (to_stream or not recursive):
        raise EntryIsDirectoryError(path, "is a directory; copy it with what is in it (-r)")
    if not to_stream:
        _refuse_separator(target, to, is_directory=is_directory)
        if _is_directory(target, to):
            to = to_file = _below(to, last_component(status.path))
    if source is target:
        _refuse_itself(source, status, from_stream, to_file, to_stream, path, to)
    return to


def _refuse_itself(
    view: LayerView, status: FileStatus, from_stream: str, to_file: str, to_stream: str, path: str, to: str
) -> None:
    """Refuses a copy that would empty its source before it is read, or that would never end."""
    with view.volume.reading() as tree:
        node = existing(tree, status.path, follow=False)
        place = resolve(tree, layer_path(to_file), follow=True)
        if _is_same(node, place.node) and names_equal(from_stream, to_stream):
            raise InvalidParameterError(path, f"and {to} are the same file")
        if node.is_directory and _is_in(place.directory.key, node.key):
            raise InvalidParameterError(path, f"a directory cannot be copied into itself, to {to}")


def _is_same(node: Node, other: Node | None) -> bool:
    return other is not None and node.file == other.file


def _is_in(path: str, top: str) -> bool:
    return not top or path == top or path.startswith(top + "/")


def _entry_between(source: LayerView, status: FileStatus, target: LayerView, to: str) -> Steps:
    path = status.path
    if status.is_directory and not status.is_link:
        children = source.scan(path)
        if not target.exists(to):
            target.mkdir(to)
            if status.reparse is not None:
                target.set_reparse(to, status.reparse)
        elif not target.stat(to).is_directory:
            raise EntryNotDirectoryError(to, "is not a directory")
        for child in children:
            yield _entry_between(source, child, target, _below(to, last_component(child.path)))
    else:
        copy_contents(source, status, target, to)
    copy_metadata(source, status, target, to)
    if not status.is_directory and not status.is_link:
        yield None


def copy_contents(source: LayerView, status: FileStatus, target: LayerView, to: str) -> None:
    """Copies the main data of a file of one view to a path of another one, or makes the same link or reparse point.

    Raises:
        AlreadyExistsError: something is there, and what is copied has no data.
    """
    path = status.path
    if status.is_link:
        _refuse_existing(target, to)
        target.create_link(to, source.read_link(path), is_directory=status.is_directory)
    elif _has_data(source, path):
        with source.open_raw(path) as file:
            _copy_verified(file, target, to)
        if status.reparse is not None:
            target.set_reparse(to, status.reparse)
    else:
        _refuse_existing(target, to)
        target.write_bytes(to, b"")
        target.set_reparse(to, status.reparse)


def _refuse_existing(target: LayerView, to: str) -> None:
    if target.exists(to):
        raise AlreadyExistsError(to, "already exists")


def copy_metadata(source: LayerView, status: FileStatus, target: LayerView, to: str) -> None:
    """Gives an entry of one view the streams, the descriptor, the EAs, the attributes and the times of an entry of
    another one."""
    path = status.path
    if not status.is_link and target.exists(to):
        # If `to` is a link, the contents were written to its target.
        to = target.stat(to).path
    for name, _ in source.streams(path, follow=False):
        with source.open_raw(f"{path}:{name}") as stream:
            _copy_verified(stream, target, f"{to}:{name}")
    descriptor, eas = source.security(path, follow=False), source.eas(path, follow=False)
    with target.volume.changing():
        target.volume.set_metadata(
            target.volume.find(to, follow=False), status.info, security=descriptor, eas=eas
        )  # fmt: skip


@during("rename")
def move(view: LayerView, source: str, target: str, *, replace: bool = True) -> None:
    """Renames an entry of a view to `target`, or into the directory `target`.

    Raises:
        PathNotFoundError: the source or the target's directory does not exist.
        InvalidParameterError: source and target are the same file; a directory would be moved into itself.
        EntryNotDirectoryError: the target ends in a separator and is not a directory.
        AlreadyExistsError: something exists at the target, and `replace` is false.
        EntryIsDirectoryError, EntryNotDirectoryError, DirectoryNotEmptyError: the target cannot be replaced.
    """
    moved = view.stat(source, follow=False)
    _refuse_separator(view, target, is_directory=moved.is_directory)
    if _is_directory(view, target) and view.stat(target).file_id != moved.file_id:
        target = _below(target, last_component(moved.path))
    with view.volume.reading() as tree:
        node = existing(tree, layer_path(source), follow=False)
        place = resolve(tree, layer_path(target), follow=False)
        is_same_name = place.node is not None and place.node.key == node.key
        if _is_same(node, place.node) and (not is_same_name or place.name == node.name):
            raise InvalidParameterError(source, f"and {target} are the same file")
    view.rename(source, target, replace=replace)


def _refuse_separator(view: LayerView, target: str, *, is_directory: bool) -> None:
    """Refuses a target that ends in a separator but is not a directory, unless the source is a directory."""
    if re.search(r"[\\/]\Z", target) and not is_directory and not _is_directory(view, target):
        raise EntryNotDirectoryError(target, "is not a directory")


def _below(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"


def _is_directory(view: LayerView, path: str) -> bool:
    return view.exists(path) and view.stat(path).is_directory
