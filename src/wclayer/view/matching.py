"""Finds the entries that a path with wildcards names, and removes what paths name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from wclayer._types import StrPath
from wclayer.errors import (
    ERROR_FILE_NOT_FOUND,
    EntryNotDirectoryError,
    PathNotFoundError,
    UnresolvedLinkError,
    during,
)
from wclayer.view.layer_view import LayerView
from wclayer.view.merged import Node
from wclayer.view.resolve import names_by_short_name
from wclayer.view.spelling import layer_path, split_stream
from wclayer.view.volume import Volume
from wclayer.win32.names import path_key, split_path
from wclayer.win32.wildcards import FilePattern, has_wildcards

_NOT_THERE = PathNotFoundError, EntryNotDirectoryError, UnresolvedLinkError
"""What a view raises for a path at which there is nothing. All else is a problem of the layer or the host."""


def match_paths(view: LayerView, path: StrPath) -> list[str]:
    r"""Returns the paths of the entries that a path with wildcards names, in the order in which Windows lists them.

    Every name of the path may have wildcards, which mean what they mean to Windows: `*` is any number of characters,
    `?` one, or none at the end of the name or before a dot; `*.*` is everything, `*.` what has no dot. Case is ignored,
    and hidden files are found. A short name is only compared with a pattern that has a `~`, so `*.htm` does not find
    `page.html`. Links on the way are followed; a link at the end is named itself. A pattern with `:stream` finds
    the files that have this stream.

    Args:
        view: the view.
        path: in any spelling that `layer_path` accepts. Without wildcards, it is returned as it is.

    Raises:
        PathNotFoundError: nothing matches.
        InvalidParameterError: the path is on another drive than C:.
    """
    text = os.fspath(path)
    file, stream = split_stream(text)
    if not has_wildcards(file):
        return [text]
    with view.volume.reading():
        found = list(_matching(view.volume, split_path(layer_path(file)), stream))
    if not found:
        raise PathNotFoundError(text, "nothing matches", code=ERROR_FILE_NOT_FOUND)
    return found


def _matching(volume: Volume, parts: list[str], stream: str) -> Iterator[str]:
    """Yields the paths of the entries whose names match the parts of a path, one after the other."""
    found = iter([""])
    for part in parts:
        found = _below(volume, found, part)
    for path in found:
        try:
            node = volume.find(path, follow=bool(stream))
        except _NOT_THERE:
            continue
        if not stream:
            yield path
        elif volume.has_stream(node, stream):
            yield f"{path}:{stream}"


def _below(volume: Volume, directories: Iterable[str], part: str) -> Iterator[str]:
    for directory in directories:
        above = f"{directory}/" if directory else ""
        if has_wildcards(part):
            for name in _names(volume, directory, part):
                yield above + name
        else:
            yield above + part


def _names(volume: Volume, directory: str, pattern: str) -> list[str]:
    try:
        node = volume.find(directory)
        inside = volume.children(node)
    except _NOT_THERE:
        return []
    wanted = FilePattern(pattern)
    short = _short_names(volume, node) if "~" in pattern else {}
    return [
        child.name
        for child in inside
        if wanted.matches(child.name) or (child.name in short and wanted.matches(short[child.name]))
    ]


def _short_names(volume: Volume, directory: Node) -> dict[str, str]:
    """Returns the short names in a directory by the long ones."""
    return {long: short for short, long in names_by_short_name(volume.tree, directory).items()}


@during("remove")
def remove_paths(view: LayerView, paths: Iterable[str], *, recursive: bool = False, missing_ok: bool = False) -> None:
    """Removes files, links and streams (`path:stream`), which paths with or without wildcards name (see `match_paths`).
    All of them are removed, or none if it fails.

    Args:
        view: the view of a scratch.
        paths: the paths. What several of them name is removed once.
        recursive: directories are removed, too, with everything in them.
        missing_ok: a path that names nothing is not an error.

    Raises:
        PathNotFoundError: a path names nothing, and `missing_ok` is false.
        EntryIsDirectoryError: an entry is a directory, and `recursive` is false.
        LayerError: the view is read-only.
    """
    with view.volume.changing():
        found: dict[str, str] = {}
        for path in paths:
            try:
                for match in match_paths(view, path):
                    key, place = _place(view, match)
                    found.setdefault(key, place)
            except PathNotFoundError:
                if not missing_ok:
                    raise
        for place in found.values():
            # What lies in a directory that another path names is already removed.
            if _is_there(view, place):
                view.rmtree(place) if recursive and not split_stream(place)[1] else view.unlink(place)


def _place(view: LayerView, path: str) -> tuple[str, str]:
    """Returns what is the same for all spellings of a path, and a path without links on the way.

    Raises:
        PathNotFoundError: nothing is there.
    """
    file, stream = split_stream(path)
    node = view.volume.find(file, follow=bool(stream))
    if not stream:
        return node.key, node.path
    if not view.volume.has_stream(node, stream):
        raise PathNotFoundError(file, f"has no stream {stream!r}", code=ERROR_FILE_NOT_FOUND)
    return f"{node.key}:{path_key(stream)}", f"{node.path}:{stream}"


def _is_there(view: LayerView, path: str) -> bool:
    try:
        _place(view, path)
    except PathNotFoundError:
        return False
    return True
