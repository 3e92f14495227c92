"""Copies several files and directories in one call, into, out of or between views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wclayer.errors import AlreadyExistsError, EntryNotDirectoryError, during
from wclayer.layers.progress import Cancelled, Progress, ProgressCallback
from wclayer.view.layer_view import LayerView
from wclayer.view.matching import match_paths
from wclayer.view.transfer import (
    LeftOut,
    ViewSource,
    check_between,
    check_into,
    check_out,
    copy_between,
    copy_into,
    copy_out,
    is_same_file,
    name_of_copy,
)
from wclayer.win32.names import path_key


@dataclass(frozen=True, slots=True)
class CopyPlace:
    """A place that is copied from or to.

    Attributes:
        view: the view in which it is; None for the host.
        path: its path there. That of a source in a view may have wildcards.
    """

    view: LayerView | None
    path: str


@during("copy")
def copy_several(
    sources: Sequence[CopyPlace],
    target: CopyPlace,
    *,
    recursive: bool = False,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
    left_out: LeftOut | None = None,
) -> int:
    """Copies files, and with `recursive` directories with all their contents: each as `copy_into`, `copy_out` or
    `copy_between` copies it. At least the target or all sources are in views.

    Before anything is written, all sources are found and checked. If a copy fails later, the files that were copied
    before it stay.

    Args:
        sources: what is copied. Paths in views may have wildcards (see `match_paths`).
        target: where to; the directory that gets the copies if there are several sources.
        recursive: directories are copied, too.
        progress: called after each file with the number of copied files.
        cancelled: called after each file; True stops the copy. The files that were copied so far stay.
        left_out: called for what a copy to the host leaves out (see `copy_out`).

    Returns:
        The number of copied files.

    Raises:
        PathNotFoundError: a source does not exist, or nothing matches it.
        EntryNotDirectoryError: there are several sources, and the target is not a directory.
        AlreadyExistsError: two sources would get the same name. If it is only the host that takes their names for one,
            the first one has been copied.
        LayerError: what the functions for one source raise.
    """
    found = [
        CopyPlace(source.view, path)
        for source in sources
        for path in ([source.path] if source.view is None else match_paths(source.view, source.path))
    ]
    places = _checked_places(found, target, recursive=recursive) if len(found) > 1 else [target.path]
    state = Progress()

    def tell(part: Progress) -> None:
        state.entries = done + part.entries
        if progress is not None:
            progress(state)

    done = 0
    written: dict[str, list[str]] = {}
    for source, place in zip(found, places, strict=True):
        if target.view is None:
            _refuse_same(source, place, written.setdefault(path_key(place), []))
        if source.view is None:
            assert target.view is not None
            done += copy_into(
                target.view, source.path, target.path, recursive=recursive, progress=tell, cancelled=cancelled
            )
        elif target.view is None:
            done += copy_out(
                source.view, source.path, target.path, recursive=recursive, progress=tell, cancelled=cancelled,
                left_out=left_out,
            )  # fmt: skip
        else:
            done += copy_between(
                source.view, source.path, target.view, target.path, recursive=recursive, progress=tell,
                cancelled=cancelled,
            )  # fmt: skip
    return done


def _checked_places(sources: Sequence[CopyPlace], target: CopyPlace, *, recursive: bool) -> list[str]:
    """Raises the errors that can be found before anything is written; otherwise returns the path of each copy."""
    if not _is_directory(target):
        raise EntryNotDirectoryError(target.path, "is not a directory, and several files are copied to it")
    names: dict[str, str] = {}
    places = []
    for source in sources:
        to = _checked(source, target, recursive=recursive)
        # Whether a folder of the host takes two cases of a name for one is known when the first file is there.
        key = to if target.view is None else path_key(to)
        if key in names:
            raise AlreadyExistsError(source.path, f"and {names[key]} would both be {to}; copy them one by one")
        names[key] = source.path
        places.append(to)
    return places


def _refuse_same(source: CopyPlace, place: str, written: list[str]) -> None:
    """Raises an error if the host takes the place of a copy for that of one that was written. Otherwise, the place is
    added to those."""
    for other in written:
        if is_same_file(Path(place), Path(other)):
            raise AlreadyExistsError(source.path, f"would replace the copy at {other}: its name differs in case only")
    written.append(place)


def _is_directory(target: CopyPlace) -> bool:
    if target.view is None:
        return Path(target.path).is_dir()
    return target.view.exists(target.path) and target.view.stat(target.path).is_directory


def _checked(source: CopyPlace, target: CopyPlace, *, recursive: bool) -> str:
    """Checks one source, and returns the path that its copy gets."""
    if source.view is None:
        assert target.view is not None
        return check_into(target.view, source.path, target.path, recursive=recursive)
    if target.view is None:
        name = name_of_copy(source.view, source.path)
        return str(check_out(ViewSource(source.view), source.path, target.path, recursive=recursive, name=name))
    return check_between(source.view, source.path, target.view, target.path, recursive=recursive)
